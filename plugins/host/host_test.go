package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
)

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %s, want %s", what, got, want)
	}
}

func wantStats(t *testing.T, m *Model, want Stats) {
	t.Helper()
	want.Transport = "grpc"
	if want.Live == 0 {
		want.Transport = ""
	}
	if got := m.Stats(); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

// bubble runs a test with a model on fake processes.
func bubble(t *testing.T, o Options, test func(t *testing.T, f *factory, m *Model)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t)
		m := openFake(t, f, o)
		test(t, f, m)
		closeFake(t, f, m)
	})
}

func TestBatchesGoToTheInstanceWithTheFewest(t *testing.T) {
	bubble(t, Options{Instances: 2}, func(t *testing.T, f *factory, m *Model) {
		wantStats(t, m, Stats{Wanted: 2, Live: 2, Breaker: BreakerClosed})
		begin := time.Now()
		var callers sync.WaitGroup
		for i := range int64(6) {
			callers.Go(func() {
				want(t, "Predict", ask(t.Context(), m, i), fmt.Sprint([]int64{2 * i}))
			})
			synctest.Wait()
		}
		callers.Wait()
		if took := time.Since(begin); took != 3*ms {
			t.Errorf("six batches on two instances took %v, want 3ms", took)
		}
		for i := range 2 {
			if n := len(of(m, i).seen()); n != 3 {
				t.Errorf("instance %d computed %d batches, want 3", i, n)
			}
		}
	})
}

func TestPartsAreJoinedForWhoCannot(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *factory, m *Model) {
		out, err := m.PredictJoined(t.Context(), []backends.Batch{request(1, 2), request(3)})
		if err != nil || !slices.Equal(values(out), []int64{2, 4, 6}) {
			t.Errorf("PredictJoined = %v, %v, want 2 4 6", out, err)
		}
		out.Release()
	})
}

func TestOpenFailsAsTheFirstLoadDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t)
		f.setFail(backends.Errorf(backends.ErrInvalid, "the file is damaged"))
		_, err := Open(t.Context(), Options{Instances: 3, start: f.start})
		if !errors.Is(err, backends.ErrInvalid) || err.Error() != "the file is damaged" {
			t.Errorf("Open = %v, want the load's own error", err)
		}
		for _, p := range f.all {
			if !p.closed {
				t.Errorf("process %d was left behind", p.pid)
			}
		}
	})
}

