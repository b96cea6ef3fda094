package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// fuseLinear makes products with a constant matrix layers that take an epilogue, and moves
// the addition of a constant bias into them. Other products of FP32 become Products.
func fuseLinear(r *rewrite.Graph, n *onnx.Node) bool {
	switch {
	case isLinear(n):
		n.Op, n.Domain, n.Opset = "Linear", fusions, 1
		return true
	case n.Op == "MatMul" && n.Domain == "" && rewrite.IsFP32(n.Inputs[0]):
		n.Op, n.Domain, n.Opset = "Product", fusions, 1
		return true
	case n.Op != "Add" || n.Domain != "" || !rewrite.IsFP32(n.Outputs[0]):
		return false
	}
	for i, bias := range n.Inputs {
		product := n.Inputs[1-i]
		layer := product.Producer
		if layer == nil || !isLayer(layer) || len(layer.Inputs) > 2 || !r.Private(product) {
			continue
		}
		columns := layer.Inputs[1].Const.Shape[1]
		if truthy(layer.Attrs["transB"]) {
			columns = layer.Inputs[1].Const.Shape[0]
		}
		if isRow(bias.Const, columns) && product.HasShape && len(bias.Const.Shape) <= len(product.Shape) {
			attrs := attrsOf(layer)
			delete(attrs, "beta") // of a Gemm without a bias of its own
			return rewrite.Absorb(n, layer, attrs, layer.Inputs[0], layer.Inputs[1], bias)
		}
	}
	return false
}

// fuseResidual moves the addition of a value of equal shape into the convolution or layer
// before it.
func fuseResidual(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Op != "Add" || n.Domain != "" || !rewrite.IsFP32(n.Outputs[0]) || !sameShape(n.Inputs[0], n.Inputs[1]) {
		return false
	}
	for i, v := range n.Inputs {
		layer, residual := v.Producer, n.Inputs[1-i]
		if !takesEpilogue(layer) || layer.Attrs[fusedResidual] != nil || !r.Private(v) || residual.Const != nil {
			continue
		}
		attrs := attrsOf(layer)
		attrs[fusedResidual] = true
		inputs := slices.Clone(layer.Inputs)
		for len(inputs) < 3 {
			inputs = append(inputs, nil)
		}
		return rewrite.Absorb(n, layer, attrs, append(inputs, residual)...)
	}
	return false
}

// sameShape says that a and b have the same shape in every run.
func sameShape(a, b *onnx.Value) bool {
	return a.HasShape && b.HasShape && slices.EqualFunc(a.Shape, b.Shape, sameDim)
}

// fuseTransposedInput lets a product read its operands as they were before a transposition.
func fuseTransposedInput(_ *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != fusions || n.Op != "Product" {
		return false
	}
	done := false
	for i, name := range []string{permA, permB} {
		t := rewrite.Made(n.Inputs[i], "Transpose")
		if t == nil || n.Attrs[name] != nil {
			continue
		}
		perm := permOf(t)
		if perm == nil {
			continue
		}
		attrs, inputs := attrsOf(n), slices.Clone(n.Inputs)
		attrs[name], inputs[i] = perm, t.Inputs[0]
		done = rewrite.Absorb(n, n, attrs, inputs...)
	}
	return done
}

// fuseTransposedOutput lets a product write its result as a transposition would.
func fuseTransposedOutput(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Op != "Transpose" || n.Domain != "" {
		return false
	}
	p, perm := productBefore(r, n.Inputs[0]), permOf(n)
	if p == nil || perm == nil || p.Attrs[permOut] != nil {
		return false
	}
	attrs := attrsOf(p)
	attrs[permOut] = perm
	return rewrite.Absorb(n, p, attrs, p.Inputs...)
}

// productBefore returns the Product that makes v for one reader alone.
func productBefore(r *rewrite.Graph, v *onnx.Value) *onnx.Node {
	if p := v.Producer; p != nil && p.Domain == fusions && p.Op == "Product" && r.Private(v) {
		return p
	}
	return nil
}

// fuseScale moves the multiplication with a constant into the product before it.
func fuseScale(r *rewrite.Graph, n *onnx.Node) bool {
	v, factor := scaledBy(n)
	if v == nil {
		return false
	}
	p := productBefore(r, v)
	if p == nil || len(p.Inputs) > 2 {
		return false
	}
	return rewrite.Absorb(n, p, scaledAttrs(p, factor), p.Inputs...)
}

// fuseScaledInput moves the multiplication of an operand with a constant behind the product.
func fuseScaledInput(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != fusions || n.Op != "Product" || len(n.Inputs) > 2 {
		return false
	}
	done := false
	for i := range n.Inputs {
		if by := n.Inputs[i].Producer; by != nil && r.Private(n.Inputs[i]) {
			if v, factor := scaledBy(by); v != nil {
				inputs := slices.Clone(n.Inputs)
				inputs[i] = v
				done = rewrite.Absorb(n, n, scaledAttrs(n, factor), inputs...)
			}
		}
	}
	return done
}

// scaledBy returns the value and the factor that n multiplies, nil if it does something else.
func scaledBy(n *onnx.Node) (*onnx.Value, float32) {
	if n.Domain != "" || n.Op != "Mul" && n.Op != "Div" || !rewrite.IsFP32(n.Outputs[0]) {
		return nil, 0
	}
	factor, ok := rewrite.Scalar(n.Inputs[1])
	v := n.Inputs[0]
	if !ok && n.Op == "Mul" {
		factor, ok = rewrite.Scalar(n.Inputs[0])
		v = n.Inputs[1]
	}
	if !ok || !sameShape(v, n.Outputs[0]) || !(math.Abs(float64(factor)) > 1e-6 && math.Abs(float64(factor)) < 1e6) {
		return nil, 0
	}
	if n.Op == "Div" {
		factor = 1 / factor
	}
	return v, factor
}

func scaledAttrs(p *onnx.Node, factor float32) onnx.Attrs {
	attrs := attrsOf(p)
	if have, ok := attrs[scale].(float32); ok {
		factor *= have
	}
	attrs[scale] = factor
	return attrs
}

// fuseMask moves the addition of a value that stretches over the product into it, such as an
// attention mask.
func fuseMask(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Op != "Add" || n.Domain != "" || !rewrite.IsFP32(n.Outputs[0]) {
		return false
	}
	for i, v := range n.Inputs {
		p := productBefore(r, v)
		if p != nil && len(p.Inputs) == 2 && p.Attrs[permOut] == nil && len(v.Shape) >= 2 && stretchesTo(n.Inputs[1-i], v) {
			return rewrite.Absorb(n, p, attrsOf(p), p.Inputs[0], p.Inputs[1], n.Inputs[1-i])
		}
	}
	return false
}

// stretchesTo says that a broadcasts to the shape of b in every run.
func stretchesTo(a, b *onnx.Value) bool {
	if !a.HasShape || !b.HasShape || len(a.Shape) > len(b.Shape) {
		return false
	}
	skip := len(b.Shape) - len(a.Shape)
	for i, d := range a.Shape {
		if d.Size != 1 && !sameDim(d, b.Shape[skip+i]) {
			return false
		}
	}
	return true
}
