package cpu

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

func bools(name string, v ...byte) backends.Tensor {
	return backends.Tensor{Name: name, Datatype: backends.Bool, Shape: []int64{int64(len(v))}, Data: v}
}

// adder sketches a Loop that adds step, a value of the outer graph, to what it carries, and
// collects the sums. It goes on while the condition says so.
func adder(s *sketch, trips, cond *onnx.Value) *onnx.Node {
	start, step := s.input("start", backends.FP32, 2), s.input("step", backends.FP32, 2)
	doubled := s.node("Add", nil, step, step)
	body := s.within(func() {
		s.input("i", backends.Int64)
		more := s.input("go", backends.Bool)
		sum := s.input("sum", backends.FP32, 2)
		next := s.node("Add", nil, sum, doubled)
		s.Outputs = []*onnx.Value{more, next, next}
	})
	n := s.control("Loop", onnx.Attrs{"body": body}, []*onnx.Value{doubled}, trips, cond, start)
	collected := s.value("all", backends.FP32)
	collected.Producer = n
	n.Outputs = append(n.Outputs, collected)
	n.Outputs[0].Datatype = backends.FP32
	s.output(n.Outputs[0])
	s.output(collected)
	return n
}

func TestLoopCarriesAndCollects(t *testing.T) {
	tests := []struct {
		name      string
		trips     int64
		last, all []float32
	}{
		{"three iterations", 3, []float32{7, -3}, []float32{3, 1, 5, -1, 7, -3}},
		{"one", 1, []float32{3, 1}, []float32{3, 1}},
		{"none", 0, []float32{1, 3}, nil},
		{"fewer than none", -4, []float32{1, 3}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s sketch
			adder(&s, s.input("trips", backends.Int64), nil)
			p, r := planOf(t, &s)
			in := []backends.Tensor{integers64("trips", nil, test.trips), floats("start", []int64{2}, 1, 3), floats("step", []int64{2}, 1, -1)}
			for range 2 { // the second run uses the memory of the first
				got, err := p.execute(t.Context(), r, in, p.outputs)
				if err != nil {
					t.Fatal(err)
				}
				if last, all := floatsOf(got[0]), floatsOf(got[1]); !slices.Equal(last, test.last) || !slices.Equal(all, test.all) {
					t.Errorf("execute = %v and %v, want %v and %v", last, all, test.last, test.all)
				}
				if want := []int64{max(0, test.trips), 2}; !slices.Equal(got[1].Shape, want) {
					t.Errorf("collected shape = %v, want %v", got[1].Shape, want)
				}
			}
		})
	}
}

func endless(t *testing.T) (*plan, *run, []backends.Tensor) {
	var s sketch
	adder(&s, nil, nil)
	p, r := planOf(t, &s)
	return p, r, []backends.Tensor{floats("start", []int64{2}, 1, 3), floats("step", []int64{2}, 1, -1)}
}

func TestEndlessLoopEnds(t *testing.T) {
	p, r, in := endless(t)
	_, err := p.execute(t.Context(), r, in, p.outputs)
	if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "Loop") || !strings.Contains(err.Error(), "more than 1000 iterations") {
		t.Errorf("execute = %v, want ErrInvalid that names the Loop and the bound", err)
	}
	r.engine.iterations = 1 << 60
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := p.execute(ctx, r, in, p.outputs); !errors.Is(err, context.Canceled) {
		t.Errorf("execute = %v, want the end of the context", err)
	}
}

func TestLoopThatCollectsTooMuch(t *testing.T) {
	p, r, in := endless(t)
	r.limit = 100
	_, err := p.execute(t.Context(), r, in, p.outputs)
	if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "13 iterations give is larger than the 100 bytes") {
		t.Errorf("execute = %v, want ErrInvalid that says what is too large", err)
	}
}

func TestIfRunsOneBranch(t *testing.T) {
	var s sketch
	x, cond := s.input("x", backends.FP32, 2), s.input("cond", backends.Bool, 1)
	branch := func(op string) *onnx.Graph { return s.within(func() { s.output(s.node(op, nil, x)) }) }
	n := s.control("If", onnx.Attrs{"then_branch": branch("Neg"), "else_branch": s.within(func() { s.output(x) })}, []*onnx.Value{x}, cond)
	n.Outputs[0].Datatype = backends.FP32
	s.output(n.Outputs[0])
	p, r := planOf(t, &s)
	for cond, want := range map[byte][]float32{1: {-5, 6}, 0: {5, -6}} {
		got, err := p.execute(t.Context(), r, []backends.Tensor{floats("x", []int64{2}, 5, -6), bools("cond", cond)}, p.outputs)
		if err != nil || !slices.Equal(floatsOf(got[0]), want) {
			t.Errorf("execute with %d = %v, %v, want %v", cond, got, err, want)
		}
	}
	_, err := p.execute(t.Context(), r, []backends.Tensor{floats("x", []int64{2}, 5, -6), bools("cond", 1, 0)}, p.outputs)
	if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "condition of shape [2]") {
		t.Errorf("execute = %v, want ErrInvalid", err)
	}
}

func TestUnsupportedOperatorsInBodiesAreNamed(t *testing.T) {
	var s sketch
	x, cond := s.input("x", backends.FP16, 2), s.input("cond", backends.Bool, 1)
	branch := func(op string) *onnx.Graph { return s.within(func() { s.output(s.node(op, nil, x)) }) }
	n := s.control("If", onnx.Attrs{"then_branch": branch("Neg"), "else_branch": branch("Fancy")}, []*onnx.Value{x}, cond)
	_, err := build(n, testEngine(t))
	if !errors.Is(err, backends.ErrUnsupported) || !strings.Contains(err.Error(), "operator Fancy") {
		t.Errorf("build = %v, want ErrUnsupported that names Fancy", err)
	}
}

// TestScanDirections walks columns of a matrix from the right and collects to the left.
func TestScanDirections(t *testing.T) {
	var s sketch
	start, x := s.input("start", backends.FP32, 2), s.input("x", backends.FP32, 2, 3)
	body := s.within(func() {
		sum, slice := s.input("sum", backends.FP32, 2), s.input("slice", backends.FP32, 2)
		next := s.node("Add", nil, sum, slice)
		s.Outputs = []*onnx.Value{next, next}
	})
	n := s.control("Scan", onnx.Attrs{
		"body": body, "num_scan_inputs": int64(1), "scan_input_axes": []int64{-1}, "scan_input_directions": []int64{1},
		"scan_output_axes": []int64{1}, "scan_output_directions": []int64{1},
	}, nil, start, x)
	all := s.value("all", backends.FP32)
	n.Outputs, all.Producer = append(n.Outputs, all), n
	s.output(n.Outputs[0])
	s.output(all)
	p, r := planOf(t, &s)
	got, err := p.execute(t.Context(), r, []backends.Tensor{floats("start", []int64{2}, 0, 0), floats("x", []int64{2, 3}, 1, 2, 3, 4, 5, 6)}, p.outputs)
	if err != nil {
		t.Fatal(err)
	}
	if last, sums := floatsOf(got[0]), floatsOf(got[1]); !slices.Equal(last, []float32{6, 15}) || !slices.Equal(sums, []float32{6, 5, 3, 15, 11, 6}) {
		t.Errorf("execute = %v and %v", last, sums)
	}
}
