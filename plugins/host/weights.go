package host

import (
	"errors"
	"os"
	"sync"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/weights"
)

// shared is what the instances of a version share their weights by, nothing if it is zero: memory, and a
// locker for handles of memory that is elsewhere, which is nil where there can be none.
type shared struct{ weights, locker *os.File }

func (s shared) close() {
	_ = s.weights.Close()
	if s.locker != nil {
		_ = s.locker.Close()
	}
}

// shelf holds what the instances of a version share.
type shelf struct {
	mu    sync.Mutex
	held  shared
	lease *backends.Lease // closes held after its last use; held by the shelf and by every start
	none  bool            // there is to be none
}

// take returns what an instance that is about to start shares with others. done is called once when it
// has started, or not: on memory that a start has failed over no other one is tried, for who knows
// what it has left there.
func (s *shelf) take() (held shared, done func(err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == (shared{}) && !s.none {
		s.stock()
	}
	if s.held == (shared{}) {
		return shared{}, func(error) {}
	}
	held, lease := s.held, s.lease
	lease.Retain(1)
	return held, func(err error) {
		if err != nil {
			s.clear(held)
		}
		lease.Release()
	}
}

// stock makes new memory. The mutex is held.
func (s *shelf) stock() {
	file, err := weights.NewFile()
	if err != nil {
		s.none = errors.Is(err, weights.ErrUnavailable)
		return
	}
	locker, _ := weights.NewLocker() // without one every instance has weights of its own there
	s.held = shared{file, locker}
	s.lease = backends.NewLease(s.held.close)
}

// clear puts held away if it is what the shelf holds.
func (s *shelf) clear(held shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == held {
		s.lease.Release()
		s.held, s.lease = shared{}, nil
	}
}

// close puts away what the shelf holds. Nothing is taken from then on.
func (s *shelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.none = true
	s.lease.Release()
	s.held, s.lease = shared{}, nil
}

// HugeBytes returns how much memory of an instance lies in huge pages, most of it weights.
func (m *Model) HugeBytes() int64 {
	pids := m.PIDs()
	if len(pids) == 0 {
		return 0
	}
	return weights.Huge(pids[0])
}

// bytes returns how much the instances share now.
func (s *shelf) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held.weights == nil {
		return 0
	}
	return weights.Size(s.held.weights)
}
