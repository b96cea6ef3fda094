package cpu

import (
	"math"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/weights"
)

// engine is what the plans of one model share: the threads, what bounds them, and where
// constants are kept.
type engine struct {
	pool       *kernels.Pool
	precision  precision      // of products
	limit      int            // bytes of the largest value that a step may make
	iterations int            // of all loops in one prediction
	weights    *weights.Store // nil where they are in this process' own memory
}

// close ends the threads and frees the constants. Nothing may run any more.
func (e *engine) close() {
	e.pool.Close()
	e.weights.Close()
}

// elementGrain is how many elements are worth handing to another thread for a function that
// costs as little as an addition.
const elementGrain = 32 * 1024

// forRows splits rows of width elements over the threads.
func (r *run) forRows(rows, width int, f func(lo, hi int)) {
	r.engine.pool.For(rows, rowGrain(width), f)
}

// rowGrain is how many rows of width elements are worth handing to another thread.
func rowGrain(width int) int { return 1 + elementGrain/max(width, 1) }

// activations are the unary operators that kernels has for FP32. Those with attributes are
// completed by activationOf.
var activations = map[string]kernels.Function{
	"Abs": kernels.Abs, "Elu": kernels.Elu, "Erf": kernels.Erf, "Exp": kernels.Exp,
	"HardSigmoid": kernels.HardSigmoid, "HardSwish": kernels.HardSwish, "LeakyRelu": kernels.LeakyRelu,
	"Log": kernels.Log, "Neg": kernels.Neg, "Reciprocal": kernels.Reciprocal, "Relu": kernels.Relu,
	"Sigmoid": kernels.Sigmoid, "Softplus": kernels.Softplus, "Sqrt": kernels.Sqrt, "Tanh": kernels.Tanh,
}

// activationOf returns what the node does to each FP32 element, if kernels can do that.
func activationOf(n *node) (a kernels.Activation, ok bool) {
	a.Function, ok = activations[n.Op]
	switch n.Op {
	case "LeakyRelu":
		a.Alpha = n.float("alpha", 0.01)
	case "Elu":
		a.Alpha = n.float("alpha", 1)
	case "HardSigmoid":
		a.Alpha, a.Beta = n.float("alpha", 0.2), n.float("beta", 0.5)
	case "Gelu":
		a.Function, ok = kernels.GeluErf, true
		if n.string("approximate", "none") == "tanh" {
			a.Function = kernels.GeluTanh
		}
	case "Swish":
		a.Function, ok = kernels.Silu, n.float("alpha", 1) == 1
	case "Clip":
		return clipOf(n)
	}
	return a, ok
}

// clipOf returns the activation of a Clip whose limits are known at load.
func clipOf(n *node) (a kernels.Activation, ok bool) {
	a = kernels.Activation{Function: kernels.Clip, Min: float32(math.Inf(-1)), Max: float32(math.Inf(1))}
	if n.Opset < 11 {
		a.Min, a.Max = n.float("min", -math.MaxFloat32), n.float("max", math.MaxFloat32)
		return a, true
	}
	for i, to := range map[int]*float32{1: &a.Min, 2: &a.Max} {
		if !n.given(i) {
			continue
		}
		t := n.constant(i)
		if t == nil || t.len() != 1 {
			return a, false
		}
		*to = view[float32](t)[0]
	}
	return a, true
}

// activating applies a to all elements of the first input.
func activating(a kernels.Activation) kernel {
	return func(r *run, in, out []*tensor) error {
		if err := r.makeOver(out[0], in[0], in[0].dtype, in[0].shape); err != nil {
			return err
		}
		t := activated{view[float32](out[0]), view[float32](in[0]), a}
		split(r, len(t.dst), elementGrain/4, t)
		return nil
	}
}

// activated is what an activation works on.
type activated struct {
	dst, src []float32
	kernels.Activation
}

func (t *activated) run(lo, hi int) { kernels.Apply(t.dst[lo:hi], t.src[lo:hi], t.Activation) }

// combine returns the loop of an operator of kernels.
func combine(op kernels.Operator) loop2[float32, float32] {
	return func(dst, a, b []float32) { kernels.Combine(op, dst, a, b) }
}

// combinations are the binary operators that kernels has for FP32.
var combinations = map[string]kernels.Operator{
	"Add": kernels.Add, "Sub": kernels.Sub, "Mul": kernels.Mul, "Div": kernels.Div,
	"Max": kernels.Max, "Min": kernels.Min, "Sum": kernels.Add, "Mean": kernels.Add,
}
