package cpu

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// run4 is the input of every fusion test: n×3×4×4, a run of it with n = 2.
var run4 = []int64{-1, 3, 4, 4}

// TestFusionsChangeNothingButTheNodes runs each graph as it is and fused, and counts the
// operators that are left.
func TestFusionsChangeNothingButTheNodes(t *testing.T) {
	tests := []struct {
		name  string
		draw  func(s *sketch, x *onnx.Value) *onnx.Value
		wants map[string]int
	}{
		{"gelu of PyTorch", func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.node("Add", nil, s.node("Erf", nil, s.node("Div", nil, x, s.number(math.Sqrt2))), s.number(1))
			return s.node("Mul", nil, s.node("Mul", nil, x, sum), s.number(0.5))
		}, map[string]int{"Gelu": 1}},
		{"gelu with the half taken first", func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.shaped("Add", nil, x.Shape, s.number(1), s.node("Erf", nil, s.node("Mul", nil, x, s.number(math.Sqrt2/2))))
			return s.node("Mul", nil, s.node("Mul", nil, x, s.number(0.5)), sum)
		}, map[string]int{"Gelu": 1}},
		{"gelu by tanh", func(s *sketch, x *onnx.Value) *onnx.Value {
			cube := s.node("Mul", nil, s.node("Pow", nil, x, s.number(3)), s.number(0.044715))
			tanh := s.node("Tanh", nil, s.node("Mul", nil, s.node("Add", nil, x, cube), s.number(float32(math.Sqrt(2/math.Pi)))))
			return s.node("Mul", nil, s.node("Mul", nil, x, s.number(0.5)), s.node("Add", nil, tanh, s.number(1)))
		}, map[string]int{"Gelu": 1}},
		{"erf of something else is no gelu", func(s *sketch, x *onnx.Value) *onnx.Value {
			sum := s.node("Add", nil, s.node("Erf", nil, s.node("Div", nil, s.node("Neg", nil, x), s.number(math.Sqrt2))), s.number(1))
			return s.node("Mul", nil, s.node("Mul", nil, x, sum), s.number(0.5))
		}, map[string]int{"Erf": 1, "Div": 1, "Neg": 1, "Add": 1, "Mul": 2}},
		{"silu", func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.node("Mul", nil, x, s.node("Sigmoid", nil, x))
		}, map[string]int{"Swish": 1}},
		{"hard swish of old exporters", func(s *sketch, x *onnx.Value) *onnx.Value {
			clip := s.node("Clip", nil, s.node("Add", nil, x, s.number(3)), s.number(0), s.number(6))
			return s.node("Div", nil, s.node("Mul", nil, x, clip), s.number(6))
		}, map[string]int{"HardSwish": 1}},
		{"hard swish by hard sigmoid", func(s *sketch, x *onnx.Value) *onnx.Value {
			clip := s.node("Clip", nil, s.node("Add", nil, x, s.number(3)), s.number(0), s.number(6))
			return s.node("Mul", nil, x, s.node("Div", nil, clip, s.number(6)))
		}, map[string]int{"HardSwish": 1}},
		{"layer normalisation in parts", drawLayerNorm(2), map[string]int{"LayerNormalization": 1}},
		{"a third power is no variance", drawLayerNorm(4), map[string]int{
			"ReduceMean": 2, "Sub": 1, "Pow": 1, "Add": 2, "Sqrt": 1, "Div": 1, "Mul": 1}},
		{"convolution, normalisation, activation", func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.node("Relu", nil, s.drawBatchNorm(s.drawConv(x)))
		}, map[string]int{"Conv": 1}},
		{"a convolution that two read keeps to itself", func(s *sketch, x *onnx.Value) *onnx.Value {
			c := s.drawConv(x)
			return s.node("Mul", nil, s.drawBatchNorm(c), s.node("Relu", nil, c))
		}, map[string]int{"Conv": 1, "BatchNormalization": 1, "Relu": 1, "Mul": 1}},
		{"residual block", func(s *sketch, x *onnx.Value) *onnx.Value {
			c := s.drawBatchNorm(s.drawConv(x))
			return s.node("Relu", nil, s.node("Add", nil, c, x))
		}, map[string]int{"Conv": 1}},
		{"two convolutions joined", func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.node("Clip", nil, s.node("Add", nil, s.drawConv(x), s.drawConv(x)), s.number(-1), s.number(1))
		}, map[string]int{"Conv": 2}},
		{"a sum that broadcasts is no residual", func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.node("Add", nil, s.drawConv(x), s.shaped("ReduceMean", onnx.Attrs{"axes": []int64{2, 3}}, dims([]int64{-1, 3, 1, 1}), x))
		}, map[string]int{"Conv": 1, "Add": 1, "ReduceMean": 1}},
		{"layer with bias on the left", func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.node("MatMul", nil, x, s.constant(wave("w", 3, 4, 4)))
			return s.node("Tanh", nil, s.shaped("Add", nil, x.Shape, s.constant(wave("b", 4, 4)), y))
		}, map[string]int{"Linear": 1}},
		{"layer with bias on the right", func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.node("MatMul", nil, x, s.constant(wave("w", 3, 4, 4)))
			return s.node("Tanh", nil, s.node("Add", nil, y, s.constant(wave("b", 4, 4))))
		}, map[string]int{"Linear": 1}},
		{"feed-forward block", func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.node("Add", nil, s.node("MatMul", nil, x, s.constant(wave("w", 3, 4, 4))), s.constant(wave("b", 4, 4)))
			return s.node("Add", nil, x, y)
		}, map[string]int{"Linear": 1}},
		{"gemm with factors, then an addition", func(s *sketch, x *onnx.Value) *onnx.Value {
			flat := s.shaped("Flatten", nil, dims([]int64{-1, 48}), x)
			y := s.shaped("Gemm", onnx.Attrs{"alpha": float32(0.02), "beta": float32(3), "transB": int64(1)}, dims([]int64{-1, 5}), flat, s.constant(wave("w", 2, 5, 48)))
			return s.node("Sigmoid", nil, s.node("Add", nil, y, s.constant(wave("b", 4, 5))))
		}, map[string]int{"Flatten": 1, "Linear": 1}},
		{"attention", drawAttention, map[string]int{"Attend": 1}},
		{"keys transposed as one long batch", func(s *sketch, x *onnx.Value) *onnx.Value {
			flat := s.shaped("Reshape", nil, []onnx.Dim{{Size: -1, Symbol: "3n"}, {Size: 4}, {Size: 4}}, x, s.constant(integers64("flat", []int64{3}, -1, 4, 4)))
			turned := s.node("Transpose", onnx.Attrs{"perm": []int64{0, 2, 1}}, flat)
			k := s.shaped("Reshape", nil, x.Shape, turned, s.constant(integers64("parts", []int64{4}, -1, 3, 4, 4)))
			return s.node("MatMul", nil, x, k)
		}, map[string]int{"Product": 1}},
		{"product of transposed operands, transposed", func(s *sketch, x *onnx.Value) *onnx.Value {
			a := s.node("Transpose", onnx.Attrs{"perm": []int64{0, 1, 3, 2}}, x)
			b := s.node("Transpose", onnx.Attrs{"perm": []int64{0, 1, 3, 2}}, s.node("Neg", nil, x))
			return s.node("Transpose", onnx.Attrs{"perm": []int64{0, 1, 3, 2}}, s.node("MatMul", nil, a, b))
		}, map[string]int{"Neg": 1, "Product": 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := []backends.Tensor{wave("x", 1, 2, 3, 4, 4)}
			plain, _ := runSketch(t, test.draw, nil, in)
			fused, ops := runSketch(t, test.draw, allFusions, in)
			if !maps.Equal(ops, test.wants) {
				t.Errorf("fused to %v, want %v", ops, test.wants)
			}
			if !slices.Equal(fused.Shape, plain.Shape) {
				t.Fatalf("fused to shape %v, want %v", fused.Shape, plain.Shape)
			}
			for i, want := range floatsOf(plain) {
				if got := floatsOf(fused)[i]; math.Abs(float64(got-want)) > 1e-5+1e-4*math.Abs(float64(want)) {
					t.Fatalf("element %d of the fused graph is %v, want %v", i, got, want)
				}
			}
		})
	}
}

