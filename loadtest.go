package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thrumserve/thrum/loadtest"
	"github.com/thrumserve/thrum/loadtest/input"
	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// exit is an error that ends the program with a code of its own.
type exit struct {
	code int
	text string
}

func (e exit) Error() string { return e.text }

// codeOf returns the exit code of an error.
func codeOf(err error) int {
	var e exit
	if errors.As(err, &e) {
		return e.code
	}
	return 1
}

// invalid is an error over which nothing was measured.
func invalid(err error) error {
	var e exit
	if err == nil || errors.As(err, &e) {
		return err
	}
	return exit{scenario.Invalid.Code(), err.Error()}
}

// loadFlags are what every load test has in common.
type loadFlags struct {
	loadtest.Options
	json      bool
	shapes    []string
	values    []string
	goal      scenario.Goal
	rule      scenario.Rule
	report    string
	modelOnly string
}

func (l *loadFlags) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&l.URL, "url", "http://127.0.0.1:8000", "the server's `address`")
	f.StringVar(&l.Model, "model", "", "the model's `name`")
	f.StringVar(&l.Version, "version", "", "its `version`; the server's choice if not given")
	f.StringVar(&l.modelOnly, "model-only", "", "`folder` of a model: load it here and attack its plugin, without a server")
	f.StringVar(&l.Metrics, "metrics", "", "`address` of the server's metrics; the usual places are tried if not given")

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
	f.DurationVar(&l.Timeout, "timeout", 10*time.Second, "of a request, from its intended start")
	f.IntVar(&l.Connections, "connections", 0, "at most so many; 0 for as many as are needed")
	f.Float64Var(&l.Check, "check", 0.01, "`share` of the answers to compare with those of the golden set, or of each request sent alone before the run")
	f.Var(&l.goal, "slo", "the `goal`, such as 'p99<=5ms': decides pass or fail, and what goodput counts")
	f.Uint64Var(&l.Seed, "seed", 1, "of arrivals and generated requests")
	f.StringVar(&l.report, "report", "", "`FILE.html` to write the report to, with .json and the results (.runs) beside it")
}

