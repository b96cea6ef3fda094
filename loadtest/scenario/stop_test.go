package scenario

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// window is the i-th second of a run, with so many answers of a latency and errors.
func window(i int, latency time.Duration, answers, errors uint64) result.Window {
	h := result.NewHistogram()
	h.RecordN(latency, answers)
	return result.Window{Begin: time.Duration(i) * time.Second, OK: h, Outcomes: map[result.Outcome]uint64{result.OK: answers, result.Failed: errors}}
}

func TestStop(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name    string
		stop    Stop
		windows func(i int) result.Window
		want    int // windows until it stops; 0 for never, which is 700
	}{
		{"no rule", Stop{}, func(i int) result.Window { return window(i, ms, 1000, 0) }, 0},
		{"quick: steady from the first", Stop{Rule: Quick}, func(i int) result.Window { return window(i, ms, 1000, 0) }, 6},
		{"quick: settles after 10 s", Stop{Rule: Quick, Goal: goal}, func(i int) result.Window { return window(i, ms*time.Duration(11-min(i, 10)), 1000, 0) }, 16},
		{"quick: nothing comes back", Stop{Rule: Quick}, func(i int) result.Window { return window(i, ms, 0, 1000) }, 0},
		{"quick: the rate swings", Stop{Rule: Quick}, func(i int) result.Window { return window(i, ms, uint64(1000+1000*(i%3)), 0) }, 0},
		{"gate: enough is known", Stop{Rule: Gate, Goal: goal}, func(i int) result.Window { return window(i, ms, 100, 0) }, 6},
		{"gate: it is broken", Stop{Rule: Gate, Goal: goal}, func(i int) result.Window { return window(i, time.Second, 100, 0) }, 5},
		{"gate: errors are over", Stop{Rule: Gate, Goal: goal}, func(i int) result.Window { return window(i, ms, 50, 50) }, 5},
		{"gate: at the edge", Stop{Rule: Gate, Goal: goal}, func(i int) result.Window { return window(i, ms, 99, 1) }, 0},
		{"gate: nothing is answered", Stop{Rule: Gate, Goal: goal}, func(i int) result.Window { return window(i, ms, 0, 0) }, 0},
		{"gate: not in the warm-up", Stop{Rule: Gate, Goal: goal, WarmUp: 5 * time.Second}, func(i int) result.Window { return window(i, ms*time.Duration(1+1000*max(5-i, 0)), 100, 0) }, 11},
		{"publish: ten minutes after the warm-up", Stop{Rule: Publish, Goal: goal, WarmUp: 5 * time.Second}, func(i int) result.Window { return window(i, ms, 1000, 0) }, 605},
		{"publish: ten minutes at least", Stop{Rule: Publish, Goal: goal}, func(i int) result.Window { return window(i, ms, 1000, 0) }, 600},
		{"publish: not while nothing is known", Stop{Rule: Publish, Goal: goal}, func(i int) result.Window { return window(i, ms, 99, 1) }, 0},
	} {
		got := 0
		for i := range 700 {
			c.stop.Observe(c.windows(i))
			if c.stop.Reason() != "" {
				got = i + 1
				break
			}
		}
		// It looks once for each growth by a quarter.
		if got < c.want || got > c.want*5/4+1 || (got == 0) != (c.want == 0) {
			t.Errorf("%s: stopped after %d windows, want %d", c.name, got, c.want)
		}
	}
}

// TestStopAtTheEdge: where one in a hundred is over, to say that p99 holds is wrong, and is said in
// one of a hundred tests at most, however often they look.
func TestStopAtTheEdge(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	wrong := 0
	const tests = 300
	for range tests {
		s := Stop{Rule: Gate, Goal: goal}
		for i := range 60 {
			over := uint64(0)
			for range 200 {
				if r.IntN(100) == 0 {
					over++
				}
			}
			s.Observe(window(i, time.Millisecond, 200-over, over))
			if s.known == stats.Same {
				wrong++
				break
			}
		}
	}
	if wrong > tests/100+5 { // three deviations more
		t.Errorf("%d of %d tests say that it holds, at most one of a hundred may", wrong, tests)
	}
}

func TestRuleSet(t *testing.T) {
	var r Rule
	if err := r.Set("publish"); err != nil || r != Publish {
		t.Errorf("Set(publish) = %q, %v", r, err)
	}
	if err := r.Set("slow"); err == nil || r != Publish {
		t.Errorf("Set(slow) = %q, want an error", r)
	}
}
