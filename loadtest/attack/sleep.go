package attack

import "time"

// sleeper waits until it is time or somebody rings.
type sleeper interface {
	sleep(d time.Duration)
	ring()
	close()
}

// timer is a sleeper by the means of Go, which may be a millisecond late: where the system knows none that is better.
type timer struct{ bell chan struct{} }

func newTimer() timer { return timer{make(chan struct{}, 1)} }

func (t timer) sleep(d time.Duration) {
	select {
	case <-t.bell:
	case <-time.After(d):
	}
}

func (t timer) ring() {
	select {
	case t.bell <- struct{}{}:
	default:
	}
}

func (t timer) close() {}