// runSketch draws a graph, fuses it, and returns its output and what operators it has.
func runSketch(t *testing.T, draw func(*sketch, *onnx.Value) *onnx.Value, all []rewrite.Rule, in []backends.Tensor) (backends.Tensor, map[string]int) {
	var s sketch
	s.output(draw(&s, s.input("x", backends.FP32, run4...)))
	rewrite.Apply(&s.Graph, all)
	p, r := planOf(t, &s)
	got, err := p.execute(t.Context(), r, in, p.outputs)
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]int{}
	for _, s := range p.steps {
		ops[s.op]++
	}
	return got[0], ops
}

func (s *sketch) drawConv(x *onnx.Value) *onnx.Value {
	id := fmt.Sprint(len(s.Values))
	return s.node("Conv", onnx.Attrs{"pads": []int64{1, 1, 1, 1}}, x, s.constant(wave("w"+id, 5, 3, 3, 3, 3)), s.constant(wave("b"+id, 6, 3)))
}

func (s *sketch) drawBatchNorm(x *onnx.Value) *onnx.Value {
	return s.node("BatchNormalization", nil, x, s.constant(wave("gamma", 1, 3)), s.constant(wave("beta", 2, 3)),
		s.constant(wave("mean", 3, 3)), s.constant(floats("variance", []int64{3}, 0.5, 1, 2)))
}

