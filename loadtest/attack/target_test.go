package attack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// fake is a target whose answers come when at says so, given the time since the attack began.
type fake struct {
	began  time.Time
	at     func(now time.Duration) (answer time.Duration, status int)
	refuse error
}

func (f *fake) Open(context.Context) (Conn, error) {
	if f.began.IsZero() {
		f.began = time.Now()
	}
	return &fakeConn{f, make(chan struct{})}, f.refuse
}

type fakeConn struct {
	*fake
	closed chan struct{}
}

func (c *fakeConn) Do(r *Request, deadline time.Time) (Reply, error) {
	now := time.Since(c.began)
	answer, status := c.at(now)
	select {
	case <-c.closed:
		return Reply{}, errors.New("closed")
	case <-time.After(time.Until(deadline)):
		return Reply{}, context.DeadlineExceeded
	case <-time.After(answer - now):
	}
	if status == 0 {
		return Reply{}, errors.New("the connection was lost")
	}
	return Reply{Status: status, Body: r.Body}, nil
}

func (c *fakeConn) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

// stalling answers at once but for one stall.
func stalling(from, to time.Duration) func(now time.Duration) (time.Duration, int) {
	return func(now time.Duration) (time.Duration, int) {
		if now >= from && now < to {
			return to, 200
		}
		return now, 200
	}
}

// attackFake runs in fake time.
func attackFake(t *testing.T, ctx context.Context, o Options) *result.Run {
	t.Helper()
	if o.Requests == nil {
		o.Requests = []Request{{Body: []byte("?"), Rows: 3}}
	}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	run, err := newSession(o).run(ctx, func(ctx context.Context, s *session) (float64, error) {
		_, err := attackWith(ctx, s, newTimer())
		return 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func quantiles(h *result.Histogram) []time.Duration {
	return h.Quantiles(0.5, 0.85, 0.86, 0.9, 0.95, 0.99, 0.999, 1)
}

// Whatever is meant to start within a stall has waited until its end, whether or not there was a
// connection for it.
func TestLatencyOfAStallIsWhatArithmeticSays(t *testing.T) {
	const begin, end = 3 * time.Second, 4400 * ms
	for _, connections := range []int{1000, 10} {
		synctest.Test(t, func(t *testing.T) {
			starts := even(t, 500, 10*time.Second)
			truth := result.NewHistogram()
			var waits uint64
			for _, start := range starts.Starts {
				latency := time.Duration(0)
				if start >= begin && start < end {
					latency = end - start
					waits++
				}
				truth.Record(latency)
			}
			run := attackFake(t, t.Context(), Options{Target: &fake{at: stalling(begin, end)}, Schedule: starts, Connections: connections})
			got := run.Steps[0].Intended(result.OK)
			if got.Count() != 5000 || !slices.Equal(quantiles(got), quantiles(truth)) {
				t.Errorf("%d connections: latencies %v of %d, want %v of 5000", connections, quantiles(got), got.Count(), quantiles(truth))
			}
			sent := run.Steps[0].Sent(result.OK)
			if connections == 1000 {
				if len(run.Invalid) > 0 || run.Generator.Late > 0 || !slices.Equal(quantiles(sent), quantiles(truth)) {
					t.Errorf("with connections for all: from the actual send %v, late %d, invalid %q", quantiles(sent), run.Generator.Late, run.Invalid)
				}
				return
			}
			if want := waits - 10; run.Generator.Queued != want || run.Generator.Late > 0 || len(run.Invalid) > 0 {
				t.Errorf("with 10 connections: %d queued, want %d, %d late, invalid because of %q", run.Generator.Queued, want, run.Generator.Late, run.Invalid)
			}
			if p99 := sent.Quantile(0.99); p99 > ms {
				t.Errorf("with 10 connections: p99 from the actual send is %v, want that it hides the stall", p99)
			}
		})
	}
}

func TestWindowsAreTheCourseOfTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown []result.Window
		run := attackFake(t, t.Context(), Options{
			Target: &fake{at: stalling(1500*ms, 2500*ms)}, Schedule: even(t, 10, 3*time.Second),
			OnWindow: func(w result.Window) { shown = append(shown, w) },
		})
		type course struct {
			begin    time.Duration
			offered  uint64
			ok       uint64
			inflight int
		}
		var got []course
		for _, w := range run.Windows {
			got = append(got, course{w.Begin, w.Offered, w.Outcomes[result.OK], w.Inflight})
		}
		if want := []course{{0, 10, 10, 0}, {1e9, 10, 5, 5}, {2e9, 10, 15, 0}}; !slices.Equal(got, want) {
			t.Errorf("windows are %v, want %v", got, want)
		}
		if len(shown) != 3 {
			t.Errorf("%d windows were shown, want 3", len(shown))
		}
	})
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		after  time.Duration
		want   result.Outcome
		cause  string
	}{
		{"an answer", 200, 0, result.OK, ""},
		{"too many requests", 429, 0, result.Rejected, "status 429: ?"},
		{"unavailable", 503, 0, result.Rejected, "status 503: ?"},
		{"late by its own account", 504, 0, result.Late, "status 504: ?"},
		{"late by ours", 200, time.Hour, result.Late, "no answer within 1s"},
		{"invalid", 400, 0, result.Failed, "status 400: ?"},
		{"internal", 500, 0, result.Failed, "status 500: ?"},
		{"lost", 0, 0, result.Broken, "the connection was lost"},
	} {
		synctest.Test(t, func(t *testing.T) {
			run := attackFake(t, t.Context(), Options{
				Target:   &fake{at: func(now time.Duration) (time.Duration, int) { return now + c.after, c.status }},
				Schedule: even(t, 2, 2*time.Second), Timeout: time.Second,
			})
			s := run.Steps[0]
			if s.Count(c.want) != 4 || s.Total() != 4 || run.Causes[c.want] != c.cause {
				t.Errorf("%s: %d of %d are %q because of %q, want 4 because of %q", c.name, s.Count(c.want), s.Total(), c.want, run.Causes[c.want], c.cause)
			}
			if want := map[bool]uint64{true: 12}[c.want == result.OK]; s.Rows != want {
				t.Errorf("%s: %d rows, want %d", c.name, s.Rows, want)
			}
		})
	}
}

func TestAnswersAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checked []int
		run := attackFake(t, t.Context(), Options{
			Target: &fake{at: stalling(0, 0)}, Schedule: even(t, 100, time.Second),
			Requests: []Request{{Body: []byte("a")}, {Body: []byte("b")}, {Body: []byte("c")}},
			Check: Check{Share: 0.1, Equal: func(i int, r Reply) error {
				checked = append(checked, i)
				if string(r.Body) == "b" {
					return errors.New("b is not a")
				}
				return nil
			}},
		})
		wrong := 0
		for _, i := range checked {
			if i == 1 {
				wrong++
			}
		}
		if n := len(checked); n < 5 || n > 20 || wrong == 0 || wrong == n || !slices.Contains(checked, 0) || !slices.Contains(checked, 2) {
			t.Errorf("the answers to %v were checked, want about 10 of all three", checked)
		}
		if run.Server.Checked != uint64(len(checked)) || run.Steps[0].Count(result.Wrong) != uint64(wrong) || run.Causes[result.Wrong] != "b is not a" {
			t.Errorf("%d checked, %d wrong because of %q, want %d, %d", run.Server.Checked, run.Steps[0].Count(result.Wrong), run.Causes[result.Wrong], len(checked), wrong)
		}
	})
}

// A comparison that takes long makes no send late; what does not wait for it is not compared.
func TestAnswersAreCheckedBesideTheAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := attackFake(t, t.Context(), Options{
			Target: &fake{at: stalling(0, 0)}, Schedule: even(t, 1000, time.Second),
			Check: Check{Share: 1, Equal: func(int, Reply) error {
				<-time.After(100 * ms)
				return nil
			}},
		})
		if run.Generator.Late > 0 || run.Steps[0].Count(result.OK) != 1000 || run.Steps[0].Intended(result.OK).Quantile(1) > ms {
			t.Errorf("%d late, %d answers within %v, want none late of 1000", run.Generator.Late, run.Steps[0].Count(result.OK), run.Steps[0].Intended(result.OK).Quantile(1))
		}
		if run.Server.Checked < maxChecks || run.Server.Checked > 2*maxChecks+20 {
			t.Errorf("%d checked, want those that %d places have room for", run.Server.Checked, maxChecks)
		}
	})
}

func TestStepsAreByIntendedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts, err := schedule.Parse("constant warm-up 10/s for 1s, 10/s for 1s, 20/s for 1s")
		if err != nil {
			t.Fatal(err)
		}
		s, err := starts.Schedule(1)
		if err != nil {
			t.Fatal(err)
		}
		run := attackFake(t, t.Context(), Options{Target: &fake{at: stalling(1500*ms, 2800*ms)}, Schedule: s})
		if len(run.Steps) != 2 || run.Steps[0].Count(result.OK) != 10 || run.Steps[1].Count(result.OK) != 20 || run.Generator.Sent != 30 {
			t.Errorf("steps are %+v, want one with 10 and one with 20 answers and no warm-up", run.Steps)
		}
	})
}

