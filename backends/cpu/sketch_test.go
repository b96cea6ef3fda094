package cpu

import (
	"context"
	"encoding/binary"
	"math"
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

// input adds an input; a dimension of -1 is the symbol "n".
func (s *sketch) input(name string, d backends.Datatype, shape ...int64) *onnx.Value {
	v := s.value(name, d)
	v.Shape, v.HasShape = dims(shape), true
	s.Inputs = append(s.Inputs, v)
	return v
}

func dims(shape []int64) []onnx.Dim {
	all := []onnx.Dim{}
	for _, d := range shape {
		if d < 0 {
			all = append(all, onnx.Dim{Size: -1, Symbol: "n"})
		} else {
			all = append(all, onnx.Dim{Size: d})
		}
	}
	return all
}

func (s *sketch) constant(t backends.Tensor) *onnx.Value {
	v := s.value(t.Name, t.Datatype)
	v.Shape, v.HasShape, v.Const = dims(t.Shape), true, &t
	return v
}

// number adds a scalar constant.
func (s *sketch) number(v float32) *onnx.Value { return s.constant(floats("number", nil, v)) }

// node adds a node with one output, of the type and shape of its first input.
func (s *sketch) node(op string, attrs onnx.Attrs, in ...*onnx.Value) *onnx.Value {
	if in[0] == nil {
		return s.shaped(op, attrs, nil, in...)
	}
	return s.shaped(op, attrs, in[0].Shape, in...)
}

// shaped adds a node whose output has the given shape, nil if it is not known.
func (s *sketch) shaped(op string, attrs onnx.Attrs, shape []onnx.Dim, in ...*onnx.Value) *onnx.Value {
	name := op + string(rune('a'+len(s.Nodes)))
	out := s.value(name, backends.FP32)
	if in[0] != nil {
		out.Datatype = in[0].Datatype
	}
	out.Shape, out.HasShape = shape, shape != nil
	n := &onnx.Node{Op: op, Name: name, Opset: 28, Inputs: in, Outputs: []*onnx.Value{out}, Attrs: attrs}
	out.Producer = n
	s.Nodes = append(s.Nodes, n)
	return out
}

// within returns what f sketches as a subgraph, whose values are numbered with those of s.
func (s *sketch) within(f func()) *onnx.Graph {
	inputs, nodes, outputs := s.Inputs, s.Nodes, s.Outputs
	s.Inputs, s.Nodes, s.Outputs = nil, nil, nil
	f()
	g := &onnx.Graph{Name: "body", Inputs: s.Inputs, Nodes: s.Nodes, Outputs: s.Outputs}
	s.Inputs, s.Nodes, s.Outputs = inputs, nodes, outputs
	return g
}

// control adds a node with subgraphs that read the captured values.
func (s *sketch) control(op string, attrs onnx.Attrs, captured []*onnx.Value, in ...*onnx.Value) *onnx.Node {
	s.node(op, attrs, append(in, captured...)...)
	n := s.Nodes[len(s.Nodes)-1]
	n.Captured = len(captured)
	return n
}

func (s *sketch) output(v *onnx.Value) { s.Outputs = append(s.Outputs, v) }

func floats(name string, shape []int64, v ...float32) backends.Tensor {
	t := backends.Tensor{Name: name, Datatype: backends.FP32, Shape: shape, Data: []byte{}}
	for _, f := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(f))
	}
	return t
}

// wave returns a tensor of numbers between -2 and 2 that depend on the seed.
func wave(name string, seed float64, shape ...int64) backends.Tensor {
	v := make([]float32, backends.Elements(shape))
	for i := range v {
		v[i] = float32(2 * math.Sin(seed+float64(i)*1.7))
	}
	return floats(name, shape, v...)
}

func integers64(name string, shape []int64, v ...int64) backends.Tensor {
	t := backends.Tensor{Name: name, Datatype: backends.Int64, Shape: shape, Data: []byte{}}
	for _, i := range v {
		t.Data = binary.LittleEndian.AppendUint64(t.Data, uint64(i))
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
	e := &engine{pool: kernels.NewPool(2), limit: MaxTensorBytes, iterations: 1000}
	t.Cleanup(e.pool.Close)
	return e
}

// execute computes the wanted outputs in memory that is not used again.
func (p *plan) execute(ctx context.Context, r *run, in []backends.Tensor, wanted []named) ([]backends.Tensor, error) {
	names := []string{}
	for _, o := range wanted {
		names = append(names, o.name)
	}
	var a answer
	err := p.compute(ctx, r, backends.Batch{Tensors: in, Outputs: names}, &a)
	return a.tensors, err
}
