package onnx

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// elementwise is the rule of operators whose inputs are broadcast to one shape.
func elementwise(c *call) error {
	out, ok := c.shape(0)
	if !ok {
		return nil
	}
	for i := range c.Inputs[1:] {
		dims, ok := c.shape(i + 1)
		if !ok {
			return nil
		}
		if out, ok = broadcast(out, dims); !ok {
			return c.mismatch()
		}
	}
	c.set(0, out)
	c.setVector(c.elementwiseVector())
	return nil
}

// elementwiseVector computes the operators that shape arithmetic uses.
func (c *call) elementwiseVector() *vector {
	compute := scalarOps[c.Op]
	if compute == nil {
		return nil
	}
	operands := make([]*vector, len(c.Inputs))
	out := &vector{isScalar: true}
	length := 1
	for i := range c.Inputs {
		v := c.vector(i)
		if v == nil {
			return nil
		}
		operands[i] = v
		out.isScalar = out.isScalar && v.isScalar
		if len(v.elems) != 1 {
			length = len(v.elems)
		}
	}
	args := make([]scalar, len(operands))
	for at := range length {
		for i, v := range operands {
			args[i] = v.elems[min(at, len(v.elems)-1)]
		}
		out.elems = append(out.elems, compute(args))
	}
	return out
}

// scalarOps compute one element of their operator. Symbols stand for sizes, which are never
// negative.
var scalarOps = map[string]func(args []scalar) scalar{
	"Identity": func(x []scalar) scalar { return x[0] },
	"Add": func(x []scalar) scalar {
		switch {
		case x[0].known && x[1].known:
			return number(x[0].n + x[1].n)
		case x[0] == number(0):
			return x[1]
		case x[1] == number(0):
			return x[0]
		}
		return scalar{}
	},
	"Sub": func(x []scalar) scalar {
		switch {
		case x[0].known && x[1].known:
			return number(x[0].n - x[1].n)
		case x[1] == number(0):
			return x[0]
		case x[0] == x[1] && x[0].symbol != "":
			return number(0)
		}
		return scalar{}
	},
	"Neg": func(x []scalar) scalar {
		if !x[0].known {
			return scalar{}
		}
		return number(-x[0].n)
	},
	"Mul": func(x []scalar) scalar {
		if x[0].known && x[1].known {
			return number(x[0].n * x[1].n)
		}
		return product(x[0].dim(), x[1].dim()).scalar()
	},
	"Div": func(x []scalar) scalar {
		switch {
		case x[0].known && x[1].known && x[1].n != 0:
			return number(x[0].n / x[1].n)
		case x[1] == number(1):
			return x[0]
		}
		return scalar{}
	},
	"Equal": func(x []scalar) scalar {
		switch a, b := x[0], x[1]; {
		case a.known && b.known:
			return truth(a.n == b.n)
		case a.symbol != "" && a.symbol == b.symbol:
			return truth(true)
		case a.known && a.n < 0 && b.symbol != "", b.known && b.n < 0 && a.symbol != "":
			return truth(false)
		}
		return scalar{}
	},
	"Less":           compare(func(a, b int64) bool { return a < b }),
	"LessOrEqual":    compare(func(a, b int64) bool { return a <= b }),
	"Greater":        compare(func(a, b int64) bool { return a > b }),
	"GreaterOrEqual": compare(func(a, b int64) bool { return a >= b }),
	"And":            compare(func(a, b int64) bool { return a != 0 && b != 0 }),
	"Or":             compare(func(a, b int64) bool { return a != 0 || b != 0 }),
	"Not": func(x []scalar) scalar {
		if !x[0].known {
			return scalar{}
		}
		return truth(x[0].n == 0)
	},
	"Min": func(x []scalar) scalar {
		return best(x, func(a, b int64) bool { return a < b })
	},
	"Max": func(x []scalar) scalar {
		return best(x, func(a, b int64) bool { return a > b })
	},
	"Where": func(x []scalar) scalar {
		switch {
		case x[1] == x[2]:
			return x[1]
		case !x[0].known:
			return scalar{}
		case x[0].n != 0:
			return x[1]
		}
		return x[2]
	},
}