// A step is told of when the last of its answers is there, and none before the one before it.
func TestStepsAreToldOfAsTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts, err := schedule.Parse("constant warm-up 10/s for 1s, 10/s for 1s, 20/s for 1s, 30/s for 1s, 10/s for 1s")
		if err != nil {
			t.Fatal(err)
		}
		s, err := starts.Schedule(1)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		slow := func(now time.Duration) (time.Duration, int) {
			if now >= 1900*ms && now < 2*time.Second {
				return 3500 * ms, 200 // the last of the second step keeps the third from being told of
			}
			return now, 200
		}
		run := attackFake(t, t.Context(), Options{
			Target: &fake{at: slow}, Schedule: s,
			OnWindow: func(w result.Window) { told = append(told, fmt.Sprint(w.Begin.Seconds()+1)) },
			OnStep:   func(s result.Step) { told = append(told, fmt.Sprintf("%s:%d", s.Name, s.Count(result.OK))) },
		})
		want := "1 2 3 4 10/s:10 20/s:20 30/s:30 5"
		if got := strings.Join(told, " "); !strings.HasPrefix(got, want) || len(run.Steps) != 4 {
			t.Errorf("told of %q, and %d steps in the end, want %q and 4", got, len(run.Steps), want)
		}
	})
}

func TestReasonToStopEndsTheAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		run := attackFake(t, t.Context(), Options{
			Target: &fake{at: func(now time.Duration) (time.Duration, int) { return now + 300*ms, 200 }}, Schedule: even(t, 10, time.Minute),
			Stop: func() string {
				if asked++; asked == 2 {
					return "enough"
				}
				return ""
			},
		})
		s := run.Steps[0]
		if run.Stopped != "enough" || s.Duration != 2*time.Second || s.Count(result.OK) < 20 || s.Count(result.OK) > 21 || s.Total() != s.Count(result.OK) {
			t.Errorf("stopped because of %q after %v with %d of %d answers, want all of 2 s", run.Stopped, s.Duration, s.Count(result.OK), s.Total())
		}
		if len(run.Invalid) > 0 || run.Took > 3*time.Second {
			t.Errorf("took %v, invalid because of %q", run.Took, run.Invalid)
		}
	})
}

func TestEndOfContextLeavesWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2050*ms, errors.New("interrupted"))
		defer cancel()
		run := attackFake(t, ctx, Options{Target: &fake{at: stalling(time.Second, time.Hour)}, Schedule: even(t, 10, time.Minute)})
		if s := run.Steps[0]; run.Stopped != "interrupted" || s.Total() != 10 || run.Took != 2050*ms {
			t.Errorf("stopped because of %q after %v with %d answers, want 10 of 2.05 s", run.Stopped, run.Took, s.Total())
		}
		if len(run.Invalid) != 1 || !strings.Contains(run.Invalid[0], "11 requests were under way when it ended, one for 1.05s") {
			t.Errorf("invalid because of %q, want the requests that nobody knows about", run.Invalid)
		}
	})
}

// A server that cannot keep up answers what it can while a step lasts, and the rest after it.
func TestAnswersCountWhenTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := attackFake(t, t.Context(), Options{Target: &fake{at: stalling(500*ms, 3*time.Second)}, Schedule: even(t, 100, time.Second)})
		if s := run.Steps[0]; s.Count(result.OK) != 100 || s.Arrived != 50 || s.Achieved() != 50 {
			t.Errorf("%d answers, %d of them in time, %v/s, want 100, 50 and 50/s", s.Count(result.OK), s.Arrived, s.Achieved())
		}
	})
}

func TestScheduleBeyondWhatCanBeSentIsInvalidAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := attackFake(t, t.Context(), Options{
			Target:   &fake{at: func(now time.Duration) (time.Duration, int) { return now + 100*ms, 200 }},
			Schedule: even(t, 1000, time.Minute), Connections: 10, Timeout: 2 * time.Second,
		})
		if !strings.Contains(run.Stopped, "beyond what can be sent") || run.Took > 6*time.Second || run.Generator.Dropped == 0 {
			t.Errorf("stopped because of %q after %v with %d dropped", run.Stopped, run.Took, run.Generator.Dropped)
		}
		if all := strings.Join(run.Invalid, "; "); !strings.Contains(all, "starts were dropped") {
			t.Errorf("invalid because of %q", run.Invalid)
		}
	})
}

func TestClosedLoopWaitsForEachAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := attackFake(t, t.Context(), Options{
			Target:      &fake{at: func(now time.Duration) (time.Duration, int) { return now + 100*ms, 200 }},
			Concurrency: 4, Duration: 2 * time.Second,
		})
		s := run.Steps[0]
		if !run.Asked.Closed || run.Asked.Profile != "4 under way" || s.Count(result.OK) != 80 || len(run.Invalid) > 0 {
			t.Errorf("%+v with %d answers, invalid because of %q, want 80", run.Asked, s.Count(result.OK), run.Invalid)
		}
		if run.Windows[0].Offered != 40 {
			t.Errorf("%d offered in the first second, want 40", run.Windows[0].Offered)
		}
	})
}

func TestWarmUpOfAClosedLoopIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checked := 0
		run := attackFake(t, t.Context(), Options{
			Target:      &fake{at: func(now time.Duration) (time.Duration, int) { return now + 100*ms, 200 }},
			Concurrency: 1, Duration: 2 * time.Second, WarmUp: time.Second,
			Check: Check{Share: 1, Equal: func(int, Reply) error { checked++; return nil }},
		})
		if len(run.Steps) != 1 || run.Steps[0].Count(result.OK) != 20 || run.Steps[0].Duration != 2*time.Second || run.Generator.Sent != 20 || run.Took != 3*time.Second {
			t.Errorf("%+v in %v, %d sent, want one step of 20 answers in 2 s after one that is not counted", run.Steps, run.Took, run.Generator.Sent)
		}
		if run.Asked.WarmUp != time.Second || run.Asked.Profile != "1 under way" || len(run.Windows) != 3 {
			t.Errorf("asked for %+v with %d windows, want that it says so and that its course is whole", run.Asked, len(run.Windows))
		}
		if checked != 30 || run.Server.Checked != 20 {
			t.Errorf("%d were compared and %d count, want 30 and 20", checked, run.Server.Checked)
		}
	})
}

// leaving is a target that can be reached once.
type leaving struct{ opened int }

func (l *leaving) Open(context.Context) (Conn, error) {
	if l.opened++; l.opened > 1 {
		return nil, errors.New("refused")
	}
	return &fakeConn{&fake{}, make(chan struct{})}, nil
}

// After the first try 1, 2, 4 ... 64 ms make 127, and the rest of a second has room for 8 waits of 100 ms.
const refusedInASecond = 1 + 7 + 8

func TestClosedLoopDoesNotSpinWhereNobodyIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := attackFake(t, t.Context(), Options{Target: &leaving{}, Concurrency: 1, Duration: time.Second})
		if s := run.Steps[0]; s.Count(result.Broken) != refusedInASecond || s.Total() != refusedInASecond || run.Causes[result.Broken] != "refused" {
			t.Errorf("%d of %d broken because of %q, want %d", s.Count(result.Broken), s.Total(), run.Causes[result.Broken], refusedInASecond)
		}
	})
}

func TestTargetThatCannotBeReachedIsAnError(t *testing.T) {
	_, err := Run(t.Context(), Options{Target: &fake{refuse: errors.New("no route")}, Requests: []Request{{}}, Schedule: even(t, 1, time.Second)})
	if err == nil || err.Error() != "no route" {
		t.Errorf("error %v, want the target's own", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := func() Options {
		return Options{Target: &fake{}, Requests: []Request{{}}, Schedule: even(t, 1, time.Second)}
	}
	for _, c := range []struct {
		want  string
		spoil func(*Options)
	}{
		{"needs a target", func(o *Options) { o.Target = nil }},
		{"at least one request", func(o *Options) { o.Requests = nil }},
		{"cannot be negative", func(o *Options) { o.Connections = -1 }},
		{"either a schedule", func(o *Options) { o.Concurrency = 1 }},
		{"either a schedule", func(o *Options) { o.Schedule = schedule.Schedule{} }},
		{"needs a duration", func(o *Options) { o.Schedule, o.Concurrency = schedule.Schedule{}, 1 }},
		{"schedule has its own", func(o *Options) { o.WarmUp = time.Second }},
		{"as many connections", func(o *Options) {
			o.Schedule, o.Concurrency, o.Duration, o.Connections = schedule.Schedule{}, 2, 1, 1
		}},
		{"at least one step", func(o *Options) { o.Schedule.Steps = nil }},
		{"what is equal", func(o *Options) { o.Check.Share = 1 }},
	} {
		o := good()
		c.spoil(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

func ExampleRun() {
	starts, _ := schedule.Poisson(500, 30*time.Second).Schedule(1)
	run, err := Run(context.Background(), Options{
		Target:   &HTTP{URL: "http://127.0.0.1:1/v2/models/iris/infer"},
		Requests: []Request{{Body: []byte(`{"inputs":[]}`)}},
		Schedule: starts,
	})
	fmt.Println(run, err)
	// Output: <nil> cannot reach 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused
}
