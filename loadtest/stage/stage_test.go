package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// fake answers attacks without sending anything.
type fake struct {
	r       *rand.Rand
	names   []string
	noise   float64                      // of a run, as a share; 0.01 if 0
	latency func(a Attack) time.Duration // of half of the requests; the others take up to a tenth more
	spoil   func(a Attack, r *result.Run)
}

func (f *fake) attack(_ context.Context, a Attack) (*result.Run, error) {
	f.names = append(f.names, a.Name)
	run := &result.Run{Asked: result.Asked{Cache: "bypass"}}
	noise := math.Exp(cmp.Or(f.noise, 0.01) * f.r.NormFloat64())
	for _, p := range a.Profile.Parts {
		h := result.NewHistogram()
		n := int(p.Rate * p.Duration.Seconds())
		for i := range n {
			h.Record(time.Duration(float64(f.latency(a)) * noise * (1 + 0.1*float64(i)/float64(n))))
		}
		run.Took += p.Duration
		run.Steps = append(run.Steps, result.Step{Name: p.Name, Rate: p.Rate, Duration: p.Duration, Outcomes: map[result.Outcome]*result.Latency{result.OK: {Intended: h, Sent: h}}})
	}
	for at := time.Duration(0); at < run.Took; at += time.Second {
		h := result.NewHistogram()
		h.RecordN(f.latency(a), 100)
		run.Windows = append(run.Windows, result.Window{Begin: at, OK: h, Outcomes: map[result.Outcome]uint64{result.OK: 100}})
	}
	run.Server.Checked = 10
	if f.spoil != nil {
		f.spoil(a, run)
	}
	return run, nil
}

func always(d time.Duration) func(Attack) time.Duration {
	return func(Attack) time.Duration { return d }
}

const there = `
model: digits
forecast: 400/s
candidate: {url: 'http://candidate:1'}
`

