package cache

import (
	"context"
	"fmt"
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// flight is one prediction under way and those who wait for it. Nobody who waits runs it, so
// each can leave when its own context ends; when the last one has left, the prediction is
// cancelled.
type flight struct {
	key    key
	cancel context.CancelFunc

	waiting int // under the mutex of flights

	done chan struct{} // closed once out and err are set
	out  backends.Batch
	err  error
}

// flights holds what is under way, by digest of the key.
type flights struct {
	mu     sync.Mutex // protects the fields below and every flight's waiting
	flying map[uint64]*flight
	closed bool

	running sync.WaitGroup
}

// join returns the flight with k's digest and counts the caller as waiting for it. There may
// be none: then the caller leads the one that begins, and must run it. A flight whose key only
// shares its digest with k is to be left at once. After close there is no flight at all.
func (s *flights) join(k key) (f *flight, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	if f, ok := s.flying[k.digest]; ok {
		f.waiting++
		return f, false
	}
	f = &flight{key: k, waiting: 1, done: make(chan struct{})}
	s.flying[k.digest] = f
	s.running.Add(1)
	return f, true
}

// leave is told of a caller that waits no longer.
func (s *flights) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
	if f.waiting == 0 {
		s.forget(f) // before the cancellation, so that nobody joins a flight that must fail
		f.cancel()
	}
}

// land is told of a flight that has ended and whose answer is in the cache, so that later
// callers either find it there or begin anew.
func (s *flights) land(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(f)
	f.cancel()
	s.running.Done()
}

func (s *flights) forget(f *flight) {
	if s.flying[f.key.digest] == f {
		delete(s.flying, f.key.digest)
	}
}

// close lets no new flight begin and waits until all have landed.
func (s *flights) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
}

// predict calls next and turns a panic, which would end the process, into an error.
func predict(ctx context.Context, next backends.Predictor, in backends.Batch) (out backends.Batch, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = backends.Batch{}, fmt.Errorf("the model panicked: %v", p)
		}
	}()
	return next.Predict(ctx, in)
}
