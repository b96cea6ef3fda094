// Command serving compares thrum with other serving systems: the same models, inputs, schedules and
// checks, in the same run, each system in the configuration that its own guide has for this load.
//
// The systems run side by side and are measured in turns, back and forth, so that a machine whose
// clock or neighbours change between rounds changes all of them; a ratio is the median over rounds.
// Read the ratios, not the rates: generator and servers share a small machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	thrum, models, drivers, environments, out string

	only, cases *regexp.Regexp
	rounds      int
	trial       time.Duration // of the search for a peak
	tolerance   float64
	rate        float64 // the fixed one
	fixed       time.Duration
	seed        uint64

	serverCPUs []int // empty: wherever the kernel lets them
}

func main() {
	o := options{seed: 1, tolerance: 0.05}
	flag.StringVar(&o.thrum, "thrum", "./thrum", "thrum's binary")
	flag.StringVar(&o.models, "models", "examples/models", "the bundled models")
	flag.StringVar(&o.drivers, "drivers", "bench/peers/serving/drivers", "the peers' drivers")
	flag.StringVar(&o.environments, "environments", "/tmp/thrum-peers", "the peers' Python environments, made by environments.sh")
	flag.StringVar(&o.out, "out", "", "where to write results.json and index.html; environments if empty")
	only := flag.String("only", ".", "which systems beside thrum")
	cases := flag.String("cases", ".", "which cases, such as null/json")
	short := flag.Bool("short", false, "about three minutes: the null model, two rounds, a coarse search")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds")
	flag.DurationVar(&o.trial, "trial", 5*time.Second, "length of a trial of the search")
	flag.DurationVar(&o.fixed, "fixed", 10*time.Second, "length of a run at the fixed rate")
	flag.Float64Var(&o.rate, "rate", 200, "the fixed rate, requests/s")
	pin := flag.Bool("pin", true, "the generator on a core of its own, the servers on the others")
	floor, answer := flag.String("floor", "", "internal: be the floor at this address"), flag.String("floor-answer", "", "internal")
	flag.Parse()
	if *floor != "" {
		exitOn(serveFloor(*floor, *answer))
		return
	}
	if *short {
		o.rounds, o.trial, o.tolerance, o.fixed = 2, 700*time.Millisecond, 0.25, 2*time.Second
		if *cases == "." {
			*cases = "^null/"
		}
	}
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		o.cases, err = regexp.Compile(*cases)
	}
	exitOn(err)
	if o.out == "" {
		o.out = o.environments
	}
	if *pin {
		o.serverCPUs, err = pinned()
		exitOn(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(run(ctx, o))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	digits, err := goldenModel(o.models, "digits", "image", "probabilities", 1, 8, 8)
	if err != nil {
		return err
	}
	tumor, err := goldenModel(o.models, "tumor", "features", "probabilities", 30)
	if err != nil {
		return err
	}
	r := newReport(o)
	for _, m := range []model{nullModel(), digits, tumor} {
		if !slices.ContainsFunc(bodies, func(body string) bool { return o.cases.MatchString(m.name + "/" + body) }) {
			continue
		}
		if err := compare(ctx, o, m, r); err != nil {
			return err
		}
	}
	if len(r.Cases) == 0 {
		return fmt.Errorf("no case is like %s", o.cases)
	}
	r.LoadAfter = machineLoad()
	if err := r.print(os.Stdout); err != nil {
		return err
	}
	return r.write(o.out)
}

var bodies = []string{"json", "binary"}

// compare starts every system with m and measures them in turns with either body.
func compare(ctx context.Context, o options, m model, r *report) (err error) {
	runs := startAll(ctx, o, m, r)
	defer func() {
		for _, run := range runs {
			err = errors.Join(err, run.stop())
		}
	}()
	if len(runs) == 0 || runs[0].name != "thrum" {
		return fmt.Errorf("thrum did not start: %s", r.Missing["thrum"])
	}
	idle := idleCPU(runs)
	for _, body := range bodies {
		if !o.cases.MatchString(m.name + "/" + body) {
			continue
		}
		c := newCase(m.name, body)
		for round := range o.rounds {
			order := slices.Clone(runs)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, run := range order {
				if err := c.round(ctx, o, run, m); err != nil {
					return err
				}
			}
		}
		for i, run := range runs {
			c.hold(run, idle[i])
		}
		r.Cases = append(r.Cases, c)
	}
	if m.name == "null" && ctx.Err() == nil {
		if r.Witnesses, err = witness(ctx, o, runs[0], m); err != nil {
			r.Missing["perf_analyzer"] = firstLine(err)
			err = nil
		}
	}
	return ctx.Err()
}

// startAll starts the systems one after the other, so that each has the machine while its start is
// timed. What does not start is left out, and said.
func startAll(ctx context.Context, o options, m model, r *report) (runs []*process) {
	for i, s := range systems {
		if s.name != "thrum" && !o.only.MatchString(s.name) {
			continue
		}
		run, err := start(ctx, s, place{options: o, port: 18400 + 10*i, model: m})
		if err == nil {
			err = checkAll(ctx, run, m)
			if err != nil {
				err = errors.Join(err, run.stop())
			}
		}
		if err != nil {
			r.Missing[s.name] = firstLine(err)
			progress("%s is left out: %v", s.name, err)
			continue
		}
		progress("%s serves %s after %v", s.name, m.name, run.ready.Round(time.Millisecond))
		runs = append(runs, run)
	}
	return runs
}

// checkAll compares every answer with the one that is known, with either body.
func checkAll(ctx context.Context, run *process, m model) error {
	for _, body := range bodies {
		d, ok := run.dialectOf(body)
		if !ok || run.name == "floor" {
			continue
		}
		target := run.target(d, m)
		for i := range m.rows {
			if err := ask(ctx, target, d, m, i); err != nil {
				return fmt.Errorf("%s body: %w", body, err)
			}
		}
	}
	return nil
}

// idleCPU is the share of a core that each takes while nobody asks it anything.
func idleCPU(runs []*process) []float64 {
	const while = 2 * time.Second
	idle := make([]float64, len(runs))
	for i, run := range runs {
		idle[i] = -run.cpu().Seconds()
	}
	time.Sleep(while)
	for i, run := range runs {
		idle[i] = (idle[i] + run.cpu().Seconds()) / while.Seconds()
	}
	return idle
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func machineLoad() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, found := strings.CutPrefix(line, "model name"); found {
			return fmt.Sprintf("%s, %d processors", strings.Trim(name, "\t :\n"), runtime.NumCPU())
		}
	}
	return fmt.Sprintf("%d processors", runtime.NumCPU())
}

func create(folder, name string) (*os.File, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	return os.Create(filepath.Join(folder, name))
}
