package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thrumserve/thrum/loadtest"
	"github.com/thrumserve/thrum/loadtest/input"
	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
)

// loadFlags are what every load test has in common.
type loadFlags struct {
	loadtest.Options
	json      bool
	shapes    []string
	values    []string
	goal      scenario.Goal
	rule      scenario.Rule
	report    string
	force     bool // write over an older report
	kept      int  // results files that were begun
	modelOnly string
	headers   []string
	ca        string
	insecure  bool
}

func (l *loadFlags) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&l.URL, "url", "http://127.0.0.1:8000", "the server's `address`")
	f.StringVar(&l.Model, "model", "", "the model's `name`")
	f.StringVar(&l.Version, "version", "", "its `version`; the server's choice if not given")
	f.StringVar(&l.modelOnly, "model-only", "", "`folder` of a model: load it here and attack its plugin, without a server")
	f.StringVar(&l.Metrics, "metrics", "", "`address` of the server's metrics; the usual places are tried if not given")
	f.StringArrayVar(&l.headers, "header", nil, "`'NAME: VALUE'` to send with every request, such as 'Authorization: Bearer TOKEN'; no report says the value")
	f.StringVar(&l.ca, "ca", "", "`file` of certificates (PEM) by which to know an https server; the system's if not given")
	f.BoolVar(&l.insecure, "insecure", false, "believe an https server whoever it is")

	f.BoolVar(&l.Binary, "binary", false, "send and ask for binary tensors")
	f.BoolVar(&l.json, "json", false, "send and ask for JSON; that is the default")
	f.StringVar(&l.Input, "input", "generated", "`where` requests come from: generated, golden:DIR, file:PATH or capture:PATH")
	f.IntVar(&l.Generated.Requests, "generated", 100, "how many different `requests` to generate")
	f.IntVar(&l.Generated.Rows, "rows", 1, "`rows` of each generated request")
	f.StringArrayVar(&l.shapes, "shape", nil, "sizes of an input's dimensions, such as `tokens=1,16..512`, to generate")
	f.StringArrayVar(&l.values, "values", nil, "range of an input's or a datatype's values, such as `INT64=0..30000`, to generate")
	f.StringVar(&l.Select, "select", "", "`expression` that is true of the requests to send, such as 'quantile >= 0.8' or 'dim(\"tokens\", 1) > 128'")
	f.StringVar(&l.Weigh, "weigh", "", "`expression` for how often each is sent, such as bytes: long ones more often")
	f.Var(&l.Cache, "cache", "the server's prediction cache: bypass, cold or production")
	l.Cache = loadtest.Bypass
	f.Lookup("cache").DefValue = string(loadtest.Bypass)
	f.DurationVar(&l.Timeout, "timeout", 10*time.Second, "of a request, from its send")
	f.IntVar(&l.Connections, "connections", 0, "at most so many; 0 for as many as are needed")
	f.Float64Var(&l.Check, "check", 0.01, "`share` of the answers to compare with those of the golden set, or of each request sent alone before the run")
	f.Var(&l.goal, "slo", "the `goal`, such as 'p99<=5ms': decides pass or fail, and what goodput counts")
	f.Uint64Var(&l.Seed, "seed", 1, "of arrivals and generated requests")
	l.addReport(f)
}

func (l *loadFlags) addReport(f *pflag.FlagSet) {
	f.StringVar(&l.report, "report", "", "`FILE.html` to write the report to, with .json and the results (.runs) beside it")
	f.BoolVar(&l.force, "force", false, "write over an older --report")
}

