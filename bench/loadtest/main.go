// Command loadtest measures whether thrum's load tests tell the truth: each row puts something with
// a known answer before them, and prints what they found beside what they have to find.
//
// Generators, servers and witnesses share the processors of one machine. What is compared runs in
// turns, and ratios are medians over rounds of neighbours, so that a machine whose clock or
// neighbours change hits both sides: read the ratios, not the rates.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// row is a line of the table.
type row struct {
	name   string // for -only
	what   string
	target string
	run    func(ctx context.Context) (measured string, held bool, err error)
}

// rows are in the order in which they run and are printed.
var rows = []row{
	{"stall", "percentiles on a server with an injected 1.4 s stall, against the arithmetic truth", "p99 within 5 %", stallRow},
	{"wrk", "requests/s scheduled on one core with < 0.1 % late, small binary body, against wrk on the same core", "≥ 0.60", wrkRow},
	{"gate", "the gate on a build with an injected 5 % p99 regression, 20 trials; without one, 20 trials", "caught ≥ 19; false alarms ≤ 1", gateRow},
	{"loadgen", "peak found by `thrum loadtest` against MLPerf LoadGen's own Server search on the same server", "within 5 %", loadgenRow},
	{"peers", "null model, JSON 784 floats and binary: requests/s at p99 ≤ 5 ms and CPU per request, against the best peer that installs", "≥ 2×; ≤ 0.5×", peersRow},
	{"soak", "soak of 10 minutes on a server made to leak 1 MB/min; on the healthy one", "caught; not accused", soakRow},
}

// roleKey makes this program one of the processes that it measures.
const roleKey = "THRUM_BENCH_LOADTEST_ROLE"

var roles = map[string]func(ctx context.Context) error{
	"stall server": serveStall,
	"fast server":  serveFast,
	"generator":    generate,

	"baseline build":      serveBaseline,
	"regressed build":     serveRegressed,
	"healthy server":      serveHealthy,
	"leaking server":      serveLeaky,
	"very leaking server": serveVeryLeaky,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if role := os.Getenv(roleKey); role != "" {
		exitOn(roles[role](ctx))
		return
	}
	pattern := flag.String("only", "", "measure only what this regular expression is found in the name of: "+names())
	flag.Parse()
	only, err := regexp.Compile(*pattern)
	exitOn(err)
	exitOn(run(ctx, only))
}

func names() string {
	var all []string
	for _, r := range rows {
		all = append(all, r.name)
	}
	return strings.Join(all, ", ")
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/loadtest:", err)
		os.Exit(1)
	}
}

// run prints the table. A target that is missed is a finding; a row that cannot be measured says so, and
// is an error, but not before the others were.
func run(ctx context.Context, only *regexp.Regexp) error {
	fmt.Printf("%s, %d processors, load average %s\n\n", time.Now().Format("2006-01-02 15:04"), runtime.NumCPU(), loadAverage())
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmeasured\ttarget\t")
	var errs []error
	for _, r := range rows {
		if !only.MatchString(r.name) || ctx.Err() != nil {
			continue
		}
		begin := time.Now()
		measured, held, err := r.run(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
			first, _, _ := strings.Cut(err.Error(), "\n")
			fmt.Fprintf(table, "%s\tnot measured: %s\t%s\t%s\n", r.what, first, r.target, verdict(false))
			continue
		}
		fmt.Fprintf(os.Stderr, "%s took %v\n", r.name, time.Since(begin).Round(time.Second))
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.what, measured, r.target, verdict(held))
	}
	errs = append(errs, table.Flush(), ctx.Err())
	fmt.Printf("\nload average at the end %s\n", loadAverage())
	return errors.Join(errs...)
}

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "MISSED"
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
