package cpu

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// encoding says how an attention of x, n×3×8, in two heads is drawn.
type encoding struct {
	hidden  bool // NaN become zeros
	mask    bool
	shared  bool // the product of the keys is read by another node too
	foreign bool // the queries are of another value
	bias    bool
}

// draw draws the attention as PyTorch exports it.
func (e encoding) draw(s *sketch, x *onnx.Value) *onnx.Value {
	split := s.constant(integers64("split", []int64{4}, 0, 0, 2, 4))
	rows, parts := x.Shape[:2], append(slices.Clone(x.Shape[:2]), dims([]int64{2, 4})...)
	project := func(x *onnx.Value, seed float64) *onnx.Value {
		y := s.shaped("MatMul", nil, x.Shape, x, s.constant(wave("w", seed, 8, 8)))
		if e.bias {
			y = s.shaped("Add", nil, x.Shape, s.constant(wave("b", seed+1, 8)), y)
		}
		return y
	}
	heads := func(v *onnx.Value, perm ...int64) *onnx.Value {
		apart := s.shaped("Reshape", nil, parts, v, split)
		var shape []onnx.Dim
		for _, p := range perm {
			shape = append(shape, parts[p])
		}
		return s.shaped("Transpose", onnx.Attrs{"perm": perm}, shape, apart)
	}
	from := x
	if e.foreign {
		from = s.node("Neg", nil, x)
	}
	keys := project(x, 2)
	q, k, v := heads(project(from, 1), 0, 2, 1, 3), heads(keys, 0, 2, 3, 1), heads(project(x, 3), 0, 2, 1, 3)
	scores := s.shaped("MatMul", nil, []onnx.Dim{rows[0], {Size: 2}, rows[1], rows[1]}, s.node("Mul", nil, q, s.number(0.5)), k)
	if e.mask {
		scores = s.node("Add", nil, scores, s.constant(floats("mask", []int64{1, 1, 3, 3}, 0, -1, 0, float32(math.Inf(-1)), float32(math.Inf(-1)), float32(math.Inf(-1)), 0, 0, 1)))
	}
	weights := s.node("Softmax", onnx.Attrs{"axis": int64(-1)}, scores)
	if e.hidden {
		nan := s.node("IsNaN", nil, weights)
		nan.Datatype = backends.Bool
		where := s.shaped("Where", nil, weights.Shape, nan, s.number(0), weights)
		where.Datatype = backends.FP32
		weights = where
	}
	y := s.shaped("MatMul", nil, v.Shape, weights, v)
	y = s.shaped("Transpose", onnx.Attrs{"perm": []int64{0, 2, 1, 3}}, parts, y)
	y = s.shaped("Reshape", nil, x.Shape, y, s.constant(integers64("join", []int64{3}, 0, 0, 8)))
	if e.shared {
		return s.node("Add", nil, y, s.node("Exp", nil, keys))
	}
	return y
}

func TestFusedAttention(t *testing.T) {
	for _, test := range []struct {
		name string
		encoding
		wants map[string]int
	}{
		{"plain", encoding{}, map[string]int{"Linear": 1, "Attend": 1, "Reshape": 1}},
		{"with everything", encoding{hidden: true, mask: true, bias: true}, map[string]int{"Linear": 1, "Attend": 1, "Reshape": 1}},
		{"queries of another value", encoding{foreign: true, bias: true}, map[string]int{"Neg": 1, "Linear": 2, "Attend": 1, "Reshape": 1}},
		{"keys that others read", encoding{shared: true}, map[string]int{"Linear": 2, "Attend": 1, "Reshape": 1, "Exp": 1, "Add": 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := []backends.Tensor{wave("x", 1, 2, 3, 8)}
			results := make([]backends.Tensor, 2)
			for i, all := range [][]rewrite.Rule{nil, allFusions} {
				var s sketch
				x := s.input("x", backends.FP32, -1, 3, 8)
				s.output(test.draw(&s, x))
				rewrite.Apply(&s.Graph, all)
				p, r := planOf(t, &s)
				got, err := p.execute(t.Context(), r, in, p.outputs)
				if err != nil {
					t.Fatal(err)
				}
				results[i] = got[0]
				ops := map[string]int{}
				for _, s := range p.steps {
					ops[s.op]++
				}
				if i == 1 && !maps.Equal(ops, test.wants) {
					t.Errorf("fused to %v, want %v", ops, test.wants)
				}
			}
			if !slices.Equal(results[0].Shape, results[1].Shape) {
				t.Fatalf("fused to shape %v, want %v", results[1].Shape, results[0].Shape)
			}
			for i, want := range floatsOf(results[0]) {
				if got := floatsOf(results[1])[i]; !(math.Abs(float64(got-want)) <= 1e-5+1e-4*math.Abs(float64(want))) && (got == got || want == want) {
					t.Fatalf("element %d of the fused graph is %v, want %v", i, got, want)
				}
			}
		})
	}
}

// TestBodiesAreFused fuses a layer within a branch, which reads what a layer outside makes.
func TestBodiesAreFused(t *testing.T) {
	var want []float32
	for _, all := range [][]rewrite.Rule{nil, allFusions} {
		var s sketch
		cond := s.input("cond", backends.Bool)
		x := s.input("x", backends.FP32, -1, 4)
		outside := s.node("MatMul", nil, x, s.constant(wave("w", 1, 4, 4)))
		layer := func() {
			y := s.node("MatMul", nil, s.node("Relu", nil, outside), s.constant(wave("w", 2, 4, 4)))
			s.output(s.node("Tanh", nil, s.node("Add", nil, y, s.constant(wave("b", 3, 4)))))
		}
		n := s.control("If", onnx.Attrs{"then_branch": s.within(layer), "else_branch": s.within(layer)}, []*onnx.Value{outside}, cond)
		n.Outputs[0].Datatype = backends.FP32
		s.output(n.Outputs[0])
		s.output(outside)
		rewrite.Apply(&s.Graph, all)
		p, r := planOf(t, &s)
		got, err := p.execute(t.Context(), r, []backends.Tensor{bools("cond", 1), wave("x", 1, 2, 4)}, p.outputs)
		if err != nil {
			t.Fatal(err)
		}
		if all == nil {
			want = floatsOf(got[0])
			continue
		}
		for i, v := range floatsOf(got[0]) {
			if math.Abs(float64(v-want[i])) > 1e-5 {
				t.Errorf("element %d of the fused graph is %v, want %v", i, v, want[i])
			}
		}
		if len(p.steps) != 2 || p.steps[0].op != "Linear" {
			t.Errorf("%d steps, the first a %s, want a Linear and an If", len(p.steps), p.steps[0].op)
		}
		for _, b := range p.steps[1].bodies {
			ops := []string{}
			for _, s := range b.steps {
				ops = append(ops, s.op)
			}
			if !slices.Equal(ops, []string{"Relu", "Linear"}) {
				t.Errorf("a body is fused to %v, want a Relu of its own and a Linear", ops)
			}
		}
	}
}
