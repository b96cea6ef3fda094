package cpu

import (
	"cmp"
	"math"

	"github.com/thrumserve/thrum/backends"
)

// buildCompare builds the operators of two inputs that answer with a BOOL.
func buildCompare(n *node) (kernel, error) {
	var k kernel
	switch n.input(0) {
	case backends.FP32:
		k = comparing(orderedLoop[float32](n.Op))
	case backends.FP64:
		k = comparing(orderedLoop[float64](n.Op))
	case backends.Int8:
		k = comparing(orderedLoop[int8](n.Op))
	case backends.Int16:
		k = comparing(orderedLoop[int16](n.Op))
	case backends.Int32:
		k = comparing(orderedLoop[int32](n.Op))
	case backends.Int64:
		k = comparing(orderedLoop[int64](n.Op))
	case backends.Uint8:
		k = comparing(orderedLoop[uint8](n.Op))
	case backends.Uint16:
		k = comparing(orderedLoop[uint16](n.Op))
	case backends.Uint32:
		k = comparing(orderedLoop[uint32](n.Op))
	case backends.Uint64:
		k = comparing(orderedLoop[uint64](n.Op))
	case backends.Bytes:
		k = comparing(orderedLoop[string](n.Op))
	case backends.Bool:
		k = comparing(boolLoop(n.Op))
	}
	if k == nil {
		return nil, n.unsupported("inputs of %v", n.input(0))
	}
	return k, nil
}

func comparing[T element](f loop2[T, bool]) kernel {
	if f == nil {
		return nil
	}
	return broadcasting(backends.Bool, f)
}

// orderedLoop returns the loop of a comparison, or nil.
func orderedLoop[T interface {
	element
	cmp.Ordered
}](op string) loop2[T, bool] {
	switch op {
	case "Equal":
		return each2(func(a, b T) bool { return a == b })
	case "Greater":
		return each2(func(a, b T) bool { return a > b })
	case "GreaterOrEqual":
		return each2(func(a, b T) bool { return a >= b })
	case "Less":
		return each2(func(a, b T) bool { return a < b })
	case "LessOrEqual":
		return each2(func(a, b T) bool { return a <= b })
	}
	return nil
}

// boolLoop returns the loop of a logical operator, or nil.
func boolLoop(op string) loop2[bool, bool] {
	switch op {
	case "And":
		return each2(func(a, b bool) bool { return a && b })
	case "Or":
		return each2(func(a, b bool) bool { return a || b })
	case "Xor":
		return each2(func(a, b bool) bool { return a != b })
	case "Equal":
		return each2(func(a, b bool) bool { return a == b })
	}
	return nil
}

func buildNot(*node) (kernel, error) {
	return elementwise(backends.Bool, each1(func(v bool) bool { return !v })), nil
}

// buildFloatTest builds IsNaN and IsInf.
func buildFloatTest(n *node) (kernel, error) {
	test := math.IsNaN
	if n.Op == "IsInf" {
		up, down := n.int("detect_positive", 1) != 0, n.int("detect_negative", 1) != 0
		test = func(v float64) bool { return up && math.IsInf(v, 1) || down && math.IsInf(v, -1) }
	}
	switch n.input(0) {
	case backends.FP32:
		return elementwise(backends.Bool, each1(func(v float32) bool { return test(float64(v)) })), nil
	case backends.FP64:
		return elementwise(backends.Bool, each1(test)), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

// buildWhere builds the choice between two tensors, element by element.
func buildWhere(n *node) (kernel, error) {
	return byWidth(n.input(1), where[uint8], where[uint16], where[uint32], where[uint64], where[string]), nil
}

// byWidth picks the function for elements as wide as those of d.
func byWidth[F any](d backends.Datatype, one, two, four, eight, text F) F {
	switch d.Size() {
	case 1:
		return one
	case 2:
		return two
	case 4:
		return four
	case 8:
		return eight
	}
	return text
}

func where[T element](r *run, in, out []*tensor) error {
	c, a, b := in[0], in[1], in[2]
	both, err := r.broadcast(a.shape, b.shape)
	if err != nil {
		return err
	}
	shape, err := r.broadcast(c.shape, both)
	if err != nil {
		return err
	}
	if err := r.makeTensor(out[0], a.dtype, shape); err != nil {
		return err
	}
	o := r.odometer(shape, r.strides(shape), r.stretched(c.shape, shape), r.stretched(a.shape, shape), r.stretched(b.shape, shape))
	spread(r, &o, choice[T]{
		conditions: view[bool](c), a: view[T](a), b: view[T](b), dst: view[T](out[0]),
		n: o.run(), steps: [3]int{o.step(1), o.step(2), o.step(3)},
	})
	return nil
}

// choice is what a Where works on.
type choice[T element] struct {
	conditions []bool
	a, b, dst  []T
	n          int    // elements of a run
	steps      [3]int // of conditions, a and b in it
}

func (c *choice[T]) visit(at []int) {
	for i := range c.n {
		if c.conditions[at[1]+i*c.steps[0]] {
			c.dst[at[0]+i] = c.a[at[2]+i*c.steps[1]]
		} else {
			c.dst[at[0]+i] = c.b[at[3]+i*c.steps[2]]
		}
	}
}
