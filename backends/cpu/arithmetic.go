package cpu

import (
	"math"

	"github.com/thrumserve/thrum/backends"
)

// buildArithmetic builds the operators of two inputs of one number type, and those of one or
// more inputs of which each pair is treated alike.
func buildArithmetic(n *node) (kernel, error) {
	var k kernel
	switch d := n.input(0); d {
	case backends.FP32:
		f := floatLoop[float32](n)
		if op, ok := combinations[n.Op]; ok {
			f = combine(op)
		}
		k = broadcasting(d, f)
	case backends.FP64:
		k = broadcasting(d, floatLoop[float64](n))
	case backends.Int8:
		k = integers[int8](n)
	case backends.Int16:
		k = integers[int16](n)
	case backends.Int32:
		k = integers[int32](n)
	case backends.Int64:
		k = integers[int64](n)
	case backends.Uint8:
		k = integers[uint8](n)
	case backends.Uint16:
		k = integers[uint16](n)
	case backends.Uint32:
		k = integers[uint32](n)
	case backends.Uint64:
		k = integers[uint64](n)
	default:
		return nil, n.unsupported("inputs of %v", d)
	}
	switch n.Op {
	case "Max", "Min", "Sum", "Mean":
		return folded(n, k), nil
	case "Pow":
		return powered(n, k)
	}
	return k, nil
}

// numberLoop returns the loop of an operator that means the same for all numbers.
func numberLoop[T number](op string) loop2[T, T] {
	switch op {
	case "Add", "Sum", "Mean":
		return addLoop[T]
	case "Sub":
		return subLoop[T]
	case "Mul":
		return mulLoop[T]
	case "Max":
		return each2(func(a, b T) T { return max(a, b) })
	case "Min":
		return each2(func(a, b T) T { return min(a, b) })
	case "PRelu":
		return each2(func(v, slope T) T {
			if v < 0 {
				return slope * v
			}
			return v
		})
	}
	return nil
}

func floatLoop[T float](n *node) loop2[T, T] {
	switch n.Op {
	case "Div":
		return divLoop[T]
	case "Mod":
		if n.int("fmod", 0) != 1 {
			if n.Opset < 28 {
				n.fail(backends.Errorf(backends.ErrInvalid, "Mod of floats needs fmod=1"))
			}
			return each2(func(a, b T) T { return T(floorModReal(float64(a), float64(b))) })
		}
		return each2(func(a, b T) T { return T(math.Mod(float64(a), float64(b))) })
	case "Pow":
		return each2(func(a, b T) T { return T(math.Pow(float64(a), float64(b))) })
	}
	return numberLoop[T](n.Op)
}

// integers returns the kernel for an integer type. Where a zero divides it refuses the run.
func integers[T integer](n *node) kernel {
	d := n.input(0)
	f := numberLoop[T](n.Op)
	switch n.Op {
	case "Div":
		f = each2(func(a, b T) T { return a / b })
	case "Mod":
		f = each2(floorMod[T])
		if n.int("fmod", 0) == 1 {
			f = each2(func(a, b T) T { return a % b })
		}
	case "Pow":
		f = each2(func(a, b T) T { return T(math.Pow(float64(a), float64(b))) })
	case "Mean":
		n.fail(n.unsupported("inputs of %v", d))
	}
	k := broadcasting(d, f)
	if n.Op != "Div" && n.Op != "Mod" {
		return k
	}
	return func(r *run, in, out []*tensor) error {
		for _, v := range view[T](in[1]) {
			if v == 0 {
				return backends.Errorf(backends.ErrInvalid, "an integer is divided by zero")
			}
		}
		return k(r, in, out)
	}
}

// floorMod returns the remainder that has the sign of b.
func floorMod[T integer | int](a, b T) T {
	m := a % b
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}

// floorModReal is floorMod of reals: a zero has the sign of b too.
func floorModReal(a, b float64) float64 {
	m := math.Mod(a, b)
	switch {
	case m == 0:
		return math.Copysign(0, b)
	case m < 0 != (b < 0):
		return m + b
	}
	return m
}

// folded applies k, which takes two inputs, to any number of inputs from left to right.
func folded(n *node, k kernel) kernel {
	finish := func(*tensor, int) {}
	if n.Op == "Mean" {
		finish = divideBy
	}
	return func(r *run, in, out []*tensor) error {
		if len(in) == 1 {
			out[0].share(in[0], in[0].shape)
			return nil
		}
		sum := in[0]
		for i, t := range in[1:] {
			to := out[0]
			if i < len(in)-2 {
				to = r.scratch()
			}
			if err := k(r, []*tensor{sum, t}, []*tensor{to}); err != nil {
				return err
			}
			sum = to
		}
		finish(sum, len(in))
		return nil
	}
}

// divideBy divides the elements of a float tensor that the caller has made.
func divideBy(t *tensor, n int) {
	if t.dtype == backends.FP64 {
		divLoop(view[float64](t), view[float64](t), []float64{float64(n)})
		return
	}
	divLoop(view[float32](t), view[float32](t), []float32{float32(n)})
}

// powered lets the exponent have another type than the base.
func powered(n *node, k kernel) (kernel, error) {
	base, exponent := n.input(0), n.input(1)
	if base == exponent {
		return k, nil
	}
	cast, err := converter(n, exponent, base)
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		e := r.scratch()
		if err := cast(r, in[1:2], []*tensor{e}); err != nil {
			return err
		}
		return k(r, []*tensor{in[0], e}, out)
	}, nil
}

func addLoop[T number](dst, a, b []T) {
	switch {
	case len(a) == len(dst) && len(b) == len(dst):
		for i := range dst {
			dst[i] = a[i] + b[i]
		}
	case len(b) == 1:
		for i, v := range a {
			dst[i] = v + b[0]
		}
	default:
		for i, v := range b {
			dst[i] = a[0] + v
		}
	}
}

func subLoop[T number](dst, a, b []T) {
	switch {
	case len(a) == len(dst) && len(b) == len(dst):
		for i := range dst {
			dst[i] = a[i] - b[i]
		}
	case len(b) == 1:
		for i, v := range a {
			dst[i] = v - b[0]
		}
	default:
		for i, v := range b {
			dst[i] = a[0] - v
		}
	}
}

func mulLoop[T number](dst, a, b []T) {
	switch {
	case len(a) == len(dst) && len(b) == len(dst):
		for i := range dst {
			dst[i] = a[i] * b[i]
		}
	case len(b) == 1:
		for i, v := range a {
			dst[i] = v * b[0]
		}
	default:
		for i, v := range b {
			dst[i] = a[0] * v
		}
	}
}

func divLoop[T float](dst, a, b []T) {
	switch {
	case len(a) == len(dst) && len(b) == len(dst):
		for i := range dst {
			dst[i] = a[i] / b[i]
		}
	case len(b) == 1:
		for i, v := range a {
			dst[i] = v / b[0]
		}
	default:
		for i, v := range b {
			dst[i] = a[0] / v
		}
	}
}
