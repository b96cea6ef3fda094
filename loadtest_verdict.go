package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
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
	if len(r.Steps) == 0 { // of a file that was cut in its first step: nothing can be said of the goal
		return report.Verdict{Outcome: report.Invalid}
	}
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

// newRuns says that results files are written beside the report, and not those that it is made of.
const newRuns = true

// checkReport reports a report that cannot be written, or that is there already.
func (l *loadFlags) checkReport(runs bool) error {
	if l.report == "" {
		return nil
	}
	if filepath.Ext(l.report) != ".html" {
		return fmt.Errorf("--report %s: name a file that ends in .html", l.report)
	}
	if info, err := os.Stat(filepath.Dir(l.report)); err != nil || !info.IsDir() {
		return fmt.Errorf("--report %s: there is no such folder: mkdir -p %s", l.report, filepath.Dir(l.report))
	}
	if l.force {
		return nil
	}
	there, err := written(l.report, runs)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("--report %s: %s is there already: name another, or write over it with --force", l.report, there[0])
	}
	return err
}

// numbered is what follows the name of a report in those of its results files.
var numbered = regexp.MustCompile(`^(\.[0-9]+)?\.runs$`)

// written returns the files of an older report of the name, its results files among them if runs is true.
func written(report string, runs bool) (there []string, err error) {
	folder, name := filepath.Dir(report), strings.TrimSuffix(filepath.Base(report), ".html")
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		rest, ok := strings.CutPrefix(f.Name(), name)
		if ok && (rest == ".html" || rest == ".json" || runs && numbered.MatchString(rest)) {
			there = append(there, filepath.Join(folder, f.Name()))
		}
	}
	return there, nil
}

// clear removes the results files of an older report, or those that were begun for this one. Without
// --force there are no others.
func (l *loadFlags) clear() error {
	there, err := written(l.report, newRuns)
	if err != nil {
		return err
	}
	for _, path := range there {
		if strings.HasSuffix(path, ".runs") {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// runsPath is where the n-th run of a report goes.
func runsPath(report string, n int) string {
	base := strings.TrimSuffix(report, ".html")
	if n == 0 {
		return base + ".runs"
	}
	return fmt.Sprintf("%s.%d.runs", base, n)
}

// write writes the report and what is beside it.
func (l *loadFlags) write(c *cobra.Command, d report.Document) error {
	if l.report == "" {
		return nil
	}
	if err := l.clear(); err != nil { // those kept on the way, of which the document may leave some out
		return err
	}
	n := 0 // results first: of them a report can be made again
	for _, s := range d.Series {
		for _, r := range s.Runs {
			if err := result.Save(runsPath(l.report, n), r); err != nil {
				return err
			}
			n++
		}
	}
	if err := l.writeReport(d); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "\nreport: %s (and .json, %d results files beside it)\n", l.report, n)
	return nil
}

func (l *loadFlags) writeReport(d report.Document) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if l.force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	for name, write := range map[string]func(io.Writer, report.Document) error{
		l.report: report.HTML,
		strings.TrimSuffix(l.report, ".html") + ".json": report.JSON,
	} {
		f, err := os.OpenFile(name, how, 0o644)
		if err != nil {
			return err
		}
		if err := errors.Join(write(f, d), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
