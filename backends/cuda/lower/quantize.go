package lower

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
)

// source is what a tensor has been dequantised of: the elements of that lie at the same places.
type source struct {
	bytes Tensor
	scale float32
	zero  int64
	key   string  // of scale and zero
	by    scaling // how
}

// sourceOf returns what a Dequantize by known numbers, one for all, makes its result of.
func sourceOf(x, scale, zero Tensor) (source, bool) {
	if scale.Elements() != 1 || !isWeight(scale) || zero.Given() && !isWeight(zero) || x.Type != backends.Uint8 && x.Type != backends.Int8 {
		return source{}, false
	}
	s := source{bytes: x, scale: scale.Floats()[0], key: layoutKey(scale)}
	if zero.Given() {
		s.zero, s.key = signed(zero)[0], s.key+" from "+layoutKey(zero)
	}
	return s, true
}

// quantised returns the bytes that t has been dequantised of.
func (c *call) quantised(t Tensor) (source, bool) {
	s, ok := c.sources[t.Buffer]
	if ok {
		bytes := t
		bytes.Buffer, bytes.Type, bytes.Offset = s.bytes.Buffer, s.bytes.Type, s.bytes.Offset+t.Offset
		s.bytes = bytes
	}
	return s, ok
}

// quantisedAlike returns the bytes that all of parts have been dequantised of, by the same numbers.
func (c *call) quantisedAlike(parts []Tensor) (bytes []Tensor, s source, ok bool) {
	for i, t := range parts {
		from, known := c.quantised(t)
		if !known || i > 0 && (from.scale != s.scale || from.zero != s.zero || from.bytes.Type != s.bytes.Type) {
			return nil, s, false
		}
		s, bytes = from, append(bytes, from.bytes)
	}
	return bytes, s, len(parts) > 0
}

// scaling is how a node quantises or dequantises.
type scaling struct {
	x, scale, zero Tensor
	order          []int // of the dimensions of x, if it is read as it lies
}

// operands reads those of a node. There are one scale and zero point for all, or one for each position
// of an axis.
func (c *call) operands(x Tensor) (a scaling, err error) {
	a.scale, a.zero = c.in(1), c.in(2)
	if c.err != nil || c.int("block_size", 0) != 0 {
		return a, errOr(c.err, fmt.Errorf("its scales are of blocks"))
	}
	outer, n, inner := int64(1), int64(1), x.Elements()
	if a.scale.Elements() != 1 {
		at := axis(c.int("axis", 1), len(x.Shape))
		if at < 0 || at >= len(x.Shape) || a.scale.Elements() != x.Shape[at] {
			return a, fmt.Errorf("its scale has shape %v: one number can be, or one for each position of an axis", a.scale.Shape)
		}
		outer, n, inner = around(x.Shape, at)
	} else if a.order = x.order(); a.order != nil {
		x = x.permute(a.order...)
	}
	if a.zero.Given() {
		a.zero = c.shaped(c.dense(a.zero), n)
	}
	a.x, a.scale = c.shaped(c.dense(x), outer, n, inner), c.as(c.shaped(c.dense(a.scale), n), backends.FP32)
	return a, nil
}

// result returns a tensor for what becomes of x, and how it is written.
func (a scaling) result(d backends.Datatype, shape []int64, x Tensor) (out, flat Tensor) {
	out = newTensor(d, shape)
	flat = out
	if a.order != nil {
		out = likeOf(d, shape, x)
		flat = out.permute(a.order...)
	}
	flat, _ = flat.reshape(a.x.Shape)
	return out, flat
}

func lowerDequantize(c *call) error {
	x, shape, d := c.in(0), c.shape(0), c.typeOf(c.Outputs[0].Datatype)
	if c.err == nil && (x.Type != backends.Uint8 && x.Type != backends.Int8 && x.Type != backends.Int32 || !isFloat(d)) {
		return fmt.Errorf("it makes %v of %v", d, x.Type)
	}
	a, err := c.operands(x)
	if err != nil {
		return err
	}
	if isWeight(a.x) && isWeight(a.scale) && (!a.zero.Given() || isWeight(a.zero)) {
		return c.give(c.known(x, a, d))
	}
	return c.give(c.dequantise(x, a, d, shape))
}

// dequantise adds a Dequantize of x, and remembers its operand.
func (c *call) dequantise(x Tensor, a scaling, d backends.Datatype, shape []int64) Tensor {
	out, flat := a.result(d, shape, x)
	c.add(Dequantize{}, flat, a.x, a.scale, a.zero)
	if s, ok := sourceOf(x, a.scale, a.zero); ok && c.integers && a.order != nil {
		s.by = a
		c.sources[out.Buffer] = s
	}
	return out
}

// again dequantises bytes by the numbers of others.
func (c *call) again(x Tensor, s source, d backends.Datatype) Tensor {
	a := s.by
	a.order = x.order()
	a.x = c.shaped(x.permute(a.order...), 1, 1, x.Elements())
	return c.dequantise(x, a, d, x.Shape)
}

func lowerQuantize(c *call) error {
	x, shape, d := c.in(0), c.shape(0), c.Outputs[0].Datatype
	if c.err == nil && (d != backends.Uint8 && d != backends.Int8 || !isFloat(x.Type)) {
		return fmt.Errorf("it makes %v of %v", d, x.Type)
	}
	a, err := c.operands(x)
	if err != nil {
		return err
	}
	if s, ok := c.quantised(x); ok && s.bytes.Type == d {
		if again, known := sourceOf(s.bytes, a.scale, a.zero); known && again.scale == s.scale && again.zero == s.zero {
			return c.give(s.bytes) // it becomes what it was
		}
	}
	out, flat := a.result(d, shape, x)
	c.add(Quantize{}, flat, a.x, a.scale, a.zero)
	return c.give(out)
}

func isWeight(t Tensor) bool { return t.Buffer.Weight != nil }
