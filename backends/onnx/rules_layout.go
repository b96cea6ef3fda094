package onnx

import "slices"

// reshape resolves 0 and -1, and keeps symbols: sizes that are the same on both sides cancel.
func reshape(c *call) error {
	in, inKnown := c.shape(0)
	target := c.vector(1)
	if target == nil {
		if dims, ok := c.shape(1); ok && len(dims) == 1 && dims[0].known() && dims[0].Size <= maxRank {
			c.set(0, unknownDims(int(dims[0].Size)))
		}
		return nil
	}
	out := make([]Dim, len(target.elems))
	wild := -1
	for i, e := range target.elems {
		switch {
		case e == number(-1):
			if wild >= 0 {
				return invalid(c.Node, "the target shape has two dimensions of -1")
			}
			wild, out[i] = i, unknown
		case e.known && e.n < 0:
			return invalid(c.Node, "the target shape has a dimension of %d", e.n)
		case e == number(0) && c.int("allowzero", 0) == 0:
			if out[i] = unknown; inKnown {
				if i >= len(in) {
					return invalid(c.Node, "dimension %d of the target copies one that the input does not have", i)
				}
				out[i] = in[i]
			}
		default:
			out[i] = e.dim()
		}
	}
	if inKnown {
		if err := c.fillWild(in, out, wild); err != nil {
			return err
		}
	}
	c.set(0, out)
	if v := c.vector(0); v != nil && len(out) <= 1 {
		c.setVector(&vector{elems: v.elems, isScalar: len(out) == 0})
	}
	return nil
}

// fillWild finds the one dimension of out that is left to the others: that at wild, or the
// only unknown one.
func (c *call) fillWild(in, out []Dim, wild int) error {
	have, want := elements(in), elements(out)
	if have >= 0 && want >= 0 && have != want {
		return invalid(c.Node, "%d elements of shape %v cannot become %v", have, sizes(in, -1), sizes(out, -1))
	}
	if wild < 0 {
		wild = slices.Index(out, unknown)
	}
	if wild < 0 {
		return nil
	}
	rest := slices.Delete(slices.Clone(out), wild, wild+1)
	quotient, ok := divide(in, rest)
	if !ok {
		return invalid(c.Node, "the elements of shape %v cannot be divided among %v", sizes(in, -1), sizes(out, -1))
	}
	out[wild] = quotient
	return nil
}

// divide returns the product of a divided by that of b, unknown where symbols do not cancel,
// and false if sizes say that there is a remainder.
func divide(a, b []Dim) (Dim, bool) {
	a, b = slices.Clone(a), slices.Clone(b)
	b = slices.DeleteFunc(b, func(d Dim) bool {
		i := slices.Index(a, d)
		if i < 0 || d.known() || d.Symbol == "" {
			return false
		}
		a = slices.Delete(a, i, i+1)
		return true
	})
	isSize := func(d Dim) bool { return d.known() }
	if slices.ContainsFunc(b, func(d Dim) bool { return !d.known() }) {
		return unknown, true
	}
	symbols := slices.DeleteFunc(slices.Clone(a), isSize)
	dividend := product(slices.DeleteFunc(a, func(d Dim) bool { return !d.known() })...)
	divisor := product(b...)
	switch {
	case divisor.Size <= 0 || !dividend.known():
		return unknown, true
	case dividend.Size%divisor.Size == 0:
		return product(append(symbols, fixed(dividend.Size/divisor.Size))...), true
	}
	return unknown, len(symbols) > 0
}

func flatten(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		c.set(0, unknownDims(2))
		return nil
	}
	axis := c.int("axis", 1)
	if axis < -int64(len(in)) || axis > int64(len(in)) {
		return invalid(c.Node, "axis %d does not exist in a tensor of %d dimensions", axis, len(in))
	}
	if axis < 0 {
		axis += int64(len(in))
	}
	c.set(0, []Dim{product(in[:axis]...), product(in[axis:]...)})
	return nil
}

// axesOf returns the axes of a node that takes them as an attribute or, from some opset on, as
// input i; given is false if there are none, known is false if they are not known.
func (c *call) axesOf(i int) (axes []int64, given, known bool) {
	if all := c.intList("axes"); all != nil {
		return all, true, true
	}
	if c.input(i) == nil {
		return nil, false, true
	}
	axes, known = c.ints(i)
	return axes, true, known
}

func squeeze(c *call) error {
	in, ok := c.shape(0)
	all, given, known := c.axesOf(1)
	if !ok || !known {
		return nil
	}
	if !given {
		for i, d := range in {
			if !d.known() {
				return nil // it is removed if it turns out to be 1
			}
			if d.Size == 1 {
				all = append(all, int64(i))
			}
		}
	}
	axes, err := c.axes(all, len(in))
	if err != nil {
		return err
	}
	for _, i := range axes {
		if in[i].known() && in[i].Size != 1 {
			return invalid(c.Node, "dimension %d is %d and cannot be removed", i, in[i].Size)
		}
	}
	out := without(in, axes, false)
	c.set(0, out)
	if v := c.vector(0); v != nil && len(out) == 0 && len(v.elems) == 1 {
		c.setVector(&vector{elems: v.elems, isScalar: true})
	}
	return nil
}

