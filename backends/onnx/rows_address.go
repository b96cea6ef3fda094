package onnx

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// Exporters write some selections of a row's own elements as a look-up in all rows: they number
// the rows, multiply by the size of a row, add a position within it and gather. What follows
// proves that such an address stays within its row.

// numbered is the spread of a Range over counts.
func (f *rowFlow) numbered() spread {
	start, knownStart := f.ints(0)
	step, knownStep := f.ints(2)
	limit := f.vector(1)
	if !knownStart || !knownStep || limit == nil || start[0] != 0 || step[0] != 1 {
		return spread{kind: counting, below: unknown}
	}
	if end := limit.elems[0].dim(); end.Symbol == f.symbol {
		return spread{kind: numbering, step: fixed(1), below: fixed(1)}
	}
	return spread{kind: counting, below: unknown}
}

// belowAll is the bound of what a node makes of constants or moves to other places.
func (f *rowFlow) belowAll() Dim {
	switch f.Op {
	case "Range":
		start, knownStart := f.ints(0)
		step, knownStep := f.ints(2)
		limit := f.vector(1)
		if knownStart && knownStep && limit != nil && start[0] == 0 && step[0] == 1 {
			return limit.elems[0].dim()
		}
	case "Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Expand":
		if f.indexes() {
			return f.below(f.Inputs[0])
		}
	}
	return unknown
}

// indexes reports whether the node's output holds every index that there can be.
func (f *rowFlow) indexes() bool {
	dt := f.output(0).Datatype
	return dt == backends.Int32 || dt == backends.Int64
}

// below returns what is known to be above every element of v, none of which is negative.
func (f *rowFlow) below(v *Value) Dim {
	if v == nil || v.Const == nil {
		return f.spread(v).below
	}
	read := readInt(v.Datatype)
	if read == nil || v.Const.Elements() == 0 {
		return unknown
	}
	most := int64(0)
	for data := v.Const.Data; len(data) > 0; data = data[v.Datatype.Size():] {
		n := read(data)
		if n < 0 || n == math.MaxInt64 {
			return unknown
		}
		most = max(most, n)
	}
	return fixed(most + 1)
}

// addressed is the spread of what is made of row numbers.
func (f *rowFlow) addressed() spread {
	switch f.Op {
	case "Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Expand":
		return f.moved()
	case "Mul", "Add":
		return f.computed()
	case "Concat":
		return f.joined()
	case "Gather":
		return f.lookedUp()
	case "GatherND":
		return f.lookedUpND()
	}
	return spread{}
}

// moved is row numbers in another shape.
func (f *rowFlow) moved() spread {
	s := f.spread(f.Inputs[0])
	to := rowRules[opID{"", f.Op}](f)
	if s.kind != numbering || to.kind != rowwise || f.resizes() || !f.indexes() {
		return spread{}
	}
	s.axis = to.axis
	return s
}

// computed is row numbers times a size, or plus something.
func (f *rowFlow) computed() spread {
	number, other := f.Inputs[0], f.Inputs[1]
	if f.spread(number).kind != numbering {
		number, other = other, number
	}
	s, to := f.spread(number), rowsElementwise(f)
	if to.kind != rowwise || f.spread(other).kind == numbering {
		return spread{}
	}
	s.axis = to.axis
	if f.Op == "Mul" {
		size := f.in.vector(other)
		if s.below != fixed(1) || f.spread(other).kind != same || size == nil || len(size.elems) != 1 {
			return spread{}
		}
		s.step = product(s.step, size.elems[0].dim())
		return s
	}
	switch added := f.below(other); {
	case added == fixed(1):
	case s.below == fixed(1):
		s.below = added
	case s.below.known() && added.known():
		s.below = fixed(s.below.Size + added.Size - 1)
	default:
		s.below = unknown
	}
	return s
}

// within reports whether an address of spread s is one in its own row of a table of that size.
func (f *rowFlow) within(s spread, table Dim) bool {
	fits := s.below == s.step || s.below.known() && s.step.known() && s.below.Size <= s.step.Size
	return fits && s.below != unknown && table == product(Dim{-1, f.symbol}, s.step)
}

// lookedUp is a Gather of each row's own elements.
func (f *rowFlow) lookedUp() spread {
	axis, ok := f.rows(0)
	s := f.spread(f.Inputs[1])
	if !ok || s.kind != numbering || f.spread(f.Inputs[0]).kind != rowwise || f.position("axis", 0) != axis || !f.within(s, f.Inputs[0].Shape[axis]) {
		return spread{}
	}
	return along(axis + s.axis)
}

// joined is row numbers with positions behind them.
func (f *rowFlow) joined() spread {
	first := f.Inputs[0]
	s := f.spread(first)
	last := len(first.Shape) - 1
	if s.kind != numbering || s.step != fixed(1) || s.below != fixed(1) || rowsConcatenated(f).kind != rowwise || f.position("axis", 0) != last || first.Shape[last].Size != 1 {
		return spread{}
	}
	if slices.ContainsFunc(f.Inputs[1:], func(v *Value) bool { return f.spread(v).kind != rowwise }) {
		return spread{}
	}
	return spread{kind: addressing, axis: s.axis}
}

// lookedUpND is a GatherND of each row's own elements.
func (f *rowFlow) lookedUpND() spread {
	table, okTable := f.shape(0)
	at, okAt := f.shape(1)
	s := f.spread(f.Inputs[1])
	if !okTable || !okAt || f.int("batch_dims", 0) != 0 || s.kind != addressing || s.axis >= len(at)-1 {
		return spread{}
	}
	if f.spread(f.Inputs[0]).kind != rowwise || f.spread(f.Inputs[0]).axis != 0 || !f.within(spread{step: fixed(1), below: fixed(1)}, table[0]) {
		return spread{}
	}
	return along(s.axis)
}
