package rewrite

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends/onnx"
)

// Standard are the rules that make standard operators of what exporters spell out in FP32: GELU, SiLU,
// hard sigmoid and swish, normalisation of layers. The last moves the normalisation of batches into
// the convolution before it.
var Standard = []Rule{
	inFP32(gelu), inFP32(geluTanh), inFP32(silu), inFP32(hardSigmoid), inFP32(hardSwish), inFP32(layerNorm), batchNorm,
}

// inFP32 is a rule for nodes of ai.onnx with one output of FP32.
func inFP32(pattern func(n *onnx.Node) bool) Rule {
	return func(_ *Graph, n *onnx.Node) bool {
		return n.Domain == "" && len(n.Outputs) == 1 && IsFP32(n.Outputs[0]) && pattern(n)
	}
}

// gelu finds x·(1+erf(x/√2))/2 as PyTorch writes it: the factors x and ½ are multiplied in any order.
func gelu(n *onnx.Node) bool {
	return halfOf(n, "none", func(x, inner *onnx.Value) bool {
		erf := Made(inner, "Erf")
		return erf != nil && times(erf.Inputs[0], math.Sqrt2/2) == x
	})
}

// geluTanh finds x·(1+tanh(√(2/π)·(x+0.044715·x³)))/2.
func geluTanh(n *onnx.Node) bool {
	return halfOf(n, "tanh", func(x, inner *onnx.Value) bool {
		tanh := Made(inner, "Tanh")
		if tanh == nil {
			return false
		}
		cubic := Made(times(tanh.Inputs[0], math.Sqrt(2/math.Pi)), "Add")
		return cubic != nil && isCube(times(Other(cubic, x), 0.044715), x)
	})
}

func isCube(v, x *onnx.Value) bool {
	if n := Made(v, "Pow"); n != nil {
		return n.Inputs[0] == x && is(n.Inputs[1], 3)
	}
	n := Made(v, "Mul")
	square := Made(Other(n, x), "Mul")
	return square != nil && square.Inputs[0] == x && square.Inputs[1] == x
}

// halfOf makes a Gelu of n if it is the product of x, ½ and 1+inner, where match knows the inner of
// an x.
func halfOf(n *onnx.Node, approximate string, match func(x, inner *onnx.Value) bool) bool {
	if n.Op != "Mul" {
		return false
	}
	x, sum := halfProduct(n)
	if x == nil || !match(x, plus(sum, 1)) {
		return false
	}
	return Become(n, "Gelu", onnx.Attrs{"approximate": approximate}, x)
}

// halfProduct returns the factors of n, a product of three of which one is ½, with the sum last.
func halfProduct(n *onnx.Node) (x, sum *onnx.Value) {
	pick := func(a, b *onnx.Value) (*onnx.Value, *onnx.Value) {
		if plus(b, 1) == nil {
			a, b = b, a
		}
		return a, b
	}
	if product := Made(times(n.Outputs[0], 0.5), "Mul"); product != nil {
		return pick(product.Inputs[0], product.Inputs[1])
	}
	for i, v := range n.Inputs {
		if half := times(v, 0.5); half != nil {
			return pick(half, n.Inputs[1-i])
		}
	}
	return nil, nil
}

// silu finds x·sigmoid(x).
func silu(n *onnx.Node) bool {
	if n.Op != "Mul" {
		return false
	}
	for i, v := range n.Inputs {
		if s := Made(v, "Sigmoid"); s != nil && s.Inputs[0] == n.Inputs[1-i] {
			return Become(n, "Swish", nil, s.Inputs[0])
		}
	}
	return false
}

// hardSigmoid finds clip(x+3, 0, 6)/6.
func hardSigmoid(n *onnx.Node) bool {
	x := relu6Of3(times(n.Outputs[0], 1.0/6))
	if x == nil {
		return false
	}
	return Become(n, "HardSigmoid", onnx.Attrs{"alpha": float32(1.0 / 6), "beta": float32(0.5)}, x)
}