func TestRun(t *testing.T) {
	const ms = time.Millisecond
	steps := there + "steps: {shares: [50%, 100%, 200%], length: 10s}\ngoals: {latency: p99<=20ms, goodput: 99%, errors: 0%, answers: 1%}\n"
	beside := there + "baseline: {url: 'http://baseline:1'}\ngoals: {latency: p99<=20ms}\n"
	spike := there + "spike: {}\ndrain: {}\ngoals: {latency: p99<=20ms}\n"
	slower := func(share float64) func(Attack) time.Duration {
		return func(a Attack) time.Duration {
			if strings.Contains(a.URL, "candidate") {
				return time.Duration(10 * float64(ms) * (1 + share))
			}
			return 10 * ms
		}
	}
	addTo := func(name string, o result.Outcome, n uint64) func(Attack, *result.Run) {
		return func(a Attack, r *result.Run) {
			if a.Name == name {
				h := result.NewHistogram()
				h.RecordN(ms, n)
				r.Steps[0].Outcomes[o] = &result.Latency{Intended: h, Sent: h}
			}
		}
	}
	ofCandidate := func(o result.Outcome, n uint64) func(Attack, *result.Run) {
		return func(a Attack, r *result.Run) {
			if strings.Contains(a.URL, "candidate") {
				addTo(a.Name, o, n)(a, r)
			}
		}
	}
	for _, c := range []struct {
		name, plan string
		fake       fake
		want       scenario.Verdict
		missed     string // the name of a finding that is not held
	}{
		{"all is well", steps, fake{latency: always(10 * ms)}, scenario.Pass, ""},
		{"too slow", steps, fake{latency: always(30 * ms)}, scenario.Fail, "p99 at 50 %"},
		{"an error", steps, fake{latency: always(10 * ms), spoil: addTo("100 %", result.Failed, 1)}, scenario.Fail, "errors at 100 %"},
		{"a wrong answer", steps, fake{latency: always(10 * ms), spoil: addTo("50 %", result.Wrong, 1)}, scenario.Fail, "answers at 50 %"},
		{"none was compared", steps, fake{latency: always(10 * ms), spoil: func(_ Attack, r *result.Run) { r.Server.Checked = 0 }}, scenario.Unstable, "answers at 50 %"},
		{"turned away above the forecast", steps, fake{latency: always(10 * ms), spoil: addTo("200 %", result.Rejected, 1000)}, scenario.Pass, ""},
		{"turned away at the forecast", steps, fake{latency: always(10 * ms), spoil: addTo("100 %", result.Rejected, 1000)}, scenario.Fail, "goodput at 100 %"},
		{"broken connections above the forecast", steps, fake{latency: always(10 * ms), spoil: addTo("200 %", result.Broken, 1)}, scenario.Fail, "overload at 200 %"},
		{"given up above the forecast", steps, fake{latency: always(10 * ms), spoil: addTo("200 %", result.Late, 1)}, scenario.Fail, "overload at 200 %"},
		{"too near the limit to tell", steps, fake{latency: always(10 * ms), spoil: addTo("50 %", result.Late, 20)}, scenario.Fail, "errors at 50 %"},
		{"a generator that is late", steps, fake{latency: always(10 * ms), spoil: func(_ Attack, r *result.Run) { r.Invalid = []string{"late"} }}, scenario.Invalid, "50 %"},
		{"an overload that piles up", steps, fake{latency: always(10 * ms), spoil: func(a Attack, r *result.Run) {
			if a.Name == "200 %" {
				r.Invalid, r.Generator.Dropped = []string{"dropped"}, 7
			}
		}}, scenario.Fail, "overload at 200 %"},
		{"stopped", steps, fake{latency: always(10 * ms), spoil: func(_ Attack, r *result.Run) { r.Stopped = "interrupt" }}, scenario.Invalid, "50 %"},
		{"the same build twice", beside, fake{latency: always(10 * ms)}, scenario.Pass, ""},
		{"a build that is 6 % slower", beside, fake{latency: slower(0.06)}, scenario.Fail, "p99 ms beside the baseline"},
		{"a build that is 6 % faster", beside, fake{latency: slower(-0.06)}, scenario.Pass, ""},
		{"a build that fails two of a hundred, and fast", beside, fake{latency: always(10 * ms), spoil: ofCandidate(result.Failed, 80)}, scenario.Fail, "errors beside the baseline"},
		{"a build that answers wrongly", beside, fake{latency: always(10 * ms), spoil: ofCandidate(result.Wrong, 1)}, scenario.Fail, "answers beside the baseline"},
		{"noise above all", beside, fake{latency: always(10 * ms), noise: 0.2}, scenario.Unstable, "p99 ms beside the baseline"},
		{"it comes back after a spike", spike, fake{latency: always(10 * ms)}, scenario.Pass, ""},
		{"it does not come back after a spike", spike, fake{latency: always(30 * ms)}, scenario.Fail, "after the spike"},
	} {
		p, err := Parse([]byte(c.plan))
		if err != nil {
			t.Fatal(err)
		}
		c.fake.r = rand.New(rand.NewPCG(1, 1))
		d, verdict, err := Run(t.Context(), p, Options{Attack: c.fake.attack, Ready: func(context.Context, string) error { return nil }})
		if err != nil || verdict != c.want || d.Verdict.Outcome != report.Outcome(c.want) {
			t.Errorf("%s: %v, %v, want %v: %q", c.name, verdict, err, c.want, d.Verdict.Reasons)
		}
		found := c.missed == ""
		for _, f := range d.Findings {
			found = found || !f.Held && f.Name == c.missed
		}
		if !found {
			t.Errorf("%s: findings are %+v, want that %q is missed", c.name, d.Findings, c.missed)
		}
	}
}

