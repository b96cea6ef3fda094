package turns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Row measures one thing or several that belong together.
type Row struct {
	Name string // for -only
	Run  func(ctx context.Context) ([]Finding, error)
}

// Finding is a line of the table.
type Finding struct {
	What, Measured, Target string
	Verdict                Verdict
}

// Verdict says what became of a target.
type Verdict string

// The verdicts. None is for what has no target and stands beside what has.
const (
	Held        Verdict = "held"
	Missed      Verdict = "MISSED"
	NotMeasured Verdict = "not measured"
	None        Verdict = ""
)

// Judge says whether a target was held.
func Judge(held bool) Verdict {
	if held {
		return Held
	}
	return Missed
}

// AtLeast judges a ratio by its median.
func AtLeast(ratio Spread, target float64) Verdict { return Judge(ratio.Median >= target) }

// Print runs the rows whose name only matches and prints what they find. A target that is missed
// is a finding; a row that cannot be measured is an error, but not before the others were.
func Print(ctx context.Context, rows []Row, only *regexp.Regexp) error {
	fmt.Printf("%s, %s, GOMAXPROCS %d, load average %s\n\n", time.Now().Format("2006-01-02 15:04"), runtime.Version(), runtime.GOMAXPROCS(0), loadAverage())
	began := time.Now()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmeasured\ttarget\t")
	var errs []error
	for _, r := range rows {
		if !only.MatchString(r.Name) || ctx.Err() != nil {
			continue
		}
		errs = append(errs, r.print(ctx, table))
	}
	errs = append(errs, table.Flush(), ctx.Err())
	fmt.Printf("\n%v, load average at the end %s\n", time.Since(began).Round(time.Second), loadAverage())
	return errors.Join(errs...)
}

// print adds what a row finds, also where it fails in the middle.
func (r Row) print(ctx context.Context, table *tabwriter.Writer) error {
	began := time.Now()
	findings, err := r.Run(ctx)
	fmt.Fprintf(os.Stderr, "%s took %v\n", r.Name, time.Since(began).Round(time.Second))
	for _, f := range findings {
		fmt.Fprintf(os.Stderr, "  %s: %s (%s) %s\n", f.What, f.Measured, f.Target, f.Verdict)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.What, f.Measured, f.Target, f.Verdict)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	return nil
}

// Names returns the names of rows, for people.
func Names(rows []Row) string {
	var all []string
	for _, r := range rows {
		all = append(all, r.Name)
	}
	return strings.Join(all, ", ")
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