// open opens the session, or says what to try next.
func (l *loadFlags) open(c *cobra.Command) (*loadtest.Session, func(), error) {
	done := func() {}
	if l.json && l.Binary {
		return nil, done, errors.New("--json and --binary contradict each other: give one of them")
	}
	if err := l.checkReport(); err != nil {
		return nil, done, err
	}
	if err := l.ranges(); err != nil {
		return nil, done, err
	}
	if l.modelOnly != "" {
		for _, name := range []string{"url", "metrics", "cache", "model"} {
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
func (l *loadFlags) attack(c *cobra.Command, s *loadtest.Session, load loadtest.Load) (*result.Run, error) {
	name, length := load.Schedule.Profile, load.Duration
	if load.Concurrency > 0 {
		name = fmt.Sprintf("closed loop of %d", load.Concurrency)
	} else {
		length = load.Schedule.Steps[len(load.Schedule.Steps)-1].End
	}
	show, end := live(c.ErrOrStderr(), l.Model+", "+name, length)
	defer end()
	stop := scenario.Stop{Rule: l.rule, Goal: l.goal}
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
	load.Stop = stop.Reason
	run, err := s.Attack(c.Context(), load)
	if kept != nil {
		err = errors.Join(err, kept.Close(run))
	}
	return run, err
}

// keep starts the results file, to which windows are written as they end, so that they outlive this
// process. It is nil if no report is wanted.
func (l *loadFlags) keep(s *loadtest.Session) (*result.Writer, error) {
	if l.report == "" {
		return nil, nil
	}
	path := runsPath(l.report, 0)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return result.Create(path, s.Asked(), time.Now())
}

// runsPath is where the n-th run of a report goes.
func runsPath(report string, n int) string {
	base := strings.TrimSuffix(report, ".html")
	if n == 0 {
		return base + ".runs"
	}
	return fmt.Sprintf("%s.%d.runs", base, n)
}

// verdict says what a run has shown of the goal.
func (l *loadFlags) verdict(r *result.Run) report.Verdict {
	v := report.Verdict{}
	all := r.Total()
	if l.goal.Limit > 0 {
		v.Outcome, v.Reasons = report.Pass, []string{l.goal.Explain(all)}
		switch l.goal.Held(all) {
		case "changed":
			v.Outcome = report.Fail
		case "cannot tell":
			v.Outcome = report.Unstable
		}
	}
	if n := all.Count(result.Wrong); n > 0 {
		v.Outcome = report.Fail
		v.Reasons = append(v.Reasons, fmt.Sprintf("%d of %d answers that were checked are wrong", n, r.Server.Checked))
	}
	if all.Count(result.OK) == 0 {
		v.Outcome = report.Fail
		v.Reasons = append(v.Reasons, "no request was answered OK")
	}
	if len(r.Invalid) > 0 {
		v.Outcome = report.Invalid
	}
	if l.rule == scenario.Publish && r.Took < scenario.PublishLength && v.Outcome != report.Invalid {
		v.Outcome, v.Reasons = report.Unstable, append(v.Reasons, fmt.Sprintf("--stop-rule publish asks for %v", scenario.PublishLength))
	}
	return v
}

// finish prints the document, writes the report, and returns what the program ends with.
func (l *loadFlags) finish(c *cobra.Command, d report.Document) error {
	shown := d
	if runs(d) > mostShown {
		shown.Series = nil // the report has them
	}
	if err := report.Table(c.OutOrStdout(), shown); err != nil {
		return err
	}
	if err := l.write(c, d); err != nil {
		return err
	}
	return exitWith(d)
}

// mostShown is how many runs are shown in the terminal.
const mostShown = 3

func runs(d report.Document) (n int) {
	for _, s := range d.Series {
		n += len(s.Runs)
	}
	return n
}

// exitWith is the error with the code of a document's verdict, nil if it passes.
func exitWith(d report.Document) error {
	v := scenario.Verdict(d.Verdict.Outcome)
	for _, s := range d.Series {
		for _, r := range s.Runs {
			if len(r.Invalid) > 0 {
				v = scenario.Invalid
			}
		}
	}
	if v == "" || v == scenario.Pass {
		return nil
	}
	return exit{v.Code(), "the load test ends with: " + string(v)}
}

func (l *loadFlags) checkReport() error {
	if l.report == "" {
		return nil
	}
	if filepath.Ext(l.report) != ".html" {
		return fmt.Errorf("--report %s: name a file that ends in .html", l.report)
	}
	if info, err := os.Stat(filepath.Dir(l.report)); err != nil || !info.IsDir() {
		return fmt.Errorf("--report %s: there is no such folder: mkdir -p %s", l.report, filepath.Dir(l.report))
	}
	return nil
}

// write writes the report and what is beside it.
func (l *loadFlags) write(c *cobra.Command, d report.Document) error {
	if l.report == "" {
		return nil
	}
	if err := writeReport(l.report, d); err != nil {
		return err
	}
	n := 0
	for _, s := range d.Series {
		for _, r := range s.Runs {
			path := runsPath(l.report, n)
			n++
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if err := result.Save(path, r); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(c.OutOrStdout(), "\nreport: %s (and .json, %d results files beside it)\n", l.report, n)
	return nil
}

func writeReport(path string, d report.Document) error {
	for name, write := range map[string]func(io.Writer, report.Document) error{
		path: report.HTML,
		strings.TrimSuffix(path, ".html") + ".json": report.JSON,
	} {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		if err := errors.Join(write(f, d), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

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
  thrum loadtest --model digits --rate 500 --slo 'p99<=5ms' --stop-rule gate --report digits.html
  thrum loadtest --model digits --profile 'poisson 100/s for 10s, 1000/s for 5s, 100/s for 10s' --binary
  thrum loadtest --model digits --input golden:examples/models/digits --check 0.01 --rate 200
  thrum loadtest --model digits --input capture:/var/lib/thrum/capture --replay x2 --weigh bytes
  thrum loadtest --model-only examples/models/digits --rate 2000 --binary
  thrum loadtest --url http://127.0.0.1:8000 --model digits --concurrency 8 --duration 10s

  thrum loadtest peak --help         the highest rate at a goal
  thrum loadtest stage --help        may this build go to production?`,
		Args: cobra.NoArgs,
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
}

func (w *what) add(f *pflag.FlagSet) {
	f.StringVar(&w.profile, "profile", "", "the `course` of the load, such as 'poisson 100/s to 500/s for 1m'")
	f.Float64Var(&w.rate, "rate", 0, "requests per second")
	f.StringVar(&w.arrivals, "arrivals", "poisson", "of --rate: poisson, bursty or `constant`")
	f.DurationVar(&w.duration, "duration", 0, "of --rate and --concurrency; 10s if not given, 10m with --stop-rule publish")
	f.IntVar(&w.concurrency, "concurrency", 0, "a closed loop of so many requests under way")
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
	if w.duration == 0 {
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
		return loadtest.Load{Concurrency: w.concurrency, Duration: w.duration}, nil
	}
	if w.replay != "" {
		var speed float64
		if _, err := fmt.Sscanf(strings.TrimPrefix(strings.TrimPrefix(w.replay, "x"), "×"), "%g", &speed); err != nil {
			return loadtest.Load{}, fmt.Errorf("--replay %s: write it like x1 or x2.5", w.replay)
		}
		trace, err := s.Replay(speed)
		return loadtest.Load{Schedule: trace}, err
	}
	p := schedule.Profile{Arrivals: schedule.Arrivals(w.arrivals), Parts: []schedule.Part{{Rate: w.rate, To: w.rate, Duration: w.duration}}}
	if w.profile != "" {
		var err error
		if p, err = schedule.Parse(w.profile); err != nil {
			return loadtest.Load{}, err
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
	run, err := l.attack(c, s, load)
	if err != nil {
		return err
	}
	return l.finish(c, report.Document{
		Title: l.Model, Verdict: l.verdict(run), Goal: l.reportGoal(),
		Series: []report.Series{{Name: l.Model, Runs: []*result.Run{run}}},
	})
}

// enough is how long a trial at a rate has to be for the goal to be told from it.
func enough(rate, requests float64, least time.Duration) time.Duration {
	return max(least, time.Duration(math.Ceil(requests/rate))*time.Second)
}

// stopped reports whether Ctrl-C has ended what was under way.
func stopped(ctx context.Context) bool { return ctx.Err() != nil }
