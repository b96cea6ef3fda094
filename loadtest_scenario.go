package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/thrumserve/thrum/loadtest"
	"github.com/thrumserve/thrum/loadtest/facts"
	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// command makes a subcommand of loadtest that needs a session.
func command(use, short, example string, l *loadFlags, run func(c *cobra.Command, s *loadtest.Session, args []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: example, Args: strict(cobra.NoArgs)}
	l.add(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		s, done, err := l.open(c)
		if err != nil {
			return invalid(err)
		}
		defer done()
		return invalid(run(c, s, args))
	}
	return c
}

// needGoal reports that a command is about a goal that was not given.
func (l *loadFlags) needGoal(c *cobra.Command) error {
	if l.goal.Limit == 0 {
		return fmt.Errorf("%s is about a goal: add --slo 'p99<=5ms'", c.CommandPath())
	}
	if l.Timeout <= l.goal.Limit {
		return fmt.Errorf("--timeout %v and --slo %v contradict each other: requests would be given up before the limit", l.Timeout, l.goal)
	}
	return nil
}

func level(arrivals schedule.Arrivals, rate float64, d time.Duration) schedule.Profile {
	return schedule.Profile{Arrivals: arrivals, Parts: []schedule.Part{{Rate: rate, To: rate, Duration: d}}}
}

// enough is how long a trial at a rate has to be for the goal to be told from it.
func enough(rate, requests float64, least time.Duration) time.Duration {
	return max(least, time.Duration(math.Ceil(requests/rate))*time.Second)
}

// stopped reports whether Ctrl-C has ended what was under way.
func stopped(ctx context.Context) bool { return ctx.Err() != nil }

// trial attacks at a rate, for long enough to tell the goal.
func (l *loadFlags) trial(c *cobra.Command, s *loadtest.Session, p schedule.Profile, seed uint64) (scenario.Trial, error) {
	made, err := p.Schedule(seed)
	if err != nil {
		return scenario.Trial{}, err
	}
	run, err := l.attack(c.Context(), c, s, loadtest.Load{Schedule: made})
	if err != nil {
		return scenario.Trial{}, err
	}
	all := run.Total()
	t := scenario.Trial{
		Held:    len(run.Invalid) == 0 && l.goal.Held(all) == stats.Same,
		Faulty:  len(run.Invalid) > 0,
		Why:     l.goal.Explain(all),
		Latency: all.Intended(result.OK).Quantile(l.goal.Percentile),
		Goodput: all.Goodput(l.goal.Limit),
		Run:     run,
	}
	if t.Faulty {
		t.Why = run.Invalid[0]
	}
	if stopped(c.Context()) {
		return t, context.Cause(c.Context())
	}
	return t, nil
}

// peakFlags are those of a search.
type peakFlags struct {
	start, most float64
	length      time.Duration
	arrivals    []string
}

func peakCommand() *cobra.Command {
	var l loadFlags
	var p peakFlags
	c := command("peak --model NAME --slo GOAL", "Find the highest rate at which a goal holds, for Poisson and for bursty arrivals",
		`  thrum loadtest peak --model digits --slo 'p99<=5ms'
  thrum loadtest peak --model digits --slo 'p99<=20ms' --binary --duration 10s --report peak.html
  thrum loadtest peak --model digits --slo 'p99<=20ms' --arrivals poisson --start 1000 --most 20000`, &l,
		func(c *cobra.Command, s *loadtest.Session, _ []string) error { return peak(c, s, &l, p) })
	c.Long = `Find the highest rate at which a goal holds: double the rate until it is broken, bisect to 2 %, and
confirm three times in a row. A trial is as long as it takes to tell the goal with 99 % confidence,
and one that fails is repeated once, one that the generator spoiled three times. A rate that the generator could not send is no rate of the
server's: the peak is then said to be limited by the generator.`
	c.Flags().Float64Var(&p.start, "start", 100, "`rate` to begin with")
	c.Flags().Float64Var(&p.most, "most", 0, "`rate` to end with; none if 0")
	c.Flags().DurationVar(&p.length, "duration", 5*time.Second, "of a trial, at least")
	c.Flags().StringSliceVar(&p.arrivals, "arrivals", []string{"poisson", "bursty"}, "for which to search, one after the other")
	return c
}