// drawLayerNorm draws a layer normalisation of which the deviation is taken by the given power.
func drawLayerNorm(power float32) func(s *sketch, x *onnx.Value) *onnx.Value {
	return func(s *sketch, x *onnx.Value) *onnx.Value {
		mean := onnx.Attrs{"axes": []int64{-1}}
		row := dims([]int64{-1, 3, 4, 1})
		centred := s.node("Sub", nil, x, s.shaped("ReduceMean", mean, row, x))
		variance := s.shaped("ReduceMean", mean, row, s.node("Pow", nil, centred, s.number(power)))
		root := s.node("Sqrt", nil, s.node("Add", nil, variance, s.number(1e-3)))
		scaled := s.node("Mul", nil, s.node("Div", nil, centred, root), s.constant(wave("scale", 1, 4)))
		return s.node("Add", nil, scaled, s.constant(wave("bias", 2, 4)))
	}
}

// drawAttention draws the attention of x, n×positions×heads×width, to itself, with the factor
// in two parts as PyTorch has it and a mask.
func drawAttention(s *sketch, x *onnx.Value) *onnx.Value {
	heads := onnx.Attrs{"perm": []int64{0, 2, 1, 3}}
	shape := dims([]int64{-1, 4, 3, 4})
	q := s.node("Mul", nil, s.shaped("Transpose", heads, shape, x), s.number(0.8))
	k := s.node("Mul", nil, s.shaped("Transpose", onnx.Attrs{"perm": []int64{0, 2, 3, 1}}, dims([]int64{-1, 4, 4, 3}), x), s.number(0.8))
	scores := s.shaped("MatMul", nil, dims([]int64{-1, 4, 3, 3}), q, k)
	masked := s.node("Add", nil, scores, s.constant(floats("mask", []int64{1, 1, 1, 3}, 0, -1e9, 0)))
	v := s.shaped("Transpose", heads, shape, x)
	context := s.shaped("MatMul", nil, shape, s.node("Softmax", onnx.Attrs{"axis": int64(-1)}, masked), v)
	return s.shaped("Transpose", heads, x.Shape, context)
}
