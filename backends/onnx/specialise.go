package onnx

import (
	"maps"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// Specialise returns a copy of g for inputs of those shapes, one for each of g.Inputs, whose types and
// shapes are inferred anew. It shares constants and attributes with g, which stays as it is and may be
// specialised by many goroutines at once. A graph with an If, Loop or Scan is an ErrUnsupported; shapes
// that do not fit the model are an ErrInvalid.
func (g *Graph) Specialise(shapes [][]int64) (*Graph, error) {
	if len(shapes) != len(g.Inputs) {
		return nil, backends.Errorf(backends.ErrInvalid, "%d shapes for %d inputs", len(shapes), len(g.Inputs))
	}
	c := copier{values: make(map[*Value]*Value, len(g.Values))}
	s := &Graph{Name: g.Name, Producer: g.Producer, Opsets: g.Opsets, hints: map[*Value]*valueProto{}}
	s.Inputs, s.Outputs = c.all(g.Inputs), c.all(g.Outputs)
	for i, v := range s.Inputs {
		v.Shape, v.HasShape = fixedDims(shapes[i]), true
	}
	for _, n := range g.Nodes {
		if len(n.subgraphs()) > 0 {
			return nil, Unsupported(n, "its subgraphs need what is computed before them")
		}
		s.Nodes = append(s.Nodes, c.node(n))
	}
	for v, hint := range g.hints {
		if copied, ok := c.values[v]; ok {
			s.hints[copied] = hint
		}
	}
	if err := s.infer(); err != nil {
		return nil, err
	}
	s.tidy()
	return s, nil
}

// copier copies the values of a graph once each.
type copier struct{ values map[*Value]*Value }

func (c copier) value(v *Value) *Value {
	if v == nil {
		return nil
	}
	if have, ok := c.values[v]; ok {
		return have
	}
	copied := *v
	copied.Shape, copied.Producer = slices.Clone(v.Shape), nil
	c.values[v] = &copied
	return &copied
}

func (c copier) all(values []*Value) []*Value {
	copied := make([]*Value, len(values))
	for i, v := range values {
		copied[i] = c.value(v)
	}
	return copied
}

func (c copier) node(n *Node) *Node {
	copied := *n
	copied.Inputs, copied.Outputs, copied.Attrs = c.all(n.Inputs), c.all(n.Outputs), maps.Clone(n.Attrs)
	for _, v := range copied.Outputs {
		if v != nil {
			v.Producer = &copied
		}
	}
	return &copied
}
