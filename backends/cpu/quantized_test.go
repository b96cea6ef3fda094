package cpu

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// bytesTensor returns bytes that depend on the seed.
func bytesTensor(name string, d backends.Datatype, seed float64, shape ...int64) backends.Tensor {
	t := backends.Tensor{Name: name, Datatype: d, Shape: shape, Data: make([]byte, backends.Elements(shape))}
	for i := range t.Data {
		t.Data[i] = byte(int(127 * math.Sin(seed+float64(i)*1.7)))
	}
	return t
}

func zeroPoint(d backends.Datatype, shape []int64, v ...byte) backends.Tensor {
	return backends.Tensor{Name: "zero", Datatype: d, Shape: shape, Data: v}
}

// quantize adds a QuantizeLinear with a scale and a zero point of type d.
func (s *sketch) quantize(x *onnx.Value, d backends.Datatype, scale float32, zero byte) *onnx.Value {
	q := s.node("QuantizeLinear", nil, x, s.number(scale), s.constant(zeroPoint(d, nil, zero)))
	q.Datatype = d
	return q
}

// dequantize adds a DequantizeLinear.
func (s *sketch) dequantize(q *onnx.Value, zero byte, scales ...float32) *onnx.Value {
	shape := []int64{int64(len(scales))}
	zeros := make([]byte, len(scales))
	for i := range zeros {
		zeros[i] = zero
	}
	if len(scales) == 1 {
		shape = nil
	}
	attrs := onnx.Attrs{"axis": int64(0)}
	if q.Const != nil && len(q.Shape) == 2 {
		attrs["axis"] = int64(1)
	}
	x := s.node("DequantizeLinear", attrs, q, s.constant(floats("scale", shape, scales...)), s.constant(zeroPoint(q.Datatype, shape, zeros...)))
	x.Datatype = backends.FP32
	return x
}

// between returns x as it comes out of a quantisation to UINT8.
func (s *sketch) between(x *onnx.Value) *onnx.Value {
	return s.dequantize(s.quantize(x, backends.Uint8, 0.02, 128), 128, 0.02)
}