// relu6Of3 returns x if v is clip(x+3, 0, 6).
func relu6Of3(v *onnx.Value) *onnx.Value {
	n := Made(v, "Clip")
	if n == nil {
		return nil
	}
	if low, high, ok := clipBounds(n); !ok || low != 0 || high != 6 {
		return nil
	}
	return plus(n.Inputs[0], 3)
}

// clipBounds returns the bounds of a Clip that has two known ones.
func clipBounds(n *onnx.Node) (low, high float32, ok bool) {
	if n.Opset < 11 {
		low, lowKnown := n.Attrs["min"].(float32)
		high, highKnown := n.Attrs["max"].(float32)
		return low, high, lowKnown && highKnown
	}
	if len(n.Inputs) != 3 {
		return 0, 0, false
	}
	low, lowKnown := Scalar(n.Inputs[1])
	high, highKnown := Scalar(n.Inputs[2])
	return low, high, lowKnown && highKnown
}

// hardSwish finds x·hardsigmoid(x), and x·clip(x+3, 0, 6)/6.
func hardSwish(n *onnx.Node) bool {
	if product := Made(times(n.Outputs[0], 1.0/6), "Mul"); product != nil {
		for i, v := range product.Inputs {
			if x := relu6Of3(v); x != nil && x == product.Inputs[1-i] {
				return Become(n, "HardSwish", nil, x)
			}
		}
	}
	if n.Op != "Mul" {
		return false
	}
	for i, v := range n.Inputs {
		s := Made(v, "HardSigmoid")
		if s != nil && s.Inputs[0] == n.Inputs[1-i] && ofHardSwish(s) {
			return Become(n, "HardSwish", nil, s.Inputs[0])
		}
	}
	return false
}

// ofHardSwish says that a HardSigmoid is the one in a hard swish, max(0, min(1, x/6+½)).
func ofHardSwish(n *onnx.Node) bool {
	alpha, given := n.Attrs["alpha"].(float32)
	if !given {
		alpha = 0.2
	}
	beta, given := n.Attrs["beta"].(float32)
	return math.Abs(float64(alpha)-1.0/6) < 1e-6 && (!given || beta == 0.5)
}

// layerNorm finds (x-mean)/√(mean((x-mean)²)+ε)·scale+bias over the last dimension.
func layerNorm(n *onnx.Node) bool {
	if n.Op != "Add" {
		return false
	}
	for i, bias := range n.Inputs {
		product := Made(n.Inputs[1-i], "Mul")
		if product == nil || !isVector(bias) {
			continue
		}
		for j, weight := range product.Inputs {
			quotient := Made(product.Inputs[1-j], "Div")
			if quotient == nil || !isVector(weight) || weight.Const.Shape[0] != bias.Const.Shape[0] {
				continue
			}
			if x, epsilon := standardised(quotient); x != nil && lastDim(x) == weight.Const.Shape[0] {
				return Become(n, "LayerNormalization", onnx.Attrs{"axis": int64(-1), "epsilon": epsilon}, x, weight, bias)
			}
		}
	}
	return false
}

// standardised returns x and ε if n is (x-mean)/√(mean((x-mean)²)+ε).
func standardised(n *onnx.Node) (x *onnx.Value, epsilon float32) {
	centred := n.Inputs[0]
	difference, root := Made(centred, "Sub"), Made(n.Inputs[1], "Sqrt")
	if difference == nil || root == nil || meanOf(difference.Inputs[1]) != difference.Inputs[0] {
		return nil, 0
	}
	sum := Made(root.Inputs[0], "Add")
	if sum == nil {
		return nil, 0
	}
	for i, v := range sum.Inputs {
		epsilon, ok := Scalar(v)
		if ok && isSquare(meanOf(sum.Inputs[1-i]), centred) {
			return difference.Inputs[0], epsilon
		}
	}
	return nil, 0
}

