package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

func TestGoalSet(t *testing.T) {
	for text, want := range map[string]string{
		"p99<=5ms":     "p99<=5ms",
		" p99.9 < 1s ": "p99.9<=1s",
		"p50<=250us":   "p50<=250µs",
		"p95<=1m0s":    "p95<=1m0s",
	} {
		var g Goal
		if err := g.Set(text); err != nil || g.String() != want {
			t.Errorf("Set(%q) = %q, %v, want %q", text, g, err, want)
		}
	}
	for _, text := range []string{"", "p99", "99<=5ms", "p99<=5", "p99<=-5ms", "p0<=5ms", "p100<=5ms", "p99>=5ms", "p99<=5ms,", "p99<=0s"} {
		var g Goal
		if err := g.Set(text); err == nil || g != (Goal{}) {
			t.Errorf("Set(%q) = %v, want an error", text, g)
		}
	}
}

func FuzzGoal(f *testing.F) {
	f.Add("p99<=5ms")
	f.Add("p99.99 < 1h3m")
	f.Fuzz(func(t *testing.T, text string) {
		var g, again Goal
		if g.Set(text) != nil {
			return
		}
		if err := again.Set(g.String()); err != nil || again.Limit != g.Limit || again.Name() != g.Name() {
			t.Errorf("Set(%q) = %q, which reads back as %q, %v", text, g, again, err)
		}
	})
}

// step has requests of one latency for each count, and errors.
func step(within, over, failed int) result.Step {
	ok, bad := result.NewHistogram(), result.NewHistogram()
	ok.RecordN(time.Millisecond, uint64(within))
	ok.RecordN(time.Second, uint64(over))
	bad.RecordN(time.Millisecond, uint64(failed))
	return result.Step{Duration: time.Second, Outcomes: map[result.Outcome]*result.Latency{
		result.OK: {Intended: ok, Sent: ok}, result.Failed: {Intended: bad, Sent: bad},
	}}
}

func TestGoalHeld(t *testing.T) {
	for _, c := range []struct {
		name string
		step result.Step
		want stats.Verdict
		text string
	}{
		{"none sent", step(0, 0, 0), stats.CannotTell, "459"},
		{"too few", step(458, 0, 0), stats.CannotTell, "459"},
		{"enough", step(459, 0, 0), stats.Same, "holds"},
		{"one over", step(600, 1, 0), stats.CannotTell, "662"},
		{"an error counts as over", step(600, 0, 1), stats.CannotTell, "662"},
		{"broken", step(900, 20, 20), stats.Changed, "broken: 40 of 940"},
	} {
		if got := goal.Held(c.step); got != c.want || !strings.Contains(goal.Explain(c.step), c.text) {
			t.Errorf("%s: Held = %q, %q, want %q and %q in it", c.name, got, goal.Explain(c.step), c.want, c.text)
		}
	}
}

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		verdicts []Verdict
		want     Verdict
		code     int
	}{
		{nil, Pass, 0},
		{[]Verdict{Pass, Unstable}, Unstable, 3},
		{[]Verdict{Unstable, Fail, Pass}, Fail, 1},
		{[]Verdict{Fail, Invalid, Unstable}, Invalid, 2},
	} {
		if got := Worst(c.verdicts...); got != c.want || got.Code() != c.code {
			t.Errorf("Worst(%v) = %v with code %d, want %v with %d", c.verdicts, got, got.Code(), c.want, c.code)
		}
	}
}
