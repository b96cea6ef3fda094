package cpu

import (
	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// fuseLayerNorm finds (x-mean)/√(mean((x-mean)²)+ε)·scale+bias over the last dimension.
func fuseLayerNorm(_ *rewriting, n *onnx.Node) bool {
	if n.Op != "Add" || n.Domain != "" || !isFP32(n.Outputs[0]) {
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

func isVector(v *onnx.Value) bool { return isFP32(v) && v.Const != nil && len(v.Const.Shape) == 1 }

// lastDim returns the size of the last dimension, -1 if it is not known.
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

// isSquare says that v is x².
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
	b := &node{Node: n}
	axes, err := b.list("axes", 1)(nil)
	if err != nil || b.err != nil || len(n.Inputs) > 1 && n.Inputs[1] != nil && n.Inputs[1].Const == nil || len(axes) != 1 || b.int("keepdims", 1) == 0 {
		return nil
	}
	if axes[0] != -1 && axes[0] != len(n.Inputs[0].Shape)-1 {
		return nil
	}
	return n.Inputs[0]
}

// fuseBatchNorm moves a batch normalisation into the constant weights and the bias of the
// convolution before it.
func fuseBatchNorm(r *rewriting, n *onnx.Node) bool {
	if n.Op != "BatchNormalization" || n.Domain != "" || len(n.Inputs) != 5 || truthy(n.Attrs["training_mode"]) {
		return false
	}
	conv := n.Inputs[0].Producer
	if conv == nil || !isConv(conv) || !r.private(n.Inputs[0]) {
		return false
	}
	scale, shift := batchNorm(n, int(conv.Inputs[1].Const.Shape[0]))
	if scale == nil {
		return false
	}
	weights := constantFloats(conv.Inputs[1])
	scaled := &tensor{dtype: weights.dtype, shape: weights.shape, raw: newMemory(len(weights.raw))}
	each := weights.len() / len(scale)
	for f, s := range scale {
		mulLoop(view[float32](scaled)[f*each:(f+1)*each], view[float32](weights)[f*each:(f+1)*each], []float32{s})
	}
	if bias := conv.Inputs[2:]; len(bias) > 0 && bias[0] != nil {
		for f, v := range view[float32](constantFloats(bias[0])) {
			shift[f] += v * scale[f]
		}
	}
	moved := &tensor{dtype: weights.dtype, shape: []int{len(shift)}, raw: newMemory(4 * len(shift))}
	copy(view[float32](moved), shift)
	return absorb(n, conv, conv.Attrs, conv.Inputs[0],
		r.constant(scaled.exportTensor(conv.Inputs[1].Name)), r.constant(moved.exportTensor(conv.Name+".bias")))
}

// batchNorm returns what a normalisation with constant statistics multiplies and adds to each
// of the channels, or nil.
func batchNorm(n *onnx.Node, channels int) (scale, shift []float32) {
	var values [4][]float32
	for i, v := range n.Inputs[1:] {
		t := constantFloats(v)
		if t == nil || t.len() != channels {
			return nil, nil
		}
		values[i] = view[float32](t)
	}
	return normalisation(values[0], values[1], values[2], values[3], (&node{Node: n}).float("epsilon", 1e-5))
}

// isConv says whether n is a convolution of constant weights with no bias or a fitting
// constant one.
func isConv(n *onnx.Node) bool {
	if n.Op != "Conv" || n.Domain != "" || constantFloats(n.Inputs[1]) == nil || len(n.Inputs[1].Const.Shape) < 3 {
		return false
	}
	if len(n.Inputs) < 3 || n.Inputs[2] == nil {
		return n.Inputs[1].Const.Shape[0] > 0
	}
	bias := constantFloats(n.Inputs[2])
	return bias != nil && bias.len() > 0 && int64(bias.len()) == n.Inputs[1].Const.Shape[0]
}

// constantFloats returns an FP32 constant, or nil.
func constantFloats(v *onnx.Value) *tensor {
	if v == nil || v.Const == nil || v.Datatype != backends.FP32 {
		return nil
	}
	t := new(tensor)
	if t.importTensor(v.Const) != nil {
		return nil
	}
	return t
}
