package onnx

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// chosenAxis is the rule of operators that keep some slices along an axis, or without one some
// elements of all.
func chosenAxis(c *call) error {
	out := []Dim{unknown}
	if axis, given := c.Attrs["axis"].(int64); given {
		dims, ok := c.shape(0)
		if !ok {
			return nil
		}
		a, err := c.axis(axis, len(dims))
		if err != nil {
			return err
		}
		out = slices.Clone(dims)
		out[a] = unknown
	}
	c.set(0, out)
	for i := 1; i < len(c.Outputs); i++ {
		c.set(i, []Dim{unknown})
	}
	return nil
}

func determinant(c *call) error {
	dims, ok := c.shape(0)
	if !ok {
		return nil
	}
	if len(dims) < 2 {
		return invalid(c.Node, "the input needs at least 2 dimensions, it has %d", len(dims))
	}
	c.set(0, dims[:len(dims)-2])
	return nil
}

// loss is the rule of the losses by class: one number, or one for each target.
func loss(c *call) error {
	if dims, ok := c.shape(0); ok {
		c.set(1, dims)
	}
	if c.string("reduction", "mean") != "none" {
		c.set(0, nil)
		return nil
	}
	if target, ok := c.shape(1); ok {
		c.set(0, target)
	}
	return nil
}

// bitCast reads the same bytes as another type of the same width.
func bitCast(c *call) error {
	dt, err := c.typeAttr("to", backends.Invalid)
	if err != nil {
		return err
	}
	if dt.Size() != c.Inputs[0].Datatype.Size() || dt == backends.Bytes {
		return invalid(c.Node, "%v and %v have elements of different size", c.Inputs[0].Datatype, dt)
	}
	c.setType(0, dt)
	return sameShape(c)
}
