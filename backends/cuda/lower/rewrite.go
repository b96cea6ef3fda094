package lower

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// newest is the opset in whose meaning Rewrite makes nodes.
const newest = 24

// Rewrite replaces patterns of nodes by the one operator that they spell out: GELU, SiLU, hard sigmoid
// and swish, normalisation of layers; and it moves the normalisation of batches into the convolution
// before it. Nodes that nothing needs any more stay until the graph is specialised.
func Rewrite(g *onnx.Graph) {
	readers := map[*onnx.Value]int{}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			readers[v]++
		}
	}
	for _, v := range g.Outputs {
		readers[v]++
	}
	for _, n := range g.Nodes {
		for _, pattern := range []func(*onnx.Node) bool{gelu, geluTanh, silu, hardSigmoid, hardSwish, layerNorm} {
			if n.Domain == "" && len(n.Outputs) == 1 && n.Outputs[0].Datatype == backends.FP32 && pattern(n) {
				break
			}
		}
		foldBatchNorm(n, readers)
	}
}

// become makes n another operator, with the same output.
func become(n *onnx.Node, op string, attrs onnx.Attrs, inputs ...*onnx.Value) bool {
	n.Domain, n.Op, n.Opset, n.Attrs, n.Inputs = "", op, newest, attrs, inputs
	return true
}

// made returns the node that makes v, if it is of that operator.
func made(v *onnx.Value, op string) *onnx.Node {
	if v == nil || v.Producer == nil || v.Const != nil || v.Producer.Domain != "" || v.Producer.Op != op {
		return nil
	}
	return v.Producer
}

// is says that v is a constant of about that value.
func is(v *onnx.Value, want float64) bool {
	have, ok := scalar(v)
	return ok && math.Abs(float64(have)-want) <= 1e-3*math.Abs(want)
}

// times returns v if x is v·factor, in either order, or v/(1/factor).
func times(x *onnx.Value, factor float64) *onnx.Value {
	if n := made(x, "Mul"); n != nil {
		for i, v := range n.Inputs {
			if is(v, factor) {
				return n.Inputs[1-i]
			}
		}
	}
	if n := made(x, "Div"); n != nil && is(n.Inputs[1], 1/factor) {
		return n.Inputs[0]
	}
	return nil
}

// plus returns v if x is v+term, in either order.
func plus(x *onnx.Value, term float64) *onnx.Value {
	if n := made(x, "Add"); n != nil {
		for i, v := range n.Inputs {
			if is(v, term) {
				return n.Inputs[1-i]
			}
		}
	}
	return nil
}

// other returns the operand of a node of two that is not v; nil if neither or both are.
func other(n *onnx.Node, v *onnx.Value) *onnx.Value {
	if n == nil || len(n.Inputs) != 2 || n.Inputs[0] == n.Inputs[1] {
		return nil
	}
	if i := slices.Index(n.Inputs, v); i >= 0 {
		return n.Inputs[1-i]
	}
	return nil
}

// gelu finds x·(1+erf(x/√2))/2.
func gelu(n *onnx.Node) bool {
	return halfOf(n, "none", func(x, inner *onnx.Value) bool {
		erf := made(inner, "Erf")
		return erf != nil && times(erf.Inputs[0], math.Sqrt2/2) == x
	})
}