func peak(c *cobra.Command, s *loadtest.Session, l *loadFlags, p peakFlags) error {
	if err := l.needGoal(c); err != nil {
		return err
	}
	if p.start <= 0 {
		return errors.New("--start: a rate is more than 0")
	}
	d := report.Document{Title: "peak of " + l.Model, Goal: l.reportGoal(), Verdict: report.Verdict{Outcome: report.Pass}}
	for _, arrivals := range p.arrivals {
		found, err := search(c, s, l, p, schedule.Arrivals(arrivals))
		series := report.Series{Name: arrivals}
		for _, t := range found.Trials {
			if t.Run != nil && !t.Faulty {
				series.Runs = append(series.Runs, t.Run)
			}
		}
		d.Series = append(d.Series, series)
		got := fmt.Sprintf("%.0f/s, goodput %.0f/s", found.Rate, found.Goodput)
		if found.Limited != "" {
			got += "; it may be higher: " + found.Limited
		}
		if err != nil {
			d.Verdict.Outcome = report.Invalid
			if errors.Is(err, scenario.ErrUnstable) {
				d.Verdict.Outcome = report.Unstable
			}
			d.Verdict.Reasons = append(d.Verdict.Reasons, arrivals+": "+err.Error())
		}
		d.Findings = append(d.Findings, report.Finding{Name: "peak, " + arrivals, Want: l.goal.String(), Got: got, Held: err == nil})
		if stopped(c.Context()) {
			break
		}
	}
	return l.finish(c, d)
}

func search(c *cobra.Command, s *loadtest.Session, l *loadFlags, p peakFlags, arrivals schedule.Arrivals) (scenario.Peak, error) {
	// With ten times as many as the fewest, a share over the limit of half of what is allowed is told.
	requests := 10 * float64(stats.Required(l.goal.Percentile, 0))
	seed := l.Seed
	return scenario.Search{Start: p.start, Most: p.most}.Find(c.Context(), func(_ context.Context, rate float64) (scenario.Trial, error) {
		seed++
		return l.trial(c, s, level(arrivals, rate, enough(rate, min(requests, rate*60), p.length)), seed)
	}, func(t scenario.Trial) {
		word := "holds"
		if !t.Held {
			word = "no"
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s %s %.0f/s: %s %v, goodput %.0f/s: %s (%s)\n", arrivals, t.Phase, t.Rate, l.goal.Name(), t.Latency.Round(time.Microsecond), t.Goodput, word, t.Why)
	})
}

func scenarioCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "scenario",
		Short: "Run a scenario of MLPerf Inference",
		Example: `  thrum loadtest scenario singlestream --model digits
  thrum loadtest scenario server --model digits --slo 'p99<=10ms' --rate 400
  thrum loadtest scenario offline --model digits --rows 64 --binary --duration 1m`,
	}
	for _, m := range scenario.Scenarios {
		c.AddCommand(mlperf(m))
	}
	return c
}

func mlperf(m scenario.MLPerf) *cobra.Command {
	var l loadFlags
	var duration time.Duration
	var rate float64
	var concurrency int
	example := fmt.Sprintf("  thrum loadtest scenario %s --model digits\n  thrum loadtest scenario %[1]s --model digits --duration 30s --binary", m.Name)
	if !m.Closed {
		example = strings.ReplaceAll(example, "--model digits", "--model digits --slo 'p99<=10ms' --rate 400")
	}
	c := command(m.Name+" --model NAME", strings.ToUpper(m.Description[:1])+m.Description[1:], example, &l,
		func(c *cobra.Command, s *loadtest.Session, _ []string) error {
			if err := rowsFit(s, m); err != nil {
				return err
			}
			l.rule = ""
			load := loadtest.Load{Concurrency: concurrency, Duration: duration}
			if !m.Closed {
				if err := l.needGoal(c); err != nil {
					return err
				}
				if rate == 0 {
					return errors.New("which rate? find it by `thrum loadtest peak`, and give it with --rate")
				}
				made, err := level(schedule.Independent, rate, duration).Schedule(l.Seed)
				if err != nil {
					return err
				}
				load = loadtest.Load{Schedule: made}
			}
			return l.figure(c, s, m, load)
		})
	c.Long = m.Description + ".\n\nFigures hold with 99 % confidence (early stopping). What the rules ask for, among it ten minutes,\nis part of the verdict: a figure of a shorter run is printed and INVALID."
	c.Flags().DurationVar(&duration, "duration", scenario.MinLength, "of the run")
	if !m.Closed {
		c.Flags().Float64Var(&rate, "rate", 0, "requests per second")
	}
	concurrency = 1
	if m.Name == "offline" {
		c.Flags().IntVar(&concurrency, "concurrency", 16, "requests under way")
	}
	rows := max(m.Rows, 1)
	if m.Rows == 0 {
		rows = 32
	}
	l.Generated.Rows = rows
	c.PreRunE = func(*cobra.Command, []string) error {
		if m.Rows > 0 && l.Generated.Rows != m.Rows {
			return invalid(fmt.Errorf("--rows and %s contradict each other: its requests have %d: leave --rows out", m.Name, m.Rows))
		}
		return nil
	}
	c.Flags().Lookup("rows").DefValue = fmt.Sprint(rows)
	return c
}

