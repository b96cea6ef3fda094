package cpu

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

func TestPlanRunsAPerceptron(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32, -1, 2)
	w := s.constant(floats("w", []int64{2, 3}, 1, 0, -1, 0, 1, -1))
	b := s.constant(floats("b", []int64{3}, 10, 20, 3))
	y := s.node("Identity", nil, s.node("Relu", nil, s.node("Add", nil, s.node("MatMul", nil, x, w), b)))
	s.output(y)
	e := testEngine(t)
	p, err := newPlan(&s.Graph, e)
	if err != nil {
		t.Fatal(err)
	}
	r := p.newRun(e)
	for range 2 { // the second time in memory of the first
		got, err := p.execute(t.Context(), r, []backends.Tensor{floats("x", []int64{2, 2}, 1, 2, 3, 4)}, p.outputs)
		if err != nil {
			t.Fatal(err)
		}
		want := []float32{11, 22, 0, 13, 24, 0}
		if !slices.Equal(floatsOf(got[0]), want) || !slices.Equal(got[0].Shape, []int64{2, 3}) {
			t.Errorf("execute = %v %v, want %v", got[0].Shape, floatsOf(got[0]), want)
		}
	}
}

// planOf makes a plan of a sketch and a run of it.
func planOf(t *testing.T, s *sketch) (*plan, *run) {
	t.Helper()
	e := testEngine(t)
	p, err := newPlan(&s.Graph, e)
	if err != nil {
		t.Fatal(err)
	}
	return p, p.newRun(e)
}

func TestPlanFreesEachValueAfterItsLastUse(t *testing.T) {
	var s sketch
	v := s.input("x", backends.FP32, -1)
	for range 10 {
		v = s.node("Neg", nil, v)
	}
	s.output(v)
	p, r := planOf(t, &s)
	for range 3 {
		got, err := p.execute(t.Context(), r, []backends.Tensor{wave("x", 1, 5000)}, p.outputs)
		if err != nil || !slices.Equal(got[0].Data, wave("x", 1, 5000).Data) {
			t.Fatalf("execute = %v, %v, want the input", got, err)
		}
		if most := 2 * wholeLines(4*5000); r.want > most {
			t.Errorf("an arena of %d bytes for ten steps in a row, want at most %d", r.want, most)
		}
	}
}

func TestViewsKeepTheMemoryTheyShare(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32, -1)
	doubled := s.node("Add", nil, x, x)
	view := s.node("Reshape", nil, doubled, s.constant(integers64("shape", []int64{2}, 2, -1)))
	noise := s.node("Neg", nil, s.node("Neg", nil, s.node("Neg", nil, doubled)))
	s.output(s.node("Identity", nil, view))
	s.output(noise)
	p, r := planOf(t, &s)
	var first []backends.Tensor
	for i := range 5 {
		in := wave("x", float64(i), 4000)
		got, err := p.execute(t.Context(), r, []backends.Tensor{in}, p.outputs)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = got
		}
		for j, v := range floatsOf(in) {
			if have := floatsOf(got[0])[j]; have != 2*v {
				t.Fatalf("run %d: element %d is %v, want %v", i, j, have, 2*v)
			}
		}
	}
	// What left the engine first has not been written to since.
	if want := floatsOf(wave("x", 0, 4000)); floatsOf(first[0])[7] != 2*want[7] || floatsOf(first[1])[7] != -2*want[7] {
		t.Errorf("the first answer changed: %v %v, want %v %v", floatsOf(first[0])[7], floatsOf(first[1])[7], 2*want[7], -2*want[7])
	}
}

func TestOnlyStepsThatTheWantedOutputsNeedRun(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32, -1)
	y := s.node("Neg", nil, x)
	s.output(y)
	s.output(s.node("Gather", nil, x, s.constant(integers64("far", []int64{1}, 99)))) // fails
	p, r := planOf(t, &s)
	in := []backends.Tensor{floats("x", []int64{1}, 3)}
	if got, err := p.execute(t.Context(), r, in, p.outputs[:1]); err != nil || floatsOf(got[0])[0] != -3 {
		t.Errorf("execute of one output = %v, %v, want -3", got, err)
	}
	if _, err := p.execute(t.Context(), r, in, p.outputs); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("execute of all outputs = %v, want ErrInvalid", err)
	}
}

func TestPanicInAStepNamesTheNode(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32, -1)
	s.output(s.node("Neg", nil, x))
	p, r := planOf(t, &s)
	p.steps[0].kernel = func(*run, []*tensor, []*tensor) error { panic("broken") }
	_, err := p.execute(t.Context(), r, []backends.Tensor{floats("x", []int64{1}, 3)}, p.outputs)
	if err == nil || !strings.Contains(err.Error(), p.steps[0].name) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("execute = %v, want an error that names node %q", err, p.steps[0].name)
	}
}

func TestCancelledRunStopsBeforeTheNextStep(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32, -1)
	s.output(s.node("Neg", nil, s.node("Neg", nil, x)))
	p, r := planOf(t, &s)
	ctx, cancel := context.WithCancel(t.Context())
	p.steps[0].kernel = func(r *run, in, out []*tensor) error {
		cancel()
		out[0].share(in[0], in[0].shape)
		return nil
	}
	p.steps[1].kernel = func(*run, []*tensor, []*tensor) error { panic("ran") }
	if _, err := p.execute(ctx, r, []backends.Tensor{floats("x", []int64{1}, 3)}, p.outputs); !errors.Is(err, context.Canceled) {
		t.Errorf("execute = %v, want context.Canceled", err)
	}
}

// TestPlanLetsTheGraphGo guards against a kernel that holds on to its node and by that to the
// bytes of the whole file.
func TestPlanLetsTheGraphGo(t *testing.T) {
	e := testEngine(t)
	plans, graphs := []*plan{}, []weak.Pointer[onnx.Value]{}
	for _, c := range readCases(t, "testdata/cases.jsonl.gz") {
		g, given := c.graph(t)
		freeze(g, given[min(1, len(given)):])
		p, err := newPlan(g, e)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		plans, graphs = append(plans, p), append(graphs, weak.Make(g.Outputs[0]))
	}
	runtime.GC()
	for i, g := range graphs {
		if g.Value() != nil {
			t.Errorf("a plan of %s keeps the graph", plans[i].steps[0].op)
		}
	}
	runtime.KeepAlive(plans)
}
