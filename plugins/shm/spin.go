package shm

import (
	"math"
	"runtime"
	"time"
)

// Spinning catches a message that comes soon without the price of a sleep, and is a waste where
// it does not come soon or where others need the processor. So it is worth what it has been
// lately: the budget doubles when the spin caught the message and halves when it did not.
//
// Waking a processor takes longer than any good budget. So two processes that answer each other
// at once, of which one has slept once, would take each other for slow from then on, and sleep
// in turns. Who has just woken the other one therefore spins for as long as waking takes.
const (
	maxSpin  = 10 * time.Microsecond
	minSpin  = 500 * time.Nanosecond // below it, spinning is off
	wakeSpin = 60 * time.Microsecond // longer than it takes to wake a processor

	// Spinning that did not pay is off for so many waits, twice as many each time.
	minOff = 4
	maxOff = 128

	// pausesAtOnce are between two looks at the clock.
	pausesAtOnce = 8
	// interruption is a time between two looks at the clock in which others must have had the
	// processor.
	interruption = 20 * time.Microsecond
)

// Spinning says how to wait for a message.
type Spinning int

// The ways to wait.
const (
	SpinAdaptively Spinning = iota // as long as it has paid lately: what serves
	SpinNever                      // always sleep
	SpinLong                       // for a millisecond, which takes a whole processor
)

// spinner decides how long to spin before a sleep. It belongs to one waiter at a time.
type spinner struct {
	how    Spinning
	budget time.Duration // where the other one was awake
	off    int           // waits until spinning is tried again
	pause  int           // what off will be the next time
	yields bool          // lets other goroutines run now and then
}

func newSpinner(yields bool) spinner {
	s := spinner{budget: maxSpin, pause: minOff, yields: yields}
	if runtime.GOMAXPROCS(0) == 1 {
		s.off = math.MaxInt // whom it waits for needs the processor
	}
	return s
}

// wait spins until the ring has a message, and reports whether it has. roused says that who is to
// write it has just been woken.
func (s *spinner) wait(r *ring, roused bool) bool {
	if r.ready() {
		return true
	}
	budget := s.next(roused)
	if budget == 0 {
		return false
	}
	caught, interrupted := s.spin(r, budget)
	s.learn(roused, caught, interrupted)
	return caught
}

// next returns how long to spin now, 0 for not at all.
func (s *spinner) next(roused bool) time.Duration {
	switch {
	case s.how == SpinNever:
		return 0
	case s.how == SpinLong:
		return time.Millisecond
	case s.off > 0:
		s.off--
		return 0
	case roused:
		return wakeSpin
	}
	return s.budget
}

// learn is told what became of a spin.
func (s *spinner) learn(roused, caught, interrupted bool) {
	if s.how != SpinAdaptively {
		return
	}
	if caught {
		s.budget, s.pause = min(2*s.budget, maxSpin), max(s.pause/2, minOff)
		return
	}
	if s.budget /= 2; s.budget < minSpin || roused || interrupted {
		s.budget, s.off, s.pause = maxSpin, s.pause, min(2*s.pause, maxOff)
	}
}

func (s *spinner) spin(r *ring, budget time.Duration) (caught, interrupted bool) {
	begin := time.Now()
	for spent := time.Duration(0); spent < budget; {
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