// dequantizedBias adds a bias of INT32.
func (s *sketch) dequantizedBias(scales []float32, v ...int32) *onnx.Value {
	t := backends.Tensor{Name: "bias", Datatype: backends.Int32, Shape: []int64{int64(len(v))}}
	for _, b := range v {
		t.Data = append(t.Data, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
	}
	shape := []int64{int64(len(scales))}
	x := s.node("DequantizeLinear", onnx.Attrs{"axis": int64(0)}, s.constant(t), s.constant(floats("scale", shape, scales...)))
	x.Datatype = backends.FP32
	return x
}

// TestQuantizedFusions runs each graph as it is and on integers. Results may differ by one step of
// the last quantisation, where the sum of floats is not exact.
func TestQuantizedFusions(t *testing.T) {
	weights := []float32{0.01, 0.02, 0.005}
	conv := func(s *sketch, x *onnx.Value, bias bool) *onnx.Value {
		w := s.dequantize(s.constant(bytesTensor("w", backends.Int8, 2, 3, 3, 3, 3)), 0, weights...)
		in := []*onnx.Value{s.between(x), w}
		if bias {
			in = append(in, s.dequantizedBias([]float32{0.02 * 0.01, 0.02 * 0.02, 0.02 * 0.005}, 100, -2000, 3000))
		}
		return s.node("Conv", onnx.Attrs{"pads": []int64{1, 1, 1, 1}}, in...)
	}
	matrix := func(s *sketch, d backends.Datatype, zero byte, scales ...float32) *onnx.Value {
		return s.dequantize(s.constant(bytesTensor("w", d, 3, 4, 4)), zero, scales...)
	}
	tests := []struct {
		name  string
		step  float64
		draw  func(s *sketch, x *onnx.Value) *onnx.Value
		wants map[string]int
	}{
		{"convolution", 0.25, func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.dequantize(s.quantize(conv(s, x, false), backends.Uint8, 0.25, 100), 100, 0.25)
		}, map[string]int{"QuantizeLinear": 1, "QLinearConv": 1, "DequantizeLinear": 1}},
		{"convolution with bias, to INT8", 0.25, func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.dequantize(s.quantize(conv(s, x, true), backends.Int8, 0.25, 3), 3, 0.25)
		}, map[string]int{"QuantizeLinear": 1, "QLinearConv": 1, "DequantizeLinear": 1}},
		{"convolution with bias and relu", 0.25, func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.dequantize(s.quantize(s.node("Relu", nil, conv(s, x, true)), backends.Int8, 0.25, 3), 3, 0.25)
		}, map[string]int{"QuantizeLinear": 1, "QLinearConv": 1, "DequantizeLinear": 1}},
		{"product with relu", 0.5, func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.node("Relu", nil, s.node("MatMul", nil, s.between(x), matrix(s, backends.Int8, 0, 0.1, 0.2, 0.3, 0.4)))
			return s.dequantize(s.quantize(y, backends.Uint8, 0.5, 128), 128, 0.5)
		}, map[string]int{"QuantizeLinear": 1, "QLinearMatMul": 1, "DequantizeLinear": 1}},
		{"matrix of the run and a constant one", 0.5, func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.node("MatMul", nil, s.between(x), matrix(s, backends.Int8, 0, 0.1, 0.2, 0.3, 0.4))
			return s.dequantize(s.quantize(y, backends.Uint8, 0.5, 128), 128, 0.5)
		}, map[string]int{"QuantizeLinear": 1, "QLinearMatMul": 1, "DequantizeLinear": 1}},
		{"two matrices of the run", 0.5, func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.node("MatMul", nil, s.between(x), s.between(s.node("Neg", nil, x)))
			return s.dequantize(s.quantize(y, backends.Uint8, 0.5, 128), 128, 0.5)
		}, map[string]int{"Neg": 1, "QuantizeLinear": 2, "QLinearMatMul": 1, "DequantizeLinear": 1}},
		{"a product that stays FP32", 1e-4, func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.node("Relu", nil, s.node("MatMul", nil, s.between(x), matrix(s, backends.Uint8, 7, 0.1)))
		}, map[string]int{"QuantizeLinear": 1, "MatMulIntegerToFloat": 1}},
		{"layer", 0.5, func(s *sketch, x *onnx.Value) *onnx.Value {
			flat := s.shaped("Flatten", nil, dims([]int64{-1, 48}), s.between(x))
			flat = s.dequantize(s.quantize(flat, backends.Uint8, 0.02, 128), 128, 0.02)
			w := s.dequantize(s.constant(bytesTensor("w", backends.Int8, 5, 48, 3)), 0, weights...)
			bias := s.dequantizedBias([]float32{0.02 * 0.01, 0.02 * 0.02, 0.02 * 0.005}, 1000, -2000, 500)
			y := s.shaped("Gemm", nil, dims([]int64{-1, 3}), flat, w, bias)
			return s.dequantize(s.quantize(y, backends.Uint8, 0.5, 128), 128, 0.5)
		}, map[string]int{"QuantizeLinear": 1, "Flatten": 1, "QGemm": 1, "DequantizeLinear": 1}},
		{"layer that stays FP32", 1e-3, func(s *sketch, x *onnx.Value) *onnx.Value {
			flat := s.shaped("Flatten", nil, dims([]int64{-1, 48}), x)
			w := s.dequantize(s.constant(bytesTensor("w", backends.Int8, 5, 3, 48)), 0, 0.01)
			return s.shaped("Gemm", onnx.Attrs{"transB": int64(1)}, dims([]int64{-1, 3}), s.between(flat), w)
		}, map[string]int{"Flatten": 1, "QuantizeLinear": 1, "QGemm": 1}},
		{"sum and product", 0.04, func(s *sketch, x *onnx.Value) *onnx.Value {
			a, b := s.between(x), s.between(s.node("Neg", nil, x))
			sum := s.dequantize(s.quantize(s.node("Add", nil, a, b), backends.Uint8, 0.02, 9), 9, 0.02)
			return s.dequantize(s.quantize(s.node("Mul", nil, sum, a), backends.Uint8, 0.04, 100), 100, 0.04)
		}, map[string]int{"Neg": 1, "QuantizeLinear": 2, "QLinearAdd": 1, "QLinearMul": 1, "DequantizeLinear": 1}},
		{"bytes are moved", 0, func(s *sketch, x *onnx.Value) *onnx.Value {
			perm := onnx.Attrs{"perm": []int64{0, 2, 3, 1}}
			y := s.between(s.shaped("Transpose", perm, dims([]int64{-1, 4, 4, 3}), s.between(x)))
			z := s.between(s.shaped("MaxPool", onnx.Attrs{"kernel_shape": []int64{2, 2}, "pads": []int64{1, 1, 1, 1}}, dims([]int64{-1, 4, 5, 4}), y))
			return s.between(s.shaped("Concat", onnx.Attrs{"axis": int64(1)}, dims([]int64{-1, 8, 5, 4}), z, z))
		}, map[string]int{"QuantizeLinear": 1, "Transpose": 1, "MaxPool": 1, "Concat": 1, "DequantizeLinear": 1}},
		{"concatenation of other scales", 0.04, func(s *sketch, x *onnx.Value) *onnx.Value {
			b := s.dequantize(s.quantize(x, backends.Uint8, 0.04, 100), 100, 0.04)
			y := s.shaped("Concat", onnx.Attrs{"axis": int64(1)}, dims([]int64{-1, 6, 4, 4}), s.between(x), b)
			return s.dequantize(s.quantize(y, backends.Uint8, 0.04, 100), 100, 0.04)
		}, map[string]int{"QuantizeLinear": 2, "QLinearConcat": 1, "DequantizeLinear": 1}},
		{"functions of a byte", 0.02, func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.between(s.node("Tanh", nil, s.between(x)))
			return s.between(s.node("Clip", nil, s.between(s.node("Sigmoid", nil, y)), s.number(0.4), s.number(0.6)))
		}, map[string]int{"QuantizeLinear": 1, "ByteTable": 2, "QLinearSigmoid": 1, "DequantizeLinear": 1}},
		{"poolings and softmax", 0.02, func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.between(s.shaped("AveragePool", onnx.Attrs{"kernel_shape": []int64{2, 2}}, dims([]int64{-1, 3, 3, 3}), s.between(x)))
			z := s.between(s.node("Softmax", onnx.Attrs{"axis": int64(-1)}, y))
			return s.between(s.shaped("GlobalAveragePool", nil, dims([]int64{-1, 3, 1, 1}), z))
		}, map[string]int{"QuantizeLinear": 1, "QLinearAveragePool": 1, "QLinearSoftmax": 1, "QLinearGlobalAveragePool": 1, "DequantizeLinear": 1}},
		{"what two read stays", 0, func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.node("Neg", nil, s.between(x))
			return s.node("Add", nil, y, s.between(y))
		}, map[string]int{"QuantizeLinear": 2, "DequantizeLinear": 2, "Neg": 1, "Add": 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := []backends.Tensor{wave("x", 1, 2, 3, 4, 4)}
			plain, _ := runSketch(t, test.draw, nil, in)
			fused, ops := runSketch(t, test.draw, append(append([]rewrite.Rule{}, quantizedFusions...), fuseByteTable, fuseActivation), in)
			if !maps.Equal(ops, test.wants) {
				t.Errorf("fused to %v, want %v", ops, test.wants)
			}
			for i, want := range floatsOf(plain) {
				if got := floatsOf(fused)[i]; !(math.Abs(float64(got-want)) <= test.step*1.001+1e-5) {
					t.Fatalf("element %d of the fused graph is %v, want %v", i, got, want)
				}
			}
		})
	}
}

