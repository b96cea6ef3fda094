package onnx

import (
	"maps"
	"slices"
	"strings"
)

// spread says what a value has to do with the rows of a batch.
type spread struct {
	kind  kind
	axis  int // from rowwise on: the dimension that is the rows, or has them outermost in a product
	step  Dim // of numbering
	below Dim // of numbering: the bound of what is added; of others: every element is in [0, below), unknown if nothing is
}

type kind byte

const (
	mixed      kind = iota // nothing is proven
	same                   // the same whatever the rows are and however many
	counting               // may depend on how many rows there are: good for shapes alone
	rowwise                // what belongs to a row depends on this row alone
	numbering              // every element of row r is r·step plus something from 0 to below
	addressing             // rowwise, but the first entry along the last axis is r
)

func along(axis int) spread { return spread{kind: rowwise, axis: axis, below: unknown} }

// rowFlow follows the rows of a batch through a graph, node by node. It proves that rows do not
// influence each other, so that requests may share a batch: what it does not know is mixed.
type rowFlow struct {
	*call  // the node at hand
	symbol string
	of     map[*Value]spread
}

// rowsApart reports whether it is proven that each output's first dimension is the rows, those
// of the dimension called symbol, and that each row of it depends on its own row alone.
func (g *Graph) rowsApart(symbol string) bool {
	f := &rowFlow{symbol: symbol, of: map[*Value]spread{}}
	for _, v := range g.Inputs {
		f.settle(v, along(0))
	}
	in := &inference{graph: g, vectors: maps.Clone(g.vectors)}
	for _, n := range g.Nodes {
		f.call = &call{Node: n, in: in}
		s := f.node()
		for _, v := range n.Outputs {
			if v != nil {
				f.settle(v, s)
			}
		}
	}
	return !slices.ContainsFunc(g.Outputs, func(v *Value) bool {
		s := f.spread(v)
		return s.kind != rowwise || s.axis != 0 || v.Shape[0] != Dim{-1, symbol}
	})
}

func (f *rowFlow) spread(v *Value) spread {
	if v == nil || v.Const != nil {
		return spread{kind: same, below: unknown}
	}
	return f.of[v]
}

// settle gives v its spread, unless its shape or content says otherwise: the number of rows in
// a second dimension would let a sum over it depend on them.
func (f *rowFlow) settle(v *Value, s spread) {
	switch s.kind {
	case rowwise, numbering, addressing:
		if !v.HasShape || s.axis < 0 || s.axis >= len(v.Shape) {
			s = spread{}
			break
		}
		for i, d := range v.Shape {
			if f.counts(d) != (i == s.axis) {
				s = spread{}
			}
		}
	case counting:
		if f.fixed(v) {
			s.kind = same
		}
	}
	f.of[v] = s
}

// counts reports whether a dimension is a multiple of the number of rows.
func (f *rowFlow) counts(d Dim) bool { return f.names(d.Symbol) }

func (f *rowFlow) names(symbol string) bool {
	return slices.Contains(strings.FieldsFunc(symbol, func(r rune) bool { return strings.ContainsRune("×(),", r) }), f.symbol) || symbol == f.symbol
}

// fixed reports whether the content of v is known to have nothing to do with the rows.
func (f *rowFlow) fixed(v *Value) bool {
	known := f.in.vectors[v]
	return known != nil && !slices.ContainsFunc(known.elems, func(e scalar) bool {
		return !e.known && (Dim{-1, e.symbol}.isOpen() || f.names(e.symbol))
	})
}

// node returns the spread of the node's outputs.
func (f *rowFlow) node() spread {
	if f.Domain == "" && (f.Op == "Shape" || f.Op == "Size") {
		return spread{kind: counting, below: unknown}
	}
	most := spread{kind: same}
	for _, v := range f.Inputs {
		switch s := f.spread(v); {
		case s.kind == mixed:
			return s
		case s.kind > most.kind:
			most = s
		}
	}
	switch most.kind {
	case same:
		return spread{kind: same, below: f.belowAll()}
	case counting:
		return f.counted()
	case numbering, addressing:
		return f.addressed()
	}
	rule := rowRules[opID{f.Domain, f.Op}]
	if rule == nil || f.resizes() {
		return spread{}
	}
	return rule(f)
}

// resizes reports whether the number of rows may decide a dimension that is not the rows.
func (f *rowFlow) resizes() bool {
	if !slices.ContainsFunc(f.Inputs, func(v *Value) bool { return f.spread(v).kind == counting }) {
		return false
	}
	return slices.ContainsFunc(f.Outputs, func(v *Value) bool {
		return v != nil && (!v.HasShape || slices.ContainsFunc(v.Shape, Dim.isOpen))
	})
}

// counted is the spread of what is made of counts and constants.
func (f *rowFlow) counted() spread {
	out := f.output(0)
	if f.Op == "Range" {
		return f.numbered()
	}
	if f.Op != "ConstantOfShape" && f.Op != "Expand" || f.Op == "Expand" && f.spread(f.Inputs[0]).kind != same {
		return spread{kind: counting, below: unknown}
	}
	if out == nil || !out.HasShape || slices.ContainsFunc(out.Shape, Dim.isOpen) {
		return spread{}
	}
	axis := slices.IndexFunc(out.Shape, f.counts)
	if axis < 0 {
		return spread{kind: same, below: f.belowAll()}
	}
	return spread{kind: rowwise, axis: axis, below: f.belowAll()}
}

// rows returns the axis of input i if it is rowwise and of a known rank.
func (f *rowFlow) rows(i int) (axis int, ok bool) {
	v := f.input(i)
	if v == nil || !v.HasShape {
		return 0, false
	}
	s := f.spread(v)
	return s.axis, s.kind >= rowwise
}

// alone reports whether input 0 is rowwise and all others but those at counts are constants.
func (f *rowFlow) alone(counts ...int) bool {
	for i, v := range f.Inputs {
		kind := f.spread(v).kind
		if i > 0 && kind != same && !(kind == counting && slices.Contains(counts, i)) {
			return false
		}
	}
	_, ok := f.rows(0)
	return ok
}

// keeps reports whether output 0 has as many rows at axis as input 0.
func (f *rowFlow) keeps(axis int) bool {
	in, out := f.Inputs[0], f.output(0)
	return out != nil && out.HasShape && axis < len(out.Shape) && out.Shape[axis] == in.Shape[axis]
}

// position is an axis of input 0 given by an attribute.
func (f *rowFlow) position(name string, otherwise int64) int {
	axis := f.call.int(name, otherwise)
	if axis < 0 {
		axis += int64(len(f.Inputs[0].Shape))
	}
	return int(axis)
}
