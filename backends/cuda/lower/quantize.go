package lower

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
)

// quantities returns x as [outer, n, inner], and the n scales and zero points, of which there are one
// for all or one for each position of an axis.
func (c *call) quantities(x Tensor) (flat, scale, zero Tensor, err error) {
	scale, zero = c.in(1), c.in(2)
	if c.err != nil || c.int("block_size", 0) != 0 {
		return x, scale, zero, errOr(c.err, fmt.Errorf("its scales are of blocks"))
	}
	outer, n, inner := int64(1), int64(1), x.Elements()
	if scale.Elements() != 1 {
		at := axis(c.int("axis", 1), len(x.Shape))
		if at < 0 || at >= len(x.Shape) || scale.Elements() != x.Shape[at] {
			return x, scale, zero, fmt.Errorf("its scale has shape %v: one number can be, or one for each position of an axis", scale.Shape)
		}
		outer, n, inner = around(x.Shape, at)
	}
	if zero.Given() {
		zero = c.shaped(c.dense(zero), n)
	}
	return c.shaped(c.dense(x), outer, n, inner), c.as(c.shaped(c.dense(scale), n), backends.FP32), zero, nil
}

func lowerDequantize(c *call) error {
	x, shape, d := c.in(0), c.shape(0), c.typeOf(c.Outputs[0].Datatype)
	if c.err == nil && (x.Type != backends.Uint8 && x.Type != backends.Int8 && x.Type != backends.Int32 || !isFloat(d)) {
		return fmt.Errorf("it makes %v of %v", d, x.Type)
	}
	flat, scale, zero, err := c.quantities(x)
	if err != nil {
		return err
	}
	if isWeight(flat) && isWeight(scale) && (!zero.Given() || isWeight(zero)) {
		return c.give(c.known(x, flat, scale, zero, d))
	}
	out := newTensor(d, shape)
	to, _ := out.reshape(flat.Shape)
	c.add(Dequantize{}, to, flat, scale, zero)
	return c.give(out)
}

func lowerQuantize(c *call) error {
	x, shape, d := c.in(0), c.shape(0), c.Outputs[0].Datatype
	if c.err == nil && (d != backends.Uint8 && d != backends.Int8 || !isFloat(x.Type)) {
		return fmt.Errorf("it makes %v of %v", d, x.Type)
	}
	flat, scale, zero, err := c.quantities(x)
	if err != nil {
		return err
	}
	out := newTensor(d, shape)
	to, _ := out.reshape(flat.Shape)
	c.add(Quantize{}, to, flat, scale, zero)
	return c.give(out)
}

func isWeight(t Tensor) bool { return t.Buffer.Weight != nil }
