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
	g.vectors = in.vectors
	nodes := g.Nodes
	g.Nodes = make([]*Node, 0, len(nodes))
	return in.nodes(nodes)
}

// nodes infers the nodes in order and puts them into the graph.
func (in *inference) nodes(all []*Node) error {
	for _, n := range all {
		if branch, err := in.branch(n); err != nil {
			return err
		} else if branch != nil {
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
	if err := ruleOf(n)(c); err != nil {
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
	in.nameDims(v)
	if vec := in.vectors[v]; vec != nil && vec.allKnown() && v.Const == nil {
		v.Const = vec.tensor(v.Datatype)
		v.Const.Name = v.Name
	}
	return nil
}

// nameDims makes up symbols for the dimensions of v that are not known.
func (in *inference) nameDims(v *Value) {
	for i, d := range v.Shape {
		if d == unknown {
			in.symbols++
			v.Shape[i].Symbol = fmt.Sprintf("?%d", in.symbols)
		}
	}
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
