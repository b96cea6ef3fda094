package cpu

import (
	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// fuseActivation moves an activation into the convolution or product before it.
func fuseActivation(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != "" || len(n.Inputs) == 0 || !rewrite.IsFP32(n.Inputs[0]) || !r.Private(n.Inputs[0]) {
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
	return rewrite.Absorb(n, before, attrs, before.Inputs...)
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
