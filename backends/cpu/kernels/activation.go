package kernels

import "math"

// Function names an elementwise function.
type Function uint8

// The functions of x. NaN gives NaN in all of them: no bound hides it. The error against exact
// arithmetic, over all of float32 and at every level, is given in units in the last place (ulp) of
// the result; where there is none the operations shown are each rounded once. AVX2 and AVX-512
// give the same bits.
const (
	None        Function = iota // x
	Relu                        // x < 0 ? 0 : x, so that -0 stays
	Clip                        // min(max(x, Min), Max); Min above Max gives Max
	LeakyRelu                   // x < 0 ? Alpha*x : x
	Elu                         // x < 0 ? Alpha*(exp(x)-1) : x, within 4 ulp
	Sigmoid                     // 1/(1+exp(-x)), within 3 ulp
	HardSigmoid                 // min(max(Alpha*x+Beta, 0), 1)
	HardSwish                   // x * min(max(x/6+0.5, 0), 1)
	Silu                        // x*sigmoid(x), within 4 ulp or 1e-40; 0 for -Inf
	Tanh                        // within 2 ulp
	GeluErf                     // x/2 * (1+erf(x/sqrt2)), within 4 ulp or 1e-7; 0 for -Inf
	GeluTanh                    // x/2 * (1+tanh(sqrt(2/pi)*(x+0.044715*x^3))), within 4 ulp or 1e-7; 0 for -Inf
	Exp                         // within 1 ulp
	Log                         // natural logarithm, within 1 ulp; plain Go at every level
	Erf                         // the error function, within 2 ulp
	Sqrt                        // correctly rounded
	Abs                         // exact
	Neg                         // exact
	Reciprocal                  // 1/x, correctly rounded
	Square                      // x*x
	Softplus                    // log(1+exp(x)), within 1 ulp; plain Go at every level
	functions                   // how many there are
)

// Activation is an elementwise function with its parameters; those that the function does not
// mention are ignored. The zero value is the identity.
type Activation struct {
	Function    Function
	Alpha, Beta float32
	Min, Max    float32
}

// Epilogue is what happens to a product before it is stored: C = act(A*B + bias + residual).
// The zero value stores the product alone.
type Epilogue struct {
	Bias       []float32 // one per column of C, or nil
	RowBias    []float32 // one per row of C, or nil; for convolutions one per filter
	Residual   []float32 // laid out as C, added before the activation, or nil; may be C itself
	Activation Activation
}

// clamp reports whether the activation is no more than bounds on the value, and the bounds.
func (a Activation) clamp() (lo, hi float32, ok bool) {
	switch a.Function {
	case None:
		return float32(math.Inf(-1)), float32(math.Inf(1)), true
	case Relu:
		return 0, float32(math.Inf(1)), true
	case Clip:
		return a.Min, a.Max, true
	}
	return 0, 0, false
}

// Apply sets dst[i] = a(src[i]). Both have the same length; dst may be src.
func Apply(dst, src []float32, a Activation) {
	if len(dst) != len(src) {
		panic("kernels: Apply: lengths differ")
	}
	if a.Function == None {
		copy(dst, src)
		return
	}
	level := CurrentLevel()
	for len(dst) > 0 {
		n := min(len(dst), chunk)
		if level == Portable || !applyLevel(level, dst[:n], src[:n], a.bounded()) {
			applyPortable(dst, src, a)
			return
		}
		dst, src = dst[n:], src[n:]
	}
}

// chunk is how many values assembly is given at a time, as it cannot be preempted.
const chunk = 16 * 1024

// bounded returns the activation with Min and Max as Relu means them.
func (a Activation) bounded() Activation {
	if a.Function == Relu {
		a.Min, a.Max, _ = a.clamp()
	}
	return a
}

func applyPortable(dst, src []float32, a Activation) {
	f := a.scalar()
	for i, x := range src {
		dst[i] = f(x)
	}
}

// scalar returns the function of one value, by way of float64.
func (a Activation) scalar() func(float32) float32 {
	switch a.Function {
	case None:
		return func(x float32) float32 { return x }
	case Relu, Clip:
		lo, hi, _ := a.clamp()
		return func(x float32) float32 { return clamp(x, lo, hi) }
	case LeakyRelu:
		return func(x float32) float32 {
			if x < 0 {
				return a.Alpha * x
			}
			return x
		}
	case HardSigmoid:
		return func(x float32) float32 { return clamp(a.Alpha*x+a.Beta, 0, 1) }
	case HardSwish:
		return func(x float32) float32 { return x * clamp(x*(1.0/6)+0.5, 0, 1) }
	case Square:
		return func(x float32) float32 { return x * x }
	}
	f := a.exact()
	return func(x float32) float32 { return float32(f(float64(x))) }
}

// exact returns the function in float64.
func (a Activation) exact() func(float64) float64 {
	switch a.Function {
	case Elu:
		return func(x float64) float64 {
			if x < 0 {
				return float64(a.Alpha) * math.Expm1(x)
			}
			return x
		}
	case Sigmoid:
		return sigmoid
	case Silu:
		return func(x float64) float64 {
			if x == math.Inf(-1) {
				return 0
			}
			return x * sigmoid(x)
		}
	case Tanh:
		return math.Tanh
	case GeluErf:
		return geluErf
	case GeluTanh:
		return geluTanh
	case Exp:
		return math.Exp
	case Log:
		return math.Log
	case Erf:
		return math.Erf
	case Sqrt:
		return math.Sqrt
	case Abs:
		return math.Abs
	case Neg:
		return func(x float64) float64 { return -x }
	case Reciprocal:
		return func(x float64) float64 { return 1 / x }
	case Softplus:
		return func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	}
	panic("kernels: unknown function")
}

// clamp keeps a NaN, as comparisons with it are false.
func clamp(x, lo, hi float32) float32 {
	if x < lo {
		x = lo
	}
	if x > hi {
		x = hi
	}
	return x
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func geluErf(x float64) float64 {
	if x == math.Inf(-1) {
		return 0
	}
	return 0.5 * x * math.Erfc(-x/math.Sqrt2)
}

func geluTanh(x float64) float64 {
	if x == math.Inf(-1) {
		return 0
	}
	// 1+tanh(t) is 2*sigmoid(2t), which does not cancel for negative t.
	return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))
}
