package onnx

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// shapeOf makes the vector through which symbols enter shape arithmetic.
func shapeOf(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	clamp := func(n int64) int64 {
		if n < 0 {
			n = max(n, -int64(len(in))) + int64(len(in))
		}
		return min(n, int64(len(in)))
	}
	start, end := clamp(c.int("start", 0)), clamp(c.int("end", math.MaxInt64))
	v := &vector{}
	for i := start; i < end; i++ {
		v.elems = append(v.elems, in[i].scalar())
	}
	c.setVector(v)
	return nil
}

func sizeOf(c *call) error {
	c.set(0, nil)
	if in, ok := c.shape(0); ok {
		c.setVector(&vector{elems: []scalar{product(in...).scalar()}, isScalar: true})
	}
	return nil
}

// constantNode turns the node's one attribute into a constant.
func constantNode(c *call) error {
	if len(c.Attrs) != 1 {
		return invalid(c.Node, "it needs exactly one attribute, it has %d", len(c.Attrs))
	}
	out := c.Outputs[0]
	for _, value := range c.Attrs {
		t := constantTensor(value)
		if out.Const = t; t == nil {
			return invalid(c.Node, "its attribute holds no value")
		}
		out.Datatype = t.Datatype
		c.set(0, fixedDims(t.Shape))
	}
	return nil
}

func constantTensor(value any) *backends.Tensor {
	switch v := value.(type) {
	case *backends.Tensor:
		return v
	case int64:
		return &backends.Tensor{Datatype: backends.Int64, Shape: []int64{}, Data: packInts([]int64{v}, 8)}
	case []int64:
		return &backends.Tensor{Datatype: backends.Int64, Shape: []int64{int64(len(v))}, Data: packInts(v, 8)}
	case float32:
		return &backends.Tensor{Datatype: backends.FP32, Shape: []int64{}, Data: packFloats([]float32{v})}
	case []float32:
		return &backends.Tensor{Datatype: backends.FP32, Shape: []int64{int64(len(v))}, Data: packFloats(v)}
	case string:
		return &backends.Tensor{Datatype: backends.Bytes, Shape: []int64{}, Data: packTexts([]string{v})}
	case []string:
		return &backends.Tensor{Datatype: backends.Bytes, Shape: []int64{int64(len(v))}, Data: packTexts(v)}
	}
	return nil
}

func packFloats(all []float32) []byte {
	data := make([]byte, 0, 4*len(all))
	for _, f := range all {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(f))
	}
	return data
}

func packTexts(all []string) []byte {
	var data []byte
	for _, s := range all {
		data = backends.AppendBytesElement(data, []byte(s))
	}
	return data
}

func constantOfShape(c *call) error {
	value, ok := c.Attrs["value"].(*backends.Tensor)
	if !ok {
		value = &backends.Tensor{Datatype: backends.FP32, Shape: []int64{1}, Data: make([]byte, 4)}
	}
	if value.Elements() != 1 {
		return invalid(c.Node, "value has %d elements, it needs 1", value.Elements())
	}
	c.setType(0, value.Datatype)
	target := c.vector(0)
	if target == nil {
		return nil
	}
	if len(target.elems) > maxRank {
		return invalid(c.Node, "the output would have %d dimensions, at most %d", len(target.elems), maxRank)
	}
	out := make([]Dim, len(target.elems))
	for i, e := range target.elems {
		if e.known && e.n < 0 {
			return invalid(c.Node, "dimension %d would be %d", i, e.n)
		}
		out[i] = e.dim()
	}
	c.set(0, out)
	if n := elements(out); len(out) <= 1 && n >= 0 && n <= maxVector {
		if v := vectorOf(value); v != nil {
			c.setVector(&vector{elems: slices.Repeat(v.elems, int(n)), isScalar: len(out) == 0})
		}
	}
	return nil
}

func rangeOf(c *call) error {
	c.set(0, []Dim{unknown})
	for _, v := range c.Inputs {
		if v.HasShape && len(v.Shape) > 1 {
			return invalid(c.Node, "start, limit and delta must be scalars")
		}
	}
	var args [3]scalar
	for i := range args {
		v := c.vector(i)
		if v == nil || len(v.elems) != 1 {
			return c.floatRange()
		}
		args[i] = v.elems[0]
	}
	start, limit, delta := args[0], args[1], args[2]
	if start == number(0) && delta == number(1) && !limit.known {
		c.set(0, []Dim{limit.dim()})
		return nil
	}
	if !start.known || !limit.known || !delta.known {
		return nil
	}
	if delta.n == 0 {
		return invalid(c.Node, "delta is 0")
	}
	n := rangeLength(start.n, limit.n, delta.n)
	c.set(0, []Dim{fixed(n)})
	if n <= maxVector {
		v := &vector{elems: make([]scalar, n)}
		for i := range v.elems {
			v.elems[i] = number(start.n + int64(i)*delta.n)
		}
		c.setVector(v)
	}
	return nil
}

// rangeLength is max(0, ceil((limit-start)/delta)), without overflow.
func rangeLength(start, limit, delta int64) int64 {
	if delta > 0 && limit > start {
		return int64(min((uint64(limit)-uint64(start)-1)/uint64(delta)+1, math.MaxInt64))
	}
	if delta < 0 && limit < start {
		return int64(min((uint64(start)-uint64(limit)-1)/-uint64(delta)+1, math.MaxInt64))
	}
	return 0
}

// floatRange finds the length of a range of constants that are no integers.
func (c *call) floatRange() error {
	var args [3]float64
	for i, v := range c.Inputs {
		f, ok := floatOf(v)
		if !ok {
			return nil
		}
		args[i] = f
	}
	n := math.Max(0, math.Ceil((args[1]-args[0])/args[2]))
	if math.IsNaN(n) || n > 1<<40 {
		return invalid(c.Node, "a range from %v to %v by %v has no usable length", args[0], args[1], args[2])
	}
	c.set(0, []Dim{fixed(int64(n))})
	return nil
}

// floatOf returns a constant scalar of datatype FP32 or FP64.
func floatOf(v *Value) (float64, bool) {
	if v.Const == nil || v.Const.Elements() != 1 {
		return 0, false
	}
	switch v.Datatype {
	case backends.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.Const.Data))), true
	case backends.FP64:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.Const.Data)), true
	}
	return 0, false
}

func oneHot(c *call) error {
	in, ok := c.shape(0)
	if !ok {
		return nil
	}
	axis, err := c.axis(c.int("axis", -1), len(in)+1)
	if err != nil {
		return err
	}
	depth := unknown
	if v := c.vector(1); v != nil && len(v.elems) == 1 {
		depth = v.elems[0].dim()
	} else if f, ok := floatOf(c.Inputs[1]); ok && f >= 0 && f < 1<<40 {
		depth = fixed(int64(f))
	}
	c.set(0, slices.Insert(slices.Clone(in), axis, depth))
	return nil
}

func nonZero(c *call) error {
	out := unknownDims(2)
	if in, ok := c.shape(0); ok {
		out[0] = fixed(int64(len(in)))
	}
	c.set(0, out)
	return nil
}

func eyeLike(c *call) error {
	dt, err := c.typeAttr("dtype", c.Inputs[0].Datatype)
	if err != nil {
		return err
	}
	c.setType(0, dt)
	return sameShape(c)
}
