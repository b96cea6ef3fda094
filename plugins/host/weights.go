package host

import (
	"errors"
	"os"
	"sync"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/weights"
)

// shelf holds the memory in which the instances of a version share their weights.
type shelf struct {
	mu    sync.Mutex
	file  *os.File        // nil while there is none
	lease *backends.Lease // closes file after its last use; held by the shelf and by every start
	none  bool            // there is to be none
}

// take returns the memory for an instance that is about to start, nil if there is none. done is
// called once when it has started, or not: on memory that a start has failed over no other one
// is tried, for who knows what it has left there.
func (s *shelf) take() (file *os.File, done func(err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && !s.none {
		s.stock()
	}
	if s.file == nil {
		return nil, func(error) {}
	}
	file, lease := s.file, s.lease
	lease.Retain(1)
	return file, func(err error) {
		if err != nil {
			s.clear(file)
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
	s.file, s.lease = file, backends.NewLease(func() { _ = file.Close() })
}

// clear puts file away if it is what the shelf holds.
func (s *shelf) clear(file *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == file {
		s.lease.Release()
		s.file, s.lease = nil, nil
	}
}

// close puts away what the shelf holds. Nothing is taken from then on.
func (s *shelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.none = true
	s.lease.Release()
	s.file, s.lease = nil, nil
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
	if s.file == nil {
		return 0
	}
	return weights.Size(s.file)
}
