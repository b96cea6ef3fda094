// Package batching turns many small predictions into few large ones.
//
// It pulls and conserves work: while fewer than Options.Inflight batches are executing, a
// call is sent at once, and a batch forms while all are busy. No timer is on the path. Only
// where batches are over in no time are as many enough as there are instances.
//
// A mutex owns the queue. A call that finds a free slot runs in the goroutine of its caller,
// with no hand-over at all. Whoever ends a batch takes the next one from the queue under the
// mutex and so keeps the slot; only a slot that finds the queue empty becomes free. Callers
// that ran their own call pass the slot on to a goroutine, which lives until the queue is
// empty.
package batching

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Batcher is a backends.Predictor that executes calls in batches. Its methods may be called
// concurrently.
type Batcher struct {
	next    backends.Predictor
	joiner  backends.Joiner // next, if it is one
	sig     backends.Signature
	options Options
	policy  Policy

	mu     sync.Mutex // protects the fields below
	queue  queue      // empty unless every open slot is taken
	busy   int        // slots taken, at most Options.Inflight
	line   line       // the last time that the queue was not empty
	picks  []int      // scratch of Policy.Next
	closed bool

	slots sync.WaitGroup // counts busy, for Close

	cost cost // of a batch

	batches, rows                atomic.Uint64
	rejected, expired, abandoned atomic.Uint64
}

// Stats is what a Batcher holds now and what it has done.
type Stats struct {
	QueuedRows  int
	QueuedCalls int
	Inflight    int // batches executing

	Batches   uint64 // executions, the repeated ones included
	Rows      uint64 // rows in them
	Rejected  uint64 // calls refused because the queue was full
	Expired   uint64 // calls whose context ended while they waited
	Abandoned uint64 // calls whose context ended while their batch was executing
}

// New returns a Batcher in front of next, which answers for sig. Invalid options and a
// batched signature whose inputs do not tell the number of rows are an ErrInvalid.
func New(next backends.Predictor, sig backends.Signature, o Options) (*Batcher, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &Batcher{next: next, sig: sig, options: o, policy: Policy{MaxRows: o.MaxRows}}
	b.joiner, _ = next.(backends.Joiner)
	if !sig.Batched {
		b.policy.MaxRows = 1 // a call counts as one row, so each is a batch of its own
		return b, nil
	}
	return b, checkBatched(sig)
}

func checkBatched(sig backends.Signature) error {
	for _, spec := range slices.Concat(sig.Inputs, sig.Outputs) {
		if len(spec.Shape) == 0 {
			return backends.Errorf(backends.ErrInvalid, "%q has no first dimension: a batched model needs one on every input and output", spec.Name)
		}
	}
	if !slices.ContainsFunc(sig.Inputs, func(s backends.TensorSpec) bool { return !s.Optional }) {
		return backends.Errorf(backends.ErrInvalid, "every input is optional: a batched model needs one that tells the number of rows")
	}
	return nil
}

// Predict answers in as part of a batch. Calls join if their inputs have the same per-row
// shapes and they ask for the same outputs with the same parameters; the order in which a
// call lists its inputs does not matter.
//
// A call that does not fit the signature or has more than Options.MaxRows rows is an
// ErrInvalid; one that finds Options.MaxQueueRows rows waiting is an ErrOverloaded; after
// Close every call is an ErrUnavailable. A call without rows is answered from the signature.
// If the context ends while the call waits or shares a batch, Predict returns at once; a call
// that is executing alone runs under ctx itself and returns as soon as the predictor does.
//
// If the predictor refuses or fails a batch of n calls, or its instance dies over it, each runs
// again alone: a bad request costs its neighbours at most n executions, never their answers. A
// call over which the instance dies twice when it is alone fails with that ErrCrashed. A
// deadline, an instance that is not there and an answer with a wrong number of rows are nobody's
// fault in particular and go to every call of the batch.
func (b *Batcher) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	if err := ctx.Err(); err != nil {
		return backends.Batch{}, err
	}
	c, err := b.newCall(ctx, in)
	if err != nil {
		return backends.Batch{}, err
	}
	if c.rows == 0 {
		return noRows(in, b.sig), nil
	}
	alone, err := b.enter(c)
	if err != nil {
		return backends.Batch{}, err
	}
	if alone {
		return b.lead(c)
	}
	select {
	case <-c.done:
		return c.out, c.err
	case <-ctx.Done():
		b.abandon(c)
		return backends.Batch{}, ctx.Err()
	}
}

