package main

import (
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

func TestTrialBlamesTheOneThatDidNotHold(t *testing.T) {
	run := func(within, over uint64, invalid ...string) trial {
		h := result.NewHistogram()
		h.RecordN(time.Millisecond, within)
		h.RecordN(time.Second, over)
		step := result.Step{Duration: time.Second, Outcomes: map[result.Outcome]*result.Latency{result.OK: {Intended: h, Sent: h}}}
		return trial{run: &result.Run{Steps: []result.Step{step}, Invalid: invalid}}
	}
	for _, c := range []struct {
		name  string
		trial trial
		held  bool
		fault string
	}{
		{"the goal holds", run(99, 1), true, ""},
		{"the server is slow", run(98, 2), false, ""},
		{"the generator was late", run(100, 0, "late"), false, "late"},
		{"the server is slow and keeps the generator", run(50, 50, "late"), false, ""},
		{"nothing was sent", run(0, 0), false, ""},
	} {
		if held, fault := c.trial.held(), c.trial.fault(); held != c.held || fault != c.fault {
			t.Errorf("%s: held %v, fault %q, want %v, %q", c.name, held, fault, c.held, c.fault)
		}
	}
}
