package onnx

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// infer computes the datatype and shape of every value that a node produces, node by node,
// and marks as constant what follows from static shapes alone. It starts afresh each time.
func (g *Graph) infer() error {
	in := &inference{graph: g, vectors: map[*Value]*vector{}}
	nodes := g.Nodes
	g.Nodes = make([]*Node, 0, len(nodes))
	return in.nodes(nodes)
}

// nodes infers the nodes in order and puts them into the graph.
func (in *inference) nodes(all []*Node) error {
	for _, n := range all {
		if n.Op == "If" && n.Domain == "" {
			branch, err := in.branch(n)
			if err != nil {
				return err
			}
			if err := in.nodes(branch); err != nil {
				return err
			}
			continue
		}
		if err := in.node(n); err != nil {
			return err
		}
		in.graph.Nodes = append(in.graph.Nodes, n)
	}
	return nil
}

// inference is one pass over a graph.
type inference struct {
	graph   *Graph
	vectors map[*Value]*vector // contents of small integer values, as far as they are known
	elems   int                // of all vectors
	symbols int                // that were made up
}

func (in *inference) vector(v *Value) *vector {
	known, ok := in.vectors[v]
	if !ok && v.Const != nil && in.elems <= maxVectors {
		if known = vectorOf(v.Const); known != nil {
			in.elems += len(known.elems)
		}
		in.vectors[v] = known
	}
	return known
}

// node infers the outputs of n.
func (in *inference) node(n *Node) error {
	s, err := schemaOf(n)
	if err != nil {
		return err
	}
	c := &call{Node: n, in: in}
	if err := c.bindTypes(s); err != nil {
		return err
	}
	if err := shapeRules[opID{n.Domain, n.Op}](c); err != nil {
		return err
	}
	if n.Op == "Reshape" {
		in.pinTarget(c)
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		if p := at(s.outputs, i); v.Datatype == backends.Invalid {
			return invalid(n, "the type of output %d (%s) cannot be told", i, p.typ)
		} else if set, ok := s.types[p.typ]; ok && !set.has(v.Datatype) {
			return Unsupported(n, "output %d is %v, at this opset it can be %v", i, v.Datatype, set)
		}
		if err := in.settle(n, v); err != nil {
			return err
		}
	}
	return nil
}

// pinTarget makes the target of a Reshape a constant where it is known but for dimensions
// that are copied from the input and one that follows from the others. What computed the
// target is then not needed at run time.
func (in *inference) pinTarget(c *call) {
	target := c.vector(1)
	dims, ok := c.shape(0)
	if target == nil || c.Inputs[1].Const != nil || !ok || c.int("allowzero", 0) != 0 {
		return
	}
	pinned := &vector{elems: slices.Clone(target.elems)}
	left := 0
	for i, e := range target.elems {
		switch {
		case e == number(-1):
			left++
		case e.known:
		case e.symbol != "" && i < len(dims) && dims[i].Symbol == e.symbol:
			pinned.elems[i] = number(0)
		default:
			pinned.elems[i] = number(-1)
			left++
		}
	}
	if left <= 1 {
		c.Inputs = slices.Clone(c.Inputs)
		c.Inputs[1] = constant(c.Inputs[1].Name, pinned.tensor(c.Inputs[1].Datatype))
	}
}

// settle compares an inferred value with what the file declares of it.
func (in *inference) settle(n *Node, v *Value) error {
	if v.HasShape && len(v.Shape) > maxRank {
		return invalid(n, "value %q has %d dimensions, at most %d", v.Name, len(v.Shape), maxRank)
	}
	if size := backends.Elements(sizes(v.Shape, 1)); v.HasShape && (size < 0 || size > 1<<40) {
		return invalid(n, "value %q has shape %v, which is too large", v.Name, sizes(v.Shape, -1))
	}
	if hint := in.graph.hints[v]; hint != nil {
		if err := hint.compare(v); err != nil {
			return invalid(n, "value %q: %w", v.Name, err)
		}
	}
	for i, d := range v.Shape {
		if d == unknown {
			in.symbols++
			v.Shape[i].Symbol = fmt.Sprintf("?%d", in.symbols)
		}
	}
	if vec := in.vectors[v]; vec != nil && vec.allKnown() && v.Const == nil {
		v.Const = vec.tensor(v.Datatype)
		v.Const.Name = v.Name
	}
	return nil
}