func unsqueeze(c *call) error {
	in, ok := c.shape(0)
	all, _, known := c.axesOf(1)
	if !ok || !known {
		return nil
	}
	if len(in)+len(all) > maxRank {
		return invalid(c.Node, "the output would have %d dimensions, at most %d", len(in)+len(all), maxRank)
	}
	axes, err := c.axes(all, len(in)+len(all))
	if err != nil {
		return err
	}
	out := make([]Dim, len(in)+len(axes))
	for i := range out {
		if slices.Contains(axes, i) {
			out[i] = fixed(1)
		} else {
			out[i], in = in[0], in[1:]
		}
	}
	c.set(0, out)
	if v := c.vector(0); v != nil && v.isScalar && len(out) == 1 {
		c.setVector(&vector{elems: v.elems})
	}
	return nil
}

func transpose(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	out := slices.Clone(in)
	perm := c.intList("perm")
	if perm == nil {
		slices.Reverse(out)
		c.set(0, out)
		return nil
	}
	axes, err := c.axes(perm, len(in))
	if err != nil {
		return err
	}
	if len(axes) != len(in) || slices.Min(append(perm, 0)) < 0 {
		return invalid(c.Node, "perm %v is no permutation of %d dimensions", perm, len(in))
	}
	for i, a := range axes {
		out[i] = in[a]
	}
	c.set(0, out)
	return nil
}

func concat(c *call) error {
	out, ok := c.shape(0)
	if !ok {
		return nil
	}
	out = slices.Clone(out)
	axis, err := c.axis(c.int("axis", 0), len(out))
	if err != nil {
		return err
	}
	sum := out[axis]
	for i := range c.Inputs[1:] {
		dims, ok := c.shape(i + 1)
		if !ok {
			return nil
		}
		if len(dims) != len(out) {
			return c.mismatch()
		}
		for a := range out {
			if a == axis {
				sum = plus(sum, dims[a])
			} else if out[a], ok = unify(out[a], dims[a]); !ok {
				return c.mismatch()
			}
		}
	}
	out[axis] = sum
	c.set(0, out)
	if len(out) == 1 {
		c.setVector(c.concatVector())
	}
	return nil
}

func (c *call) concatVector() *vector {
	out := &vector{}
	for i := range c.Inputs {
		v := c.vector(i)
		if v == nil || len(out.elems)+len(v.elems) > maxVector {
			return nil
		}
		out.elems = append(out.elems, v.elems...)
	}
	return out
}

// plus adds dimensions.
func plus(a, b Dim) Dim {
	switch {
	case a.Size == 0:
		return b
	case b.Size == 0:
		return a
	case a.known() && b.known() && a.Size+b.Size >= 0:
		return fixed(a.Size + b.Size)
	}
	return unknown
}

func split(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	axis, err := c.axis(c.int("axis", 0), len(in))
	if err != nil {
		return err
	}
	parts, err := c.parts(in[axis])
	if err != nil {
		return err
	}
	for i, part := range parts {
		out := slices.Clone(in)
		out[axis] = part
		c.set(i, out)
	}
	return nil
}

// parts returns the sizes that a Split of d makes.
func (c *call) parts(d Dim) ([]Dim, error) {
	n := int64(len(c.Outputs))
	given := c.intList("split")
	if c.input(1) != nil {
		var known bool
		if given, known = c.ints(1); !known {
			return unknownDims(len(c.Outputs)), nil
		}
	}
	if given == nil {
		if want := c.int("num_outputs", n); want != n {
			return nil, invalid(c.Node, "num_outputs is %d, the node has %d outputs", want, n)
		}
		return c.equalParts(d, n)
	}
	if int64(len(given)) != n || slices.Min(given) < 0 {
		return nil, invalid(c.Node, "split %v does not fit %d outputs", given, n)
	}
	sum := fixed(0)
	for _, size := range given {
		sum = plus(sum, fixed(size))
	}
	if !sum.known() || !agree(sum, d) {
		return nil, invalid(c.Node, "split %v does not sum up to %d", given, d.Size)
	}
	return fixedDims(given), nil
}

func (c *call) equalParts(d Dim, n int64) ([]Dim, error) {
	out := unknownDims(int(n))
	if !d.known() {
		return out, nil
	}
	if d.Size%n != 0 && c.Opset < 18 {
		return nil, invalid(c.Node, "%d elements cannot be split into %d equal parts", d.Size, n)
	}
	size := (d.Size + n - 1) / n
	left := d.Size
	for i := range out {
		out[i] = fixed(min(size, left))
		left -= out[i].Size
	}
	return out, nil
}
