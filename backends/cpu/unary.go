package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// elementwise applies f to all elements of the first input.
func elementwise[T, R element](d backends.Datatype, f func(dst []R, src []T)) kernel {
	return func(r *run, in, out []*tensor) error {
		if err := r.makeTensor(out[0], d, in[0].shape); err != nil {
			return err
		}
		f(view[R](out[0]), view[T](in[0]))
		return nil
	}
}

// each1 makes a loop of a function of one element.
func each1[T, R element](f func(T) R) func(dst []R, src []T) {
	return func(dst []R, src []T) {
		for i, v := range src {
			dst[i] = f(v)
		}
	}
}

// buildUnary builds the operators that map each element by itself.
func buildUnary(n *node) (kernel, error) {
	var k kernel
	switch d := n.input(0); d {
	case backends.FP32:
		if a, ok := activationOf(n); ok {
			return activating(a), nil
		}
		k = mapped(d, floatFunc[float32](n))
	case backends.FP64:
		k = mapped(d, floatFunc[float64](n))
	case backends.Int8:
		k = mapped(d, signedFunc[int8](n))
	case backends.Int16:
		k = mapped(d, signedFunc[int16](n))
	case backends.Int32:
		k = mapped(d, signedFunc[int32](n))
	case backends.Int64:
		k = mapped(d, signedFunc[int64](n))
	case backends.Uint8:
		k = mapped(d, unsignedFunc[uint8](n))
	case backends.Uint16:
		k = mapped(d, unsignedFunc[uint16](n))
	case backends.Uint32:
		k = mapped(d, unsignedFunc[uint32](n))
	case backends.Uint64:
		k = mapped(d, unsignedFunc[uint64](n))
	}
	if k == nil {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	return k, nil
}

// mapped returns nil where there is no f.
func mapped[T element](d backends.Datatype, f func(T) T) kernel {
	if f == nil {
		return nil
	}
	return elementwise(d, each1(f))
}

// unsignedFunc returns the function of an operator that unsigned integers have, or nil.
func unsignedFunc[T integer](n *node) func(T) T {
	switch n.Op {
	case "Abs":
		return same[T]
	case "Sign":
		return func(v T) T { return min(v, 1) }
	case "Relu":
		return same[T]
	}
	return nil
}

// signedFunc returns the function of an operator that signed integers have, or nil.
func signedFunc[T int8 | int16 | int32 | int64](n *node) func(T) T {
	switch n.Op {
	case "Abs":
		return func(v T) T { return max(v, -v) }
	case "Neg":
		return func(v T) T { return -v }
	case "Sign":
		return func(v T) T { return max(-1, min(v, 1)) }
	case "Relu":
		return func(v T) T { return max(v, 0) }
	}
	return nil
}

// floatFunc returns the function of an operator on floats, or nil. It calculates in float64
// and rounds once.
func floatFunc[T float](n *node) func(T) T {
	switch n.Op {
	case "Relu":
		return func(v T) T { return max(v, 0) }
	case "LeakyRelu":
		alpha := T(n.float("alpha", 0.01))
		return func(v T) T {
			if v < 0 {
				return alpha * v
			}
			return v
		}
	case "HardSigmoid":
		alpha, beta := T(n.float("alpha", 0.2)), T(n.float("beta", 0.5))
		return func(v T) T { return max(0, min(1, alpha*v+beta)) }
	case "HardSwish":
		return func(v T) T { return v * max(0, min(1, v/6+0.5)) }
	}
	f := realFunc(n)
	if f == nil {
		return nil
	}
	return func(v T) T { return T(f(float64(v))) }
}

// realFunc returns the function of an operator that costs much more than the conversion to
// float64 and back, or nil.
func realFunc(n *node) func(float64) float64 {
	if f, ok := plainFuncs[n.Op]; ok {
		return f
	}
	alpha := func(otherwise float32) float64 { return float64(n.float("alpha", otherwise)) }
	switch n.Op {
	case "Elu":
		a := alpha(1)
		return func(v float64) float64 { return max(v, 0) + a*math.Expm1(min(v, 0)) }
	case "Celu":
		a := alpha(1)
		return func(v float64) float64 { return max(v, 0) + min(0, a*math.Expm1(v/a)) }
	case "Selu":
		a, gamma := alpha(1.67326319217681884765625), float64(n.float("gamma", 1.05070102214813232421875))
		return func(v float64) float64 { return gamma * (max(v, 0) + a*math.Expm1(min(v, 0))) }
	case "ThresholdedRelu":
		a := alpha(1)
		return func(v float64) float64 {
			if v > a {
				return v
			}
			return 0
		}
	case "Shrink":
		limit, bias := float64(n.float("lambd", 0.5)), float64(n.float("bias", 0))
		return func(v float64) float64 {
			switch {
			case v < -limit:
				return v + bias
			case v > limit:
				return v - bias
			}
			return 0
		}
	case "Swish":
		a := alpha(1)
		return func(v float64) float64 { return v * sigmoid(a*v) }
	case "Gelu":
		if n.string("approximate", "none") == "tanh" {
			return geluTanh
		}
		return gelu
	}
	return nil
}

// plainFuncs are the operators without attributes.
var plainFuncs = map[string]func(float64) float64{
	"Abs": math.Abs, "Neg": func(v float64) float64 { return -v }, "Sign": sign,
	"Ceil": math.Ceil, "Floor": math.Floor, "Round": math.RoundToEven,
	"Reciprocal": func(v float64) float64 { return 1 / v },
	"Sqrt":       math.Sqrt, "Exp": math.Exp, "Log": math.Log, "Erf": math.Erf,
	"Sin": math.Sin, "Cos": math.Cos, "Tan": math.Tan, "Sinh": math.Sinh, "Cosh": math.Cosh, "Tanh": math.Tanh,
	"Asin": math.Asin, "Acos": math.Acos, "Atan": math.Atan, "Asinh": math.Asinh, "Acosh": math.Acosh, "Atanh": math.Atanh,
	"Sigmoid": sigmoid, "Softplus": softplus,
	"Softsign": func(v float64) float64 { return v / (1 + math.Abs(v)) },
	"Mish":     func(v float64) float64 { return v * math.Tanh(softplus(v)) },
}

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

func softplus(v float64) float64 { return max(v, 0) + math.Log1p(math.Exp(-math.Abs(v))) }

func gelu(v float64) float64 { return 0.5 * v * (1 + math.Erf(v/math.Sqrt2)) }

func geluTanh(v float64) float64 {
	return 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return v
}

// buildSwiGLU builds the product of a value with the Swish of a gate.
func buildSwiGLU(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.input(1) != backends.FP32 {
		return nil, n.unsupported("inputs of %v and %v", n.input(0), n.input(1))
	}
	alpha := float64(n.float("alpha", 1))
	gated := each2(func(gate, v float32) float32 {
		return float32(float64(gate) * sigmoid(alpha*float64(gate)) * float64(v))
	})
	return func(r *run, in, out []*tensor) error {
		if !slices.Equal(in[0].shape, in[1].shape) {
			return backends.Errorf(backends.ErrInvalid, "a gate of shape %v for values of shape %v", in[0].shape, in[1].shape)
		}
		return broadcasting(backends.FP32, gated)(r, in, out)
	}, nil
}
