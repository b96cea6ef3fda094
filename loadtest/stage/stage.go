package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// Attack is a load test that the stage asks for.
type Attack struct {
	Name    string // such as "50 %"
	URL     string
	Metrics string // empty if there are none
	Profile schedule.Profile
	Seed    uint64
}

// Options are what a stage needs to run.
type Options struct {
	Attack   func(ctx context.Context, a Attack) (*result.Run, error)
	Ready    func(ctx context.Context, url string) error // nil if the server at url can be attacked
	Progress func(text string)                           // may be nil
	Client   func(url string) *http.Client               // asks for the metrics of the server at url; may be nil
}

// Run runs a plan. The document holds all runs and findings; an error says that the plan could not
// be run to its end, and what was found until then comes with it.
func Run(ctx context.Context, p Plan, o Options) (report.Document, scenario.Verdict, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	s := &stage{Plan: p, Options: o, gate: gate{verdict: scenario.Pass}}
	err := s.run(ctx)
	s.end(err)
	return s.document(), s.verdict, err
}

// end takes what kept the plan from its end into the verdict.
func (s *stage) end(err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, errDied):
		s.find(scenario.Fail, "life", "servers that stay there under load", "one ended by itself")
	default:
		s.verdict = scenario.Invalid
	}
	s.broken = append(s.broken, err.Error())
}

type stage struct {
	Plan
	Options
	gate
	candidate *Server
	runs      []*result.Run // of the candidate, but for those beside the baseline
	arms      [2][]*result.Run
	memory    uint64
}

func (s *stage) run(ctx context.Context) (err error) {
	for _, part := range []func(context.Context) error{s.steps, s.spike, s.soak, s.drain} {
		if err := s.up(ctx); err != nil {
			return err
		}
		if err := part(ctx); err != nil {
			return errors.Join(err, s.down())
		}
	}
	s.gate.memory(s.memory, s.Goals)
	if err := s.down(); err != nil {
		return err
	}
	return s.compare(ctx)
}

// up starts the candidate if it does not run.
func (s *stage) up(ctx context.Context) (err error) {
	if s.candidate != nil || s.Steps == nil && s.Spike == nil && s.Soak == nil && s.Drain == nil {
		return nil
	}
	s.Progress("starting the candidate")
	s.candidate, err = s.start(ctx, s.Candidate)
	if err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	return nil
}

func (s *stage) start(ctx context.Context, b *Build) (*Server, error) {
	server, err := b.start(ctx, s.Ready)
	if err == nil && s.Client != nil {
		server.via = s.Client(server.URL)
	}
	return server, err
}

// patience is how long a server may take to end where that is not what is looked at.
const patience = 30 * time.Second

func (s *stage) down() error {
	if s.candidate == nil {
		return nil
	}
	err := s.candidate.stop(patience)
	s.candidate = nil
	return err
}

// repeats is how often a run that cannot be believed is tried again.
const repeats = 2

// attack runs a profile against a server. One that the generator spoiled is repeated at most so often,
// but not where requests piled up until they could not be sent, which is the server's doing.
func (s *stage) attack(ctx context.Context, to *Server, a Attack, again int) (*result.Run, error) {
	a.URL, a.Metrics = to.URL, to.Metrics
	for try := 0; ; try++ {
		s.Progress(a.Name)
		before, _ := to.facts(ctx, s.Model) // what is not known is 0
		r, err := s.Attack(ctx, a)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", a.Name, err), to.gone())
		}
		after, _ := to.facts(ctx, s.Model)
		if to.command != nil { // with its plugins, of which metrics need not know
			of := after.Since(before)
			r.Server.CPU, r.Server.Memory = of.CPU, of.Memory
		}
		if to == s.candidate {
			s.memory = max(s.memory, r.Server.Memory)
		}
		if err := cmp.Or(to.gone(), ctx.Err()); err != nil {
			s.runs = append(s.runs, r) // as far as it came
			return nil, err
		}
		if len(r.Invalid) == 0 || r.Generator.Dropped > 0 || try == again {
			return r, nil
		}
		s.Progress(fmt.Sprintf("%s cannot be believed and is repeated: %s", a.Name, r.Invalid[0]))
	}
}

