// Command engine measures thrum's CPU engine beside other engines, whole models on each: an
// encoder, a sentence encoder, a small perceptron and image networks beside ONNX Runtime and
// OpenVINO, tree ensembles beside those and XGBoost and tl2cgen, and the memory of a loaded model
// beside that of its weights.
//
// What is compared runs in turns, without a server on either side, and what both answer is
// compared in the same run.
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

	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/bench/peers/engine"
	"github.com/thrumserve/thrum/bench/turns"
	cpuplugin "github.com/thrumserve/thrum/plugins/cpu"
)

// roleKey makes this program the plugin whose memory is measured.
const roleKey = "THRUM_BENCH_ENGINE_ROLE"

// lab is what the rows are measured with.
type lab struct {
	turns.Plan
	short       bool
	environment string // what bench/peers/engine/environment.sh has made
}

func (l *lab) rows() []turns.Row {
	return []turns.Row{
		{Name: "encoder", Run: l.encoder},
		{Name: "minilm", Run: l.minilm},
		{Name: "mlp", Run: l.mlp},
		{Name: "resnet", Run: l.resnet},
		{Name: "mobilenet", Run: l.mobilenet},
		{Name: "efficientnet", Run: l.efficientnet},
		{Name: "trees", Run: l.trees},
		{Name: "memory", Run: l.memory},
	}
}

// model returns the model of that name.
func (l *lab) model(name string) (engine.Model, error) {
	return engine.OpenModel(filepath.Join(l.environment, "models"), name)
}

// python starts the Python of the engines.
func (l *lab) python(ctx context.Context) (*engine.Process, error) {
	return engine.Start(ctx, filepath.Join(l.environment, "engines", "bin", "python"))
}

func main() {
	if os.Getenv(roleKey) != "" {
		cpuplugin.Serve(cpu.Options{})
		return
	}
	l := &lab{Plan: turns.Plan{Rounds: 15, Length: 300 * time.Millisecond}}
	flag.IntVar(&l.Rounds, "rounds", l.Rounds, "rounds of each comparison")
	flag.DurationVar(&l.Length, "length", l.Length, "length of one side of a round")
	flag.BoolVar(&l.short, "short", false, "less of everything, in about a minute: the figures say little")
	flag.StringVar(&l.environment, "environment", "/tmp/thrum-peers/engine", "the folder that bench/peers/engine/environment.sh has filled")
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
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}
