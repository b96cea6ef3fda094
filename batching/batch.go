package batching

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// call is one Predict. Its first fields never change; batch, gone and ended belong to the
// Batcher's mutex, out and err to whoever executes the call until done is closed.
type call struct {
	ctx     context.Context
	in      backends.Batch
	rows    int // 1 for a signature that is not batched
	key     string
	entered time.Time

	batch *batch // nil while the call waits
	gone  bool   // nobody waits for the answer any more
	ended bool   // the answer is there

	done chan struct{}
	out  backends.Batch
	err  error
}

// lost reports whether c cannot be answered in time if its answer is there at the soonest then. To
// compute it would make those late that can.
func (c *call) lost(soonest time.Time) bool {
	deadline, ok := c.ctx.Deadline()
	return c.ctx.Err() != nil || ok && deadline.Before(soonest)
}

// batch is calls that were taken from the queue together. A batch of one runs under the
// context of its call; a larger one has a context of its own, which ends with the latest
// deadline or when no call is left to wait for it.
type batch struct {
	calls  []*call
	rows   int
	ctx    context.Context
	cancel context.CancelFunc
	live   int // calls that were not abandoned; under the Batcher's mutex
}

func newBatch(calls []*call) *batch {
	t := &batch{calls: calls, live: len(calls)}
	for _, c := range calls {
		c.batch = t
		t.rows += c.rows
	}
	if len(calls) == 1 {
		t.ctx, t.cancel = calls[0].ctx, func() {}
		return t
	}
	if latest, ok := latestDeadline(calls); ok {
		t.ctx, t.cancel = context.WithDeadline(context.Background(), latest)
	} else {
		t.ctx, t.cancel = context.WithCancel(context.Background())
	}
	return t
}

// latestDeadline returns false if some call has all the time in the world.
func latestDeadline(calls []*call) (latest time.Time, ok bool) {
	for _, c := range calls {
		deadline, ok := c.ctx.Deadline()
		if !ok {
			return time.Time{}, false
		}
		if deadline.After(latest) {
			latest = deadline
		}
	}
	return latest, true
}

// execute answers every call of t.
func (b *Batcher) execute(t *batch) {
	if len(t.calls) == 1 {
		b.executeAlone(t.calls[0])
		return
	}
	defer t.cancel()
	sent := time.Now()
	out, err := b.compute(t.ctx, t.calls, t.rows)
	if err != nil && isolates(err) {
		for _, c := range t.calls {
			b.executeAlone(c)
		}
		return
	}
	if err == nil {
		split(out, t.rows, t.calls)
	}
	for _, c := range t.calls {
		c.out.Trace.Queue, c.err = sent.Sub(c.entered), err
		b.finish(c)
	}
}

// isolates reports whether a batch that failed with err is to be run again call by call,
// since one of them may be the only one at fault: refused, failed, or the end of its instance.
// What is wrong with no call in particular, or will be again, goes to all.
func isolates(err error) bool {
	if errors.Is(err, backends.ErrInvalid) || errors.Is(err, backends.ErrCrashed) {
		return true
	}
	for _, shared := range []error{
		context.Canceled, context.DeadlineExceeded, backends.ErrUnavailable, backends.ErrOverloaded,
		backends.ErrUnsupported, backends.ErrTooLarge, errRows,
	} {
		if errors.Is(err, shared) {
			return false
		}
	}
	return true
}

// executeAlone runs a call that is a batch of its own.
func (b *Batcher) executeAlone(c *call) {
	sent := time.Now()
	if c.err = c.ctx.Err(); c.err == nil {
		c.out, c.err = b.computeAlone(c)
	}
	c.out.Trace.Queue = sent.Sub(c.entered)
	b.finish(c)
}

// computeAlone tries a call twice if its instance dies over it: the first death may be an
// accident, the second is the call's own doing.
func (b *Batcher) computeAlone(c *call) (backends.Batch, error) {
	alone := []*call{c}
	out, err := b.compute(c.ctx, alone, c.rows)
	if errors.Is(err, backends.ErrCrashed) {
		out, err = b.compute(c.ctx, alone, c.rows)
	}
	return out, err
}

// finish hands c its answer, or gives it back where nobody waits for it any more.
func (b *Batcher) finish(c *call) {
	b.mu.Lock()
	c.ended = true
	gone := c.gone
	b.mu.Unlock()
	if gone {
		c.out.Release()
	}
	close(c.done)
}

// compute runs calls as one batch, checks the answer and fills its Trace but for the Queue.
func (b *Batcher) compute(ctx context.Context, calls []*call, rows int) (backends.Batch, error) {
	sent := time.Now()
	out, err := b.predict(ctx, calls, rows)
	took := time.Since(sent)
	b.cost.observe(took)
	if err == nil && b.sig.Batched {
		if err = checkRows(out, rows); err != nil {
			out.Release()
		}
	}
	b.batches.Add(1)
	b.rows.Add(uint64(rows))
	if b.options.OnBatch != nil {
		b.options.OnBatch(BatchInfo{Rows: rows, Calls: len(calls), Compute: took, Err: err})
	}
	if err != nil {
		return backends.Batch{}, err
	}
	out.Trace.Compute, out.Trace.BatchRows = took, rows
	return out, nil
}

func (b *Batcher) predict(ctx context.Context, calls []*call, rows int) (out backends.Batch, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the model panicked: %v", p)
		}
	}()
	if len(calls) == 1 {
		return b.next.Predict(ctx, calls[0].in)
	}
	if b.joiner == nil {
		return b.next.Predict(ctx, stack(calls, rows))
	}
	parts := make([]backends.Batch, len(calls))
	for i, c := range calls {
		parts[i] = c.in
	}
	return b.joiner.PredictJoined(ctx, parts)
}
