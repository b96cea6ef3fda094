package cpu

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// sketch makes small graphs for tests.
type sketch struct{ onnx.Graph }

func (s *sketch) value(name string, d backends.Datatype) *onnx.Value {
	v := &onnx.Value{ID: len(s.Values), Name: name, Datatype: d}
	s.Values = append(s.Values, v)
	return v
}

func (s *sketch) input(name string, d backends.Datatype) *onnx.Value {
	v := s.value(name, d)
	s.Inputs = append(s.Inputs, v)
	return v
}

func (s *sketch) constant(t backends.Tensor) *onnx.Value {
	v := s.value(t.Name, t.Datatype)
	v.Const = &t
	return v
}

func (s *sketch) node(op string, attrs onnx.Attrs, in ...*onnx.Value) *onnx.Value {
	out := s.value(op, in[0].Datatype)
	n := &onnx.Node{Op: op, Name: op, Opset: 17, Inputs: in, Outputs: []*onnx.Value{out}, Attrs: attrs}
	out.Producer = n
	s.Nodes = append(s.Nodes, n)
	return out
}

func (s *sketch) output(v *onnx.Value) { s.Outputs = append(s.Outputs, v) }

func floats(name string, shape []int64, v ...float32) backends.Tensor {
	t := backends.Tensor{Name: name, Datatype: backends.FP32, Shape: shape}
	for _, f := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(f))
	}
	return t
}

func floatsOf(t backends.Tensor) []float32 {
	var all []float32
	for i := 0; i < len(t.Data); i += 4 {
		all = append(all, math.Float32frombits(binary.LittleEndian.Uint32(t.Data[i:])))
	}
	return all
}

// testEngine returns an engine of two threads, closed with the test.
func testEngine(t testing.TB) *engine {
	e := &engine{pool: kernels.NewPool(2), limit: MaxTensorBytes}
	t.Cleanup(e.pool.Close)
	return e
}

func TestPlanRunsAPerceptron(t *testing.T) {
	var s sketch
	x := s.input("x", backends.FP32)
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
