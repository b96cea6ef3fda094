package onnx

import (
	"math"
	"slices"
)

// cut is a Slice along one axis. Scalars that are not known may be symbols.
type cut struct {
	axis             int
	start, end, step scalar
}

func slice(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	cuts, err := c.cuts(len(in))
	if err != nil {
		return err
	}
	if cuts == nil {
		c.set(0, unknownDims(len(in)))
		return nil
	}
	out := slices.Clone(in)
	for _, k := range cuts {
		out[k.axis] = k.size(in[k.axis])
	}
	c.set(0, out)
	if v := c.vector(0); v != nil && !v.isScalar && len(cuts) == 1 && out[0].known() {
		c.setVector(cuts[0].take(v))
	}
	return nil
}

// cuts returns what the node cuts, or nil if not even the axes are known.
func (c *call) cuts(rank int) ([]cut, error) {
	starts, ends := c.operand("starts", 1), c.operand("ends", 2)
	axes, steps := c.operand("axes", 3), c.operand("steps", 4)
	if starts == nil || ends == nil || axes == nil && c.input(3) != nil || steps == nil && c.input(4) != nil {
		return nil, nil
	}
	n := len(starts.elems)
	if len(ends.elems) != n || axes != nil && len(axes.elems) != n || steps != nil && len(steps.elems) != n || n > rank {
		return nil, invalid(c.Node, "starts, ends, axes and steps need the same length, at most %d", rank)
	}
	if axes != nil && !axes.allKnown() {
		return nil, nil
	}
	all := make([]int64, n)
	cuts := make([]cut, n)
	for i := range cuts {
		all[i] = int64(i)
		if axes != nil {
			all[i] = axes.elems[i].n
		}
		cuts[i] = cut{start: starts.elems[i], end: ends.elems[i], step: number(1)}
		if steps != nil {
			cuts[i].step = steps.elems[i]
		}
		if cuts[i].step == number(0) {
			return nil, invalid(c.Node, "a step is 0")
		}
	}
	norm, err := c.axes(all, rank)
	for i, a := range norm {
		cuts[i].axis = a
	}
	return cuts, err
}

// operand returns what an attribute or, in later opsets, an input holds.
func (c *call) operand(attr string, input int) *vector {
	all, ok := c.Attrs[attr].([]int64)
	if !ok {
		return c.vector(input)
	}
	v := &vector{elems: make([]scalar, len(all))}
	for i, n := range all {
		v.elems[i] = number(n)
	}
	return v
}

// size returns how many elements the cut leaves of d.
func (k cut) size(d Dim) Dim {
	switch {
	case k.isWhole(d):
		return d
	case k.start == number(0) && k.step == number(1) && k.end.symbol != "" && !d.known() && k.end.symbol == d.Symbol:
		return d
	case k.start == number(0) && k.step == number(1) && k.end.symbol != "" && d.known():
		return atMost(d.Size, k.end.symbol)
	case !k.start.known || !k.end.known || !k.step.known:
		return unknown
	case d.known():
		return fixed(k.count(d.Size))
	}
	return unknown
}

// isWhole reports whether the cut leaves all of d, whatever its size. Exporters write the
// largest integer, of 32 or 64 bits, for "to the end".
func (k cut) isWhole(d Dim) bool {
	return k.start == number(0) && k.step == number(1) && k.end.known && k.end.n >= math.MaxInt32
}

// bounds clamps start and end to a dimension of that size.
func (k cut) bounds(size int64) (start, end int64) {
	clamp := func(n, low, high int64) int64 {
		if n < 0 {
			n += size
		}
		return min(max(n, low), high)
	}
	if k.step.n > 0 {
		return clamp(k.start.n, 0, size), clamp(k.end.n, 0, size)
	}
	return clamp(k.start.n, 0, size-1), clamp(k.end.n, -1, size-1)
}

func (k cut) count(size int64) int64 {
	start, end := k.bounds(size)
	switch {
	case k.step.n > 0 && end > start:
		return (end-start-1)/k.step.n + 1
	case k.step.n < 0 && end < start:
		return (end-start+1)/k.step.n + 1
	}
	return 0
}

// take cuts a vector.
func (k cut) take(v *vector) *vector {
	if !k.start.known || !k.end.known || !k.step.known {
		return nil
	}
	size := int64(len(v.elems))
	start, _ := k.bounds(size)
	out := &vector{}
	for i := range k.count(size) {
		out.elems = append(out.elems, v.elems[start+i*k.step.n])
	}
	return out
}
