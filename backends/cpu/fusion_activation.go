package cpu

import (
	"math"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// fuseGelu finds x·(1+erf(x/√2))/2 as PyTorch writes it: the factors x and ½ are multiplied
// in any order.
func fuseGelu(_ *rewriting, n *onnx.Node) bool {
	return fuseHalfOf(n, "none", func(x, inner *onnx.Value) bool {
		erf := made(inner, "Erf")
		return erf != nil && times(erf.Inputs[0], math.Sqrt2/2) == x
	})
}

// fuseGeluTanh finds x·(1+tanh(√(2/π)·(x+0.044715·x³)))/2.
func fuseGeluTanh(_ *rewriting, n *onnx.Node) bool {
	return fuseHalfOf(n, "tanh", func(x, inner *onnx.Value) bool {
		tanh := made(inner, "Tanh")
		if tanh == nil {
			return false
		}
		cubic := made(times(tanh.Inputs[0], math.Sqrt(2/math.Pi)), "Add")
		return cubic != nil && isCube(times(other(cubic, x), 0.044715), x)
	})
}

func isCube(v, x *onnx.Value) bool {
	if n := made(v, "Pow"); n != nil {
		return n.Inputs[0] == x && is(n.Inputs[1], 3)
	}
	n := made(v, "Mul")
	square := made(other(n, x), "Mul")
	return square != nil && square.Inputs[0] == x && square.Inputs[1] == x
}

// fuseHalfOf makes a Gelu of n if it is the product of x, ½ and 1+inner, where match knows
// the inner of an x.
func fuseHalfOf(n *onnx.Node, approximate string, match func(x, inner *onnx.Value) bool) bool {
	if n.Op != "Mul" || n.Domain != "" || !isFP32(n.Outputs[0]) {
		return false
	}
	x, sum := halfProduct(n)
	if x == nil || !match(x, plus(sum, 1)) {
		return false
	}
	return become(n, "Gelu", onnx.Attrs{"approximate": approximate}, x)
}

// halfProduct returns the factors of n, a product of three of which one is ½, with the sum last.
func halfProduct(n *onnx.Node) (x, sum *onnx.Value) {
	pick := func(a, b *onnx.Value) (*onnx.Value, *onnx.Value) {
		if plus(b, 1) == nil {
			a, b = b, a
		}
		return a, b
	}
	if product := made(times(n.Outputs[0], 0.5), "Mul"); product != nil {
		return pick(product.Inputs[0], product.Inputs[1])
	}
	for i, v := range n.Inputs {
		if half := times(v, 0.5); half != nil {
			return pick(half, n.Inputs[1-i])
		}
	}
	return nil, nil
}

// fuseSilu finds x·sigmoid(x).
func fuseSilu(_ *rewriting, n *onnx.Node) bool {
	if n.Op != "Mul" || n.Domain != "" {
		return false
	}
	for i, v := range n.Inputs {
		if s := made(v, "Sigmoid"); s != nil && s.Inputs[0] == n.Inputs[1-i] {
			return become(n, "Swish", nil, s.Inputs[0])
		}
	}
	return false
}

// fuseHardSigmoid finds clip(x+3, 0, 6)/6.
func fuseHardSigmoid(_ *rewriting, n *onnx.Node) bool {
	x := relu6Of3(times(n.Outputs[0], 1.0/6))
	if x == nil {
		return false
	}
	return become(n, "HardSigmoid", onnx.Attrs{"alpha": float32(1.0 / 6), "beta": float32(0.5)}, x)
}

// relu6Of3 returns x if v is clip(x+3, 0, 6).
func relu6Of3(v *onnx.Value) *onnx.Value {
	n := made(v, "Clip")
	if n == nil {
		return nil
	}
	a, ok := activationOf(&node{Node: n})
	if !ok || a.Min != 0 || a.Max != 6 {
		return nil
	}
	return plus(n.Inputs[0], 3)
}

// fuseHardSwish finds x·hardsigmoid(x), and x·clip(x+3, 0, 6)/6.
func fuseHardSwish(_ *rewriting, n *onnx.Node) bool {
	if product := made(times(n.Outputs[0], 1.0/6), "Mul"); product != nil {
		for i, v := range product.Inputs {
			if x := relu6Of3(v); x != nil && x == product.Inputs[1-i] {
				return become(n, "HardSwish", nil, x)
			}
		}
	}
	if n.Op != "Mul" || n.Domain != "" {
		return false
	}
	for i, v := range n.Inputs {
		s := made(v, "HardSigmoid")
		if s == nil || s.Inputs[0] != n.Inputs[1-i] {
			continue
		}
		a, _ := activationOf(&node{Node: s})
		if math.Abs(float64(a.Alpha)-1.0/6) < 1e-6 && a.Beta == 0.5 {
			return become(n, "HardSwish", nil, s.Inputs[0])
		}
	}
	return false
}

// fuseActivation moves an activation into the convolution or product before it.
func fuseActivation(r *rewriting, n *onnx.Node) bool {
	if n.Domain != "" || len(n.Inputs) == 0 || !isFP32(n.Inputs[0]) || !r.private(n.Inputs[0]) {
		return false
	}
	before := n.Inputs[0].Producer
	if !takesEpilogue(before) && !takesActivation(before) {
		return false
	}
	a, ok := activationOf(&node{Node: n})
	if !ok || a.Function == kernels.None {
		return false
	}
	attrs := attrsOf(before)
	attrs[fusedActivation] = a
	return absorb(n, before, attrs, before.Inputs...)
}

// takesEpilogue says whether n is a convolution or a layer with no activation yet.
func takesEpilogue(n *onnx.Node) bool {
	return n != nil && (isConv(n) || isLayer(n)) && n.Attrs[fusedActivation] == nil
}

func isLayer(n *onnx.Node) bool { return n.Domain == fusions && n.Op == "Linear" }

func attrsOf(n *onnx.Node) onnx.Attrs {
	attrs := onnx.Attrs{}
	for name, v := range n.Attrs {
		attrs[name] = v
	}
	return attrs
}