func TestAnInstanceProvesItselfAtFirstAndAgain(t *testing.T) {
	var proved atomic.Int64
	prove := func(ctx context.Context, m backends.Model) error {
		proved.Add(1)
		out, err := m.Predict(ctx, request(7))
		out.Release()
		return err
	}
	bubble(t, Options{Prove: prove}, func(t *testing.T, f *factory, m *Model) {
		of(m, 0).die("killed")
		time.Sleep(time.Second)
		if n := proved.Load(); n != 2 {
			t.Errorf("%d instances proved themselves, want 2", n)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if got := m.costs.of(1); got != ms {
			t.Errorf("the cost of a row is known as %v, want 1ms", got)
		}
	})
}

func TestALostBatchIsRetriedOnASibling(t *testing.T) {
	bubble(t, Options{Instances: 2}, func(t *testing.T, f *factory, m *Model) {
		result := make(chan string)
		go func() { result <- ask(t.Context(), m, 1, 2, 3) }()
		synctest.Wait()
		of(m, 0).die("signal: killed")
		want(t, "the batch that was lost", <-result, "crashed")
		want(t, "the same again, at once", ask(t.Context(), m, 1, 2, 3), "[2 4 6]")
		if n := len(of(m, 1).seen()); n != 1 {
			t.Errorf("the sibling computed %d batches, want 1", n)
		}
	})
}

// An instance that has gone but is not yet known to be is nobody's fault: the batch never got there.
func TestABatchThatMissedItsInstanceGoesElsewhere(t *testing.T) {
	bubble(t, Options{Instances: 2}, func(t *testing.T, f *factory, m *Model) {
		gone := of(m, 0)
		gone.mu.Lock()
		gone.dead = backends.ErrUnavailable // and Done is not closed
		gone.mu.Unlock()
		want(t, "Predict", ask(t.Context(), m, 4), "[8]")
		close(gone.died)
		synctest.Wait()
	})
}

func TestARestartIsWaitedForIfTheDeadlineAllows(t *testing.T) {
	for _, c := range []struct {
		situation string
		deadline  time.Duration // 0 for none
		patience  time.Duration
		want      string
		after     time.Duration
	}{
		{"it does", 200 * ms, 0, "[2]", 101 * ms},
		{"it does not", 50 * ms, 0, "unavailable", 0},
		{"none, patient", 0, time.Second, "[2]", 101 * ms},
		{"none, impatient", 0, 50 * ms, "unavailable", 0},
	} {
		bubble(t, Options{Patience: c.patience}, func(t *testing.T, f *factory, m *Model) {
			of(m, 0).die("signal: killed")
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			if c.deadline > 0 {
				ctx, cancel = context.WithTimeout(ctx, c.deadline)
			}
			defer cancel()
			begin := time.Now()
			want(t, c.situation, ask(ctx, m, 1), c.want)
			if took := time.Since(begin); took != c.after {
				t.Errorf("%s: answered after %v, want %v", c.situation, took, c.after)
			}
		})
	}
}

func TestNobodyWaitsForARestartThatFails(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *factory, m *Model) {
		f.setFail(errors.New("out of memory"))
		of(m, 0).die("signal: killed")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 250*ms)
		defer cancel()
		_, err := m.Predict(ctx, request(1))
		wait, ok := backends.RetryAfter(err)
		if kind(err) != "unavailable" || !ok || wait <= 0 || !strings.Contains(err.Error(), "out of memory") {
			t.Errorf("Predict = %v (retry after %v), want unavailable, the reason and when to try again", err, wait)
		}
		if live := m.Live(time.Now()); kind(live) != "unavailable" {
			t.Errorf("Live = %v, want unavailable", live)
		}
		f.setFail(nil)
		time.Sleep(time.Minute)
		if live := m.Live(time.Now()); live != nil {
			t.Errorf("Live after a minute = %v", live)
		}
		if then := m.Live(time.Now().Add(-time.Minute)); kind(then) != "unavailable" || !strings.Contains(then.Error(), "until") {
			t.Errorf("Live since a minute ago = %v, want that it was not", then)
		}
	})
}

// A poisonous batch kills, one after the other, what it is given to. A batch that was with the
// same instance is lost once, and never twice: the second time everybody is alone.
func TestWhoAsksAgainIsAlone(t *testing.T) {
	bubble(t, Options{Instances: 2}, func(t *testing.T, f *factory, m *Model) {
		time.Sleep(time.Minute)
		fates := make(chan string, 8)
		call := func(name string, x int64) {
			first := ask(t.Context(), m, x)
			if first == "crashed" {
				first += ", " + ask(t.Context(), m, x)
			}
			fates <- name + ": " + first
		}
		go call("good 1", 1)
		synctest.Wait()
		go call("good 2", 2)
		synctest.Wait()
		go call("poison", poison)
		synctest.Wait()
		go call("good 3", 3)
		var got []string
		for range 4 {
			got = append(got, <-fates)
		}
		slices.Sort(got)
		if slices.ContainsFunc(got, func(fate string) bool { return strings.Contains(fate, "good") && !strings.Contains(fate, "[") }) {
			t.Errorf("fates = %q, want every good one answered", got)
		}
		if !slices.Contains(got, "poison: crashed, crashed") {
			t.Errorf("fates = %q, want the poison to have killed twice", got)
		}
		time.Sleep(time.Second)
		wantStats(t, m, Stats{Wanted: 2, Live: 2, Restarts: 2, Breaker: BreakerClosed})
	})
}

