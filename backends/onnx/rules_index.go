package onnx

import "slices"

func gather(c *call) error {
	data, okData := c.shape(0)
	at, okAt := c.shape(1)
	if !okData || !okAt {
		return nil
	}
	axis, err := c.axis(c.int("axis", 0), len(data))
	if err != nil {
		return err
	}
	c.set(0, slices.Concat(data[:axis], at, data[axis+1:]))
	v, index := c.vector(0), c.vector(1)
	if v == nil || index == nil {
		return nil
	}
	out := &vector{isScalar: index.isScalar, elems: make([]scalar, len(index.elems))}
	for i, e := range index.elems {
		if !e.known {
			continue
		}
		n := int64(len(v.elems))
		if e.n < -n || e.n >= n {
			return invalid(c.Node, "index %d is outside of %d elements", e.n, n)
		}
		out.elems[i] = v.elems[(e.n+n)%n]
	}
	c.setVector(out)
	return nil
}

func gatherElements(c *call) error {
	if dims, ok := c.shape(1); ok {
		c.set(0, dims)
	}
	return nil
}

func gatherND(c *call) error {
	data, okData := c.shape(0)
	at, okAt := c.shape(1)
	batch := c.int("batch_dims", 0)
	if !okData || !okAt || len(at) == 0 || !at[len(at)-1].known() {
		return nil
	}
	depth := at[len(at)-1].Size
	if batch < 0 || batch >= int64(min(len(data), len(at))) || depth > int64(len(data))-batch {
		return c.mismatch()
	}
	c.set(0, slices.Concat(at[:len(at)-1], data[batch+depth:]))
	return nil
}

func expand(c *call) error {
	in, ok := c.shape(0)
	target := c.vector(1)
	if !ok || target == nil || len(target.elems) > maxRank {
		return nil
	}
	want := make([]Dim, len(target.elems))
	for i, e := range target.elems {
		want[i] = e.dim()
	}
	out, ok := broadcast(in, want)
	if !ok {
		return invalid(c.Node, "shape %v cannot be expanded to %v", sizes(in, -1), sizes(want, -1))
	}
	c.set(0, out)
	if v := c.vector(0); v != nil && len(v.elems) == 1 && len(out) == 1 && out[0].known() && out[0].Size <= maxVector {
		c.setVector(&vector{elems: slices.Repeat(v.elems, int(out[0].Size))})
	}
	return nil
}

func tile(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	repeats := c.vector(1)
	if repeats == nil {
		c.set(0, unknownDims(len(in)))
		return nil
	}
	if len(repeats.elems) != len(in) {
		return invalid(c.Node, "%d repeats for %d dimensions", len(repeats.elems), len(in))
	}
	out := make([]Dim, len(in))
	for i, r := range repeats.elems {
		if r.known && r.n < 0 {
			return invalid(c.Node, "dimension %d is repeated %d times", i, r.n)
		}
		out[i] = product(in[i], r.dim())
	}
	c.set(0, out)
	return nil
}

func pad(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	c.set(0, unknownDims(len(in)))
	pads, known := c.intList("pads"), true
	if c.input(1) != nil {
		pads, known = c.ints(1)
	}
	all, given, axesKnown := c.axesOf(3)
	if !known || !axesKnown {
		return nil
	}
	if !given {
		for i := range in {
			all = append(all, int64(i))
		}
	}
	axes, err := c.axes(all, len(in))
	if err != nil {
		return err
	}
	if len(pads) != 2*len(axes) {
		return invalid(c.Node, "%d pads for %d dimensions", len(pads), len(axes))
	}
	out := slices.Clone(in)
	for i, axis := range axes {
		if out[axis], err = c.padded(in[axis], pads[i], pads[len(axes)+i]); err != nil {
			return err
		}
	}
	c.set(0, out)
	return nil
}

// padded returns d with elements added, or removed where a pad is negative.
func (c *call) padded(d Dim, begin, end int64) (Dim, error) {
	const most = 1 << 40
	switch {
	case begin < -most || begin > most || end < -most || end > most:
		return unknown, invalid(c.Node, "pads %d and %d are too large", begin, end)
	case begin+end == 0:
		return d, nil
	case !d.known():
		return unknown, nil
	case d.Size+begin+end < 0:
		return unknown, invalid(c.Node, "pads %d and %d remove more than all %d elements", begin, end, d.Size)
	}
	return fixed(d.Size + begin + end), nil
}
