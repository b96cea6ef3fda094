package attack

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// crew drives a target by a goroutine for each connection. The one that calls run hands out what
// comes due; a worker that is done takes what waits by itself.
type crew struct {
	ctx context.Context
	sleeper
	workers sync.WaitGroup

	mu       sync.Mutex // guards what follows
	*session            // but for its constants
	idle     []*worker  // the one that was busy last is last
	all      []*worker
}

// worker has a connection, or will have one.
type worker struct {
	conn Conn          // nil before the first request and after an error; guarded by the crew's mu
	sent time.Duration // of its request, while it has one; likewise
	busy bool
	jobs chan job // at most one
}

// attackTarget attacks by goroutines.
func attackTarget(ctx context.Context, s *session) (use float64, err error) {
	sleeper := newSleeper()
	defer sleeper.close()
	return attackWith(ctx, s, sleeper)
}

func attackWith(ctx context.Context, s *session, sl sleeper) (use float64, err error) {
	reach, cancel := context.WithTimeout(ctx, min(s.Timeout, reachTimeout))
	defer cancel()
	first, err := s.Target.Open(reach)
	if err != nil {
		return 0, err
	}
	if err := first.Close(); err != nil {
		return 0, err
	}
	s.spread = true
	c := &crew{ctx: ctx, sleeper: sl, session: s}
	defer context.AfterFunc(ctx, c.ring)()
	s.wake = c.ring
	s.oldest = c.oldest
	s.connected = c.connections

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer sharp()()
	s.start()
	for d := c.due(); d > 0; d = c.due() {
		c.sleep(d)
	}
	c.dismiss()
	cores := float64(runtime.GOMAXPROCS(0))
	return float64(processCPU()-s.cpu) / float64(max(s.now(), 1)) / cores, nil
}

// due hands out what is due and returns how long there is nothing to do, 0 at the end of the attack.
func (c *crew) due() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !c.goOn(c.ctx, now) {
		return 0
	}
	for c.ready(now) {
		w := c.free()
		if w == nil {
			c.refuse()
			break
		}
		w.jobs <- c.hand(w)
	}
	until := c.nextEnd
	if next, ok := c.next(now); ok {
		until = min(until, next)
	}
	return max(until-c.now(), 1)
}

// job is a ticket and when it was given out.
type job struct {
	ticket
	sent time.Duration
}

// hand gives out a ticket to a worker. c.mu is held.
func (c *crew) hand(w *worker) job {
	t, now := c.draw()
	w.sent, w.busy = now, true
	return job{t, now}
}

// free returns a worker without a ticket, if there may be one. c.mu is held.
func (c *crew) free() *worker {
	if n := len(c.idle); n > 0 {
		w := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return w
	}
	if len(c.all) >= c.Options.Connections {
		return nil
	}
	w := &worker{jobs: make(chan job, 1)}
	c.all = append(c.all, w)
	c.workers.Go(func() { c.work(w) })
	return w
}

// oldest returns when the request was sent that is under way for longest. c.mu is held.
func (c *crew) oldest() (sent time.Duration, any bool) {
	for _, w := range c.all {
		if w.busy && (!any || w.sent < sent) {
			sent, any = w.sent, true
		}
	}
	return sent, any
}

// connections returns how many are open. c.mu is held, or nobody works any more.
func (c *crew) connections() (n int) {
	for _, w := range c.all {
		if w.conn != nil {
			n++
		}
	}
	return n
}

// dismiss ends the workers and waits for them. Those that are busy, which can only be because the
// attack was broken off, lose their connection.
func (c *crew) dismiss() {
	c.mu.Lock()
	c.ended = true
	for _, w := range c.idle {
		close(w.jobs)
	}
	c.idle = nil
	for _, w := range c.all {
		if w.conn != nil && c.ctx.Err() != nil {
			_ = w.conn.Close()
		}
	}
	c.mu.Unlock()
	c.workers.Wait()
}

func (c *crew) work(w *worker) {
	for j := range w.jobs {
		for more := true; more; {
			j, more = c.serve(w, j)
		}
	}
	if w.conn != nil {
		_ = w.conn.Close()
	}
}

// serve gets the answer to a job and returns the next one, if one waits.
func (c *crew) serve(w *worker, j job) (next job, more bool) {
	reply, err := c.do(w, &c.Requests[j.request], j.sent+c.timeout)

	c.mu.Lock()
	defer c.mu.Unlock()
	switch now := c.now(); {
	case err == nil:
		c.settle(j.ticket, j.sent, reply)
	case c.ctx.Err() != nil:
		c.back() // nobody knows what would have become of it
	case w.conn != nil && now >= j.sent+c.timeout:
		c.lose(j.ticket, j.sent, tooLate, fmt.Sprintf("no answer within %v", c.timeout))
	default:
		if w.conn == nil {
			c.unreached(now)
		}
		c.lose(j.ticket, j.sent, broken, err.Error())
	}
	if err != nil && w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
	return c.after(w)
}

// after returns the next job for a worker, if one waits, or lets it wait for one. c.mu is held.
func (c *crew) after(w *worker) (next job, more bool) {
	now := c.now()
	w.busy = false
	if c.ready(now) {
		return c.hand(w), true
	}
	if c.ended {
		close(w.jobs)
	} else {
		c.idle = append(c.idle, w)
	}
	if c.over(now) || c.hold > now {
		c.ring() // what there is to wait for has changed
	}
	return job{}, false
}

// do sends a request on the connection of a worker, a new one if it has none.
func (c *crew) do(w *worker, r *Request, until time.Duration) (Reply, error) {
	deadline := c.began.Add(until)
	if w.conn == nil {
		ctx, cancel := context.WithDeadline(c.ctx, deadline)
		defer cancel()
		conn, err := c.Target.Open(ctx)
		if err != nil {
			return Reply{}, err
		}
		c.mu.Lock()
		w.conn = conn
		c.mu.Unlock()
	}
	return w.conn.Do(r, deadline)
}