// TestDynamicQuantisationIsOneStep draws what quantize_dynamic writes.
func TestDynamicQuantisationIsOneStep(t *testing.T) {
	draw := func(products int) func(s *sketch, x *onnx.Value) *onnx.Value {
		return func(s *sketch, x *onnx.Value) *onnx.Value {
			q, scale, zero := s.dynamic(x)
			var last *onnx.Value
			for i := range products {
				w := s.constant(bytesTensor("w", backends.Int8, float64(i), 4, 4))
				product := s.node("MatMulInteger", nil, q, w, zero, s.constant(zeroPoint(backends.Int8, nil, 0)))
				product.Datatype = backends.Int32
				y := s.node("Add", nil, s.constant(wave("b", 5, 4)), s.scaled(product, scale, x.Shape))
				y.Shape = x.Shape
				if last != nil {
					y = s.node("Add", nil, last, y)
				}
				last = y
			}
			return last
		}
	}
	conv := func(s *sketch, x *onnx.Value) *onnx.Value {
		q, scale, zero := s.dynamic(x)
		w := s.constant(bytesTensor("w", backends.Uint8, 1, 3, 3, 3, 3))
		product := s.node("ConvInteger", onnx.Attrs{"pads": []int64{1, 1, 1, 1}}, q, w, zero, s.constant(zeroPoint(backends.Uint8, nil, 120)))
		product.Datatype = backends.Int32
		return s.node("Relu", nil, s.node("Add", nil, s.scaled(product, scale, x.Shape), s.constant(wave("b", 5, 1, 3, 1, 1))))
	}
	tests := []struct {
		name  string
		draw  func(s *sketch, x *onnx.Value) *onnx.Value
		wants map[string]int
	}{
		{"product", draw(1), map[string]int{"DynamicQuantizeMatMul": 1}},
		{"two products of the same bytes", draw(2), map[string]int{"DynamicQuantizeLinear": 1, "MatMulIntegerToFloat": 2, "Add": 1}},
		{"convolution", conv, map[string]int{"DynamicQuantizeLinear": 1, "ConvIntegerToFloat": 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := []backends.Tensor{wave("x", 1, 2, 3, 4, 4)}
			plain, _ := runSketch(t, test.draw, nil, in)
			fused, ops := runSketch(t, test.draw, append(append([]rewrite.Rule{}, quantizedFusions...), fuseDynamicConv, fuseDynamicConvBias, fuseActivation), in)
			if !maps.Equal(ops, test.wants) {
				t.Errorf("fused to %v, want %v", ops, test.wants)
			}
			for i, want := range floatsOf(plain) {
				if got := floatsOf(fused)[i]; got != want {
					t.Fatalf("element %d of the fused graph is %v, want %v", i, got, want)
				}
			}
		})
	}
}