// isSquare says that v is x².
func isSquare(v, x *onnx.Value) bool {
	if n := Made(v, "Pow"); n != nil {
		return n.Inputs[0] == x && is(n.Inputs[1], 2)
	}
	n := Made(v, "Mul")
	return n != nil && n.Inputs[0] == x && n.Inputs[1] == x
}

// meanOf returns x if v is its mean over the last dimension, which stays with size 1.
func meanOf(v *onnx.Value) *onnx.Value {
	n := Made(v, "ReduceMean")
	if n == nil || !n.Inputs[0].HasShape {
		return nil
	}
	axes, _ := n.Attrs["axes"].([]int64)
	if len(n.Inputs) > 1 && n.Inputs[1] != nil {
		axes, _ = Integers(n.Inputs[1])
	}
	keep, given := n.Attrs["keepdims"].(int64)
	if len(axes) != 1 || given && keep == 0 || axes[0] != -1 && axes[0] != int64(len(n.Inputs[0].Shape))-1 {
		return nil
	}
	return n.Inputs[0]
}

// batchNorm moves a batch normalisation into the constant weights and the bias of the convolution
// before it.
func batchNorm(g *Graph, n *onnx.Node) bool {
	if n.Op != "BatchNormalization" || n.Domain != "" || len(n.Inputs) != 5 || !g.Private(n.Inputs[0]) {
		return false
	}
	training, _ := n.Attrs["training_mode"].(int64)
	if training != 0 || slices.ContainsFunc(n.Outputs[1:], func(v *onnx.Value) bool { return v != nil }) {
		return false
	}
	conv := Made(n.Inputs[0], "Conv")
	if conv == nil {
		return false
	}
	weights, bias, ok := filters(conv)
	if !ok {
		return false
	}
	factors, terms := Normalisation(n)
	if factors == nil || len(factors) != len(bias) {
		return false
	}
	each := len(weights) / len(factors)
	for f, factor := range factors {
		for i := range each {
			weights[f*each+i] *= factor
		}
		terms[f] += bias[f] * factor
	}
	w := conv.Inputs[1]
	n.Outputs = n.Outputs[:1]
	return Absorb(n, conv, conv.Attrs, conv.Inputs[0],
		g.Constant(floats(w.Name, w.Const.Shape, weights)), g.Constant(floats(conv.Name+".bias", []int64{int64(len(terms))}, terms)))
}

// filters returns the weights of a convolution and what it adds to each channel, if both are known.
func filters(conv *onnx.Node) (weights, bias []float32, ok bool) {
	weights, ok = Floats(conv.Inputs[1])
	if !ok || len(weights) == 0 || len(conv.Inputs[1].Const.Shape) < 3 {
		return nil, nil, false
	}
	channels := int(conv.Inputs[1].Const.Shape[0])
	if len(conv.Inputs) < 3 || conv.Inputs[2] == nil {
		return weights, make([]float32, channels), true
	}
	bias, ok = Floats(conv.Inputs[2])
	return weights, bias, ok && len(bias) == channels
}

// Normalisation returns what a BatchNormalization multiplies each channel with and adds to it, nil if
// its statistics are not known.
func Normalisation(n *onnx.Node) (factors, terms []float32) {
	var all [4][]float32
	for i, v := range n.Inputs[1:5] {
		values, ok := Floats(v)
		if !ok || len(values) != len(all[0]) && i > 0 {
			return nil, nil
		}
		all[i] = values
	}
	epsilon, given := n.Attrs["epsilon"].(float32)
	if !given {
		epsilon = 1e-5
	}
	scale, bias, mean, variance := all[0], all[1], all[2], all[3]
	factors, terms = make([]float32, len(scale)), make([]float32, len(scale))
	for c := range scale {
		f := float64(scale[c]) / math.Sqrt(float64(variance[c])+float64(epsilon))
		factors[c], terms[c] = float32(f), float32(float64(bias[c])-float64(mean[c])*f)
	}
	return factors, terms
}
