package lower

import (
	"fmt"
	"maps"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// Lower makes a program of g, in which every shape is known, as after onnx.Graph.Specialise. Values
// that the graph has in FP32 are kept in float: FP32, FP16 or BF16. Inputs and outputs keep their
// datatypes. With integers, products of what quantised files dequantise are taken in eight bits where g has
// kept its DequantizeLinear nodes. What cannot be lowered is an ErrUnsupported that names the operator, its node and opset.
func Lower(g *onnx.Graph, float backends.Datatype, integers bool) (*Program, error) {
	l := &lowering{float: float, integers: integers, values: map[*onnx.Value]Tensor{}, integral: map[*Buffer]quantity{}, sources: map[*Buffer]source{}, names: map[*Buffer][]string{}}
	for _, v := range g.Inputs {
		t, err := l.input(v)
		if err != nil {
			return nil, err
		}
		l.program.Inputs = append(l.program.Inputs, t)
	}
	for _, n := range g.Nodes {
		if err := l.node(n); err != nil {
			return nil, err
		}
	}
	l.fuse(g)
	for _, v := range g.Outputs {
		t, names, err := l.output(v)
		if err != nil {
			return nil, err
		}
		l.program.Outputs = append(l.program.Outputs, t)
		l.program.Names = append(l.program.Names, names)
	}
	l.program.prune()
	return &l.program, nil
}

// lowering is a graph half way to a program.
type lowering struct {
	program Program
	float   backends.Datatype
	values  map[*onnx.Value]Tensor

	integers bool                 // products are of eight bits where they can be
	integral map[*Buffer]quantity // what weights have been made of
	sources  map[*Buffer]source   // what else has been dequantised
	names    map[*Buffer][]string // of the classes whose numbers a buffer holds, for strings
	at       *onnx.Node           // the node at hand
}

// shapeOf returns the shape of a value, which must be known.
func shapeOf(v *onnx.Value) ([]int64, error) {
	shape := make([]int64, len(v.Shape))
	for i, d := range v.Shape {
		shape[i] = d.Size
	}
	if !v.HasShape || backends.Elements(shape) < 0 {
		return nil, fmt.Errorf("the shape of %q depends on more than the shapes of the inputs", v.Name)
	}
	return shape, nil
}

func (l *lowering) input(v *onnx.Value) (Tensor, error) {
	shape, err := shapeOf(v)
	if err != nil {
		return Tensor{}, backends.Errorf(backends.ErrUnsupported, "input: %w", err)
	}
	if v.Datatype == backends.Bytes {
		return Tensor{}, backends.Errorf(backends.ErrUnsupported, "input %q: a device has no strings", v.Name)
	}
	t := newTensor(v.Datatype, shape)
	l.values[v] = t
	return t, nil
}

// output returns v as clients get it: in the datatype of the graph, or numbers of what has names, dense,
// and in memory that an operation of its own has written.
func (l *lowering) output(v *onnx.Value) (t Tensor, names []string, err error) {
	t, err = l.raw(v)
	if err != nil {
		return Tensor{}, nil, err
	}
	d := v.Datatype
	if names = l.names[t.Buffer]; names != nil {
		d = t.Type
	}
	written := slices.ContainsFunc(l.program.Ops, func(o *Op) bool {
		return slices.ContainsFunc(o.Out, func(out Tensor) bool { return out.Buffer == t.Buffer })
	})
	taken := slices.ContainsFunc(l.program.Outputs, func(o Tensor) bool { return o.Buffer == t.Buffer })
	whole := t.Offset == 0 && t.Buffer.Bytes == bytesOf(t.Type, t.Shape)
	if written && whole && !taken && t.Type == d && t.Dense() {
		return t, names, nil
	}
	return l.convert(t, d, dense(t.Shape)), names, nil
}

// prune drops operations whose results nobody reads.
func (p *Program) prune() {
	kept := map[*Buffer]bool{}
	for _, t := range p.Outputs {
		kept[t.Buffer] = true
	}
	p.pruneBut(kept)
}

// pruneBut drops operations that neither the buffers to keep nor other operations need.
func (p *Program) pruneBut(kept map[*Buffer]bool) {
	needed := maps.Clone(kept)
	var live []*Op
	for _, o := range slices.Backward(p.Ops) {
		if !slices.ContainsFunc(o.Out, func(t Tensor) bool { return needed[t.Buffer] }) {
			continue
		}
		live = append(live, o)
		for _, t := range o.In {
			needed[t.Buffer] = true
		}
	}
	slices.Reverse(live)
	p.Ops = live
}

// node lowers one node.
func (l *lowering) node(n *onnx.Node) error {
	build := operators[operator{n.Domain, n.Op}]
	if build == nil {
		return onnx.Unsupported(n, "the cuda backend does not have it: say `backend: cpu` in model.yaml")
	}
	l.at = n
	c := &call{lowering: l, Node: n}
	if err := build(c); err != nil {
		return onnx.Unsupported(n, "%w", err)
	}
	for i, v := range n.Outputs {
		if v != nil && i < len(c.out) {
			l.values[v] = c.out[i]
		}
	}
	return nil
}

// bytesOf returns the size of a dense tensor.
func bytesOf(d backends.Datatype, shape []int64) int64 {
	return backends.Elements(shape) * int64(d.Size())
}

// newTensor returns a dense tensor in a buffer of its own.
func newTensor(d backends.Datatype, shape []int64) Tensor {
	return Tensor{Buffer: &Buffer{Bytes: bytesOf(d, shape)}, Type: d, Shape: slices.Clone(shape), Strides: dense(shape)}
}

// raw returns a value as it lies.
func (l *lowering) raw(v *onnx.Value) (Tensor, error) {
	if t, ok := l.values[v]; ok {
		return t, nil
	}
	if v.Const == nil {
		return Tensor{}, fmt.Errorf("value %q is made by no node", v.Name)
	}
	t, err := constant(v.Const, l.typeOf(v.Datatype))
	if err == nil {
		l.values[v] = t
	}
	return t, err
}

// typeOf returns in which datatype values of d are kept.
func (l *lowering) typeOf(d backends.Datatype) backends.Datatype {
	if d == backends.FP32 {
		return l.float
	}
	return d
}

// tensor returns a value in the datatype in which such are kept.
func (l *lowering) tensor(v *onnx.Value) (Tensor, error) {
	t, err := l.raw(v)
	if err != nil || t.Type == l.typeOf(v.Datatype) {
		return t, err
	}
	if v.Datatype == backends.Bytes {
		return t, fmt.Errorf("input %q is names of classes, of which a device computes nothing", v.Name)
	}
	t = l.as(t, l.typeOf(v.Datatype))
	l.values[v] = t
	return t, nil
}

// add appends an operation.
func (l *lowering) add(k Kind, out Tensor, in ...Tensor) Tensor {
	name := ""
	if l.at != nil {
		name = l.at.Name
	}
	l.program.Ops = append(l.program.Ops, &Op{Node: name, Kind: k, In: in, Out: []Tensor{out}})
	return out
}

// as returns t in another datatype.
func (l *lowering) as(t Tensor, d backends.Datatype) Tensor {
	switch {
	case t.Type == d:
		return t
	case t.Buffer.Weight != nil && isFloat(t.Type) && isFloat(d):
		return converted(t, d)
	case t.order() != nil:
		return l.add(Map{}, likeOf(d, t.Shape, t), t)
	}
	return l.convert(t, d, dense(t.Shape))
}

// convert copies t to memory of its own, with those strides.
func (l *lowering) convert(t Tensor, d backends.Datatype, strides []int64) Tensor {
	out := newTensor(d, t.Shape)
	out.Strides = strides
	return l.add(Map{}, out, t)
}

// dense returns t with its elements in order.
func (l *lowering) dense(t Tensor) Tensor {
	switch {
	case t.Dense():
		return t
	case t.Buffer.Weight != nil:
		return gathered(t)
	}
	return l.convert(t, t.Type, dense(t.Shape))
}

// shaped returns t in another shape, copied if it has to be.
func (l *lowering) shaped(t Tensor, shape ...int64) Tensor {
	v, ok := t.reshape(shape)
	if !ok {
		v, _ = l.dense(t).reshape(shape)
	}
	return v
}

// likeOf returns a new tensor whose dimensions lie in memory as those of the first operand of its
// shape do.
func likeOf(d backends.Datatype, shape []int64, operands ...Tensor) Tensor {
	out := newTensor(d, shape)
	for _, t := range operands {
		order := t.order()
		if !slices.Equal(t.Shape, shape) || order == nil {
			continue
		}
		n := int64(1)
		for _, at := range slices.Backward(order) {
			out.Strides[at] = n
			n *= shape[at]
		}
		break
	}
	return out
}

func isFloat(d backends.Datatype) bool {
	return d == backends.FP32 || d == backends.FP16 || d == backends.BF16
}