// profile is a part of the load.
func (s *stage) profile(parts ...schedule.Part) schedule.Profile {
	for i := range parts {
		parts[i].To = parts[i].Rate
	}
	return schedule.Profile{Arrivals: schedule.Arrivals(s.Arrivals), Parts: parts}
}

func (s *stage) rate(share Share) float64 { return float64(s.Forecast) * float64(share) }

func (s *stage) steps(ctx context.Context) error {
	if s.Steps == nil {
		return nil
	}
	for i, share := range s.Steps.Shares {
		name := share.String()
		over := share > 1
		a := Attack{Name: name, Seed: s.Seed + uint64(i), Profile: s.profile(schedule.Part{Name: name, Rate: s.rate(share), Duration: s.Steps.Length})}
		r, err := s.attack(ctx, s.candidate, a, repeats)
		if err != nil {
			return err
		}
		if over {
			s.overload(name, r)
		} else {
			s.load(name, r, s.Goals)
		}
		s.keep(r, over)
	}
	return nil
}

// keep adds a run to the report. What is wrong with an overload is among the findings.
func (s *stage) keep(r *result.Run, overload bool) {
	if overload && len(r.Invalid) > 0 {
		return
	}
	s.runs = append(s.runs, r)
}

// around is how long the load before and after a spike lasts at least.
const around = 10 * time.Second

func (s *stage) spike(ctx context.Context) error {
	if s.Spike == nil {
		return nil
	}
	half := s.rate(0.5)
	after := max(around, s.Spike.Recover+around)
	r, err := s.attack(ctx, s.candidate, Attack{Name: fmt.Sprintf("spike ×%g", s.Spike.Factor), Seed: s.Seed, Profile: s.profile(
		schedule.Part{Name: "before the spike", Rate: half, Duration: around},
		schedule.Part{Name: "spike", Rate: half * s.Spike.Factor, Duration: s.Spike.Length},
		schedule.Part{Name: "after the spike", Rate: half, Duration: after},
	)}, repeats)
	if err != nil {
		return err
	}
	s.overload("the spike", r)
	s.recovery("after the spike", r, around+s.Spike.Length, s.Spike.Recover, s.Goals.Latency)
	s.keep(r, true)
	return nil
}

func (s *stage) soak(ctx context.Context) error {
	if s.Soak == nil {
		return nil
	}
	var samples []scenario.Sample
	watched, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	server, began := s.candidate, time.Now()
	go func() {
		defer close(done)
		samples = scenario.Watch(watched, func(ctx context.Context) (scenario.Sample, bool) { return server.sample(ctx, s.Model) })
	}()
	r, err := s.attack(ctx, s.candidate, Attack{Name: "soak", Seed: s.Seed, Profile: s.profile(
		schedule.Part{Name: "warm-up", Rate: s.rate(s.Soak.Share), Duration: s.Soak.WarmUp, Warmup: true},
		schedule.Part{Name: "soak", Rate: s.rate(s.Soak.Share), Duration: s.Soak.Length},
	)}, 0) // it is long
	stop()
	<-done
	if err != nil {
		return err
	}
	for _, v := range samples {
		s.memory = max(s.memory, uint64(v.Memory))
	}
	s.load("soak", r, s.Goals)
	s.growth(scenario.Soak(scenario.After(scenario.Own(samples, began, r), s.Soak.WarmUp)))
	s.keep(r, false)
	return nil
}

// sample is what a server holds now.
func (v *Server) sample(ctx context.Context, model string) (scenario.Sample, bool) {
	f, err := v.facts(ctx, model)
	return scenario.Sample{Memory: float64(f.Memory), Goroutines: float64(f.Goroutines), Files: float64(f.Files)}, err == nil
}