// What grows at the beginning of a load is no leak.
func TestSoakHasAWarmUp(t *testing.T) {
	p, err := Parse([]byte(strings.Replace(there, "candidate:1'", "candidate:1', metrics: 'http://127.0.0.1:1/metrics'", 1) + "soak: {length: 2m}\ngoals: {latency: p99<=20ms}\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := fake{r: rand.New(rand.NewPCG(1, 1)), latency: always(time.Millisecond)}
	var parts []schedule.Part
	_, _, err = Run(t.Context(), p, Options{Ready: ready, Attack: func(ctx context.Context, a Attack) (*result.Run, error) {
		parts = a.Profile.Parts
		return f.attack(ctx, a)
	}})
	if err != nil || len(parts) != 2 || !parts[0].Warmup || parts[0].Duration != 30*time.Second || parts[1].Warmup || parts[1].Duration != 2*time.Minute || parts[0].Rate != parts[1].Rate {
		t.Errorf("a soak is %+v, %v, want 30 s that are not counted before 2 minutes", parts, err)
	}
}

func TestLooks(t *testing.T) {
	for _, c := range []struct {
		runs, most int
		want       []int
	}{
		{10, 0, []int{10}},
		{10, 10, []int{10}},
		{10, 11, []int{10, 11}},
		{10, 12, []int{10, 12}},
		{10, 14, []int{10, 12, 14}},
		{10, 20, []int{10, 16, 20}},
		{20, 40, []int{20, 30, 40}},
	} {
		if got := (Compare{Runs: c.runs, Most: c.most}).looks(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d to %d runs: looks() = %v, want %v", c.runs, c.most, got, c.want)
		}
	}
}

// Runs are added while it cannot be told, and no longer.
func TestComparisonGoesOnWhileItCannotBeTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		most   int
		noise  float64
		slower float64
		want   scenario.Verdict
		runs   int // of both together
	}{
		{"told at once", 20, 0.01, 1, scenario.Pass, 20},
		{"slower at once", 20, 0.01, 1.08, scenario.Fail, 20},
		{"noisy, and not told by the least", 10, 0.045, 1, scenario.Unstable, 20},
		{"noisy, and told by more", 40, 0.045, 1, scenario.Pass, 52},
		{"noise above all", 20, 0.2, 1, scenario.Unstable, 40},
	} {
		p, err := Parse([]byte(there + fmt.Sprintf("baseline: {url: 'http://baseline:1'}\ncompare: {runs: 10, most: %d}\ngoals: {latency: p99<=20ms}\n", c.most)))
		if err != nil {
			t.Fatal(err)
		}
		f := fake{r: rand.New(rand.NewPCG(5, 1)), noise: c.noise, latency: func(a Attack) time.Duration {
			if strings.Contains(a.URL, "candidate") {
				return time.Duration(c.slower * float64(10*time.Millisecond))
			}
			return 10 * time.Millisecond
		}}
		d, verdict, err := Run(t.Context(), p, Options{Attack: f.attack, Ready: ready})
		if err != nil || verdict != c.want || len(f.names) != c.runs {
			t.Errorf("%s: %v, %v after %d runs, want %v after %d: %+v", c.name, verdict, err, len(f.names), c.want, c.runs, d.Findings)
		}
		candidate, baseline := len(d.Series[0].Runs), len(d.Series[1].Runs)
		if candidate != baseline {
			t.Errorf("%s: %d runs of the candidate and %d of the baseline, want as many", c.name, candidate, baseline)
		}
	}
}

