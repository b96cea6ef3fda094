// Command kernels measures thrum's kernels beside those of others and beside what the processor
// can do at best: matrix products beside ONNX Runtime's, and beside loops that multiply in
// registers and read no memory; embeddings beside reads of random rows; JSON beside other
// readers and writers.
//
// What is compared runs in turns, and what both sides answer is compared in the same run. The
// calibration comes first.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/thrumserve/thrum/bench/peers/engine"
	"github.com/thrumserve/thrum/bench/turns"
)

// lab is what the rows are measured with.
type lab struct {
	turns.Plan
	short       bool
	table       int    // GiB of embeddings
	environment string // what bench/peers/engine/environment.sh has made
}

func (l *lab) rows() []turns.Row {
	return []turns.Row{
		{Name: "calibration", Run: l.calibration},
		{Name: "matmul 1", Run: func(ctx context.Context) ([]turns.Finding, error) { return l.matmuls(ctx, 1) }},
		{Name: "matmul 2", Run: func(ctx context.Context) ([]turns.Finding, error) { return l.matmuls(ctx, 2) }},
		{Name: "bf16", Run: l.bf16},
		{Name: "int8", Run: l.int8},
		{Name: "embedding", Run: l.embeddings},
		{Name: "json", Run: l.json},
	}
}

// python starts the Python of the engines.
func (l *lab) python(ctx context.Context) (*engine.Process, error) {
	return engine.Start(ctx, filepath.Join(l.environment, "engines", "bin", "python"))
}

func main() {
	l := &lab{Plan: turns.Plan{Rounds: 15, Length: 300 * time.Millisecond}}
	flag.IntVar(&l.Rounds, "rounds", l.Rounds, "rounds of each comparison")
	flag.DurationVar(&l.Length, "length", l.Length, "length of one side of a round")
	flag.BoolVar(&l.short, "short", false, "less of everything, in about a minute: the figures say little")
	flag.StringVar(&l.environment, "environment", "/tmp/thrum-peers/engine", "the folder that bench/peers/engine/environment.sh has filled")
	flag.IntVar(&l.table, "table", 8, "size of the table of embeddings, in GiB; with -short at most one")
	pattern := flag.String("only", "", "measure only what this regular expression is found in the name of: "+turns.Names(l.rows()))
	flag.Parse()
	if l.short {
		l.Plan = turns.Plan{Rounds: 3, Length: 50 * time.Millisecond}
	}
	only, err := regexp.Compile(*pattern)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = turns.Print(ctx, l.rows(), only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}
