package shm

import (
	"context"
	"sync"
	"time"
)

// call is the context of a call in the plugin, and then of the next ones. Most backends never wait
// for its end, so what that takes, a channel and a timer, is made only when they do; then the call
// is not used again.
type call struct {
	clock clock

	mu         sync.Mutex // protects the fields below
	where      place
	generation uint64
	deadline   int64 // 0 for none
	cancelled  bool
	inner      context.Context // nil until somebody wants to wait
	stop       context.CancelFunc
}

// next returns the context of the next call: c itself, unless it is nil or somebody has wanted to
// wait for its end, who may do so still.
func (c *call) next(k clock, d descriptor) *call {
	if c == nil {
		c = &call{clock: k}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		c = &call{clock: k}
	}
	c.where, c.generation, c.deadline, c.cancelled = place{d.arena, d.slot}, d.generation, d.deadline, false
	return c
}

func (c *call) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancelled = true
	if c.stop != nil {
		c.stop()
	}
}

// Deadline implements context.Context.
func (c *call) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until()
}

func (c *call) until() (time.Time, bool) {
	if c.deadline == 0 {
		return time.Time{}, false
	}
	return c.clock.time(c.deadline), true
}

// full returns a context that can be waited for.
func (c *call) full() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner
	}
	if deadline, ok := c.until(); ok {
		c.inner, c.stop = context.WithDeadline(context.Background(), deadline)
	} else {
		c.inner, c.stop = context.WithCancel(context.Background())
	}
	if c.cancelled {
		c.stop()
	}
	return c.inner
}

// Done implements context.Context.
func (c *call) Done() <-chan struct{} { return c.full().Done() }

// Err implements context.Context.
func (c *call) Err() error {
	c.mu.Lock()
	inner, cancelled := c.inner, c.cancelled
	c.mu.Unlock()
	switch deadline, ok := c.Deadline(); {
	case inner != nil:
		return inner.Err()
	case ok && !time.Now().Before(deadline):
		return context.DeadlineExceeded
	case cancelled:
		return context.Canceled
	}
	return nil
}

// Value implements context.Context. The context it passes the question to is how package context
// recognises one of its own.
func (c *call) Value(key any) any { return c.full().Value(key) }