// compare refuses a declaration that contradicts the inferred value, and takes the rank from
// it where nothing better is known.
func (p *valueProto) compare(v *Value) error {
	if !p.isTensor {
		if p.form == "" || v.Producer.Op == "ZipMap" {
			return nil
		}
		return backends.Errorf(backends.ErrInvalid, "the file declares a %s, inferred is a tensor", p.form)
	}
	if dt, err := datatype(p.elem); p.elem != 0 && (err != nil || dt != v.Datatype) {
		return backends.Errorf(backends.ErrInvalid, "the file declares element type %d, inferred is %v", p.elem, v.Datatype)
	}
	if !p.hasShape {
		return nil
	}
	if !v.HasShape {
		v.Shape, v.HasShape = unknownDims(len(p.dims)), true
		return nil
	}
	declared := make([]Dim, len(p.dims))
	agree := len(p.dims) == len(v.Shape)
	for i, d := range p.dims {
		declared[i] = d.dim()
		if agree {
			_, agree = unify(v.Shape[i], declared[i])
		}
	}
	if !agree {
		return backends.Errorf(backends.ErrInvalid, "the file declares shape %v, inferred is %v (-1 varies)", sizes(declared, -1), sizes(v.Shape, -1))
	}
	return nil
}

// call is one node whose outputs are being inferred.
type call struct {
	*Node
	in *inference
}

// bindTypes checks the inputs' datatypes and sets the outputs' as far as the schema tells.
func (c *call) bindTypes(s *schema) error {
	bound := map[string]backends.Datatype{}
	for i, v := range c.Inputs {
		if v == nil {
			continue
		}
		p := at(s.inputs, i)
		if dt, ok := shortTypes[p.typ]; ok && dt != v.Datatype {
			return invalid(c.Node, "input %d (%q) is %v, it must be %v", i, v.Name, v.Datatype, dt)
		}
		set, ok := s.types[p.typ]
		if !ok {
			continue
		}
		if !set.has(v.Datatype) {
			return invalid(c.Node, "input %d (%q) is %v, at this opset it can be %v", i, v.Name, v.Datatype, set)
		}
		if have, ok := bound[p.typ]; ok && have != v.Datatype {
			return invalid(c.Node, "input %d (%q) is %v, it must be %v as the inputs before it", i, v.Name, v.Datatype, have)
		}
		bound[p.typ] = v.Datatype
	}
	for i, v := range c.Outputs {
		if v == nil {
			continue
		}
		typ := at(s.outputs, i).typ
		v.Shape, v.HasShape, v.Datatype = nil, false, backends.Invalid
		if dt, ok := shortTypes[typ]; ok {
			v.Datatype = dt
		} else if dt, ok := bound[typ]; ok {
			v.Datatype = dt
		} else if dt, ok := s.types[typ].only(); ok {
			v.Datatype = dt
		}
	}
	return nil
}

// input returns input i, or nil if it is left out.
func (c *call) input(i int) *Value {
	if i < len(c.Inputs) {
		return c.Inputs[i]
	}
	return nil
}

// shape returns the shape of input i; false if it is left out or its rank is unknown.
func (c *call) shape(i int) ([]Dim, bool) {
	v := c.input(i)
	if v == nil || !v.HasShape {
		return nil, false
	}
	return v.Shape, true
}

// vector returns what is known of the content of input i, or nil if that is no short vector
// of integers.
func (c *call) vector(i int) *vector {
	v := c.input(i)
	if v == nil {
		return nil
	}
	if known := c.in.vector(v); known != nil || v.Const != nil {
		return known
	}
	n := elements(v.Shape)
	if !v.HasShape || len(v.Shape) > 1 || n < 0 || n > maxVector || readInt(v.Datatype) == nil {
		return nil
	}
	return &vector{elems: make([]scalar, n), isScalar: len(v.Shape) == 0}
}

// ints returns input i if all of it is known.
func (c *call) ints(i int) ([]int64, bool) {
	v := c.vector(i)
	if v == nil || !v.allKnown() {
		return nil, false
	}
	all := make([]int64, len(v.elems))
	for j, e := range v.elems {
		all[j] = e.n
	}
	return all, true
}