func compare(holds func(a, b int64) bool) func([]scalar) scalar {
	return func(x []scalar) scalar {
		if !x[0].known || !x[1].known {
			return scalar{}
		}
		return truth(holds(x[0].n, x[1].n))
	}
}

func best(x []scalar, better func(a, b int64) bool) scalar {
	out := x[0]
	for _, s := range x {
		if !s.known {
			return scalar{}
		}
		if better(s.n, out.n) {
			out = s
		}
	}
	return out
}

func cast(c *call) error {
	dt, err := c.typeAttr("to", backends.Invalid)
	if err != nil {
		return err
	}
	c.setType(0, dt)
	return castTo(c)
}

func castLike(c *call) error {
	c.setType(0, c.Inputs[1].Datatype)
	return castTo(c)
}

func castTo(c *call) error {
	v := c.vector(0)
	if v != nil && c.Outputs[0].Datatype == backends.Bool && c.Inputs[0].Datatype != backends.Bool {
		v = &vector{isScalar: v.isScalar, elems: slices.Clone(v.elems)}
		for i, e := range v.elems {
			if v.elems[i] = (scalar{}); e.known {
				v.elems[i] = truth(e.n != 0)
			}
		}
	}
	c.setVector(v)
	return sameShape(c)
}

// normalized is the rule of operators with one scale and one bias for each channel, which is
// dimension 1.
func normalized(c *call) error {
	if c.int("training_mode", 0) != 0 {
		return Unsupported(c.Node, "training_mode is not supported: export the model for inference")
	}
	if c.Op == "BatchNormalization" && c.output(1) != nil {
		return Unsupported(c.Node, "running statistics as outputs are not supported: export the model for inference")
	}
	dims, ok := c.shape(0)
	if ok && len(dims) < 2 {
		return invalid(c.Node, "the input needs at least 2 dimensions, it has %d", len(dims))
	}
	if c.Op == "BatchNormalization" && ok {
		for i := range c.Inputs[1:] {
			if p, ok := c.shape(i + 1); ok && (len(p) != 1 || !agree(p[0], dims[1])) {
				return c.mismatch()
			}
		}
	}
	return sameShape(c)
}

func agree(a, b Dim) bool {
	_, ok := unify(a, b)
	return ok
}

func layerNorm(c *call) error {
	stash, err := c.typeAttr("stash_type", backends.FP32)
	if err != nil {
		return err
	}
	c.setType(1, stash)
	c.setType(2, stash)
	dims, ok := c.shape(0)
	if !ok {
		return nil
	}
	axis, err := c.axis(c.int("axis", -1), len(dims))
	if err != nil {
		return err
	}
	c.set(0, dims)
	kept := slices.Clone(dims)
	for i := axis; i < len(kept); i++ {
		kept[i] = fixed(1)
	}
	c.set(1, kept)
	c.set(2, kept)
	return nil
}

// alongAxis is the rule of Softmax and its kin.
func alongAxis(c *call) error {
	otherwise := int64(-1)
	if c.Opset < 13 {
		otherwise = 1
	}
	dims, ok := c.shape(0)
	if !ok {
		return nil
	}
	if axis := c.int("axis", otherwise); c.Opset >= 13 || axis != int64(len(dims)) {
		if _, err := c.axis(axis, len(dims)); err != nil {
			return err
		}
	}
	return sameShape(c)
}

// quantize makes the type that the zero point, or else an attribute, asks for.
func quantize(c *call) error {
	dt, err := c.typeAttr("output_dtype", backends.Uint8)
	if err != nil {
		return err
	}
	if zero := c.input(2); zero != nil {
		dt = zero.Datatype
	}
	c.setType(0, dt)
	return sameShape(c)
}

func dequantize(c *call) error {
	dt, err := c.typeAttr("output_dtype", c.Inputs[1].Datatype)
	if err != nil {
		return err
	}
	c.setType(0, dt)
	return sameShape(c)
}

func dynamicQuantize(c *call) error {
	c.set(1, nil)
	c.set(2, nil)
	if dims, ok := c.shape(0); ok {
		c.set(0, dims)
	}
	return nil
}