// dynamic adds a DynamicQuantizeLinear.
func (s *sketch) dynamic(x *onnx.Value) (q, scale, zero *onnx.Value) {
	q = s.node("DynamicQuantizeLinear", nil, x)
	q.Datatype = backends.Uint8
	scale, zero = s.value("scale", backends.FP32), s.value("zero", backends.Uint8)
	scale.HasShape, zero.HasShape = true, true
	n := s.Nodes[len(s.Nodes)-1]
	scale.Producer, zero.Producer = n, n
	n.Outputs = append(n.Outputs, scale, zero)
	return q, scale, zero
}

// scaled adds a Cast of a product and the multiplication with its scales.
func (s *sketch) scaled(product, scale *onnx.Value, shape []onnx.Dim) *onnx.Value {
	cast := s.node("Cast", onnx.Attrs{"to": int64(1)}, product)
	cast.Datatype = backends.FP32
	y := s.node("Mul", nil, cast, s.node("Mul", nil, scale, s.number(0.01)))
	y.Shape = shape
	return y
}

// TestQuantizedInputsThatNoRunCanServe gives quantised operators scales, zero points and shapes that
// contradict each other: an error, not a panic.
func TestQuantizedInputsThatNoRunCanServe(t *testing.T) {
	u8, i8 := backends.Uint8, backends.Int8
	one := func(name string) backends.Tensor { return floats(name, nil, 0.5) }
	zero := func(d backends.Datatype, n int64) backends.Tensor {
		return zeroPoint(d, []int64{n}, make([]byte, n)...)
	}
	a, w := bytesTensor("a", u8, 1, 2, 4), bytesTensor("w", i8, 2, 4, 3)
	image, filters := bytesTensor("x", u8, 1, 1, 2, 5, 5), bytesTensor("f", i8, 2, 3, 2, 3, 3)
	tests := []struct {
		name, op string
		out      backends.Datatype
		in       []backends.Tensor
		want     string
	}{
		{"zero points of rows that are not there", "MatMulInteger", backends.Int32, []backends.Tensor{a, w, zeroPoint(u8, []int64{3}, 1, 2, 3)}, "3 zero points"},
		{"zero points of columns that are not there", "MatMulInteger", backends.Int32, []backends.Tensor{a, w, zero(u8, 1), zeroPoint(i8, []int64{2}, 1, 2)}, "2 zero points"},
		{"zero points that are not there", "MatMulInteger", backends.Int32, []backends.Tensor{a, bytesTensor("w", i8, 2, 5, 3)}, "matrix product of shapes"},
		{"zero points of two images", "ConvInteger", backends.Int32, []backends.Tensor{image, filters, zeroPoint(u8, []int64{2}, 1, 2)}, "for all images"},
		{"zero points of other filters", "ConvInteger", backends.Int32, []backends.Tensor{image, filters, zero(u8, 1), zeroPoint(i8, []int64{2}, 1, 2)}, "for 3 filters"},
		{"channels that are not there", "ConvInteger", backends.Int32, []backends.Tensor{bytesTensor("x", u8, 1, 1, 3, 5, 5), filters}, "in 1 groups"},
		{"scales of other columns", "QLinearMatMul", u8, []backends.Tensor{a, one("s"), zero(u8, 1), w, floats("t", []int64{2}, 1, 2), zero(i8, 1), one("y"), zero(u8, 1)}, "scales of shapes"},
		{"two scales of a result", "QLinearMatMul", u8, []backends.Tensor{a, one("s"), zero(u8, 1), w, one("t"), zero(i8, 1), floats("y", []int64{2}, 1, 2), zero(u8, 1)}, "one element each"},
		{"no scale", "QLinearMatMul", u8, []backends.Tensor{a, floats("s", []int64{0}), zero(u8, 1), w, one("t"), zero(i8, 1), one("y"), zero(u8, 1)}, "scales of shapes"},
		{"a bias of other filters", "QLinearConv", u8, []backends.Tensor{image, one("s"), zero(u8, 1), filters, one("t"), zero(i8, 1), one("y"), zero(u8, 1), {Name: "b", Datatype: backends.Int32, Shape: []int64{2}, Data: make([]byte, 8)}}, "a bias of shape"},
		{"scales of other filters", "QLinearConv", u8, []backends.Tensor{image, one("s"), zero(u8, 1), filters, floats("t", []int64{4}, 1, 2, 3, 4), zero(i8, 1), one("y"), zero(u8, 1)}, "for 3 filters"},
		{"C of another width", "QGemm", u8, []backends.Tensor{a, one("s"), zero(u8, 1), w, one("t"), zero(i8, 1), {Name: "c", Datatype: backends.Int32, Shape: []int64{2}, Data: make([]byte, 8)}, one("y"), zero(u8, 1)}, "a bias of shape"},
		{"B of another height", "QGemm", u8, []backends.Tensor{a, one("s"), zero(u8, 1), bytesTensor("w", i8, 2, 5, 3), one("t"), zero(i8, 1), {Name: "c", Datatype: backends.Int32, Shape: []int64{3}, Data: make([]byte, 12)}, one("y"), zero(u8, 1)}, "with 5 rows"},
		{"two scales of a sum", "QLinearAdd", u8, []backends.Tensor{a, floats("s", []int64{2}, 1, 2), zero(u8, 1), a, one("t"), zero(u8, 1), one("y"), zero(u8, 1)}, "one element each"},
		{"a sum of shapes that do not meet", "QLinearAdd", u8, []backends.Tensor{a, one("s"), zero(u8, 1), bytesTensor("b", u8, 1, 3), one("t"), zero(u8, 1), one("y"), zero(u8, 1)}, "shape"},
		{"a bias of another width", "MatMulIntegerToFloat", backends.FP32, []backends.Tensor{a, w, one("s"), one("t"), zero(u8, 1), zero(i8, 1), wave("b", 1, 2)}, "a bias of shape"},
		{"scales of rows", "MatMulIntegerToFloat", backends.FP32, []backends.Tensor{a, w, floats("s", []int64{2}, 1, 2), one("t")}, "scales of shapes"},
		{"zero points of another number", "QuantizeLinear", u8, []backends.Tensor{wave("x", 1, 2, 4), one("s"), zero(u8, 2)}, "zero points of shape"},
		{"scales of another axis", "DequantizeLinear", backends.FP32, []backends.Tensor{a, floats("s", []int64{3}, 1, 2, 3)}, "scales of shape"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := runQuantized(t, test.op, test.out, test.in)
			if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("execute = %v, want ErrInvalid that says %q", err, test.want)
			}
		})
	}
}

