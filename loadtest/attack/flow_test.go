package attack

import (
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/schedule"
)

const ms = time.Millisecond

// even is a schedule with equal distances.
func even(t *testing.T, rate float64, d time.Duration) schedule.Schedule {
	t.Helper()
	s, err := schedule.Constant(rate, d).Schedule(1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTestFlow(timeout time.Duration, starts ...time.Duration) *flow {
	return &flow{starts: starts, steps: []schedule.Step{{End: time.Second}}, timeout: timeout, waiting: maxWaiting}
}

func TestFlowGivesOutWhatIsDueInOrder(t *testing.T) {
	f := newTestFlow(time.Second, 0, 10*ms, 10*ms, 20*ms)
	for _, c := range []struct {
		now  time.Duration
		want []time.Duration
		next time.Duration
	}{
		{0, []time.Duration{0}, 10 * ms},
		{9 * ms, nil, 10 * ms},
		{15 * ms, []time.Duration{10 * ms, 10 * ms}, 20 * ms},
		{99 * ms, []time.Duration{20 * ms}, 0},
	} {
		f.advance(c.now)
		for _, want := range c.want {
			if !f.ready(c.now) {
				t.Fatalf("at %v: nothing is ready, want the start of %v", c.now, want)
			}
			if got := f.take(c.now); got.intended != want {
				t.Fatalf("at %v: take() = %+v, want the start of %v", c.now, got, want)
			}
		}
		if f.ready(c.now) {
			t.Fatalf("at %v: more is ready than %v", c.now, c.want)
		}
		if next, ok := f.next(c.now); next != c.next || ok != (c.next > 0) {
			t.Fatalf("at %v: next() = %v, %v, want %v", c.now, next, ok, c.next)
		}
	}
	if !f.over(99*ms) || f.underWay != 4 || f.dropped != 0 {
		t.Errorf("at the end: %+v", f)
	}
}

func TestFlowDropsWhatWaitsTooLong(t *testing.T) {
	f := newTestFlow(100*ms, 0, 10*ms, 20*ms)
	f.advance(99 * ms)
	if f.dropped != 0 || f.inflight(3) != 3 {
		t.Errorf("after 99 ms: %d dropped, %d waiting", f.dropped, f.inflight(3))
	}
	f.advance(110 * ms)
	if f.dropped != 2 || f.inflight(3) != 1 {
		t.Errorf("after 110 ms: %d dropped, %d waiting, want 2 and 1", f.dropped, f.inflight(3))
	}
	if got := f.take(110 * ms); got.intended != 20*ms || got.number != 0 {
		t.Errorf("take() = %+v, want the start of 20ms as number 0", got)
	}
}

func TestFlowDropsTheFirstWhenTooManyWait(t *testing.T) {
	f := newTestFlow(time.Second, 0, 1, 2, 3)
	f.waiting = 3
	f.advance(10)
	if got := f.take(10); f.dropped != 1 || got.intended != 1 {
		t.Errorf("take() = %+v after %d were dropped, want the second start", got, f.dropped)
	}
}

func TestFlowDropsOfTheWarmupAreNotCounted(t *testing.T) {
	f := newTestFlow(5, 0, 10)
	f.steps = []schedule.Step{{End: 10, Warmup: true}, {Begin: 10, End: 20}}
	f.advance(100)
	if f.dropped != 1 {
		t.Errorf("%d dropped, want 1", f.dropped)
	}
}

func TestFlowSaysWhoWaitedForAConnection(t *testing.T) {
	f := newTestFlow(time.Second, 0, 10*ms, 20*ms)
	f.advance(10 * ms)
	f.take(10 * ms)
	f.refuse()
	f.advance(20 * ms)
	if second, third := f.take(20*ms), f.take(20*ms); !second.waited || third.waited {
		t.Errorf("waited: %v, %v, want only the one that was refused", second.waited, third.waited)
	}
}

func TestFlowKnowsItsSteps(t *testing.T) {
	f := newTestFlow(time.Second, 0, 9, 10, 35)
	f.steps = []schedule.Step{{End: 10}, {Begin: 10, End: 20}, {Begin: 20, End: 30}, {Begin: 30, End: 40}}
	f.advance(50)
	for _, want := range []int{0, 0, 1, 3} {
		if got := f.take(50); got.step != want {
			t.Errorf("%v is in step %d, want %d", got.intended, got.step, want)
		}
	}
}

func TestFlowCountsStartsOfAWindow(t *testing.T) {
	f := newTestFlow(time.Second, 0, 9, 10, 11)
	f.advance(100)
	if got := f.startsBefore(10); got != 2 {
		t.Errorf("startsBefore(10) = %d, want 2", got)
	}
}

func TestFlowOfAClosedLoop(t *testing.T) {
	f := newFlow(Options{Concurrency: 2, Duration: time.Second, Timeout: time.Second})
	f.advance(5)
	f.take(5)
	if got := f.take(6); got.intended != 6 || got.number != 1 {
		t.Errorf("take() = %+v, want number 1 at its own time", got)
	}
	if f.ready(7) {
		t.Error("ready with two under way")
	}
	f.back()
	if !f.ready(8) || f.ready(time.Second) || !f.over(time.Second) || f.over(time.Second-1) {
		t.Error("a closed loop goes on while one is back, until its duration is over")
	}
}

func TestFlowSendsNothingAfterItsEnd(t *testing.T) {
	for _, f := range []*flow{newTestFlow(time.Second, 0, 1), {concurrency: 1, duration: time.Second}} {
		f.advance(5)
		f.ended = true
		if _, more := f.next(5); f.ready(5) || more || !f.over(5) || f.inflight(2) != 0 {
			t.Errorf("%+v goes on", f)
		}
	}
}

func TestFlowOfAClosedLoopHoldsWhileConnectionsAreRefused(t *testing.T) {
	f := newFlow(Options{Concurrency: 2, Duration: time.Second, Timeout: time.Second})
	now := 5 * ms
	for _, want := range []time.Duration{ms, 2 * ms, 4 * ms, 8 * ms, 16 * ms, 32 * ms, 64 * ms, 100 * ms, 100 * ms} {
		f.take(now)
		f.back()
		f.unreached(now)
		next, ok := f.next(now)
		if f.ready(now) || f.ready(now+want-1) || !f.ready(now+want) || next != now+want || !ok {
			t.Fatalf("at %v: ready %v, next %v, %v, want in %v", now, f.ready(now), next, ok, want)
		}
		now = next
	}
	if f.reached(); !f.ready(now - 1) {
		t.Error("it still holds after an answer")
	}
	f.unreached(now)
	if next, _ := f.next(now); next != now+ms {
		t.Errorf("after an answer it holds until %v, want %v", next, now+ms)
	}
	f.unreached(999 * ms)
	if next, ok := f.next(999 * ms); next != time.Second || !ok {
		t.Errorf("next() = %v, %v, want no later than its end", next, ok)
	}
	open := newTestFlow(time.Second, 0)
	open.advance(0)
	if open.unreached(0); !open.ready(0) {
		t.Error("an open loop waits for a server that is not there")
	}
}