// open opens the session, or says what to try next.
func (l *loadFlags) open(c *cobra.Command) (*loadtest.Session, func(), error) {
	if err := checkNumbers(c); err != nil {
		return nil, func() {}, err
	}
	done := func() {}
	if l.json && l.Binary {
		return nil, done, errors.New("--json and --binary contradict each other: give one of them")
	}
	if err := l.checkReport(newRuns); err != nil {
		return nil, done, err
	}
	if err := l.ranges(); err != nil {
		return nil, done, err
	}
	if err := l.enter(); err != nil {
		return nil, done, err
	}
	if l.modelOnly != "" {
		for _, name := range []string{"url", "metrics", "cache", "model", "header", "ca", "insecure"} {
			if c.Flags().Changed(name) {
				return nil, done, fmt.Errorf("--model-only and --%s contradict each other: with --model-only there is no server", name)
			}
		}
		d, err := openDirect(c.Context(), l.modelOnly, l.Version)
		if err != nil {
			return nil, done, err
		}
		l.Direct, l.Model = d, d.name
		if !c.Flags().Changed("check") {
			l.Check = 0 // answers would have to be made ready for it, all of them
		}
		done = func() { _ = d.Close() }
	}
	s, err := loadtest.Open(c.Context(), l.Options)
	if err != nil {
		done()
		return nil, func() {}, err
	}
	for _, w := range s.Warnings() {
		fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
	}
	return s, done, nil
}

// enter makes the access of the flags.
func (l *loadFlags) enter() (err error) {
	if l.Header, err = loadtest.ParseHeader(l.headers); err != nil {
		return fmt.Errorf("--header: %w", err)
	}
	l.TLS, err = loadtest.TLS(l.ca, l.insecure)
	return err
}

func (l *loadFlags) ranges() error {
	l.Generated.Shapes, l.Generated.Values = map[string][]input.Range{}, map[string]input.Range{}
	for _, text := range l.shapes {
		name, dimensions, err := input.ParseShape(text)
		if err != nil {
			return fmt.Errorf("--shape: %w", err)
		}
		l.Generated.Shapes[name] = dimensions
	}
	for _, text := range l.values {
		name, numbers, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("--values %s: write it like INT64=0..30000", text)
		}
		r, err := input.ParseRange(numbers)
		if err != nil {
			return fmt.Errorf("--values: %w", err)
		}
		l.Generated.Values[name] = r
	}
	return nil
}

func (l *loadFlags) reportGoal() report.Goal {
	return report.Goal{Quantile: l.goal.Percentile, Limit: l.goal.Limit}
}

// live returns a display of an attack, and what to call when it has ended.
func live(w io.Writer, name string, d time.Duration) (func(result.Window), func()) {
	terminal := false
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	l := report.NewLive(w, report.LiveOptions{Name: name, Duration: d, Terminal: terminal})
	return l.Window, l.Close
}

// attack attacks once, shown live, until the schedule or the stop rule ends it.
func (l *loadFlags) attack(ctx context.Context, c *cobra.Command, s *loadtest.Session, load loadtest.Load) (*result.Run, error) {
	name, length := load.Schedule.Profile, load.WarmUp+load.Duration
	if load.Concurrency > 0 {
		name = fmt.Sprintf("closed loop of %d", load.Concurrency)
	} else {
		length = load.Schedule.Steps[len(load.Schedule.Steps)-1].End
	}
	show, end := live(c.ErrOrStderr(), s.Asked().Model+", "+name, length)
	defer end()
	stop := scenario.Stop{Rule: l.rule, Goal: l.goal, WarmUp: load.WarmUpTime()}
	kept, err := l.keep(s)
	if err != nil {
		return nil, err
	}
	load.OnWindow = func(w result.Window) {
		show(w)
		stop.Observe(w)
		if kept != nil {
			_ = kept.Window(w) // what cannot be written now fails in the end
		}
	}
	load.OnStep = func(s result.Step) {
		if kept != nil {
			_ = kept.Step(s)
		}
	}
	load.Stop = stop.Reason
	run, err := s.Attack(ctx, load)
	if kept != nil {
		err = errors.Join(err, kept.Close(run))
	}
	return run, err
}

// keep starts a results file, to which windows and steps are written as they end, so that they
// outlive this process. It is nil if no report is wanted.
func (l *loadFlags) keep(s *loadtest.Session) (*result.Writer, error) {
	if l.report == "" {
		return nil, nil
	}
	if l.kept == 0 {
		if err := l.clear(); err != nil {
			return nil, err
		}
	}
	l.kept++
	return result.Create(runsPath(l.report, l.kept-1), s.Asked(), time.Now())
}