// runQuantized runs one node on inputs of the run.
func runQuantized(t *testing.T, op string, out backends.Datatype, in []backends.Tensor) ([]backends.Tensor, error) {
	var s sketch
	var values []*onnx.Value
	for i := range in {
		in[i].Name += string(rune('0' + i))
		values = append(values, s.input(in[i].Name, in[i].Datatype, in[i].Shape...))
	}
	y := s.node(op, nil, values...)
	y.Datatype = out
	if n := s.Nodes[0]; contrib[op].build != nil {
		n.Domain, n.Opset = onnx.Contrib, 1
	}
	s.output(y)
	p, r := planOf(t, &s)
	return p.execute(t.Context(), r, in, p.outputs)
}

// TestScalesThatAreNoNumbers gives scales of 0, NaN and infinity: some bytes, not a panic.
func TestScalesThatAreNoNumbers(t *testing.T) {
	a, w := bytesTensor("a", backends.Uint8, 1, 2, 40), bytesTensor("w", backends.Int8, 2, 40, 33)
	for _, scale := range []float32{0, float32(math.NaN()), float32(math.Inf(1)), 1e-45, -1} {
		s, zero := floats("s", nil, scale), zeroPoint(backends.Uint8, nil, 3)
		signed := zeroPoint(backends.Int8, nil, 3)
		for op, in := range map[string][]backends.Tensor{
			"QuantizeLinear":   {wave("x", 1, 2, 40), s, zero},
			"DequantizeLinear": {a, s, zero},
			"QLinearMatMul":    {a, s, zero, w, s, signed, s, zero},
			"QLinearAdd":       {a, s, zero, a, s, zero, s, zero},
			"QLinearSigmoid":   {a, s, zero, s, zero},
		} {
			out := backends.Uint8
			if op == "DequantizeLinear" {
				out = backends.FP32
			}
			if _, err := runQuantized(t, op, out, in); err != nil {
				t.Errorf("%s with a scale of %v = %v", op, scale, err)
			}
		}
	}
}

