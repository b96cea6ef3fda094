package onnx

import "slices"

// reduce removes axes, or makes them 1.
func reduce(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	keep := c.int("keepdims", 1) != 0
	all, given, known := c.axesOf(1)
	switch {
	case !known && keep:
		c.set(0, unknownDims(len(in)))
		return nil
	case !known:
		return nil
	case (!given || len(all) == 0) && c.int("noop_with_empty_axes", 0) != 0:
		c.set(0, in)
		return nil
	case !given || len(all) == 0:
		all = all[:0]
		for i := range in {
			all = append(all, int64(i))
		}
	}
	axes, err := c.axes(all, len(in))
	if err != nil {
		return err
	}
	c.set(0, without(in, axes, keep))
	if v := c.vector(0); v != nil && c.Op == "ReduceProd" && len(axes) == 1 {
		c.setVector(&vector{elems: []scalar{v.product()}, isScalar: !keep})
	}
	return nil
}

func (v *vector) product() scalar {
	dims := make([]Dim, len(v.elems))
	for i, e := range v.elems {
		dims[i] = e.dim()
	}
	return product(dims...).scalar()
}

// without removes axes from a shape, or makes them 1 to keep the rank.
func without(in []Dim, axes []int, keep bool) []Dim {
	var out []Dim
	for i, d := range in {
		switch {
		case !slices.Contains(axes, i):
			out = append(out, d)
		case keep:
			out = append(out, fixed(1))
		}
	}
	return out
}

func argReduce(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	axis, err := c.axis(c.int("axis", 0), len(in))
	if err != nil {
		return err
	}
	c.set(0, without(in, []int{axis}, c.int("keepdims", 1) != 0))
	return nil
}

func topK(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	axis, err := c.axis(c.int("axis", -1), len(in))
	if err != nil {
		return err
	}
	k := unknown
	if n, ok := c.Attrs["k"].(int64); ok {
		k = number(n).dim()
	} else if v := c.vector(1); v != nil && len(v.elems) == 1 {
		k = v.elems[0].dim()
	}
	if k.known() && in[axis].known() && k.Size > in[axis].Size {
		return invalid(c.Node, "k is %d, dimension %d has %d elements", k.Size, axis, in[axis].Size)
	}
	out := slices.Clone(in)
	out[axis] = k
	c.set(0, out)
	c.set(1, out)
	return nil
}
