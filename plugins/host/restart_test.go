package host

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func TestPause(t *testing.T) {
	r := Restart{}.withDefaults(1)
	for _, c := range []struct {
		situation string
		restarts  int
		jitter    float64
		want      time.Duration
	}{
		{"the first of a row is at once", 0, 1, 0},
		{"the second, shortest", 1, 0, 50 * ms},
		{"the second, longest", 1, 1, 100 * ms},
		{"the third doubles", 2, 1, 200 * ms},
		{"half of the jitter", 2, 0.5, 150 * ms},
		{"the last below the bound", 7, 1, 6400 * ms},
		{"the bound", 8, 1, 10 * time.Second},
		{"far beyond the bound", 1 << 40, 1, 10 * time.Second},
	} {
		if got := r.pause(c.restarts, c.jitter); got != c.want {
			t.Errorf("%s: pause(%d, %v) = %v, want %v", c.situation, c.restarts, c.jitter, got, c.want)
		}
	}
}

func TestPayback(t *testing.T) {
	for _, c := range []struct {
		situation  string
		took, want time.Duration
	}{
		{"a start that is next to nothing", ms, time.Second},
		{"a usual one", 300 * ms, 3 * time.Second},
		{"a long one", time.Minute, 30 * time.Second},
	} {
		if got := payback(c.took); got != c.want {
			t.Errorf("%s: payback(%v) = %v, want %v", c.situation, c.took, got, c.want)
		}
	}
}

// The table is a life: each row goes on from the state of the one before.
func TestBreaker(t *testing.T) {
	r := Restart{Failures: 3, Window: 10 * time.Second, Open: 5 * time.Second}
	born := time.Now()
	var b breaker
	for _, c := range []struct {
		situation string
		at        time.Duration
		what      string
		admitted  bool
		want      BreakerState
	}{
		{"nothing has failed", 0, "admit", true, BreakerClosed},
		{"once", 0, "failed", false, BreakerClosed},
		{"twice", 4 * time.Second, "failed", false, BreakerClosed},
		{"two failures do not open it", 4 * time.Second, "admit", true, BreakerClosed},
		{"the first is forgotten", 10 * time.Second, "failed", false, BreakerClosed},
		{"three within the window", 11 * time.Second, "failed", false, BreakerOpen},
		{"another failure does not prolong it", 13 * time.Second, "failed", false, BreakerOpen},
		{"a life that pays does not close it", 13 * time.Second, "paid", false, BreakerOpen},
		{"too early", 15 * time.Second, "admit", false, BreakerOpen},
		{"one is tried", 16 * time.Second, "admit", true, BreakerHalfOpen},
		{"and no other", 16 * time.Second, "admit", false, BreakerHalfOpen},
		{"not even much later", 60 * time.Second, "admit", false, BreakerHalfOpen},
		{"the trial fails", 60 * time.Second, "failed", false, BreakerOpen},
		{"open for as long again", 64 * time.Second, "admit", false, BreakerOpen},
		{"tried again", 65 * time.Second, "admit", true, BreakerHalfOpen},
		{"it lives", 66 * time.Second, "paid", false, BreakerClosed},
		{"everybody may start", 66 * time.Second, "admit", true, BreakerClosed},
		{"old failures are forgotten", 66 * time.Second, "failed", false, BreakerClosed},
	} {
		now, admitted := born.Add(c.at), false
		switch c.what {
		case "admit":
			b, admitted = b.admit(now)
		case "failed":
			b = b.failed(r, now)
		case "paid":
			b = b.paid()
		}
		if b.public() != c.want || admitted != c.admitted {
			t.Fatalf("%s: %s = %v, admitted %v, want %v, %v", c.situation, c.what, b.public(), admitted, c.want, c.admitted)
		}
	}
}

func TestBreakerExcuses(t *testing.T) {
	r := Restart{Failures: 3, Window: 10 * time.Second, Open: 5 * time.Second}
	now := time.Now()
	for _, c := range []struct {
		situation       string
		before, excused int
		after           int // failures
		want            BreakerState
	}{
		{"none is left", 2, 3, 2, BreakerClosed},
		{"one is left", 2, 1, 2, BreakerOpen},
		{"there was none", 0, 3, 3, BreakerOpen},
		{"what is open stays open", 3, 3, 0, BreakerOpen},
	} {
		var b breaker
		for range c.before {
			b = b.failed(r, now)
		}
		b = b.excused(c.excused)
		for range c.after {
			b = b.failed(r, now)
		}
		if b.public() != c.want {
			t.Errorf("%s: %d failures, %d excused, %d more: %v, want %v", c.situation, c.before, c.excused, c.after, b.public(), c.want)
		}
	}
}

func TestComeback(t *testing.T) {
	now := time.Now()
	after := func(d time.Duration) time.Time { return now.Add(d) }
	open := breaker{state: BreakerOpen, until: after(5 * time.Second)}
	for _, c := range []struct {
		situation string
		slot      slot
		breaker   breaker
		want      time.Duration // below 0: no telling
	}{
		{"it may start now", slot{due: now, took: 100 * ms}, breaker{}, 100 * ms},
		{"it could have started", slot{due: after(-time.Second), took: 100 * ms}, breaker{}, 100 * ms},
		{"it pauses", slot{due: after(300 * ms), took: 100 * ms}, breaker{}, 400 * ms},
		{"it is starting", slot{began: after(-30 * ms), took: 100 * ms}, breaker{}, 70 * ms},
		{"it starts for longer than the last time", slot{began: after(-time.Second), took: 100 * ms}, breaker{}, 0},
		{"it is being killed", slot{live: &instance{ending: true}, took: 100 * ms}, breaker{}, 100 * ms},
		{"the breaker is open", slot{due: after(300 * ms), took: 100 * ms}, open, 5100 * ms},
		{"the pause is longer", slot{due: after(9 * time.Second), took: 100 * ms}, open, 9100 * ms},
		{"it was starting when the breaker opened", slot{began: now, took: 100 * ms}, open, 100 * ms},
		{"another is tried", slot{due: now, took: 100 * ms}, breaker{state: BreakerHalfOpen}, -1},
		{"it is the one that is tried", slot{began: now, took: 100 * ms}, breaker{state: BreakerHalfOpen}, 100 * ms},
	} {
		at, ok := c.slot.comeback(c.breaker, now)
		if ok != (c.want >= 0) || ok && at.Sub(now) != c.want {
			t.Errorf("%s: comeback = %v, %v, want %v", c.situation, at.Sub(now), ok, c.want)
		}
	}
}