// rowsFit reports requests that are not those of a scenario.
func rowsFit(s *loadtest.Session, m scenario.MLPerf) error {
	if least, most := s.Rows(); m.Rows > 0 && (least != m.Rows || most != m.Rows) {
		return fmt.Errorf("%s sends requests of %d rows, and these have %d to %d (%s): it takes a model and inputs of as many", m.Name, m.Rows, least, most, s.Inputs())
	}
	return nil
}

func (l *loadFlags) figure(c *cobra.Command, s *loadtest.Session, m scenario.MLPerf, load loadtest.Load) error {
	run, err := l.attack(c.Context(), c, s, load)
	if err != nil {
		return err
	}
	f := m.Judge(run, l.goal.Limit, scenario.MinLength)
	fmt.Fprintln(c.OutOrStdout(), f)
	v := report.Verdict{Outcome: report.Pass}
	if !f.Valid {
		v = report.Verdict{Outcome: report.Invalid}
		for _, why := range f.Why {
			v.Reasons = append(v.Reasons, "by the rules of MLPerf it is no figure: "+why)
		}
	}
	return l.finish(c, report.Document{
		Title: m.Name + " of " + l.Model, Verdict: v, Goal: l.reportGoal(),
		Findings: []report.Finding{{Name: m.Name, Want: "a figure by the rules", Got: f.String(), Held: f.Valid}},
		Series:   []report.Series{{Name: m.Name, Runs: []*result.Run{run}}},
	})
}

func soakCommand() *cobra.Command {
	var l loadFlags
	var w what
	var pid int
	c := command("soak --model NAME --rate N", "Run for long and say what grows in the server: memory, goroutines, open files",
		`  thrum loadtest soak --model digits --rate 200
  thrum loadtest soak --model digits --rate 200 --duration 1h --pid $(pgrep -o thrum) --report soak.html`, &l,
		func(c *cobra.Command, s *loadtest.Session, _ []string) error {
			if err := w.check(c, &l); err != nil {
				return err
			}
			return soak(c, s, &l, &w, pid)
		})
	c.Long = `Run for long and say what grows in the server, per minute and with the confidence of 95 %: memory,
goroutines and open files, by its metrics or, with --pid, by the system, which counts its plugins
too. What grows ends with 1, what cannot be told with 3. Ten minutes catch a leak of 1 MB a minute.`
	w.add(c.Flags())
	c.Flags().Lookup("duration").DefValue = "10m0s"
	c.Flags().IntVar(&pid, "pid", 0, "the server's `process`, if it runs on this machine")
	c.Flags().Lookup("warm-up").DefValue = "30s"
	c.PreRun = func(c *cobra.Command, _ []string) {
		if !c.Flags().Changed("duration") {
			w.duration = 10 * time.Minute
		}
		if !c.Flags().Changed("warm-up") && w.profile == "" && w.replay == "" {
			w.warmUp = 30 * time.Second
		}
	}
	return c
}

