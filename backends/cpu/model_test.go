package cpu

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// exampleModels is the model repository that comes with thrum.
const exampleModels = "../../examples/models"

func TestSuite(t *testing.T) {
	for _, name := range []string{"digits", "tumor", "yarnit"} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(*testing.T) backends.Backend { return New(Options{Threads: 2}) }, backendtest.Fixture{
				Spec:      backends.Spec{Model: name, Version: "1", Dir: filepath.Join(exampleModels, name, "1")},
				Tolerance: 1e-5,
			})
		})
	}
}

// golden is a model's recorded answers; the repository's examples say how it is made.
type golden struct {
	Tolerance struct{ Abs, Rel float64 }
	Cases     []struct {
		Name            string
		Inputs, Outputs []goldenTensor
	}
}

type goldenTensor struct {
	Name, Datatype string
	Shape          []int64
	Data           []any
}

func (g goldenTensor) tensor(t *testing.T) backends.Tensor {
	d, err := backends.ParseDatatype(g.Datatype)
	if err != nil {
		t.Fatal(err)
	}
	b := backends.Tensor{Name: g.Name, Datatype: d, Shape: g.Shape, Data: []byte{}}
	for _, v := range g.Data {
		switch d {
		case backends.Bytes:
			b.Data = backends.AppendBytesElement(b.Data, []byte(v.(string)))
		case backends.FP32:
			b.Data = append(b.Data, floats("", nil, float32(v.(float64))).Data...)
		case backends.Int64:
			b.Data = append(b.Data, integers64("", nil, int64(v.(float64))).Data...)
		default:
			t.Fatalf("golden tensor %q of %v", g.Name, d)
		}
	}
	return b
}

func TestExamplesAnswerAsTheReference(t *testing.T) {
	for _, name := range []string{"digits", "tumor", "yarnit"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(exampleModels, name, "1")
			data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			if err != nil {
				t.Fatal(err)
			}
			var g golden
			if err := json.Unmarshal(data, &g); err != nil {
				t.Fatal(err)
			}
			b := New(Options{})
			defer b.Close()
			m, err := b.Load(t.Context(), backends.Spec{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range g.Cases {
				var in backends.Batch
				for _, i := range c.Inputs {
					in.Tensors = append(in.Tensors, i.tensor(t))
				}
				got, err := m.Predict(t.Context(), in)
				if err != nil {
					t.Fatalf("%s: %v", c.Name, err)
				}
				for _, o := range c.Outputs {
					have, _ := got.Tensor(o.Name)
					if err := compare(have, o.tensor(t)); err != nil {
						t.Errorf("%s: %v", c.Name, err)
					}
				}
			}
		})
	}
}

// twice is a model that doubles, n×4 to n×4.
func twice(t *testing.T) *model {
	t.Helper()
	var s sketch
	x := s.input("x", backends.FP32, -1, 4)
	s.output(s.node("Identity", nil, s.node("MatMul", nil, x, s.constant(floats("w", []int64{4, 4},
		2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2)))))
	p, r := planOf(t, &s)
	return newModel(s.Signature(), p, r.engine)
}

