package lower

import (
	"fmt"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// computed are the datatypes that a device's kernels compute with.
var computed = []backends.Datatype{
	backends.Bool, backends.Uint8, backends.Int8, backends.Int32, backends.Int64, backends.FP16, backends.BF16, backends.FP32,
}

// apply computes a function of operands that broadcast to a shape.
func (c *call) apply(m Map, d backends.Datatype, shape []int64, in ...Tensor) Tensor {
	for i := range in {
		if !slices.Contains(computed, in[i].Type) && c.err == nil {
			c.err = fmt.Errorf("it computes no %v", in[i].Type)
		}
		if in[i].Given() {
			in[i] = in[i].expand(shape)
		}
	}
	if !slices.Contains(computed, d) && c.err == nil {
		c.err = fmt.Errorf("it makes no %v", d)
	}
	if c.err != nil {
		return newTensor(d, shape)
	}
	return c.add(m, likeOf(d, shape, in...), in...)
}

func lowerIdentity(c *call) error {
	if c.wants(1) {
		return fmt.Errorf("its mask is not computed")
	}
	if v := c.value(0); v != nil && v.Datatype == backends.Bytes {
		t, err := c.raw(v)
		return errOr(err, c.give(t))
	}
	return c.give(c.in(0))
}

// lowerMap lowers functions of one operand.
func lowerMap(c *call) error {
	m := Map{Function: c.Op}
	switch c.Op {
	case "LeakyRelu":
		m.Alpha = c.number("alpha", 0.01)
	case "Elu":
		m.Alpha = c.number("alpha", 1)
	case "HardSigmoid":
		m.Alpha, m.Beta = c.number("alpha", 0.2), c.number("beta", 0.5)
	case "Swish":
		if c.number("alpha", 1) != 1 {
			return fmt.Errorf("alpha is not 1")
		}
	case "Gelu":
		if c.text("approximate", "none") == "tanh" {
			m.Function = "GeluTanh"
		}
	}
	x := c.in(0)
	return c.give(c.apply(m, c.typeOf(c.Outputs[0].Datatype), c.shape(0), x))
}

// lowerPair lowers functions of two operands, and of more that are joined one after the other.
func lowerPair(c *call) error {
	d, shape := c.typeOf(c.Outputs[0].Datatype), c.shape(0)
	function, at := c.Op, c.in(0)
	switch c.Op {
	case "Sum", "Mean":
		function = "Add"
	case "Pow":
		if exponent, ok := rewrite.Scalar(c.Inputs[1]); ok && exponent == 2 {
			return c.give(c.apply(Map{Function: "Mul"}, d, shape, at, at))
		} else if ok && exponent == 0.5 {
			return c.give(c.apply(Map{Function: "Sqrt"}, d, shape, at))
		}
	}
	for i := 1; i < len(c.Inputs); i++ {
		b := c.in(i)
		if c.Op == "Pow" && b.Type != at.Type {
			b = c.apply(Map{}, at.Type, b.Shape, b)
		}
		at = c.apply(Map{Function: function}, d, shape, at, b)
	}
	if c.Op == "Mean" {
		at = c.apply(Map{Function: "Mul"}, d, shape, at, c.scalar(1/float32(len(c.Inputs)), d))
	}
	if len(c.Inputs) == 1 {
		at = at.expand(shape)
	}
	return c.give(at)
}

// scalar returns a weight of one element, which broadcasts.
func (c *call) scalar(v float32, d backends.Datatype) Tensor {
	return floats(fmt.Sprintf("scalar %x %v", math.Float32bits(v), d), d, nil, func() []float32 { return []float32{v} })
}

func lowerClip(c *call) error {
	x := c.in(0)
	m := Map{Function: "Clip", Alpha: c.number("min", float32(math.Inf(-1))), Beta: c.number("max", float32(math.Inf(1)))}
	if isFloat(x.Type) {
		low, lowKnown := rewrite.Scalar(c.value(1))
		high, highKnown := rewrite.Scalar(c.value(2))
		if lowKnown {
			m.Alpha = low
		}
		if highKnown {
			m.Beta = high
		}
		if (lowKnown || !c.given(1)) && (highKnown || !c.given(2)) {
			return c.give(c.apply(m, x.Type, c.shape(0), x))
		}
	}
	if c.given(1) {
		x = c.apply(Map{Function: "Max"}, x.Type, c.shape(0), x, c.in(1))
	}
	if c.given(2) {
		x = c.apply(Map{Function: "Min"}, x.Type, c.shape(0), x, c.in(2))
	}
	return c.give(x)
}

func lowerWhere(c *call) error {
	d := c.typeOf(c.Outputs[0].Datatype)
	return c.give(c.apply(Map{Function: "Where"}, d, c.shape(0), c.in(0), c.in(1), c.in(2)))
}

func lowerCast(c *call) error {
	x, d := c.in(0), c.typeOf(c.Outputs[0].Datatype)
	if x.Type == d {
		return c.give(x)
	}
	return c.give(c.apply(Map{}, d, c.shape(0), x))
}