func TestAHungInstanceIsKilled(t *testing.T) {
	var events []Event
	var mu sync.Mutex
	o := Options{Prove: func(ctx context.Context, m backends.Model) error {
		out, err := m.Predict(ctx, request(1))
		out.Release()
		return err
	}, OnEvent: func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}}
	bubble(t, o, func(t *testing.T, f *factory, m *Model) {
		begin := time.Now()
		result := make(chan string)
		go func() { result <- ask(t.Context(), m, tar) }()
		synctest.Wait()
		behind := make(chan string)
		go func() { behind <- ask(t.Context(), m, 5) }()
		synctest.Wait()
		want(t, "the third batch, which waits for room", ask(t.Context(), m, 6), "[12]")
		want(t, "the batch that hung", <-result, "crashed")
		want(t, "the batch behind it", <-behind, "crashed")
		if took := time.Since(begin); took < time.Second || took > 1300*ms {
			t.Errorf("all was over after %v, want a second and a restart", took)
		}
		wantStats(t, m, Stats{Wanted: 1, Live: 1, Restarts: 1, Hangs: 1, Breaker: BreakerClosed})
	})
	var kinds []EventKind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	if !slices.Equal(kinds, []EventKind{Ready, Hung, Died, Ready}) || !strings.Contains(events[2].Reason, "1 rows was not answered within 1s") {
		t.Errorf("events = %+v", events)
	}
}

// Whoever gives up early must not hide that the instance hangs.
func TestAHangIsSeenThoughNobodyWaits(t *testing.T) {
	bubble(t, Options{Hang: Hang{Cap: time.Second}}, func(t *testing.T, f *factory, m *Model) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*ms)
		defer cancel()
		if _, err := m.Predict(ctx, request(tar)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Predict = %v, want a missed deadline", err)
		}
		time.Sleep(2 * time.Second)
		wantStats(t, m, Stats{Wanted: 1, Live: 1, Restarts: 1, Hangs: 1, Breaker: BreakerClosed})
	})
}

func TestASlowBatchIsNoHang(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *factory, m *Model) {
		rows := make([]int64, 3000) // three seconds; nothing has been measured
		if got := ask(t.Context(), m, rows...); !strings.HasPrefix(got, "[0 0") {
			t.Errorf("a batch of three seconds = %.40s", got)
		}
		var callers sync.WaitGroup
		for range 2 { // one waits behind the other: each has its own time
			callers.Go(func() {
				if got := ask(t.Context(), m, rows...); !strings.HasPrefix(got, "[0 0") {
					t.Errorf("one of two = %.40s", got)
				}
			})
		}
		callers.Wait()
		wantStats(t, m, Stats{Wanted: 1, Live: 1, Breaker: BreakerClosed})
	})
}

func TestAnAnswerThatNobodyWaitsForIsGivenBack(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *factory, m *Model) {
		ctx, cancel := context.WithTimeout(t.Context(), ms)
		defer cancel()
		want(t, "Predict", ask(ctx, m, 1, 2, 3), "context deadline exceeded")
		time.Sleep(time.Second)
		if f.lent() != 0 {
			t.Error("the answer was not released")
		}
	})
}

func TestRestartsPauseLongerAndTheBreakerOpens(t *testing.T) {
	var mu sync.Mutex
	var states []string
	o := Options{Restart: Restart{Failures: 4, Open: 5 * time.Second}, OnEvent: func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == BreakerChange {
			states = append(states, e.Reason)
		}
	}}
	bubble(t, o, func(t *testing.T, f *factory, m *Model) {
		f.setFail(errors.New("no memory"))
		of(m, 0).die("signal: killed") // young: the first failure
		time.Sleep(3 * time.Second)
		starts := f.starts()
		if len(starts) != 4 {
			t.Fatalf("started at %v, want the first and three more", starts)
		}
		for i, bounds := range [][2]time.Duration{{0, 0}, {50 * ms, 100 * ms}, {100 * ms, 200 * ms}} {
			ended := starts[i+1] - starts[i] - 100*ms // a start takes that long, also one that fails
			if ended < bounds[0] || ended > bounds[1] {
				t.Errorf("restart %d came %v after the failure, want %v", i, ended, bounds)
			}
		}
		if s := m.Stats(); s.Breaker != BreakerOpen || s.Live != 0 {
			t.Errorf("Stats = %+v, want the breaker open", s)
		}
		if wait, ok := backends.RetryAfter(m.Live(time.Now())); !ok || wait < time.Second || wait > 5*time.Second {
			t.Errorf("Live = %v, retry after %v, want the time until the trial", m.Live(time.Now()), wait)
		}
		time.Sleep(4 * time.Second) // the trial fails, too
		if n := len(f.starts()); n != 5 || m.Stats().Breaker != BreakerOpen {
			t.Errorf("%d starts, breaker %v, want one trial that failed", n, m.Stats().Breaker)
		}
		f.setFail(nil)
		time.Sleep(5 * time.Second)
		want(t, "Predict during the trial", ask(t.Context(), m, 1), "[2]")
		time.Sleep(5 * time.Second)
		if s := m.Stats(); s.Breaker != BreakerClosed || s.Live != 1 {
			t.Errorf("Stats = %+v, want all well", s)
		}
	})
	if got := strings.Join(states, " "); got != "open half-open open half-open closed" {
		t.Errorf("breaker went %s", got)
	}
}

