package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thrumserve/thrum/loadtest"
	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// loadtestCommand is `thrum loadtest`.
func loadtestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "loadtest --model NAME (--rate N | --profile TEXT | --replay xN | --concurrency N)",
		Short: "Measure a model under load, and say whether it can be believed",
		Long: `Send requests to a model of any Open Inference Protocol server at times that are fixed before the
run, whatever becomes of those before (an open loop), and report latency from when each was meant
to start. With --concurrency each request waits for the one before: a closed loop, which hides what
waiting costs, and is labelled so.

Ends with 0: pass; 1: the goal is broken; 2: invalid, the figures cannot be believed or nothing could
be measured; 3: unstable, it cannot be told. Ctrl-C ends a run early and reports what there is.

Profiles:
  ` + strings.ReplaceAll(strings.TrimSpace(schedule.Grammar), "\n", "\n  "),
		Example: `  thrum loadtest --model digits --rate 500 --duration 10s
  thrum loadtest --model digits --rate 500 --warm-up 5s --duration 30s --header "Authorization: Bearer $TOKEN"
  thrum loadtest --model digits --rate 500 --slo 'p99<=5ms' --stop-rule gate --report digits.html
  thrum loadtest --model digits --profile 'poisson 100/s for 10s, 1000/s for 5s, 100/s for 10s' --binary
  thrum loadtest --model digits --input golden:examples/models/digits --check 0.01 --rate 200
  thrum loadtest --model digits --input capture:/var/lib/thrum/capture/digits --replay x2 --weigh bytes
  thrum loadtest --model-only examples/models/digits --rate 2000 --binary
  thrum loadtest --url http://127.0.0.1:8000 --model digits --concurrency 8 --duration 10s

  thrum loadtest peak --help         the highest rate at a goal
  thrum loadtest stage --help        may this build go to production?`,
		Args: strict(cobra.NoArgs),
	}
	var l loadFlags
	var w what
	l.add(c.Flags())
	w.add(c.Flags())
	c.Flags().Var(&l.rule, "stop-rule", "when to end before the duration: quick, gate (it is known whether --slo holds) or publish (that, and 10 minutes)")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return invalid(fmt.Errorf("%w: `%s --help` lists the flags", err, c.CommandPath()))
	})
	c.RunE = func(c *cobra.Command, _ []string) error { return invalid(runLoad(c, &l, &w)) }
	for _, sub := range []*cobra.Command{peakCommand(), scenarioCommand(), soakCommand(), spikeCommand(), stageCommand(), reportCommand(), mergeCommand()} {
		c.AddCommand(sub)
	}
	return c
}

// what is sent when.
type what struct {
	profile     string
	rate        float64
	arrivals    string
	duration    time.Duration
	concurrency int
	replay      string
	warmUp      time.Duration
}

func (w *what) add(f *pflag.FlagSet) {
	f.StringVar(&w.profile, "profile", "", "the `course` of the load, such as 'poisson 100/s to 500/s for 1m'")
	f.Float64Var(&w.rate, "rate", 0, "requests per second")
	f.StringVar(&w.arrivals, "arrivals", "poisson", "`how` those of --rate come: poisson, bursty or constant")
	f.DurationVar(&w.duration, "duration", 0, "of --rate and --concurrency; 10s if not given, 10m with --stop-rule publish")
	f.IntVar(&w.concurrency, "concurrency", 0, "a closed loop of so many requests under way")
	f.DurationVar(&w.warmUp, "warm-up", 0, "before the load, at the rate with which it begins, and not counted; of --replay its beginning")
	f.StringVar(&w.replay, "replay", "", "send captured requests as they came, `xN` times as fast")
}

// check reports flags that contradict each other.
func (w *what) check(c *cobra.Command, l *loadFlags) error {
	var given []string
	for _, name := range []string{"profile", "rate", "concurrency", "replay"} {
		if c.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	switch {
	case len(given) == 0:
		return errors.New("nothing says what to send when: add --rate 100, or --profile, --replay or --concurrency")
	case len(given) > 1:
		return fmt.Errorf("%s contradict each other: give one of them", strings.Join(given, " and "))
	case c.Flags().Changed("duration") && (w.profile != "" || w.replay != ""):
		return fmt.Errorf("--duration and %s contradict each other: the latter says how long it is", given[0])
	case c.Flags().Changed("arrivals") && !c.Flags().Changed("rate"):
		return fmt.Errorf("--arrivals belongs to --rate, not to %s", given[0])
	case (l.rule == scenario.Gate || l.rule == scenario.Publish) && l.goal.Limit == 0:
		return fmt.Errorf("--stop-rule %s is about a goal: add --slo 'p99<=5ms'", l.rule)
	case l.rule == scenario.Publish && w.duration > 0 && w.duration < scenario.PublishLength:
		return fmt.Errorf("--stop-rule publish and --duration %v contradict each other: what is published runs for %v", w.duration, scenario.PublishLength)
	}
	if w.duration == 0 && !c.Flags().Changed("duration") {
		w.duration = 10 * time.Second
		if l.rule == scenario.Publish {
			w.duration = scenario.PublishLength + time.Minute
		}
	}
	return nil
}

// load makes the load of the flags.
func (w *what) load(s *loadtest.Session, seed uint64) (loadtest.Load, error) {
	if w.concurrency > 0 {
		return loadtest.Load{Concurrency: w.concurrency, Duration: w.duration, WarmUp: w.warmUp}, nil
	}
	if w.replay != "" {
		var speed float64
		if _, err := fmt.Sscanf(strings.TrimPrefix(strings.TrimPrefix(w.replay, "x"), "×"), "%g", &speed); err != nil {
			return loadtest.Load{}, fmt.Errorf("--replay %s: write it like x1 or x2.5", w.replay)
		}
		trace, err := s.Replay(speed)
		if err == nil && w.warmUp > 0 {
			trace, err = trace.WarmUp(w.warmUp)
		}
		return loadtest.Load{Schedule: trace}, err
	}
	p := schedule.Profile{Arrivals: schedule.Arrivals(w.arrivals), Parts: []schedule.Part{{Rate: w.rate, To: w.rate, Duration: w.duration}}}
	if w.profile != "" {
		var err error
		if p, err = schedule.Parse(w.profile); err != nil {
			return loadtest.Load{}, err
		}
	}
	if w.warmUp > 0 {
		var err error
		if p, err = p.WarmUp(w.warmUp); err != nil {
			return loadtest.Load{}, fmt.Errorf("--warm-up: %w", err)
		}
	}
	made, err := p.Schedule(seed)
	return loadtest.Load{Schedule: made}, err
}

func runLoad(c *cobra.Command, l *loadFlags, w *what) error {
	if err := w.check(c, l); err != nil {
		return err
	}
	s, done, err := l.open(c)
	if err != nil {
		return err
	}
	defer done()
	load, err := w.load(s, l.Seed)
	if err != nil {
		return err
	}
	run, err := l.attack(c.Context(), c, s, load)
	if err != nil {
		return err
	}
	return l.finish(c, report.Document{
		Title: l.Model, Verdict: l.verdict(run), Goal: l.reportGoal(),
		Series: []report.Series{{Name: l.Model, Runs: []*result.Run{run}}},
	})
}
