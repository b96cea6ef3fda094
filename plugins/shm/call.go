package shm

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// call is the context of a call in the plugin, and then of the next ones. Most backends never wait
// for its end, so what that takes, a channel and a timer, is made only when they do; then the call
// is not used again.
type call struct {
	where      place
	generation uint64
	clock      clock
	deadline   int64 // 0 for none
	cancelled  atomic.Bool

	mu    sync.Mutex              // held while inner is made
	inner atomic.Pointer[waiting] // nil until somebody wants to wait
}

// waiting is a context that can be waited for.
type waiting struct {
	context.Context
	stop context.CancelFunc
}

// next returns the context of the next call: c itself, unless it is nil or somebody has wanted to
// wait for its end, who may do so still.
func (c *call) next(k clock, d descriptor) *call {
	if c == nil || c.inner.Load() != nil {
		return &call{where: place{d.arena, d.slot}, generation: d.generation, clock: k, deadline: d.deadline}
	}
	c.where, c.generation, c.deadline = place{d.arena, d.slot}, d.generation, d.deadline
	if c.cancelled.Load() {
		c.cancelled.Store(false)
	}
	return c
}

func (c *call) cancel() {
	c.cancelled.Store(true)
	c.end()
}

// end ends the wait of whoever waits.
func (c *call) end() {
	if w := c.inner.Load(); w != nil {
		w.stop()
	}
}

// Deadline implements context.Context.
func (c *call) Deadline() (time.Time, bool) {
	if c.deadline == 0 {
		return time.Time{}, false
	}
	return c.clock.time(c.deadline), true
}

// full returns a context that can be waited for.
func (c *call) full() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.inner.Load(); w != nil {
		return w
	}
	w := &waiting{}
	if deadline, ok := c.Deadline(); ok {
		w.Context, w.stop = context.WithDeadline(context.Background(), deadline)
	} else {
		w.Context, w.stop = context.WithCancel(context.Background())
	}
	c.inner.Store(w)
	if c.cancelled.Load() { // before it could be told
		w.stop()
	}
	return w
}

// Done implements context.Context.
func (c *call) Done() <-chan struct{} { return c.full().Done() }

// Err implements context.Context.
func (c *call) Err() error {
	switch deadline, ok := c.Deadline(); {
	case c.inner.Load() != nil:
		return c.inner.Load().Err()
	case ok && !time.Now().Before(deadline):
		return context.DeadlineExceeded
	case c.cancelled.Load():
		return context.Canceled
	}
	return nil
}

// Value implements context.Context. The context it passes the question to is how package context
// recognises one of its own.
func (c *call) Value(key any) any { return c.full().Value(key) }
