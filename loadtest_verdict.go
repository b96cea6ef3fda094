package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thrumserve/thrum/loadtest/report"
	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/scenario"
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

// strict is args, whose error ends the program as one over which nothing was measured.
func strict(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		err := args(c, given)
		if err != nil {
			err = fmt.Errorf("%w: try `%s --help`", err, c.CommandPath())
		}
		return invalid(err)
	}
}

// longest is the longest duration that a flag may name.
const longest = 24 * time.Hour

// checkNumbers reports the first number that was given and cannot be meant.
func checkNumbers(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		held, want := true, "a number above 0"
		switch f.Value.Type() {
		case "duration":
			d, _ := time.ParseDuration(f.Value.String())
			held, want = d > 0 && d <= longest, fmt.Sprintf("above 0 and at most %v", longest)
		case "int":
			held = !strings.HasPrefix(f.Value.String(), "-") && (f.Value.String() != "0" || f.Name == "connections")
		case "float64":
			held = strings.IndexAny(f.Value.String(), "-NI") != 0 && !strings.HasPrefix(f.Value.String(), "+I") && (f.Value.String() != "0" || f.Name == "check")
		}
		if err == nil && !held {
			err = fmt.Errorf("--%s %v: has to be %s", f.Name, f.Value, want)
		}
	})
	return err
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
	if l.rule == scenario.Publish && r.Took-r.Asked.WarmUp < scenario.PublishLength && v.Outcome != report.Invalid {
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
	n := 0 // results first: of them a report can be made again
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
	if err := writeReport(l.report, d); err != nil {
		return err
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