// geluTanh finds x·(1+tanh(√(2/π)·(x+0.044715·x³)))/2.
func geluTanh(n *onnx.Node) bool {
	return halfOf(n, "tanh", func(x, inner *onnx.Value) bool {
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

// halfOf makes a Gelu of n if it is the product of x, ½ and 1+inner, in any order, where match knows
// the inner of an x.
func halfOf(n *onnx.Node, approximate string, match func(x, inner *onnx.Value) bool) bool {
	x, sum := halfProduct(n)
	if x == nil || !match(x, plus(sum, 1)) {
		return false
	}
	return become(n, "Gelu", onnx.Attrs{"approximate": approximate}, x)
}

func halfProduct(n *onnx.Node) (x, sum *onnx.Value) {
	if n.Op != "Mul" {
		return nil, nil
	}
	if product := made(times(n.Outputs[0], 0.5), "Mul"); product != nil {
		a, b := product.Inputs[0], product.Inputs[1]
		if plus(b, 1) == nil {
			a, b = b, a
		}
		return a, b
	}
	for i, v := range n.Inputs {
		a, b := times(v, 0.5), n.Inputs[1-i]
		if a == nil {
			continue
		}
		if plus(b, 1) == nil {
			a, b = b, a
		}
		return a, b
	}
	return nil, nil
}

// silu finds x·sigmoid(x).
func silu(n *onnx.Node) bool {
	if n.Op != "Mul" {
		return false
	}
	for i, v := range n.Inputs {
		if s := made(v, "Sigmoid"); s != nil && s.Inputs[0] == n.Inputs[1-i] {
			return become(n, "Swish", nil, s.Inputs[0])
		}
	}
	return false
}

// hardSigmoid finds clip(x+3, 0, 6)/6.
func hardSigmoid(n *onnx.Node) bool {
	if n.Op != "Mul" && n.Op != "Div" {
		return false
	}
	x := relu6Of3(times(n.Outputs[0], 1.0/6))
	return x != nil && become(n, "HardSigmoid", onnx.Attrs{"alpha": float32(1.0 / 6), "beta": float32(0.5)}, x)
}

// relu6Of3 returns x if v is clip(x+3, 0, 6).
func relu6Of3(v *onnx.Value) *onnx.Value {
	n := made(v, "Clip")
	if n == nil || len(n.Inputs) != 3 || !is(n.Inputs[2], 6) {
		return nil
	}
	if low, ok := scalar(n.Inputs[1]); !ok || low != 0 {
		return nil
	}
	return plus(n.Inputs[0], 3)
}

// hardSwish finds x·hardsigmoid(x), and x·clip(x+3, 0, 6)/6.
func hardSwish(n *onnx.Node) bool {
	if product := made(times(n.Outputs[0], 1.0/6), "Mul"); product != nil && n.Op != "HardSwish" {
		for i, v := range product.Inputs {
			if x := relu6Of3(v); x != nil && x == product.Inputs[1-i] {
				return become(n, "HardSwish", nil, x)
			}
		}
	}
	if n.Op != "Mul" {
		return false
	}
	for i, v := range n.Inputs {
		s := made(v, "HardSigmoid")
		if s == nil || s.Inputs[0] != n.Inputs[1-i] {
			continue
		}
		alpha, _ := s.Attrs["alpha"].(float32)
		beta, given := s.Attrs["beta"].(float32)
		if math.Abs(float64(alpha)-1.0/6) < 1e-6 && (!given || beta == 0.5) {
			return become(n, "HardSwish", nil, s.Inputs[0])
		}
	}
	return false
}

// layerNorm finds (x-mean)/√(mean((x-mean)²)+ε)·weight+bias over the last dimension.
func layerNorm(n *onnx.Node) bool {
	if n.Op != "Add" {
		return false
	}
	for i, bias := range n.Inputs {
		product := made(n.Inputs[1-i], "Mul")
		if product == nil || !isVector(bias) {
			continue
		}
		for j, weight := range product.Inputs {
			quotient := made(product.Inputs[1-j], "Div")
			if quotient == nil || !isVector(weight) || weight.Const.Shape[0] != bias.Const.Shape[0] {
				continue
			}
			if x, epsilon := standardised(quotient); x != nil && lastDim(x) == weight.Const.Shape[0] {
				return become(n, "LayerNormalization", onnx.Attrs{"axis": int64(-1), "epsilon": epsilon}, x, weight, bias)
			}
		}
	}
	return false
}

func isVector(v *onnx.Value) bool {
	return v != nil && v.Datatype == backends.FP32 && v.Const != nil && len(v.Const.Shape) == 1
}

func lastDim(v *onnx.Value) int64 {
	if !v.HasShape || len(v.Shape) == 0 {
		return -1
	}
	return v.Shape[len(v.Shape)-1].Size
}

// standardised returns x and ε if n is (x-mean)/√(mean((x-mean)²)+ε).
func standardised(n *onnx.Node) (x *onnx.Value, epsilon float32) {
	centred := n.Inputs[0]
	difference, root := made(centred, "Sub"), made(n.Inputs[1], "Sqrt")
	if difference == nil || root == nil || meanOf(difference.Inputs[1]) != difference.Inputs[0] {
		return nil, 0
	}
	sum := made(root.Inputs[0], "Add")
	if sum == nil {
		return nil, 0
	}
	for i, v := range sum.Inputs {
		epsilon, ok := scalar(v)
		if ok && isSquare(meanOf(sum.Inputs[1-i]), centred) {
			return difference.Inputs[0], epsilon
		}
	}
	return nil, 0
}

func isSquare(v, x *onnx.Value) bool {
	if n := made(v, "Pow"); n != nil {
		return n.Inputs[0] == x && is(n.Inputs[1], 2)
	}
	n := made(v, "Mul")
	return n != nil && n.Inputs[0] == x && n.Inputs[1] == x
}

// meanOf returns x if v is its mean over the last dimension, which stays with size 1.
func meanOf(v *onnx.Value) *onnx.Value {
	n := made(v, "ReduceMean")
	if n == nil || !n.Inputs[0].HasShape {
		return nil
	}
	axes, _ := n.Attrs["axes"].([]int64)
	if len(n.Inputs) > 1 && n.Inputs[1] != nil {
		axes, _ = integers(n.Inputs[1].Const)
	}
	keep, given := n.Attrs["keepdims"].(int64)
	if len(axes) != 1 || given && keep == 0 || axes[0] != -1 && axes[0] != int64(len(n.Inputs[0].Shape))-1 {
		return nil
	}
	return n.Inputs[0]
}

// foldBatchNorm moves a normalisation of batches into the weights and the bias of the convolution
// before it, if nobody else reads that.
func foldBatchNorm(n *onnx.Node, readers map[*onnx.Value]int) {
	if n.Op != "BatchNormalization" || n.Domain != "" || len(n.Outputs) != 1 {
		return
	}
	conv := made(n.Inputs[0], "Conv")
	factors, terms, ok := batchNorm(n)
	if conv == nil || !ok || readers[n.Inputs[0]] != 1 {
		return
	}
	weights, ok := numbers(conv.Inputs[1])
	if !ok || len(weights) == 0 || len(weights)%len(factors) != 0 || conv.Inputs[1].Const.Shape[0] != int64(len(factors)) {
		return
	}
	if len(conv.Inputs) > 2 && conv.Inputs[2] != nil {
		bias, ok := numbers(conv.Inputs[2])
		if !ok || len(bias) != len(factors) {
			return
		}
		for k := range terms {
			terms[k] += bias[k] * factors[k]
		}
	}
	each := len(weights) / len(factors)
	for i := range weights {
		weights[i] *= factors[i/each]
	}
	scaled := constantOf(conv.Inputs[1].Name, conv.Inputs[1].Const.Shape, weights)
	bias := constantOf(conv.Name+".bias", []int64{int64(len(terms))}, terms)
	n.Op, n.Opset, n.Attrs, n.Inputs = "Conv", conv.Opset, conv.Attrs, []*onnx.Value{conv.Inputs[0], scaled, bias}
}

// batchNorm returns what a normalisation with constant statistics multiplies with and adds.
func batchNorm(n *onnx.Node) (factors, terms []float32, ok bool) {
	if training, _ := n.Attrs["training_mode"].(int64); training != 0 || len(n.Inputs) != 5 {
		return nil, nil, false
	}
	var all [4][]float32
	for i, v := range n.Inputs[1:] {
		if all[i], ok = numbers(v); !ok || len(all[i]) != len(all[0]) {
			return nil, nil, false
		}
	}
	epsilon, given := n.Attrs["epsilon"].(float32)
	if !given {
		epsilon = 1e-5
	}
	scale, bias, mean, variance := all[0], all[1], all[2], all[3]
	for k := range scale {
		f := float64(scale[k]) / math.Sqrt(float64(variance[k])+float64(epsilon))
		factors = append(factors, float32(f))
		terms = append(terms, float32(float64(bias[k])-float64(mean[k])*f))
	}
	return factors, terms, len(factors) > 0
}

// numbers returns the elements of an FP32 constant.
func numbers(v *onnx.Value) ([]float32, bool) {
	if v == nil || v.Const == nil || v.Datatype != backends.FP32 {
		return nil, false
	}
	all := make([]float32, len(v.Const.Data)/4)
	for i := range all {
		all[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.Const.Data[4*i:]))
	}
	return all, true
}

// constantOf returns an FP32 constant for a graph.
func constantOf(name string, shape []int64, numbers []float32) *onnx.Value {
	t := &backends.Tensor{Name: name, Datatype: backends.FP32, Shape: shape}
	for _, v := range numbers {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
	}
	v := &onnx.Value{Name: fmt.Sprintf("%s.folded", name), Datatype: backends.FP32, HasShape: true, Const: t}
	for _, d := range shape {
		v.Shape = append(v.Shape, onnx.Dim{Size: d})
	}
	return v
}