func TestRunRepeatsWhatCannotBeBelieved(t *testing.T) {
	p, err := Parse([]byte(there + "steps: {shares: [100%], length: 10s}\ngoals: {latency: p99<=20ms}\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := fake{r: rand.New(rand.NewPCG(1, 1)), latency: always(time.Millisecond)}
	f.spoil = func(_ Attack, r *result.Run) {
		if len(f.names) <= repeats {
			r.Invalid = []string{"late"}
		}
	}
	_, verdict, err := Run(t.Context(), p, Options{Attack: f.attack, Ready: func(context.Context, string) error { return nil }})
	if err != nil || verdict != scenario.Pass || len(f.names) != repeats+1 {
		t.Errorf("Run = %v, %v after %d attacks, want pass after %d", verdict, err, len(f.names), repeats+1)
	}
}

func TestRunEndsWhereAnAttackCannot(t *testing.T) {
	p, err := Parse([]byte(there + "steps: {}\ngoals: {latency: p99<=20ms}\n"))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("unreachable")
	d, verdict, err := Run(t.Context(), p, Options{
		Attack: func(context.Context, Attack) (*result.Run, error) { return nil, broken },
		Ready:  func(context.Context, string) error { return nil },
	})
	if !errors.Is(err, broken) || verdict != scenario.Invalid || !strings.Contains(strings.Join(d.Verdict.Reasons, ""), "unreachable") {
		t.Errorf("Run = %v, %v, %q, want invalid for %v", verdict, err, d.Verdict.Reasons, broken)
	}
}

func TestRunFailsAServerThatDies(t *testing.T) {
	plan := "model: digits\nforecast: 400/s\ncandidate: {command: 'sleep 60', url: 'http://candidate:1'}\nsteps: {length: 20s}\ngoals: {latency: p99<=20ms}\n"
	p, err := Parse([]byte(plan))
	if err != nil {
		t.Fatal(err)
	}
	f := fake{r: rand.New(rand.NewPCG(1, 1)), latency: always(time.Millisecond)}
	s := &stage{Plan: p, gate: gate{verdict: scenario.Pass}, Options: Options{Ready: ready, Progress: func(string) {}}}
	s.Attack = func(ctx context.Context, a Attack) (*result.Run, error) {
		_ = s.candidate.command.Process.Kill()
		<-s.candidate.ended
		return f.attack(ctx, a)
	}
	s.end(s.run(t.Context()))
	if s.verdict != scenario.Fail || len(s.runs) != 1 || !strings.Contains(strings.Join(s.reasons(), "\n"), "ended by itself") {
		t.Errorf("%v with %d runs because %q, want that it fails, with the run", s.verdict, len(s.runs), s.reasons())
	}
}

func TestRunKeepsWhatWasMeasuredUntilItIsStopped(t *testing.T) {
	p, err := Parse([]byte(there + "steps: {length: 20s}\ngoals: {latency: p99<=20ms}\n"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f := fake{r: rand.New(rand.NewPCG(1, 1)), latency: always(time.Millisecond)}
	f.spoil = func(_ Attack, r *result.Run) {
		r.Stopped = "interrupt"
		cancel()
	}
	d, verdict, err := Run(ctx, p, Options{Attack: f.attack, Ready: ready})
	if !errors.Is(err, context.Canceled) || verdict != scenario.Invalid || len(d.Series[0].Runs) != 1 {
		t.Errorf("Run = %v, %v with %d runs, want invalid with 1", verdict, err, len(d.Series[0].Runs))
	}
}

func TestOrder(t *testing.T) {
	if got, want := order(4), []int{0, 1, 1, 0, 0, 1, 1, 0}; !reflect.DeepEqual(got, want) {
		t.Errorf("order(4) = %v, want %v", got, want)
	}
}

func ready(context.Context, string) error { return nil }

func TestServerIsStartedAndEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports")
	for _, c := range []struct {
		name, command string
		wrong         string // in the error of stop
	}{
		{"ends when asked", `sh -c 'trap "exit 0" TERM; echo ${PORT} ${ADMIN_PORT} > ` + file + `; while :; do sleep 0.01; done'`, ""},
		{"ends with an error", `sh -c 'trap "echo lost; exit 7" TERM; : > ` + file + `; while :; do sleep 0.01; done'`, "lost"},
		{"does not end", `sh -c 'trap "" TERM; : > ` + file + `; while :; do sleep 0.01; done'`, "did not end"},
	} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		b := Build{Command: c.command}
		b.complete()
		s, err := b.start(t.Context(), func(context.Context, string) error {
			_, err := os.Stat(file)
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if f, err := s.facts(t.Context(), ""); err != nil || f.Memory == 0 || strings.Contains(s.URL, "PORT") {
			t.Errorf("%s: facts of %s are %+v, %v, want memory and a port", c.name, s.URL, f, err)
		}
		patience := 10 * time.Second
		if c.wrong == "did not end" {
			patience = 50 * time.Millisecond
		}
		if err := s.stop(patience); (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: stop = %v, want %q", c.name, err, c.wrong)
		}
		if s.gone() == nil {
			t.Errorf("%s: it still runs", c.name)
		}
	}
}

func TestServerThatDoesNotCome(t *testing.T) {
	b := Build{Command: "sh -c 'echo no such model; exit 3'"}
	b.complete()
	never := func(context.Context, string) error { return errors.New("not yet") }
	if _, err := b.start(t.Context(), never); err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("start = %v, want its last words", err)
	}
	b = Build{Command: "sleep 60", Ready: 10 * time.Millisecond}
	b.complete()
	if _, err := b.start(t.Context(), never); err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("start = %v, want that it is not ready", err)
	}
	b = Build{URL: "http://a:1", Ready: time.Second}
	s, err := b.start(t.Context(), ready)
	if err != nil || s.URL != "http://a:1" || s.stop(0) != nil || s.gone() != nil {
		t.Errorf("start of a server that is there = %+v, %v, want it as it is", s, err)
	}
}