// output returns output i, or nil if it is not wanted.
func (c *call) output(i int) *Value {
	if i < len(c.Outputs) {
		return c.Outputs[i]
	}
	return nil
}

// set gives output i a shape.
func (c *call) set(i int, dims []Dim) {
	if v := c.output(i); v != nil {
		v.Shape, v.HasShape = slices.Clone(dims), true
	}
}

// setType gives output i a datatype.
func (c *call) setType(i int, dt backends.Datatype) {
	if v := c.output(i); v != nil {
		v.Datatype = dt
	}
}

// setVector says what is known of the content of output 0, and so its shape.
func (c *call) setVector(v *vector) {
	out := c.output(0)
	if v == nil || out == nil || len(v.elems) > maxVector || c.in.elems > maxVectors {
		return
	}
	c.in.elems += len(v.elems)
	switch out.Datatype {
	case backends.Int64, backends.Bool:
	case backends.Int32:
		v = v.wrapped()
	default:
		return
	}
	c.in.vectors[out] = v
	if v.isScalar {
		c.set(0, nil)
	} else {
		c.set(0, []Dim{fixed(int64(len(v.elems)))})
	}
}

func (c *call) int(name string, otherwise int64) int64 {
	if n, ok := c.Attrs[name].(int64); ok {
		return n
	}
	return otherwise
}

func (c *call) intList(name string) []int64 {
	all, _ := c.Attrs[name].([]int64)
	return all
}

func (c *call) string(name, otherwise string) string {
	if s, ok := c.Attrs[name].(string); ok {
		return s
	}
	return otherwise
}

// typeAttr returns the datatype that an attribute holds as an ONNX element type.
func (c *call) typeAttr(name string, otherwise backends.Datatype) (backends.Datatype, error) {
	kind, ok := c.Attrs[name].(int64)
	if !ok || kind == 0 {
		return otherwise, nil
	}
	dt, err := datatype(kind)
	if err != nil {
		return dt, refuse(kindOf(err), c.Node, "attribute %q: %w", name, err)
	}
	return dt, nil
}

// axis normalizes an axis of a tensor of that rank.
func (c *call) axis(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, invalid(c.Node, "axis %d does not exist in a tensor of %d dimensions", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// axes normalizes axes, none of which may come twice.
func (c *call) axes(all []int64, rank int) ([]int, error) {
	out := make([]int, 0, min(len(all), rank))
	for _, a := range all {
		axis, err := c.axis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, axis) {
			return nil, invalid(c.Node, "axis %d is given twice", a)
		}
		out = append(out, axis)
	}
	return out, nil
}

// mismatch is the refusal of shapes that do not go together.
func (c *call) mismatch() error {
	text := ""
	for i := range c.Inputs {
		if dims, ok := c.shape(i); ok {
			text += fmt.Sprintf(" %v", sizes(dims, -1))
		}
	}
	return invalid(c.Node, "the shapes of the inputs do not go together:%s (-1 varies)", text)
}

// branch replaces an If by the branch that it always takes.
func (in *inference) branch(n *Node) ([]*Node, error) {
	cond := in.vector(n.Inputs[0])
	if cond == nil || len(cond.elems) != 1 || !cond.elems[0].known {
		return nil, Unsupported(n, "the condition is not known before the run")
	}
	name := "else_branch"
	if cond.elems[0].n != 0 {
		name = "then_branch"
	}
	g, ok := n.Attrs[name].(*Graph)
	if !ok || len(g.Inputs) > 0 || len(g.Outputs) != len(n.Outputs) {
		return nil, invalid(n, "%s needs no inputs and as many outputs as the node", name)
	}
	for v, hint := range g.hints {
		in.graph.hints[v] = hint
	}
	nodes := g.Nodes
	for i, v := range g.Outputs {
		out := n.Outputs[i]
		if out == nil {
			continue
		}
		same := &Node{Op: "Identity", Name: fmt.Sprintf("%s/%d", n.Name, i), Opset: n.Opset,
			Inputs: []*Value{v}, Outputs: []*Value{out}, Attrs: Attrs{}}
		out.Producer = same
		nodes = append(nodes, same)
	}
	return nodes, nil
}
