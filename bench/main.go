// Command bench measures the whole path of a request: thrum with a model that computes
// nothing, beside a bare fasthttp echo that gets the same bytes, in the same run.
//
// Rounds are interleaved and the ratios are medians over pairs of neighbouring rounds, so that
// a machine whose clock or neighbours change between rounds changes both sides of a pair. The
// generator runs on the same cores as the servers: read the ratios, not the rates.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

type options struct {
	thrum       string
	connections int
	rounds      int
	round       time.Duration
	echo        string
}

func main() {
	var o options
	flag.StringVar(&o.thrum, "thrum", "./thrum", "the server's binary")
	flag.IntVar(&o.connections, "connections", 64, "clients, each with one request under way")
	flag.IntVar(&o.rounds, "rounds", 15, "rounds of each measurement")
	flag.DurationVar(&o.round, "round", 500*time.Millisecond, "length of a round")
	flag.StringVar(&o.echo, "echo", "", "internal: be the echo server at this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if o.echo != "" {
		exitOn(serveEcho(ctx, o.echo))
		return
	}
	exitOn(run(ctx, o))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	echo, err := startEcho(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, echo.stop()) }()
	thrum, err := startThrum(ctx, o.thrum)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, thrum.stop()) }()

	fmt.Printf("null model, %d connections, %d rounds of %v each, %d cores shared with the generator\n\n",
		o.connections, o.rounds, o.round, runtime.NumCPU())
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "body\tbytes\tserver\trequests/s\tCPU µs/request\trate ÷ echo\tCPU ÷ echo\t")
	for _, body := range bodies() {
		if err := compare(ctx, o, body, echo, thrum, table); err != nil {
			return err
		}
	}
	return table.Flush()
}

// compare measures both servers with one body, in turns.
func compare(ctx context.Context, o options, b body, echo, thrum *server, table *tabwriter.Writer) error {
	var base, ours []result
	for round := range o.rounds + 1 {
		e, err := measure(ctx, o, b.request("/echo", echo.address), echo)
		if err != nil {
			return fmt.Errorf("echo: %w", err)
		}
		t, err := measure(ctx, o, b.request("/v2/models/null/infer", thrum.address), thrum)
		if err != nil {
			return fmt.Errorf("thrum: %w", err)
		}
		if round == 0 {
			continue // connections, caches and the first collections
		}
		base, ours = append(base, e), append(ours, t)
		progress("%s: round %d of %d", b.name, round, o.rounds)
	}
	progress("")
	rate := func(r result) float64 { return float64(r.requests) / r.took.Seconds() }
	cpu := func(r result) float64 { return r.cpu.Seconds() * 1e6 / float64(r.requests) }
	fmt.Fprintf(table, "%s\t%d\tfasthttp echo\t%.0f\t%.1f\t1.00\t1.00\t\n", b.name, len(b.bytes), median(base, rate), median(base, cpu))
	fmt.Fprintf(table, "%s\t%d\tthrum\t%.0f\t%.1f\t%.2f\t%.2f\t\n", b.name, len(b.bytes), median(ours, rate), median(ours, cpu),
		medianRatio(ours, base, rate), medianRatio(ours, base, cpu))
	return nil
}

// progress overwrites the last line of a terminal; elsewhere it says nothing.
func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}

func median(rs []result, of func(result) float64) float64 {
	values := make([]float64, len(rs))
	for i, r := range rs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func medianRatio(a, b []result, of func(result) float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = of(a[i]) / of(b[i])
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
