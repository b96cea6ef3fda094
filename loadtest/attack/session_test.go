package attack

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

func TestInvalid(t *testing.T) {
	for _, c := range []struct {
		name                        string
		sent, late, queued, dropped uint64
		use                         float64
		want                        []string
	}{
		{"a good run", 10000, 12, 0, 0, 0.9, nil},
		{"a short run with two late ones", 20, 2, 0, 0, 0.9, nil},
		{"too many late ones", 10000, 13, 0, 0, 0.5, []string{"13 of 10000 requests (0.13 %) were sent more than 1ms after their intended start, at most 0.1 % may be: the generator had no time: lower the rate or give it a core of its own"}},
		{"a server that keeps all connections busy", 10000, 0, 5000, 0, 0.5, nil},
		{"a dropped one", 10000, 0, 0, 1, 0.5, []string{"1 starts were dropped"}},
		{"a busy generator", 10000, 0, 0, 0, 0.95, []string{"the generator used 95 % of its core, at most 90 % may be: lower the rate"}},
		{"all of it", 10000, 13, 0, 1, 0.95, []string{"were sent more than", "dropped", "used"}},
	} {
		s := newSession(Options{Connections: 7, Timeout: time.Second, Schedule: even(t, 1, time.Second)})
		s.recorder.sent, s.late, s.queued, s.dropped = c.sent, c.late, c.queued, c.dropped
		if got := s.invalid(c.use); !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s: invalid because of %q, want %q", c.name, got, c.want)
		}
	}
}

// A server is asked for far more than any generator can send: the run ends at once and says why.
func TestRateBeyondTheGeneratorStopsTheAttack(t *testing.T) {
	run := attackHere(t, Options{Target: serve(t, answering(hello)), Schedule: even(t, 1e6, 10*time.Second), Timeout: 2 * time.Second})
	if !strings.Contains(run.Stopped, "beyond what can be sent") || run.Generator.Dropped == 0 || run.Took > 8*time.Second {
		t.Errorf("stopped because of %q after %v with %d dropped", run.Stopped, run.Took, run.Generator.Dropped)
	}
	if all := strings.Join(run.Invalid, "; "); !strings.Contains(all, "starts were dropped") || !strings.Contains(all, "were sent more than 1ms") {
		t.Errorf("invalid because of %q", run.Invalid)
	}
	if s := run.Steps[0]; s.Count(result.OK) == 0 || s.Duration > 8*time.Second {
		t.Errorf("%d answers in %v, want those until the end", s.Count(result.OK), s.Duration)
	}
}
