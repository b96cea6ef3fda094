package rewrite

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// sketch is a graph that is drawn, of values of FP32 with six columns.
type sketch struct{ onnx.Graph }

func (s *sketch) value(name string, shape ...int64) *onnx.Value {
	v := &onnx.Value{ID: len(s.Values), Name: name, Datatype: backends.FP32, HasShape: true}
	for _, n := range shape {
		v.Shape = append(v.Shape, onnx.Dim{Size: n})
	}
	s.Values = append(s.Values, v)
	return v
}

func (s *sketch) constant(shape []int64, all ...float32) *onnx.Value {
	v := s.value(fmt.Sprint("c", len(s.Values)), shape...)
	t := floats(v.Name, shape, all)
	v.Const = &t
	return v
}

func (s *sketch) scalar(v float32) *onnx.Value { return s.constant(nil, v) }

// node adds a node of opset 17 whose result has the shape of its first input.
func (s *sketch) node(op string, attrs onnx.Attrs, inputs ...*onnx.Value) *onnx.Value {
	n := &onnx.Node{Op: op, Opset: 17, Name: fmt.Sprint(op, len(s.Nodes)), Inputs: inputs, Attrs: attrs}
	out := s.value(n.Name + ".out")
	out.Shape, out.Producer = inputs[0].Shape, n
	n.Outputs = []*onnx.Value{out}
	s.Nodes = append(s.Nodes, n)
	return out
}

func (s *sketch) gelu(x *onnx.Value, root float32) *onnx.Value {
	erf := s.node("Erf", nil, s.node("Div", nil, x, s.scalar(root)))
	return s.node("Mul", nil, s.node("Mul", nil, x, s.node("Add", nil, erf, s.scalar(1))), s.scalar(0.5))
}

func (s *sketch) conv(x *onnx.Value) *onnx.Value {
	return s.node("Conv", nil, x, s.constant([]int64{2, 1, 1, 1}, 3, 5), s.constant([]int64{2}, 1, 2))
}

func (s *sketch) batchNorm(x *onnx.Value) *onnx.Value {
	two := []int64{2}
	return s.node("BatchNormalization", onnx.Attrs{"epsilon": float32(0)}, x,
		s.constant(two, 2, 3), s.constant(two, 10, 20), s.constant(two, 1, 2), s.constant(two, 4, 9))
}

func (s *sketch) layerNorm(x *onnx.Value, axis int64, squared func(centred *onnx.Value) *onnx.Value) *onnx.Value {
	axes := onnx.Attrs{"axes": []int64{axis}}
	centred := s.node("Sub", nil, x, s.node("ReduceMean", axes, x))
	variance := s.node("Add", nil, s.node("ReduceMean", axes, squared(centred)), s.scalar(1e-12))
	quotient := s.node("Div", nil, centred, s.node("Sqrt", nil, variance))
	six := []int64{6}
	return s.node("Add", nil, s.node("Mul", nil, quotient, s.constant(six, 1, 1, 1, 1, 1, 1)), s.constant(six, 0, 0, 0, 0, 0, 0))
}

