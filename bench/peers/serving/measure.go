package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/thrumserve/thrum/loadtest/attack"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// goal is what a rate must hold to count.
var goal = scenario.Goal{Percentile: 0.99, Limit: 5 * time.Millisecond}

// figures are one round of one system with one body.
type figures struct {
	Peak      float64       `json:"peak_per_second"` // at the goal
	PeakCPU   time.Duration `json:"peak_cpu_ns"`     // of the server for a request, at its peak
	P50       time.Duration `json:"p50_ns"`          // at the fixed rate, from the intended start
	P99       time.Duration `json:"p99_ns"`
	CPU       time.Duration `json:"cpu_ns"`          // of the server for a request, at the fixed rate
	Generator float64       `json:"generator_cores"` // at the peak
	Limited   string        `json:"limited,omitempty"`
	Failed    float64       `json:"failed_share"` // at the fixed rate
	Invalid   []string      `json:"invalid,omitempty"`
}

// load is what is sent to a system in a round.
type load struct {
	options
	run     *process
	model   model
	dialect dialect
	began   float64 // where to look for the peak; 0 if nothing is known
}

// measure finds the peak and then measures at the fixed rate.
func (l load) measure(ctx context.Context) (f figures, err error) {
	if l.began == 0 {
		if l.began, err = l.guess(ctx); err != nil {
			return f, err
		}
	}
	if err := l.search(ctx, &f, func(ctx context.Context, rate float64) (trial, error) {
		return l.sound(ctx, rate, l.trial, trial.blameless)
	}); err != nil {
		return f, err
	}
	fixed, err := l.sound(ctx, l.rate, l.fixed, trial.valid) // its figures count, whatever they are
	if err != nil {
		return f, err
	}
	step := fixed.run.Total()
	q := step.Intended(result.OK).Quantiles(0.5, 0.99)
	f.P50, f.P99, f.CPU, f.Failed, f.Invalid = q[0], q[1], fixed.cpuPerRequest(), step.ErrorShare(), fixed.run.Invalid
	return f, nil
}

// search finds the peak. That there is none is found, too. A trial that the generator spoiled, after all
// its tries, is above what this machine can show: the search goes down from it as from one that the
// server spoiled, until one is valid, and says so.
func (l load) search(ctx context.Context, f *figures, try func(context.Context, float64) (trial, error)) error {
	var last trial     // the last that held
	var held float64   // at this rate
	var limited string // by the generator: the lowest rate that only it could not keep
	lowest := math.Inf(1)
	search := scenario.Search{Start: l.began, Tolerance: l.tolerance, Confirm: 1}
	peak, err := search.Find(ctx, func(ctx context.Context, rate float64) (scenario.Trial, error) {
		if rate*l.trial.Seconds() < fewest {
			return scenario.Trial{}, errNoPeak
		}
		t, err := try(ctx, rate)
		switch {
		case err != nil:
		case t.held():
			last, held = t, rate
		case rate < lowest:
			lowest, limited = rate, t.fault()
		}
		return scenario.Trial{Held: err == nil && t.held(), Run: t.run}, err
	}, nil)
	switch {
	case errors.Is(err, errNoPeak):
		if f.Limited = fmt.Sprintf("%v holds at no rate that was tried", goal); limited != "" {
			f.Limited = "nothing can be shown on this machine at any rate that was tried: " + limited
		}
		return nil
	case errors.Is(err, scenario.ErrUnstable):
		// The last rate that held did so in a valid trial, once.
		peak.Rate, f.Limited = held, "held once and not confirmed: "+err.Error()
	case err != nil:
		return err
	case limited != "":
		f.Limited = fmt.Sprintf("the generator is the limit from %.0f/s on: %s", lowest, limited)
	}
	f.Peak, f.PeakCPU = peak.Rate, last.cpuPerRequest()
	if last.run != nil {
		f.Generator = last.run.Generator.CPU.Seconds() / last.run.Took.Seconds()
	}
	return nil
}

