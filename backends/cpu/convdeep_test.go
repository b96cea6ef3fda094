package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// TestConvolutionsOverThreeDimensions compares them with the plain loops.
func TestConvolutionsOverThreeDimensions(t *testing.T) {
	attrs := func(name string, v ...int64) onnx.Attrs { return onnx.Attrs{name: v} }
	tests := []struct {
		name  string
		x, w  []int64
		attrs onnx.Attrs
	}{
		{"plain", []int64{2, 3, 4, 5, 6}, []int64{4, 3, 2, 3, 3}, nil},
		{"padded on all sides", []int64{1, 3, 4, 5, 6}, []int64{4, 3, 3, 3, 3}, attrs("pads", 1, 1, 1, 1, 1, 1)},
		{"padded unevenly", []int64{2, 2, 3, 5, 6}, []int64{3, 2, 3, 2, 3}, attrs("pads", 2, 0, 1, 1, 2, 0)},
		{"with strides", []int64{1, 2, 7, 8, 9}, []int64{5, 2, 3, 3, 3}, attrs("strides", 2, 3, 1)},
		{"dilated", []int64{1, 2, 7, 8, 9}, []int64{5, 2, 3, 2, 2}, attrs("dilations", 2, 3, 1)},
		{"in groups", []int64{2, 6, 4, 5, 5}, []int64{4, 3, 2, 2, 2}, onnx.Attrs{"group": int64(2)}},
		{"of each channel", []int64{1, 4, 4, 5, 5}, []int64{4, 1, 3, 3, 3}, onnx.Attrs{"group": int64(4)}},
		{"with pads that depend on the size", []int64{1, 2, 5, 6, 7}, []int64{3, 2, 3, 2, 3}, onnx.Attrs{"auto_pad": "SAME_UPPER", "strides": []int64{2, 2, 1}}},
		{"over four dimensions", []int64{1, 2, 3, 4, 5, 4}, []int64{3, 2, 2, 3, 2, 2}, attrs("pads", 1, 0, 1, 0, 0, 1, 0, 1)},
		{"larger than what is laid out at a time", []int64{1, 64, 9, 64, 64}, []int64{1, 64, 7, 1, 1}, attrs("pads", 3, 0, 0, 3, 0, 0)},
		{"of single planes", []int64{2, 3, 1, 5, 6}, []int64{4, 3, 1, 3, 3}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, constant := range []bool{true, false} {
				checkDeepConv(t, test.x, test.w, test.attrs, constant)
			}
		})
	}
}

func checkDeepConv(t *testing.T, xShape, wShape []int64, attrs onnx.Attrs, constant bool) {
	t.Helper()
	x, w, b := wave("x", 1, xShape...), wave("w", 2, wShape...), wave("b", 3, wShape[0])
	in := []backends.Tensor{x}
	var s sketch
	weights := s.constant(w)
	input := s.input("x", backends.FP32, xShape...)
	if !constant {
		weights, in = s.input("w", backends.FP32, wShape...), append(in, w)
	}
	s.output(s.shaped("Conv", attrs, nil, input, weights, s.constant(b)))
	e := testEngine(t)
	c, err := convolutionOf(&node{Node: s.Nodes[0], engine: e})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{engine: e, limit: e.limit}
	var operands [3]tensor
	for i, v := range []backends.Tensor{x, w, b} {
		if err := operands[i].importTensor(&v); err != nil {
			t.Fatal(err)
		}
	}
	var want tensor
	if err := c.lattice(r, []*tensor{&operands[0], &operands[1], &operands[2]}, []*tensor{&want}); err != nil {
		t.Fatal(err)
	}
	p, err := newPlan(&s.Graph, e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.execute(t.Context(), p.newRun(e), in, p.outputs)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(convertInts(got[0].Shape), want.shape) {
		t.Fatalf("shape %v, want %v", got[0].Shape, want.shape)
	}
	values := floatsOf(got[0])
	for i, w := range view[float32](&want) {
		if g := values[i]; math.Abs(float64(g-w)) > 1e-4+1e-4*math.Abs(float64(w)) {
			t.Fatalf("element %d is %v, want %v (constant weights: %v)", i, g, w, constant)
		}
	}
}

func BenchmarkConv3D(b *testing.B) {
	x, w := wave("x", 1, 1, 32, 16, 56, 56), wave("w", 2, 64, 32, 3, 3, 3)
	var s sketch
	s.output(s.shaped("Conv", onnx.Attrs{"pads": []int64{1, 1, 1, 1, 1, 1}}, nil, s.input("x", backends.FP32, 1, 32, 16, 56, 56), s.constant(w)))
	e := &engine{pool: kernels.NewPool(1), limit: MaxTensorBytes}
	defer e.pool.Close()
	p, err := newPlan(&s.Graph, e)
	if err != nil {
		b.Fatal(err)
	}
	r := p.newRun(e)
	for b.Loop() {
		if _, err := p.execute(b.Context(), r, []backends.Tensor{x}, p.outputs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2*64*32*27*16*56*56*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
}