func soak(c *cobra.Command, s *loadtest.Session, l *loadFlags, w *what, pid int) error {
	sample := func(ctx context.Context) (facts.Facts, bool) {
		f, ok := s.Facts(ctx)
		if pid == 0 {
			return f, ok
		}
		of, err := facts.OfProcess(pid)
		of.Goroutines = f.Goroutines
		return of, err == nil
	}
	if _, ok := sample(c.Context()); !ok {
		return errors.New("nothing is known of the server's memory: say where its metrics are with --metrics, or its process with --pid")
	}
	load, err := w.load(s, l.Seed)
	if err != nil {
		return err
	}
	var samples []scenario.Sample
	ctx, stop := context.WithCancel(c.Context())
	done, began := make(chan struct{}), time.Now()
	go func() {
		defer close(done)
		samples = scenario.Watch(ctx, func(ctx context.Context) (scenario.Sample, bool) {
			f, ok := sample(ctx)
			return scenario.Sample{Memory: float64(f.Memory), Goroutines: float64(f.Goroutines), Files: float64(f.Files)}, ok
		})
	}()
	run, err := l.attack(c.Context(), c, s, load)
	stop()
	<-done
	if err != nil {
		return err
	}
	growths := scenario.Soak(scenario.After(scenario.Own(samples, began, run), load.WarmUpTime()))
	v := l.verdict(run)
	v.Outcome = report.Outcome(scenario.Worst(scenario.Verdict(v.Outcome), scenario.Leaks(growths)))
	d := report.Document{Title: "soak of " + l.Model, Verdict: v, Goal: l.reportGoal(), Series: []report.Series{{Name: "soak", Runs: []*result.Run{run}}}}
	for _, g := range growths {
		d.Findings = append(d.Findings, report.Finding{Name: g.Name, Want: "does not grow", Got: g.String(), Held: g.Verdict == stats.Same})
	}
	return l.finish(c, d)
}

func spikeCommand() *cobra.Command {
	var l loadFlags
	var rate, factor float64
	var length, within time.Duration
	c := command("spike --model NAME --rate N --slo GOAL", "Multiply the load for a while and say how long the server takes to come back",
		`  thrum loadtest spike --model digits --rate 200 --slo 'p99<=20ms'
  thrum loadtest spike --model digits --rate 200 --factor 10 --length 5s --within 2s --slo 'p99<=20ms' --report spike.html`, &l,
		func(c *cobra.Command, s *loadtest.Session, _ []string) error {
			if err := l.needGoal(c); err != nil {
				return err
			}
			if rate <= 0 || factor <= 1 {
				return errors.New("a spike needs --rate N, the rate before it, and a --factor of more than 1")
			}
			return spike(c, s, &l, schedule.Spike(rate, rate*factor, length, max(10*time.Second, within+10*time.Second)), within)
		})
	c.Flags().Float64Var(&rate, "rate", 0, "requests per second before and after")
	c.Flags().Float64Var(&factor, "factor", 3, "how many times as many in the spike")
	c.Flags().DurationVar(&length, "length", 10*time.Second, "of the spike")
	c.Flags().DurationVar(&within, "within", 5*time.Second, "how long after it the goal may be broken")
	return c
}

func spike(c *cobra.Command, s *loadtest.Session, l *loadFlags, p schedule.Profile, within time.Duration) error {
	made, err := p.Schedule(l.Seed)
	if err != nil {
		return err
	}
	run, err := l.attack(c.Context(), c, s, loadtest.Load{Schedule: made})
	if err != nil {
		return err
	}
	got, held := "not any more in this run", false
	if after, ok := scenario.Recovery(run, made.Steps[1].End, l.goal); ok {
		got, held = fmt.Sprintf("after %v", after), after <= within
	}
	v := report.Verdict{Outcome: report.Pass}
	if !held {
		v = report.Verdict{Outcome: report.Fail, Reasons: []string{"the server comes back " + got}}
	}
	return l.finish(c, report.Document{
		Title: "spike of " + l.Model, Verdict: v, Goal: l.reportGoal(),
		Findings: []report.Finding{{Name: "back after the spike", Want: fmt.Sprintf("%v again within %v", l.goal, within), Got: got, Held: held}},
		Series:   []report.Series{{Name: "spike", Runs: []*result.Run{run}}},
	})
}