// drain ends an overload, and then the server.
func (s *stage) drain(ctx context.Context) error {
	if s.Drain == nil {
		return nil
	}
	const long = 5 * time.Second // of the overload
	r, err := s.attack(ctx, s.candidate, Attack{Name: "drain", Seed: s.Seed, Profile: s.profile(
		schedule.Part{Name: "before the drain", Rate: s.rate(2), Duration: long},
		schedule.Part{Name: "drain", Rate: s.rate(0.1), Duration: s.Drain.Within + around},
	)}, repeats)
	if err != nil {
		return err
	}
	s.recovery("drain", r, long, s.Drain.Within, s.Goals.Latency)
	s.keep(r, true)
	if s.candidate.command == nil {
		return nil
	}
	server := s.candidate
	s.candidate = nil
	want := fmt.Sprintf("ends within %v of SIGTERM, with 0", s.Drain.Within)
	if err := server.stop(s.Drain.Within); err != nil {
		s.find(scenario.Fail, "shutdown", want, err.Error())
		return nil
	}
	s.find(scenario.Pass, "shutdown", want, "it did")
	return nil
}

// order is who comes when: baseline 0, candidate 1, in turns that change places, so that what drifts
// on the machine falls on both alike: 0 1 1 0 0 1 1 0.
func order(runs int) []int {
	var all []int
	for i := range runs {
		all = append(all, i%2, 1-i%2)
	}
	return all
}

// compare runs both builds in turns, more of them while it cannot be told. Both are there all the time, the one that is not measured idle,
// and are started anew after every four runs: two starts of one program differ, too.
func (s *stage) compare(ctx context.Context) error {
	if s.Compare == nil {
		return nil
	}
	var found []Compared
	looks := s.Compare.looks()
	for i, runs := range looks {
		if i > 0 {
			s.Progress(fmt.Sprintf("after %d runs of each it cannot be told: up to %d", looks[i-1], runs))
		}
		for done := len(s.arms[0]) + len(s.arms[1]); done < 2*runs; done = len(s.arms[0]) + len(s.arms[1]) {
			if err := s.block(ctx, order(runs)[done:min(done+4, 2*runs)], runs); err != nil {
				return err
			}
		}
		found = Judge(s.arms[0], s.arms[1], s.Goals.Latency, *s.Compare)
		if told(found) || s.verdict == scenario.Invalid {
			break
		}
	}
	s.failures(s.arms[0], s.arms[1])
	s.compared(found, len(looks))
	return nil
}

// told says that more runs would not change the verdict: one figure is worse, or none is left open.
func told(all []Compared) bool {
	open := 0
	for _, c := range all {
		switch c.Verdict {
		case stats.Changed:
			return true
		case stats.CannotTell:
			open++
		}
	}
	return open == 0
}

// block runs turns, whose arms have so many runs in the end.
func (s *stage) block(ctx context.Context, turns []int, runs int) (err error) {
	var servers [2]*Server
	for i, b := range []*Build{s.Baseline, s.Candidate} {
		if servers[i], err = s.start(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", [2]string{"baseline", "candidate"}[i], err)
		}
		defer func() { err = errors.Join(err, servers[i].stop(patience)) }()
	}
	for _, arm := range turns { // all with the same starts, so that those do not differ, too
		n := len(s.arms[arm])
		name := fmt.Sprintf("%s, run %d of %d", [2]string{"baseline", "candidate"}[arm], n+1, runs)
		part := schedule.Part{Name: "beside the baseline", Rate: s.rate(s.Compare.Share), Duration: s.Compare.Length}
		r, err := s.attack(ctx, servers[arm], Attack{Name: name, Seed: s.Seed, Profile: s.profile(part)}, repeats)
		if err != nil {
			return err
		}
		if len(r.Invalid) > 0 {
			s.find(scenario.Invalid, name, "a run that can be believed", r.Invalid[0])
		}
		s.arms[arm] = append(s.arms[arm], r)
	}
	return nil
}

func (s *stage) document() report.Document {
	d := report.Document{
		Title:    "staging of " + s.Model,
		Verdict:  report.Verdict{Outcome: report.Outcome(s.verdict), Reasons: s.reasons()},
		Goal:     report.Goal{Quantile: s.Goals.Latency.Percentile, Limit: s.Goals.Latency.Limit},
		Findings: s.findings,
	}
	d.Series = append(d.Series, report.Series{Name: "candidate", Runs: append(s.runs, s.arms[1]...)})
	if len(s.arms[0]) > 0 {
		d.Series = append(d.Series, report.Series{Name: "baseline", Runs: s.arms[0]})
	}
	return d
}