func TestConcurrentCallsOfDifferentSizesDoNotMix(t *testing.T) {
	m := twice(t)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 50 {
				rows := int64(1 + (worker*7+i*13)%60)
				in := wave("x", float64(worker), rows, 4)
				out, err := m.Predict(t.Context(), backends.Batch{Tensors: []backends.Tensor{in}})
				if err != nil {
					t.Error(err)
					return
				}
				for j, v := range floatsOf(in) {
					if got := floatsOf(out.Tensors[0])[j]; got != 2*v {
						t.Errorf("worker %d: element %d is %v, want %v", worker, j, got, 2*v)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

func TestWarmRunAllocatesLittle(t *testing.T) {
	m := twice(t)
	in := backends.Batch{Tensors: []backends.Tensor{wave("x", 1, 16, 4)}}
	if n := testing.AllocsPerRun(100, func() { m.Predict(t.Context(), in) }); n > 20 {
		t.Errorf("a run of two steps makes %v allocations, want at most 20", n)
	}
}

func TestCloseWaitsForCallsUnderWay(t *testing.T) {
	m := twice(t)
	m.engine = &engine{pool: kernels.NewPool(1), limit: MaxTensorBytes} // the test's own outlives the model
	started, finish := make(chan bool), make(chan bool)
	inner := m.plan.steps[0].kernel
	m.plan.steps[0].kernel = func(r *run, in, out []*tensor) error {
		close(started)
		<-finish
		return inner(r, in, out)
	}
	in := backends.Batch{Tensors: []backends.Tensor{wave("x", 1, 1, 4)}}
	answered, closed := make(chan error), make(chan error)
	go func() {
		_, err := m.Predict(t.Context(), in)
		answered <- err
	}()
	<-started
	go func() { closed <- m.Close() }()
	for m.life.TryRLock() { // until Close waits for its turn
		m.life.RUnlock()
		runtime.Gosched()
	}
	select {
	case <-closed:
		t.Error("Close returned while a call was under way")
	default:
	}
	close(finish)
	if err := <-answered; err != nil {
		t.Errorf("Predict = %v, want an answer", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close = %v", err)
	}
	if _, err := m.Predict(t.Context(), in); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Predict after Close = %v, want ErrUnavailable", err)
	}
}

func TestPredictEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := twice(t).Predict(ctx, backends.Batch{Tensors: []backends.Tensor{wave("x", 1, 1, 4)}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Predict = %v, want context.Canceled", err)
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		more    map[string]string
		want    string // part of the error, "" for none
	}{
		{"none", Options{}, nil, ""},
		{"threads", Options{}, map[string]string{"threads": "3"}, ""},
		{"portable", Options{}, map[string]string{"cpu_level": kernels.CurrentLevel().String()}, ""},
		{"no threads", Options{}, map[string]string{"threads": "0"}, `threads "0"`},
		{"threads in words", Options{}, map[string]string{"threads": "two"}, `threads "two"`},
		{"too many threads", Options{}, map[string]string{"threads": "1000000"}, "1024"},
		{"a precision", Options{}, map[string]string{"precision": "bf16"}, ""},
		{"one that is over that of the backend", Options{Precision: 77}, map[string]string{"precision": "fp32"}, ""},
		{"unknown precision", Options{}, map[string]string{"precision": "fp16"}, `precision "fp16": use fp32, bf16 or int8`},
		{"unknown level", Options{}, map[string]string{"cpu_level": "mmx"}, "mmx"},
		{"unknown level of the backend", Options{Level: "mmx"}, nil, "mmx"},
		{"unknown key", Options{}, map[string]string{"thread": "2"}, "threads, precision and cpu_level"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := New(test.options)
			defer b.Close()
			_, err := b.Load(t.Context(), backends.Spec{Dir: filepath.Join(exampleModels, "digits", "1"), Options: test.more})
			switch {
			case test.want == "" && err != nil:
				t.Errorf("Load = %v, want no error", err)
			case test.want != "" && (!errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("Load = %v, want ErrInvalid with %q", err, test.want)
			}
		})
	}
}

func TestOneInstructionSetPerProcess(t *testing.T) {
	b := New(Options{Level: kernels.CurrentLevel().String()})
	defer b.Close()
	spec := backends.Spec{Dir: filepath.Join(exampleModels, "digits", "1")}
	if _, err := b.Load(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(kernels.Levels(), func(l kernels.Level) bool { return l != kernels.CurrentLevel() })
	if i < 0 {
		t.Skip("this processor has one instruction set only")
	}
	spec.Options = map[string]string{"cpu_level": kernels.Levels()[i].String()}
	if _, err := b.Load(t.Context(), spec); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Load with another level = %v, want ErrInvalid", err)
	}
}

func TestInfoSaysWhatTheDeviceIs(t *testing.T) {
	info, err := New(Options{Threads: 3}).Info(t.Context())
	if err != nil || info.Name != "cpu" || !strings.HasSuffix(info.Device, ", 3 threads") {
		t.Errorf("Info = %+v, %v, want name cpu and a device of 3 threads", info, err)
	}
}

func TestClosedModelsAreForgotten(t *testing.T) {
	b := New(Options{})
	defer b.Close()
	m, err := b.Load(t.Context(), backends.Spec{Dir: filepath.Join(exampleModels, "digits", "1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(b.(*backend).models); n != 0 {
		t.Errorf("the backend remembers %d models after the only one was closed", n)
	}
}
