//go:build cuda

// Command bench measures models and kernels on a device beside PyTorch's compiler and beside what the
// device can do at best, in a folder that it is built into with all it needs: `make bench-cuda`. What is
// compared runs in turns and in the same run, and what both sides answer is compared.
//
// Each row is measured by a process of its own, so that one that fails, hangs or loses the device costs no
// other. It ends with 1 where a row fails, and with 77 where there is no device.
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
	"syscall"
	"time"

	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/gpu"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/bench/turns"
	"github.com/thrumserve/thrum/plugins"
)

// noDevice is what the program ends with where nothing can be measured.
const noDevice = 77

// pluginKey makes this program a plugin whose driver pretends.
const pluginKey = "THRUM_BENCH_PLUGIN"

// settings are the flags.
type settings struct {
	folder  string        // where peer.py, thrum and thrum-backend-cuda are
	length  time.Duration // of each side of a comparison
	within  time.Duration // of all rows
	small   bool
	pretend bool
	modes   string // of the compiler
	python  string
	only    string
	figures string // a file

	row    string // in a process of one row
	models string // where that process finds and leaves models
}

func parse() settings {
	self, err := os.Executable()
	if err != nil {
		self = "."
	}
	var s settings
	flag.StringVar(&s.folder, "folder", filepath.Dir(self), "where peer.py, thrum and thrum-backend-cuda are")
	flag.DurationVar(&s.length, "time", 2*time.Second, "how long each side of a comparison is measured")
	flag.DurationVar(&s.within, "within", 8*time.Minute+30*time.Second, "the time for all rows together, which they share")
	flag.BoolVar(&s.small, "small", false, "models of a few small layers, to try the program itself")
	flag.BoolVar(&s.pretend, "pretend", false, "the driver is one of the tests', which has kernels of its own")
	flag.StringVar(&s.modes, "modes", "default,max-autotune-no-cudagraphs", "of torch.compile, the best of which counts; those after the first where there is time for them")
	flag.StringVar(&s.python, "python", "python3", "an interpreter with PyTorch, and what peer.py is given, such as --device cpu; none if empty")
	flag.StringVar(&s.only, "only", "", "measure only what this regular expression is found in the name of: "+turns.Names(named(nil)))
	flag.StringVar(&s.figures, "json", "", "a file for the figures")
	flag.StringVar(&s.row, "row", "", "measure this row in this process and print its lines as JSON, which is what the program starts itself for")
	flag.StringVar(&s.models, "models", "", "with -row, the folder of the models that other rows have made")
	flag.Parse()
	return s
}

// backend returns the backend of the device.
func (s settings) backend() *cuda.Backend {
	image := kernels.Image
	if s.pretend {
		image = func(int, int) ([]byte, error) { return []byte("kernels\x00"), nil }
	}
	return cuda.New(gpu.Open, image)
}

func main() {
	if os.Getenv(pluginKey) != "" {
		plugins.Serve(settings{pretend: true}.backend())
		return
	}
	s := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := s.table
	if s.row != "" {
		run = s.alone
	}
	switch err := run(ctx); {
	case errors.Is(err, errNoDevice):
		fmt.Println("nothing is measured:", err)
		os.Exit(noDevice)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// table measures all rows, each in a process of its own, and prints what they found.
func (s settings) table(ctx context.Context) (err error) {
	pattern, err := regexp.Compile(s.only)
	if err != nil {
		return err
	}
	machine, err := s.describe(ctx)
	if err != nil {
		return err
	}
	fmt.Println(machine)
	models, err := os.MkdirTemp("", "thrum-bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(models)) }()
	s.models = models
	t := &table{settings: s, report: report{Machine: machine, Began: time.Now()}, until: time.Now().Add(s.within), libraries: s.libraries(ctx)}
	for _, r := range rows {
		if pattern.MatchString(r.name) {
			t.weight += r.weight
		}
	}
	return turns.Print(ctx, named(t.measure), pattern)
}

// alone measures one row in this process.
func (s settings) alone(ctx context.Context) (err error) {
	for _, r := range rows {
		if r.name != s.row {
			continue
		}
		l := newLab(s)
		defer func() { err = errors.Join(err, l.close()) }()
		return r.run(l, ctx)
	}
	return fmt.Errorf("there is no row %q", s.row)
}
