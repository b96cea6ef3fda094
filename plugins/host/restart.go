package host

import (
	"cmp"
	"slices"
	"time"
)

// Restart says when an instance that has died is started again. The zero value is good.
//
// The first restart is at once, the next ones after pauses that double, until an instance has
// lived for so long that its start has paid. The breaker counts, over all instances of the
// version, those that died before that and those that could not be started. When it opens,
// nothing is started for a while, then one instance is tried: what becomes of that decides.
type Restart struct {
	Pause    time.Duration // before the second restart of a row; 100 ms if 0
	MaxPause time.Duration // 10 s if 0
	Failures int           // within Window, which open the breaker; two and three for each instance if 0
	Window   time.Duration // 30 s if 0
	Open     time.Duration // that the breaker stays open; 10 s if 0
}

func (r Restart) withDefaults(instances int) Restart {
	r.Pause = cmp.Or(r.Pause, 100*time.Millisecond)
	r.MaxPause = cmp.Or(r.MaxPause, 10*time.Second)
	r.Failures = cmp.Or(r.Failures, 2+3*instances)
	r.Window = cmp.Or(r.Window, 30*time.Second)
	r.Open = cmp.Or(r.Open, 10*time.Second)
	return r
}

// pause returns how long to wait before a restart, given how many there were in a row. jitter,
// from 0 to 1, keeps instances that died together from starting together.
func (r Restart) pause(restarts int, jitter float64) time.Duration {
	if restarts == 0 {
		return 0
	}
	longest := r.Pause
	for range restarts - 1 {
		if longest >= r.MaxPause {
			break
		}
		longest *= 2
	}
	longest = min(longest, r.MaxPause)
	return longest/2 + time.Duration(jitter*float64(longest/2))
}

// payback returns how long an instance has to live for a start that took so long to have paid:
// as long as starting costs less than a tenth of the time, dying is a nuisance and no failure.
func payback(took time.Duration) time.Duration {
	return min(max(10*took, time.Second), 30*time.Second)
}

// BreakerState is what a version's breaker allows.
type BreakerState string

// The states.
const (
	BreakerClosed   BreakerState = "closed"    // instances are started as needed
	BreakerOpen     BreakerState = "open"      // nothing is started
	BreakerHalfOpen BreakerState = "half-open" // one instance is being tried
)

// breaker is a version's breaker. The zero value is closed.
type breaker struct {
	state    BreakerState // empty for closed
	failures []time.Time  // the recent ones, ascending
	until    time.Time    // when an open one lets an instance be tried
}

// failed returns the breaker after a failure.
func (b breaker) failed(r Restart, now time.Time) breaker {
	if b.state == BreakerOpen {
		return b
	}
	recent := slices.DeleteFunc(slices.Clone(b.failures), func(at time.Time) bool { return now.Sub(at) >= r.Window })
	recent = append(recent, now)
	if b.state == BreakerHalfOpen || len(recent) >= r.Failures {
		return breaker{state: BreakerOpen, until: now.Add(r.Open)}
	}
	return breaker{failures: recent}
}

// excused returns the breaker without its latest failures, n at most. What has opened stays open.
func (b breaker) excused(n int) breaker {
	b.failures = b.failures[:max(0, len(b.failures)-n)]
	return b
}

// paid returns the breaker after an instance has lived long enough.
func (b breaker) paid() breaker {
	if b.state == BreakerHalfOpen {
		return breaker{}
	}
	return b
}

// admit returns whether an instance may be started now, and the breaker after that.
func (b breaker) admit(now time.Time) (breaker, bool) {
	switch {
	case b.state == BreakerHalfOpen, b.state == BreakerOpen && now.Before(b.until):
		return b, false
	case b.state == BreakerOpen:
		return breaker{state: BreakerHalfOpen}, true
	}
	return b, true
}

// public returns the state with its name.
func (b breaker) public() BreakerState { return cmp.Or(b.state, BreakerClosed) }
