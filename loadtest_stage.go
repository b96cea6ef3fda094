package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thrumserve/thrum/loadtest"
	"github.com/thrumserve/thrum/loadtest/oip"
	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stage"
)

func stageCommand() *cobra.Command {
	var l loadFlags
	c := &cobra.Command{
		Use:   "stage PLAN.yaml",
		Short: "Decide by a plan whether a build may go to production",
		Long: `Run a plan: shares of the load that is forecast, a spike, a soak, a drain, and the build in turns with
its baseline. What comes of that is held against the plan's goals. Ends with 0: pass; 1: fail;
2: invalid, the figures cannot be believed; 3: unstable, it cannot be told, which does not pass.`,
		Example: `  thrum loadtest stage examples/staging/plan.yaml
  thrum loadtest stage plan.yaml --report staging.html && deploy`,
		Args: strict(cobra.ExactArgs(1)),
	}
	l.addReport(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error { return invalid(runStage(c, &l, args[0])) }
	return c
}

func runStage(c *cobra.Command, l *loadFlags, path string) error {
	if err := l.checkReport(newRuns); err != nil {
		return err
	}
	p, err := stage.Read(path)
	if err != nil {
		return err
	}
	if l.Access, err = access(c.Context(), p); err != nil {
		return fmt.Errorf("plan %s: %w", path, err)
	}
	d, _, err := stage.Run(c.Context(), p, stage.Options{
		Attack: func(ctx context.Context, a stage.Attack) (*result.Run, error) { return l.attackStage(ctx, c, p, a) },
		Client: l.Access.Client,
		Ready: func(ctx context.Context, url string) error {
			client, err := oip.NewClient(url)
			if err != nil {
				return err
			}
			return client.Via(l.Access.Client(client.Address())).Ready(ctx, p.Model, p.Version)
		},
		Progress: func(text string) { fmt.Fprintln(c.ErrOrStderr(), "=", text) },
	})
	if err != nil {
		fmt.Fprintln(c.ErrOrStderr(), "the plan was not run to its end:", l.Mask(err.Error()))
	}
	for i, why := range d.Verdict.Reasons { // servers are quoted in them
		d.Verdict.Reasons[i] = l.Mask(why)
	}
	for i, f := range d.Findings {
		d.Findings[i].Got = l.Mask(f.Got)
	}
	return l.finish(c, d)
}

// access is that of a plan.
func access(ctx context.Context, p stage.Plan) (a loadtest.Access, err error) {
	lines, err := p.Header(ctx)
	if err == nil {
		a.Header, err = loadtest.ParseHeader(lines)
	}
	if err == nil {
		a.TLS, err = loadtest.TLS(p.CA, p.Insecure)
	}
	return a, err
}

// attackStage runs a load test that the stage asks for.
func (l *loadFlags) attackStage(ctx context.Context, c *cobra.Command, p stage.Plan, a stage.Attack) (*result.Run, error) {
	s, err := loadtest.Open(ctx, loadtest.Options{
		URL: a.URL, Metrics: a.Metrics, Access: l.Access, Model: p.Model, Version: p.Version,
		Input: p.Inputs, Binary: p.Body == "binary", Cache: loadtest.Cache(p.Cache),
		Timeout: p.Timeout, Connections: p.Connections, Check: float64(p.Goals.Answers), Seed: p.Seed,
	})
	if err != nil {
		return nil, err
	}
	made, err := a.Profile.Schedule(a.Seed)
	if err != nil {
		return nil, err
	}
	return l.attack(ctx, c, s, loadtest.Load{Schedule: made})
}

// readRuns reads results files. What is damaged is read up to there, and the run says so.
func readRuns(c *cobra.Command, paths []string) ([]*result.Run, error) {
	var runs []*result.Run
	for _, path := range paths {
		r, err := result.Load(path)
		if damage := new(result.Damage); err != nil && !errors.As(err, &damage) {
			return nil, err
		}
		if err != nil {
			fmt.Fprintln(c.ErrOrStderr(), "warning:", err)
		}
		runs = append(runs, r)
	}
	return runs, nil
}

func reportCommand() *cobra.Command {
	var l loadFlags
	c := &cobra.Command{
		Use:   "report FILE.runs ...",
		Short: "Make a report of results files; those after the first are compared with it",
		Example: `  thrum loadtest report digits.runs --report digits.html
  thrum loadtest report new.runs old.runs --slo 'p99<=5ms' --report change.html`,
		Args: strict(cobra.MinimumNArgs(1)),
	}
	l.addReport(c.Flags())
	c.Flags().Lookup("report").Usage = "`FILE.html` to write, with .json beside it"
	c.Flags().Var(&l.goal, "slo", "the `goal`, such as 'p99<=5ms'")
	c.RunE = func(c *cobra.Command, paths []string) error {
		if err := l.checkReport(!newRuns); err != nil {
			return invalid(err)
		}
		runs, err := readRuns(c, paths)
		if err != nil {
			return invalid(err)
		}
		d := report.Document{Title: runs[0].Asked.Model, Goal: l.reportGoal(), Verdict: l.verdict(runs[0])}
		for i, r := range runs {
			name := strings.TrimSuffix(filepath.Base(paths[i]), ".runs")
			d.Series = append(d.Series, report.Series{Name: name, Runs: []*result.Run{r}})
		}
		if err := report.Table(c.OutOrStdout(), d); err != nil {
			return invalid(err)
		}
		if l.report != "" {
			if err := l.writeReport(d); err != nil {
				return invalid(err)
			}
		}
		return exitWith(d)
	}
	return c
}

func mergeCommand() *cobra.Command {
	var into string
	c := &cobra.Command{
		Use:     "merge FILE.runs ... --into FILE.runs",
		Short:   "Make one results file of several runs of the same load",
		Example: "  thrum loadtest merge one.runs two.runs --into both.runs",
		Args:    strict(cobra.MinimumNArgs(2)),
	}
	c.Flags().StringVar(&into, "into", "", "results `file` to write, which must not exist")
	c.RunE = func(c *cobra.Command, paths []string) error {
		if into == "" {
			return invalid(errors.New("where to? add --into FILE.runs"))
		}
		runs, err := readRuns(c, paths)
		if err != nil {
			return invalid(err)
		}
		merged, err := result.Merge(runs...)
		if err != nil {
			return invalid(err)
		}
		return invalid(result.Save(into, merged))
	}
	return c
}