func TestStandard(t *testing.T) {
	square := func(s *sketch) func(*onnx.Value) *onnx.Value {
		return func(v *onnx.Value) *onnx.Value { return s.node("Pow", nil, v, s.scalar(2)) }
	}
	tests := []struct {
		name string
		draw func(s *sketch, x *onnx.Value) *onnx.Value
		want []string
	}{
		{"gelu", func(s *sketch, x *onnx.Value) *onnx.Value { return s.gelu(x, math.Sqrt2) }, []string{"Gelu"}},
		{"gelu of another root", func(s *sketch, x *onnx.Value) *onnx.Value { return s.gelu(x, 1.5) }, []string{"Div", "Erf", "Add", "Mul", "Mul"}},
		{"gelu whose error function others read", func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.gelu(x, math.Sqrt2)
			s.Outputs = append(s.Outputs, s.Nodes[1].Outputs[0])
			return y
		}, []string{"Div", "Erf", "Gelu"}},
		{"gelu of tanh", func(s *sketch, x *onnx.Value) *onnx.Value {
			cube := s.node("Mul", nil, s.node("Pow", nil, x, s.scalar(3)), s.scalar(0.044715))
			inner := s.node("Mul", nil, s.node("Add", nil, x, cube), s.scalar(float32(math.Sqrt(2/math.Pi))))
			sum := s.node("Add", nil, s.node("Tanh", nil, inner), s.scalar(1))
			return s.node("Mul", nil, s.node("Mul", nil, s.scalar(0.5), x), sum)
		}, []string{"Gelu"}},
		{"silu", func(s *sketch, x *onnx.Value) *onnx.Value { return s.node("Mul", nil, s.node("Sigmoid", nil, x), x) }, []string{"Swish"}},
		{"sigmoid of another", func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.node("Mul", nil, s.node("Sigmoid", nil, s.node("Neg", nil, x)), x)
		}, []string{"Neg", "Sigmoid", "Mul"}},
		{"hard swish", func(s *sketch, x *onnx.Value) *onnx.Value {
			clip := s.node("Clip", nil, s.node("Add", nil, x, s.scalar(3)), s.scalar(0), s.scalar(6))
			return s.node("Mul", nil, x, s.node("Div", nil, clip, s.scalar(6)))
		}, []string{"HardSwish"}},
		{"hard sigmoid of a clip of opset 6", func(s *sketch, x *onnx.Value) *onnx.Value {
			clip := s.node("Clip", onnx.Attrs{"min": float32(0), "max": float32(6)}, s.node("Add", nil, x, s.scalar(3)))
			clip.Producer.Opset = 6
			return s.node("Div", nil, clip, s.scalar(6))
		}, []string{"HardSigmoid"}},
		{"clip at 5", func(s *sketch, x *onnx.Value) *onnx.Value {
			clip := s.node("Clip", nil, s.node("Add", nil, x, s.scalar(3)), s.scalar(0), s.scalar(5))
			return s.node("Div", nil, clip, s.scalar(6))
		}, []string{"Add", "Clip", "Div"}},
		{"normalisation of layers", func(s *sketch, x *onnx.Value) *onnx.Value { return s.layerNorm(x, -1, square(s)) }, []string{"LayerNormalization"}},
		{"normalisation over rows", func(s *sketch, x *onnx.Value) *onnx.Value { return s.layerNorm(x, 0, square(s)) },
			[]string{"ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"}},
		{"normalisation of a batch", func(s *sketch, x *onnx.Value) *onnx.Value { return s.batchNorm(s.conv(x)) }, []string{"Conv"}},
		{"normalisation of what others read", func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.conv(x)
			s.Outputs = append(s.Outputs, y)
			return s.batchNorm(y)
		}, []string{"Conv", "BatchNormalization"}},
		{"normalisation that still learns", func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.batchNorm(s.conv(x))
			y.Producer.Attrs["training_mode"] = int64(1)
			return y
		}, []string{"Conv", "BatchNormalization"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s sketch
			x := s.value("x", 4, 6)
			s.Inputs = []*onnx.Value{x}
			y := test.draw(&s, x)
			s.Outputs = append(s.Outputs, y)
			Apply(&s.Graph, Standard)
			var ops []string
			for _, n := range s.Nodes {
				ops = append(ops, n.Op)
			}
			if !slices.Equal(ops, test.want) {
				t.Errorf("rewritten to %v, want %v", ops, test.want)
			}
			for i, v := range s.Values {
				if v.ID != i {
					t.Errorf("value %d has number %d", i, v.ID)
				}
			}
		})
	}
}

func TestBatchNormIsInTheFilters(t *testing.T) {
	var s sketch
	s.Outputs = []*onnx.Value{s.batchNorm(s.conv(s.value("x", 1, 1, 1, 1)))}
	Apply(&s.Graph, Standard)
	weights, _ := Floats(s.Nodes[0].Inputs[1])
	bias, _ := Floats(s.Nodes[0].Inputs[2])
	// (3x+1-1)·2/2+10 and (5x+2-2)·3/3+20
	if !slices.Equal(weights, []float32{3, 5}) || !slices.Equal(bias, []float32{10, 20}) {
		t.Errorf("filters %v, bias %v, want [3 5] and [10 20]", weights, bias)
	}
}

// What a body reads of the graph around it is not its own to rewrite; what it holds itself is.
func TestBodies(t *testing.T) {
	var s sketch
	x := s.value("x", 4, 6)
	sigmoid := s.node("Sigmoid", nil, x)
	inner := sketch{onnx.Graph{Values: s.Values}}
	outside := inner.node("Mul", nil, sigmoid, x)
	inside := inner.node("Mul", nil, inner.node("Sigmoid", nil, outside), outside)
	s.Values, inner.Values = inner.Values, nil
	inner.Outputs = []*onnx.Value{inside}
	y := s.node("If", onnx.Attrs{"then_branch": &inner.Graph}, x, sigmoid)
	s.Outputs = []*onnx.Value{y}

	Apply(&s.Graph, Standard)
	if len(inner.Nodes) != 2 || inner.Nodes[0].Op != "Mul" || inner.Nodes[1].Op != "Swish" {
		t.Errorf("the body has %d nodes, the first a %s, want a Mul and a Swish", len(inner.Nodes), inner.Nodes[0].Op)
	}
	if sigmoid.Producer == nil {
		t.Error("the value from outside has lost its node")
	}
}

func TestInsert(t *testing.T) {
	var s sketch
	x := s.value("x", 4, 6)
	first := s.node("Neg", nil, x)
	second := s.node("Abs", nil, first)
	s.Outputs = []*onnx.Value{second}
	added := &onnx.Value{Name: "added", Datatype: backends.FP32}
	Apply(&s.Graph, []Rule{func(g *Graph, n *onnx.Node) bool {
		if n.Op != "Abs" {
			return false
		}
		g.Insert(&onnx.Node{Op: "Exp", Inputs: n.Inputs, Outputs: []*onnx.Value{added}}, []*onnx.Node{n})
		n.Inputs = []*onnx.Value{added}
		return true
	}})
	var ops []string
	for _, n := range s.Nodes {
		ops = append(ops, n.Op)
	}
	if !slices.Equal(ops, []string{"Neg", "Exp", "Abs"}) || added.ID != 3 || s.Values[3] != added || added.Producer != s.Nodes[1] {
		t.Errorf("nodes are %v, the new value is number %d", ops, added.ID)
	}
}