// fewest is how many requests a trial must have to say anything.
const fewest = 10

var errNoPeak = errors.New("no peak")

// tries is how often a trial is made that the generator spoils. One pause of the machine of 20 ms is more
// than a thousandth of the few requests of a slow system, and has nothing to do with it.
const tries = 5

// sound attacks at a rate, again until it is enough: where the generator could not keep up another process
// may have been in its way.
func (l load) sound(ctx context.Context, rate float64, d time.Duration, enough func(trial) bool) (t trial, err error) {
	for range tries {
		if t, err = l.at(ctx, rate, d); err != nil || enough(t) {
			break
		}
	}
	return t, err
}

// trial is a run and the CPU time that the server had in it.
type trial struct {
	run *result.Run
	cpu time.Duration
}

func (t trial) cpuPerRequest() time.Duration {
	if t.run == nil {
		return 0
	}
	var all uint64 // with those of the warm-up, which took their part of the CPU
	for _, w := range t.run.Windows {
		for _, n := range w.Outcomes {
			all += n
		}
	}
	return t.cpu / time.Duration(max(all, 1))
}

// held is by the share itself, without a bound of confidence: a coarse search asks the same of all.
func (t trial) held() bool { return t.within() && t.valid() }

func (t trial) valid() bool { return len(t.run.Invalid) == 0 }

// blameless says that the generator is not what did not hold: the server's fault is not tried again.
func (t trial) blameless() bool { return t.fault() == "" }

func (t trial) within() bool {
	over, total := goal.Over(t.run.Total())
	return total > 0 && float64(over) <= (1-goal.Percentile)*float64(total)
}

// fault says why the generator, and not the server, is what did not hold; empty if it is the server. One
// that does not answer in time keeps all connections busy, and so makes a generator late.
func (t trial) fault() string {
	if !t.within() {
		return ""
	}
	return strings.Join(t.run.Invalid, "; ")
}

func (l load) at(ctx context.Context, rate float64, d time.Duration) (trial, error) {
	p, err := schedule.Poisson(rate, d).WarmUp(warmUp)
	if err != nil {
		return trial{}, err
	}
	s, err := p.Schedule(l.seed)
	if err != nil {
		return trial{}, err
	}
	return l.attack(ctx, func(o *attack.Options) { o.Schedule = s })
}

// guess starts a search at half of what a closed loop gets.
func (l load) guess(ctx context.Context) (float64, error) {
	const duration = time.Second
	t, err := l.attack(ctx, func(o *attack.Options) { o.Concurrency, o.Duration = 8, duration })
	if err != nil {
		return 0, err
	}
	step := t.run.Total()
	if step.Count(result.OK) == 0 {
		return 0, fmt.Errorf("%s answered none of %d requests rightly", l.run.name, step.Total())
	}
	return max(10, float64(step.Count(result.OK))/duration.Seconds()/2), nil
}

const (
	// ready connections are there before the first start: to make one takes the generator longer than ten
	// requests, and near its peak a server needs many at once, so that sends would be late.
	ready = 64
	// warmUp is not counted: a server takes that long to accept those connections.
	warmUp = 300 * time.Millisecond
)

func (l load) attack(ctx context.Context, shape func(*attack.Options)) (trial, error) {
	o := attack.Options{
		Target: l.run.target(l.dialect, l.model), Requests: l.dialect.requests(l.model), Connections: 256, Ready: ready, Timeout: 2 * time.Second,
		Check: attack.Check{Share: 0.01, Equal: func(i int, r attack.Reply) error { return right(l.dialect, l.model, i, r) }},
	}
	if l.run.name == "floor" {
		o.Check = attack.Check{}
	}
	shape(&o)
	before := l.run.cpu()
	run, err := attack.Run(ctx, o)
	if err != nil {
		return trial{}, fmt.Errorf("%s: %w", l.run.name, err)
	}
	return trial{run, l.run.cpu() - before}, ctx.Err()
}
