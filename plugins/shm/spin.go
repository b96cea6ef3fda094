package shm

import (
	"runtime"
	"time"
)

// Spinning catches a message that comes soon without the price of a sleep, and is a waste where
// it does not come soon or where others need the processor. So it is worth what it has been
// lately: the budget doubles when the spin caught the message and halves when it did not.
//
// Two processes that both sleep never see how soon the other would have answered, since waking
// it takes longer than any good budget. So once in a while a spin lasts as long as that takes.
const (
	maxSpin    = 10 * time.Microsecond
	minSpin    = 500 * time.Nanosecond // below it, spinning is off
	probeSpin  = 50 * time.Microsecond // longer than it takes to wake a processor
	probeAfter = 128                   // waits since spinning is off

	// pausesAtOnce are between two looks at the clock.
	pausesAtOnce = 8
	// interruption is a time between two looks at the clock in which others must have had the
	// processor.
	interruption = 20 * time.Microsecond
)

// spinner decides how long to spin before a sleep. It belongs to one waiter at a time.
type spinner struct {
	budget time.Duration
	off    int  // waits until spinning is tried again
	yields bool // lets other goroutines run now and then
}

// wait spins until the ring has a message, and reports whether it has.
func (s *spinner) wait(r *ring) bool {
	if r.ready() {
		return true
	}
	if s.budget == 0 && !s.probe() {
		return false
	}
	caught, interrupted := s.spin(r)
	if caught {
		s.budget = min(2*s.budget, maxSpin)
		return true
	}
	if s.budget = min(s.budget, maxSpin) / 2; s.budget < minSpin || interrupted {
		s.budget, s.off = 0, probeAfter
	}
	return false
}

// probe turns spinning on again, unless it is too soon or there is only one processor.
func (s *spinner) probe() bool {
	if s.off--; s.off > 0 || runtime.GOMAXPROCS(0) == 1 {
		return false
	}
	s.budget = probeSpin
	return true
}

func (s *spinner) spin(r *ring) (caught, interrupted bool) {
	begin := time.Now()
	for spent := time.Duration(0); spent < s.budget; {
		for range pausesAtOnce {
			pause()
			if r.ready() {
				return true, false
			}
		}
		if s.yields {
			runtime.Gosched()
		}
		now := time.Since(begin)
		interrupted = interrupted || now-spent > interruption
		spent = now
	}
	return r.ready(), interrupted
}