// TestRowsOfZeroPoints has a zero point for each row of A and each column of B, in batches.
func TestRowsOfZeroPoints(t *testing.T) {
	a, b := bytesTensor("a", backends.Uint8, 1, 2, 3, 5), bytesTensor("b", backends.Int8, 2, 2, 5, 4)
	rows, cols := zeroPoint(backends.Uint8, []int64{3}, 1, 200, 30), zeroPoint(backends.Int8, []int64{4}, 0, 0xff, 0x80, 7)
	got, err := runQuantized(t, "MatMulInteger", backends.Int32, []backends.Tensor{a, b, rows, cols})
	if err != nil {
		t.Fatal(err)
	}
	sums := integersOf(got[0])
	for i, sum := range sums {
		batch, row, col := i/12, i/4%3, i%4
		want := int32(0)
		for k := range 5 {
			left := int32(a.Data[(batch*3+row)*5+k]) - int32(rows.Data[row])
			want += left * (int32(int8(b.Data[(batch*5+k)*4+col])) - int32(int8(cols.Data[col])))
		}
		if sum != want {
			t.Errorf("[%d] = %d, want %d", i, sum, want)
		}
	}
}

func integersOf(t backends.Tensor) []int32 {
	var all []int32
	for i := 0; i < len(t.Data); i += 4 {
		all = append(all, int32(uint32(t.Data[i])|uint32(t.Data[i+1])<<8|uint32(t.Data[i+2])<<16|uint32(t.Data[i+3])<<24))
	}
	return all
}

// Where the scale of the result is that of an input and twice that of the other, as for erf(x)+1,
// every second sum lies in the middle between two bytes.
func TestSumsInTheMiddleAreRoundedToEven(t *testing.T) {
	const scale = float32(2) / 255
	for _, n := range []int64{1, 256} {
		a := backends.Tensor{Name: "a", Datatype: backends.Uint8, Shape: []int64{256}, Data: slices.Clone(everyByte)}
		b := backends.Tensor{Name: "b", Datatype: backends.Uint8, Shape: []int64{n}, Data: bytes.Repeat([]byte{255}, int(n))}
		zero := func(v byte) backends.Tensor { return zeroPoint(backends.Uint8, []int64{1}, v) }
		one := func(v float32) backends.Tensor { return floats("scale", []int64{1}, v) }
		out, err := runQuantized(t, "QLinearAdd", backends.Uint8, []backends.Tensor{
			a, one(scale), zero(128), b, one(scale / 2), zero(0), one(scale), zero(0),
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range out[0].Data {
			if want := byte(math.RoundToEven(float64(i) - 128 + 127.5)); i > 0 && got != want {
				t.Errorf("%d of b: %d and 127.5 of the result's scale = %d, want %d", n, i-128, got, want)
			}
		}
	}
}
