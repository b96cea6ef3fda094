package batching

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// call is one Predict. Its first fields never change; batch belongs to the Batcher's mutex,
// out and err to whoever executes the call until done is closed.
type call struct {
	ctx     context.Context
	in      backends.Batch
	rows    int // 1 for a signature that is not batched
	key     string
	entered time.Time

	batch *batch // nil while the call waits

	done chan struct{}
	out  backends.Batch
	err  error
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
	out, err := b.compute(t.ctx, stack(t.calls, t.rows), BatchInfo{Rows: t.rows, Calls: len(t.calls)})
	if errors.Is(err, backends.ErrInvalid) {
		b.executeApart(t.calls)
		return
	}
	if err == nil {
		split(out, t.rows, t.calls)
	}
	for _, c := range t.calls {
		c.out.Trace.Queue, c.err = sent.Sub(c.entered), err
		close(c.done)
	}
}

// executeApart runs the calls of a batch that was refused one by one, so that a bad request
// fails alone. A batch of n calls costs at most n more executions, and none of those is
// repeated.
func (b *Batcher) executeApart(calls []*call) {
	for _, c := range calls {
		b.executeAlone(c)
	}
}

func (b *Batcher) executeAlone(c *call) {
	defer close(c.done)
	if c.err = c.ctx.Err(); c.err != nil {
		return
	}
	sent := time.Now()
	c.out, c.err = b.compute(c.ctx, c.in, BatchInfo{Rows: c.rows, Calls: 1})
	c.out.Trace.Queue = sent.Sub(c.entered)
}

// compute runs one batch, checks the answer and fills its Trace but for the Queue.
func (b *Batcher) compute(ctx context.Context, in backends.Batch, info BatchInfo) (backends.Batch, error) {
	sent := time.Now()
	out, err := b.predict(ctx, in)
	info.Compute = time.Since(sent)
	if err == nil && b.sig.Batched {
		err = checkRows(out, info.Rows)
	}
	info.Err = err
	b.batches.Add(1)
	b.rows.Add(uint64(info.Rows))
	if b.options.OnBatch != nil {
		b.options.OnBatch(info)
	}
	if err != nil {
		return backends.Batch{}, err
	}
	out.Trace.Compute, out.Trace.BatchRows = info.Compute, info.Rows
	return out, nil
}

func (b *Batcher) predict(ctx context.Context, in backends.Batch) (out backends.Batch, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the model panicked: %v", p)
		}
	}()
	return b.next.Predict(ctx, in)
}
