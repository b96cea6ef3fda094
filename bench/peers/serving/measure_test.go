package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// ran is a trial in which so many were within the limit and so many over it.
func ran(within, over uint64, invalid ...string) trial {
	h := result.NewHistogram()
	h.RecordN(time.Millisecond, within)
	h.RecordN(time.Second, over)
	step := result.Step{Duration: time.Second, Outcomes: map[result.Outcome]*result.Latency{result.OK: {Intended: h, Sent: h}}}
	w := result.Window{OK: h, Outcomes: map[result.Outcome]uint64{result.OK: within + over}}
	return trial{run: &result.Run{Steps: []result.Step{step}, Windows: []result.Window{w}, Took: time.Second, Invalid: invalid}, cpu: time.Millisecond}
}

func TestSearchGoesDownToWhatIsValid(t *testing.T) {
	for _, c := range []struct {
		name    string
		try     func(rate float64, n int) trial
		low, at float64 // the peak is between
		limited string
	}{
		{"the server is the limit", func(rate float64, _ int) trial {
			if rate > 1000 {
				return ran(90, 10)
			}
			return ran(100, 0)
		}, 950, 1000, ""},
		{"the generator is", func(rate float64, _ int) trial {
			if rate > 1000 {
				return ran(100, 0, "sent late")
			}
			return ran(100, 0)
		}, 950, 1000, "the generator is the limit from"},
		{"the generator is, from where it begins on", func(rate float64, _ int) trial {
			if rate > 50 {
				return ran(100, 0, "sent late")
			}
			return ran(100, 0)
		}, 46, 50, "the generator is the limit from"},
		{"the generator is everywhere", func(float64, int) trial { return ran(100, 0, "sent late") }, 0, 0, "nothing can be shown on this machine"},
		{"the server is everywhere", func(float64, int) trial { return ran(90, 10) }, 0, 0, "holds at no rate"},
		{"it holds once and never again", func(_ float64, n int) trial {
			if n > 1 {
				return ran(90, 10)
			}
			return ran(100, 0)
		}, 400, 400, "held once and not confirmed"},
	} {
		l := load{options: options{trial: time.Second, tolerance: 0.05}, began: 400}
		var f figures
		n := 0
		err := l.search(t.Context(), &f, func(_ context.Context, rate float64) (trial, error) {
			n++
			return c.try(rate, n), nil
		})
		if err != nil || f.Peak < c.low || f.Peak > c.at || !strings.Contains(f.Limited, c.limited) || (f.Limited == "") != (c.limited == "") {
			t.Errorf("%s: peak %.0f/s, limited %q, %v, want %.0f to %.0f and %q", c.name, f.Peak, f.Limited, err, c.low, c.at, c.limited)
		}
		if f.Peak > 0 && f.PeakCPU != 10*time.Microsecond {
			t.Errorf("%s: CPU %v a request, want that of a trial that held", c.name, f.PeakCPU)
		}
	}
}

func TestTrialBlamesTheOneThatDidNotHold(t *testing.T) {
	for _, c := range []struct {
		name  string
		trial trial
		held  bool
		fault string
	}{
		{"the goal holds", ran(99, 1), true, ""},
		{"the server is slow", ran(98, 2), false, ""},
		{"the generator was late", ran(100, 0, "late"), false, "late"},
		{"the server is slow and keeps the generator", ran(50, 50, "late"), false, ""},
		{"nothing was sent", ran(0, 0), false, ""},
	} {
		if held, fault := c.trial.held(), c.trial.fault(); held != c.held || fault != c.fault {
			t.Errorf("%s: held %v, fault %q, want %v, %q", c.name, held, fault, c.held, c.fault)
		}
	}
}
