package cpu

import (
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

func TestWhatDependsOnShapesAloneIsComputedOnce(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32, -1, 2)
	shape := s.node("Shape", nil, x)
	doubled := s.node("Mul", nil, shape, s.constant(integers64("two", []int64{1}, 2)))
	places := s.node("NonZero", nil, x) // whose shape depends on the elements of x
	turned := s.node("Transpose", onnx.Attrs{"perm": []int64{1, 0}}, x)
	count := s.node("Shape", nil, places)
	sizes := s.node("Concat", onnx.Attrs{"axis": int64(0)}, doubled, count)
	for _, v := range []*onnx.Value{shape, doubled, places, count, sizes} {
		v.Datatype = backends.Int64
	}
	s.output(sizes)
	s.output(s.node("Reshape", nil, turned, shape))
	s.output(doubled)
	p, r := planOf(t, &s)
	if want := []bool{true, true, false, false, false, false, false}; !slices.Equal(p.fixed, want) {
		t.Fatalf("fixed steps are %v, want %v", p.fixed, want)
	}
	ran := map[string]int{}
	for i := range p.steps {
		kernel, op := p.steps[i].kernel, p.steps[i].op
		p.steps[i].kernel = func(r *run, in, out []*tensor) error {
			ran[op]++
			return kernel(r, in, out)
		}
	}
	for turn := range 6 {
		n := int64(1 + turn%2)
		in := make([]float32, 2*n)
		in[0] = 1
		got, err := p.execute(t.Context(), r, []backends.Tensor{floats("x", []int64{n, 2}, in...)}, p.outputs)
		if err != nil {
			t.Fatal(err)
		}
		want := []int64{2 * n, 4, 2, 1}
		for i, v := range want {
			if have := int64(got[0].Data[8*i]); have != v {
				t.Errorf("turn %d: %d is size %d, want %d", turn, have, i, v)
			}
		}
		if !slices.Equal(got[1].Shape, []int64{n, 2}) || int64(got[2].Data[0]) != 2*n {
			t.Errorf("turn %d: shape %v and %d, want %v and %d", turn, got[1].Shape, got[2].Data[0], []int64{n, 2}, 2*n)
		}
	}
	if ran["Mul"] != 2 || ran["NonZero"] != 6 || ran["Reshape"] != 6 {
		t.Errorf("steps ran %v times, want Mul twice, once for each shape, and NonZero and Reshape 6 times", ran)
	}
}

func TestWhatABucketKeepsIsBounded(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32, -1)
	ones := s.node("ConstantOfShape", nil, s.node("Shape", nil, x))
	ones.Producer.Inputs[0].Datatype = backends.Int64
	ones.Datatype = backends.FP32
	s.output(s.node("Add", nil, x, ones))
	p, r := planOf(t, &s)
	for _, n := range []int64{10, maxSpecial / 4, maxSpecial/4 + 1} {
		for range 2 {
			in := wave("x", 1, n)
			got, err := p.execute(t.Context(), r, []backends.Tensor{in}, p.outputs)
			if err != nil || !slices.Equal(got[0].Data, in.Data) {
				t.Fatalf("execute of %d elements = %v, want the input", n, err)
			}
		}
		kept := len(p.buckets.all[0].special.Load().constants)
		if want := n*4 <= maxSpecial; (kept == 1) != want {
			t.Errorf("%d elements: %d constants are kept", n, kept)
		}
	}
}
