package lower

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// lowerReshape lowers whatever gives the same elements in another shape.
func lowerReshape(c *call) error {
	shape := c.shape(0)
	if c.err != nil {
		return c.err
	}
	return c.give(c.shaped(c.in(0), shape...))
}

func lowerTranspose(c *call) error {
	x := c.in(0)
	var perm []int
	for _, p := range c.list("perm", -1) {
		perm = append(perm, int(p))
	}
	if perm == nil {
		for i := range slices.Backward(x.Shape) {
			perm = append(perm, i)
		}
	}
	return c.give(x.permute(perm...))
}

func lowerExpand(c *call) error {
	shape := c.shape(0)
	if c.err != nil {
		return c.err
	}
	return c.give(c.in(0).expand(shape))
}

func lowerSlice(c *call) error {
	x, shape := c.in(0), c.shape(0)
	starts, axes, steps := c.list("starts", 1), c.list("axes", 3), c.list("steps", 4)
	if c.err != nil {
		return c.err
	}
	for i, start := range starts {
		at, step := i, int64(1)
		if axes != nil {
			at = axis(axes[i], len(x.Shape))
		}
		if steps != nil {
			step = steps[i]
		}
		n := x.Shape[at]
		if start < 0 {
			start += n
		}
		if step < 0 {
			start = min(max(start, -1), n-1)
		} else {
			start = min(max(start, 0), n)
		}
		if shape[at] == 0 {
			start = 0
		}
		x = x.narrow(at, start, shape[at], step)
	}
	return c.give(x)
}

func lowerSplit(c *call) error {
	x := c.in(0)
	at := axis(c.int("axis", 0), len(x.Shape))
	from := int64(0)
	var out []Tensor
	for i := range c.Outputs {
		if !c.wants(i) {
			return fmt.Errorf("output %d is left out", i)
		}
		shape := c.shape(i)
		if c.err != nil {
			return c.err
		}
		out = append(out, x.narrow(at, from, shape[at], 1))
		from += shape[at]
	}
	return c.give(out...)
}

// room returns a new tensor for parts that are written one by one, laid out as a part is.
func room(d backends.Datatype, shape []int64, part Tensor) Tensor {
	out := newTensor(d, shape)
	if order := part.order(); order != nil && len(order) == len(shape) {
		n := int64(1)
		for _, at := range slices.Backward(order) {
			out.Strides[at] = n
			n *= shape[at]
		}
	}
	return out
}

func lowerConcat(c *call) error {
	shape, first := c.shape(0), c.in(0)
	if c.err != nil {
		return c.err
	}
	if len(c.Inputs) == 1 {
		return c.give(first)
	}
	parts := make([]Tensor, len(c.Inputs))
	for i := range parts {
		parts[i] = c.in(i)
	}
	if c.err != nil {
		return c.err
	}
	if bytes, s, ok := c.quantisedAlike(parts); ok {
		return c.give(c.again(c.beside(bytes, shape), s, first.Type))
	}
	return c.give(c.beside(parts, shape))
}

// beside returns the parts of a Concat in one tensor.
func (c *call) beside(parts []Tensor, shape []int64) Tensor {
	out := room(parts[0].Type, shape, parts[0])
	at, from := axis(c.int("axis", 0), len(shape)), int64(0)
	for _, part := range parts {
		if n := part.Shape[at]; n > 0 {
			c.add(Map{}, out.narrow(at, from, n, 1), part)
			from += n
		}
	}
	return out
}

// lowerPad lowers the padding with a constant.
func lowerPad(c *call) error {
	x, shape := c.in(0), c.shape(0)
	if mode := c.text("mode", "constant"); mode != "constant" {
		return fmt.Errorf("the mode is %q", mode)
	}
	pads := c.list("pads", 1)
	value := c.number("value", 0)
	if c.given(2) {
		v, ok := rewrite.Scalar(c.Inputs[2])
		if !ok {
			return fmt.Errorf("the value to pad with is no FP32 number known when the model is loaded")
		}
		value = v
	}
	if c.given(3) || !isFloat(x.Type) {
		return fmt.Errorf("it pads all axes of floating-point tensors only")
	}
	if c.err != nil {
		return c.err
	}
	out := room(x.Type, shape, x)
	inner := out
	for i := range shape {
		before, n := pads[i], x.Shape[i]
		if before < 0 {
			x, n, before = x.narrow(i, -before, n+before, 1), n+before, 0
		}
		n = min(n, shape[i]-before)
		x, inner = x.narrow(i, 0, n, 1), inner.narrow(i, before, n, 1)
	}
	c.add(Map{}, out, c.scalar(value, x.Type).expand(shape))
	c.add(Map{}, inner, x)
	return c.give(out)
}

// lowerDepthToSpace parts channels and lays them beside each other.
func lowerDepthToSpace(c *call) error {
	x, b, shape := c.in(0), c.int("blocksize", 1), c.shape(0)
	if c.err != nil || len(x.Shape) != 4 {
		return fmt.Errorf("the input has %d dimensions, not 4", len(x.Shape))
	}
	n, depth, h, w := x.Shape[0], x.Shape[1]/(b*b), x.Shape[2], x.Shape[3]
	if c.text("mode", "DCR") == "CRD" {
		x = c.shaped(x, n, depth, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
	} else {
		x = c.shaped(x, n, b, b, depth, h, w).permute(0, 3, 4, 1, 5, 2)
	}
	return c.give(c.shaped(x, shape...))
}

// lowerGather lowers the choice of slices; that of one which is known costs nothing.
func lowerGather(c *call) error {
	table, indices, shape := c.in(0), c.in(1), c.shape(0)
	if c.err != nil {
		return c.err
	}
	at := axis(c.int("axis", 0), len(table.Shape))
	if known, ok := rewrite.Integers(c.Inputs[1]); ok && len(known) == 1 {
		i := known[0]
		if i < 0 {
			i += table.Shape[at]
		}
		if i < 0 || i >= table.Shape[at] {
			return fmt.Errorf("index %d is not in a dimension of %d", known[0], table.Shape[at])
		}
		return c.give(c.shaped(table.narrow(at, i, 1, 1), shape...))
	}
	outer, n, inner := around(table.Shape, at)
	out := newTensor(table.Type, shape)
	flat, _ := out.reshape([]int64{outer, indices.Elements(), inner})
	c.add(Gather{}, flat, c.shaped(c.dense(table), outer, n, inner), c.shaped(c.dense(indices), indices.Elements()))
	return c.give(out)
}