func TestDeathsOverABadRequestAreExcused(t *testing.T) {
	for _, test := range []struct {
		situation string
		answers   bool // between the deaths
		want      BreakerState
	}{
		{"while others are answered", true, BreakerClosed},
		{"while nobody is", false, BreakerOpen},
	} {
		t.Run(test.situation, func(t *testing.T) {
			bubble(t, Options{Restart: Restart{Failures: 4}}, func(t *testing.T, f *factory, m *Model) {
				for range 3 {
					for range trials {
						if m.Stats().Live > 0 {
							of(m, 0).die("signal: killed")
						}
						time.Sleep(500 * ms)
					}
					if test.answers {
						want(t, "Predict", ask(t.Context(), m, 1), "[2]")
					}
					m.Excuse()
				}
				if s := m.Stats(); s.Breaker != test.want {
					t.Errorf("Stats = %+v, want the breaker %v", s, test.want)
				}
			})
		})
	}
}

func TestOneInstanceIsTriedAndThenTheOthersFollow(t *testing.T) {
	bubble(t, Options{Instances: 3, Restart: Restart{Failures: 1}}, func(t *testing.T, f *factory, m *Model) {
		for i := range 3 {
			of(m, i).die("signal: killed")
		}
		synctest.Wait()
		if n := len(f.starts()); n != 3 || m.Stats().Breaker != BreakerOpen {
			t.Fatalf("%d starts, breaker %v, want it open at once", n, m.Stats().Breaker)
		}
		time.Sleep(10*time.Second + 500*ms)
		if n := len(f.starts()); n != 4 || m.Stats().Live != 1 {
			t.Errorf("%d starts, %d live, want one trial", n-3, m.Stats().Live)
		}
		time.Sleep(time.Second)
		wantStats(t, m, Stats{Wanted: 3, Live: 3, Restarts: 3, Breaker: BreakerClosed})
	})
}

func TestALongLifeIsNoFailure(t *testing.T) {
	bubble(t, Options{Restart: Restart{Failures: 2}}, func(t *testing.T, f *factory, m *Model) {
		for range 20 {
			time.Sleep(2 * time.Second)
			of(m, 0).die("signal: killed")
			synctest.Wait()
			want(t, "Predict", ask(t.Context(), m, 1), "[2]")
		}
		wantStats(t, m, Stats{Wanted: 1, Live: 1, Restarts: 20, Breaker: BreakerClosed})
	})
}

func TestCloseLetsBatchesReturnAndRefusesOthers(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *factory, m *Model) {
		result := make(chan string)
		go func() { result <- ask(t.Context(), m, 1, 2, 3) }()
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- m.Close() }()
		synctest.Wait()
		want(t, "Predict beside Close", ask(t.Context(), m, 1), "unavailable")
		want(t, "Predict before Close", <-result, "[2 4 6]")
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestCloseDuringARestart(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, f *factory, m *Model) {
		of(m, 0).die("signal: killed")
		time.Sleep(10 * ms)
		result := make(chan string)
		go func() { result <- ask(t.Context(), m, 1) }()
		synctest.Wait()
		if err := m.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		want(t, "Predict that waited", <-result, "unavailable")
	})
}

func TestPIDs(t *testing.T) {
	bubble(t, Options{Instances: 2}, func(t *testing.T, f *factory, m *Model) {
		survivor := of(m, 1).pid
		of(m, 0).die("signal: killed")
		synctest.Wait()
		if got := m.PIDs(); !slices.Equal(got, []int{survivor}) {
			t.Errorf("PIDs = %v, want the one that lives", got)
		}
	})
}
