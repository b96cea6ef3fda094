package onnx

import "slices"

// affineGrid is the rule of AffineGrid: for each pixel where it comes from.
func affineGrid(c *call) error {
	size := c.vector(1)
	if size == nil {
		return nil
	}
	if len(size.elems) != 4 && len(size.elems) != 5 {
		return invalid(c.Node, "size has %d elements, it needs 4 or 5", len(size.elems))
	}
	out := []Dim{size.elems[0].dim()}
	for _, e := range size.elems[2:] {
		out = append(out, e.dim())
	}
	c.set(0, append(out, fixed(int64(len(size.elems)-2))))
	return nil
}

func gridSample(c *call) error {
	x, ok := c.shape(0)
	grid, okGrid := c.shape(1)
	if !ok || !okGrid {
		return nil
	}
	if len(x) < 3 || len(grid) != len(x) {
		return c.mismatch()
	}
	c.set(0, slices.Concat(x[:2], grid[1:len(grid)-1]))
	return nil
}

func roiAlign(c *call) error {
	out := unknownDims(4)
	if x, ok := c.shape(0); ok {
		if len(x) != 4 {
			return invalid(c.Node, "the input needs 4 dimensions, it has %d", len(x))
		}
		out[1] = x[1]
	}
	if rois, ok := c.shape(1); ok && len(rois) > 0 {
		out[0] = rois[0]
	}
	for i, name := range []string{"output_height", "output_width"} {
		n := c.int(name, 1)
		if n < 1 || n > maxWindow {
			return invalid(c.Node, "%s %d: it must be between 1 and %d", name, n, maxWindow)
		}
		out[2+i] = fixed(n)
	}
	c.set(0, out)
	return nil
}

func nonMaxSuppression(c *call) error {
	c.set(0, []Dim{unknown, fixed(3)})
	return nil
}

func centerCropPad(c *call) error {
	x, ok := c.shape(0)
	if !ok {
		return nil
	}
	axes := c.intList("axes")
	if axes == nil {
		for i := range x {
			axes = append(axes, int64(i))
		}
	}
	at, err := c.axes(axes, len(x))
	if err != nil {
		return err
	}
	out := slices.Clone(x)
	target := c.vector(1)
	if target != nil && len(target.elems) != len(at) {
		return invalid(c.Node, "shape has %d elements for %d axes", len(target.elems), len(at))
	}
	for i, a := range at {
		if out[a] = unknown; target != nil {
			out[a] = target.elems[i].dim()
		}
	}
	c.set(0, out)
	return nil
}

func col2im(c *call) error {
	x, ok := c.shape(0)
	image, block := c.vector(1), c.vector(2)
	if !ok || image == nil || block == nil {
		return nil
	}
	if len(x) != 3 || len(image.elems) != len(block.elems) {
		return c.mismatch()
	}
	out := []Dim{x[0], unknown}
	taps := fixed(1)
	for i, e := range image.elems {
		out = append(out, e.dim())
		taps = product(taps, block.elems[i].dim())
	}
	if taps.Size > 0 && x[1].known() {
		if x[1].Size%taps.Size != 0 {
			return invalid(c.Node, "%d columns are not divisible by blocks of %d", x[1].Size, taps.Size)
		}
		out[1] = fixed(x[1].Size / taps.Size)
	}
	c.set(0, out)
	return nil
}

func deformConv(c *call) error {
	x, ok, err := c.spatial(0)
	if err != nil || !ok {
		return err
	}
	weights, ok := c.shape(1)
	offset, okOffset := c.shape(2)
	if !ok || !okOffset {
		return nil
	}
	if len(weights) != len(x) || len(offset) != len(x) {
		return c.mismatch()
	}
	c.set(0, append([]Dim{x[0], weights[0]}, offset[2:]...))
	return nil
}

// maxUnpool is the rule of MaxUnpool: the planes grow back.
func maxUnpool(c *call) error {
	x, ok, err := c.spatial(0)
	if err != nil || !ok {
		return err
	}
	out := unknownDims(len(x))
	copy(out, x[:2])
	if target := c.vector(2); target != nil {
		if len(target.elems) != len(x) {
			return invalid(c.Node, "output_shape has %d elements for %d dimensions", len(target.elems), len(x))
		}
		for i, e := range target.elems {
			out[i] = e.dim()
		}
	}
	c.set(0, out)
	return nil
}