// newCall checks in, so that no call can shift the rows of its neighbours.
func (b *Batcher) newCall(ctx context.Context, in backends.Batch) (*call, error) {
	if err := b.sig.Check(in); err != nil {
		return nil, err
	}
	c := &call{ctx: ctx, in: in, rows: 1}
	if !b.sig.Batched {
		return c, nil
	}
	c.rows = in.Rows()
	if c.rows > b.options.MaxRows {
		return nil, backends.Errorf(backends.ErrInvalid, "%d rows, at most %d: send fewer or raise batching.max_rows", c.rows, b.options.MaxRows)
	}
	c.in.Tensors = inOrder(in.Tensors, b.sig.Inputs)
	c.key = stackingKey(c.in)
	return c, nil
}

// enter gives c a free slot (alone) or a place in the queue, whose first ones get the slot where
// it was not open to them before.
func (b *Batcher) enter(c *call) (alone bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false, backends.Errorf(backends.ErrUnavailable, "this version of the model is being stopped: try again")
	}
	open := b.busy < b.options.slots(b.cost.known())
	if open && len(b.queue.calls) == 0 {
		b.busy++
		b.slots.Add(1)
		return true, nil
	}
	if b.queue.rows+c.rows > b.options.MaxQueueRows {
		b.rejected.Add(1)
		return false, backends.Errorf(backends.ErrOverloaded, "%d rows wait and at most %d may, no room for %d more: try again later or raise batching.max_queue_rows",
			b.queue.rows, b.options.MaxQueueRows, c.rows)
	}
	c.done = make(chan struct{})
	c.entered = time.Now()
	b.line = b.line.joined(len(b.queue.calls) == 0, c.entered)
	b.queue.push(c)
	if open {
		b.busy++
		b.slots.Add(1)
		if t := b.pull(); t != nil {
			go b.work(t)
		}
	}
	return false, nil
}

// lead executes c in the goroutine of its caller and passes the slot on.
func (b *Batcher) lead(c *call) (backends.Batch, error) {
	out, err := b.computeAlone(c)
	if t := b.take(); t != nil {
		go b.work(t)
	}
	return out, err
}

// work keeps a slot busy until the queue is empty.
func (b *Batcher) work(t *batch) {
	for ; t != nil; t = b.take() {
		b.execute(t)
	}
}

// take returns the next batch for the slot of its caller, or frees the slot if nothing waits.
func (b *Batcher) take() *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pull()
}

// pull does so with b.mu held.
func (b *Batcher) pull() *batch {
	for len(b.queue.calls) > 0 && b.busy <= b.options.slots(b.cost.known()) {
		b.picks = b.policy.Next(b.queue.waiting, b.picks[:0])
		now := time.Now()
		soonest := now.Add(b.cost.known())
		calls := slices.DeleteFunc(b.queue.take(b.picks), func(c *call) bool { return c.lost(soonest) })
		b.line = b.line.left(len(b.queue.calls) == 0, now)
		if len(calls) > 0 {
			return newBatch(calls)
		}
	}
	b.busy--
	b.slots.Done()
	return nil
}

// WaitingSince returns when the queue filled in which a call that came at that time has waited, or
// that time if it was empty. Whatever went wrong since then may be why the call was late, even if
// it was over when the call came.
func (b *Batcher) WaitingSince(came time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.line.since(came)
}

// abandon is told that nobody waits for c any more.
func (b *Batcher) abandon(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.ended {
		c.out.Release()
		return
	}
	c.gone = true
	if c.batch == nil {
		b.expired.Add(1)
		b.queue.remove(c)
		b.line = b.line.left(len(b.queue.calls) == 0, time.Now())
		return
	}
	b.abandoned.Add(1)
	c.batch.live--
	if c.batch.live == 0 {
		c.batch.cancel()
	}
}

// Stats returns what b holds now and what it has done.
func (b *Batcher) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{
		QueuedRows:  b.queue.rows,
		QueuedCalls: len(b.queue.calls),
		Inflight:    b.busy,
		Batches:     b.batches.Load(),
		Rows:        b.rows.Load(),
		Rejected:    b.rejected.Load(),
		Expired:     b.expired.Load(),
		Abandoned:   b.abandoned.Load(),
	}
}

// Close refuses new calls, waits until those that wait or execute are answered, and returns
// nil. It may be called twice. It does not close the wrapped predictor.
func (b *Batcher) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.slots.Wait()
	return nil
}
