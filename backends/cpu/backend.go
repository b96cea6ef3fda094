// Package cpu runs ONNX models on this processor.
//
// Loading a model makes a plan of its graph: constants are folded, patterns that one kernel
// computes are fused, every node becomes a step whose weights are packed and whose arguments
// are slots, and each slot is freed after its last use. The first predictions with certain shapes
// of the inputs find out what depends on these alone, and what memory is taken when; from then
// on that is constant, and every value has its place in one arena. Any number of predictions run
// at once; each has its own arena, and they share the model's threads.
package cpu

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/cpuid/v2"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
	"github.com/thrumserve/thrum/backends/weights"
)

// Options are the settings of a backend.
type Options struct {
	Threads int    // a prediction runs on at most so many threads; 0 is GOMAXPROCS
	Level   string // the instruction set, such as "avx2"; empty is the best there is

	Precision kernels.Precision // of products; FP32 unless said otherwise
}

// maxThreads bounds Options.Threads.
const maxThreads = 1024

// New returns the backend. A model's own options "threads", "precision" and "cpu_level" go before o; the
// instruction set is one for the whole process.
func New(o Options) backends.Backend {
	return &backend{options: o, models: map[*model]bool{}}
}

type backend struct {
	options Options

	mu     sync.Mutex
	models map[*model]bool // those loaded; guarded by mu
	closed bool            // guarded by mu
	level  string          // the instruction set chosen, "" if none was; guarded by mu
}

// Info describes the processor. It never waits.
func (b *backend) Info(context.Context) (backends.Info, error) {
	level := b.options.Level
	if level == "" || CheckLevel(level) != nil {
		level = kernels.CurrentLevel().String()
	}
	return backends.Info{Name: "cpu", Version: "1", Device: fmt.Sprintf("%s, %s, %d threads",
		cmp.Or(strings.TrimSpace(cpuid.CPU.BrandName), runtime.GOARCH), level, b.options.threads())}, nil
}

func (o Options) threads() int {
	if o.Threads > 0 {
		return o.Threads
	}
	return runtime.GOMAXPROCS(0)
}

// Load reads spec.Dir/model.onnx and makes a plan of it.
func (b *backend) Load(ctx context.Context, spec backends.Spec) (backends.Model, error) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil, backends.Errorf(backends.ErrUnsupported, "the cpu backend needs a little-endian processor")
	}
	o, err := b.options.with(spec.Options)
	if err != nil {
		return nil, err
	}
	if err := b.choose(o.Level); err != nil {
		return nil, err
	}
	m, err := open(ctx, spec, o)
	if errors.Is(err, weights.ErrMismatch) {
		spec.Weights = nil
		m, err = open(ctx, spec, o)
	}
	if err != nil {
		return nil, err
	}
	if err := b.add(m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// open makes a model of a file. It fails with weights.ErrMismatch where the shared memory holds
// the weights of another.
func open(ctx context.Context, spec backends.Spec, o Options) (*model, error) {
	g, err := onnx.Load(spec.Dir, "model.onnx")
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return prepare(ctx, g, o, spec.Weights)
}

// prepare makes a model of a graph, with its weights in shared if that is not nil.
func prepare(ctx context.Context, g *onnx.Graph, o Options, shared *os.File) (*model, error) {
	e := &engine{pool: kernels.NewPool(o.threads()), precision: precision{asked: o.Precision}, limit: MaxTensorBytes, iterations: MaxIterations}
	m, err := e.prepare(ctx, g, shared)
	if err != nil {
		e.close()
	}
	return m, err
}

func (e *engine) prepare(ctx context.Context, g *onnx.Graph, shared *os.File) (*model, error) {
	own := e.precision
	e.precision = precision{} // what is folded is FP32
	if err := g.Fold(e.evaluateFloats); err != nil {
		return nil, err
	}
	rewrite.Apply(g, quantizedFusions)
	if err := g.Fold(e.evaluate); err != nil {
		return nil, err
	}
	e.precision = own
	signature := g.Signature()
	signature.Precision = own.asked.String()
	rewrite.Apply(g, allFusions)
	e.weights = openWeights(ctx, shared) // what folding needed is not kept
	p, err := newPlan(g, e)
	if err == nil {
		err = e.precision.check()
	}
	if err != nil {
		return nil, err
	}
	return newModel(signature, p, e), e.weights.Complete()
}

func (b *backend) add(m *model) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return backends.Errorf(backends.ErrUnavailable, "the backend is closed")
	}
	b.models[m] = true
	m.gone = func() { b.forget(m) }
	return nil
}

func (b *backend) forget(m *model) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.models, m)
}

// choose sets the instruction set, which the process has one of.
func (b *backend) choose(level string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if level == "" || level == b.level {
		return nil
	}
	if b.level != "" {
		return backends.Errorf(backends.ErrInvalid, "cpu_level %q: this process runs with %q already, and has one for all models", level, b.level)
	}
	if err := CheckLevel(level); err != nil {
		return err
	}
	b.level = level
	return kernels.SetLevel(kernels.Levels()[slices.Index(Levels(), level)])
}

// with returns the options of a model that says more about them.
func (o Options) with(settings map[string]string) (Options, error) {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		value := settings[key]
		switch key {
		case "threads":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > maxThreads {
				return o, backends.Errorf(backends.ErrInvalid, "threads %q: use a number from 1 to %d", value, maxThreads)
			}
			o.Threads = n
		case "precision":
			p, err := parsePrecision(value)
			if err != nil {
				return o, err
			}
			o.Precision = p
		case "cpu_level":
			o.Level = value
		default:
			return o, backends.Errorf(backends.ErrInvalid, "unknown option %q of backend cpu: it has threads, precision and cpu_level", key)
		}
	}
	return o, nil
}

// Close closes all models.
func (b *backend) Close() error {
	b.mu.Lock()
	b.closed = true
	all := slices.Collect(maps.Keys(b.models))
	b.mu.Unlock()
	var err error
	for _, m := range all {
		err = errors.Join(err, m.Close())
	}
	return err
}
