package attack

import (
	"context"
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
	open     int
}

// worker has a connection, or will have one.
type worker struct {
	conn Conn
	jobs chan ticket // at most one
}

// attackTarget attacks by goroutines.
func attackTarget(ctx context.Context, s *session) (use float64, err error) {
	sleeper, err := newSleeper()
	if err != nil {
		return 0, err
	}
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
	c := &crew{ctx: ctx, sleeper: sl, session: s}
	defer context.AfterFunc(ctx, c.ring)()
	s.wake = c.ring

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
		w.jobs <- c.hand(c.now())
	}
	until := c.nextEnd
	if next, ok := c.next(); ok {
		until = min(until, next)
	}
	if c.closed() && !c.over(now) {
		until = min(until, c.duration)
	}
	return max(until-c.now(), 1)
}

// hand gives out a ticket that is sent now. c.mu is held.
func (c *crew) hand(now time.Duration) ticket {
	t := c.take(now)
	c.send(t, now)
	return t
}

// free returns a worker without a ticket, if there may be one. c.mu is held.
func (c *crew) free() *worker {
	if n := len(c.idle); n > 0 {
		w := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return w
	}
	if c.open >= c.Options.Connections {
		return nil
	}
	c.open++
	w := &worker{jobs: make(chan ticket, 1)}
	c.workers.Go(func() { c.work(w) })
	return w
}

// dismiss ends the workers and waits for them.
func (c *crew) dismiss() {
	c.mu.Lock()
	c.ended = true
	for _, w := range c.idle {
		close(w.jobs)
	}
	c.idle = nil
	c.mu.Unlock()
	c.workers.Wait()
}

func (c *crew) work(w *worker) {
	for t := range w.jobs {
		for more := true; more; {
			t, more = c.serve(w, t)
		}
	}
	if w.conn != nil {
		_ = w.conn.Close()
	}
}

// serve gets the answer to a ticket and returns the next one, if one waits.
func (c *crew) serve(w *worker, t ticket) (next ticket, more bool) {
	sent := c.now()
	request := c.Pick(t.number)
	reply, err := w.do(c.ctx, c.Target, &c.Requests[request], c.began.Add(t.intended+c.Options.Timeout))

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		o := broken
		if w.conn != nil && c.now() >= t.intended+c.Options.Timeout {
			o = tooLate
		}
		c.cause(o, err.Error())
		c.settle(t, sent, request, o)
		w.drop()
	} else {
		c.settle(t, sent, request, c.judge(t, request, reply))
	}
	if now := c.now(); c.ready(now) {
		return c.hand(now), true
	}
	if c.ended {
		close(w.jobs)
	} else {
		c.idle = append(c.idle, w)
	}
	if c.over(c.now()) {
		c.ring()
	}
	return ticket{}, false
}

func (w *worker) do(ctx context.Context, target Target, r *Request, deadline time.Time) (reply Reply, err error) {
	if w.conn == nil {
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		if w.conn, err = target.Open(ctx); err != nil {
			w.conn = nil
			return Reply{}, err
		}
	}
	return w.conn.Do(r, deadline)
}

func (w *worker) drop() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}
