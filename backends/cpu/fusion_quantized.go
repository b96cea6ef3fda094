package cpu

import (
	"bytes"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// quantizedFusions make integer operators of float ones between DequantizeLinear and QuantizeLinear,
// and of the steps of a dynamic quantisation. They come before the dequantised weights are folded,
// and make operators that the importer knows.
var quantizedFusions = []rewrite.Rule{
	fuseDynamicMatMul, fuseDynamicBias, fuseQuantizedOperator, fuseQuantizedMove, fuseQuantizedToFloat,
}

// evaluateFloats is evaluate, but leaves what is dequantised as it is.
func (e *engine) evaluateFloats(n *onnx.Node, inputs []*backends.Tensor) ([]*backends.Tensor, error) {
	if n.Op == "DequantizeLinear" {
		return nil, onnx.Unsupported(n, "it is looked at before it is folded")
	}
	return e.evaluate(n, inputs)
}

// quantity is a value that stands for bytes (or, as a bias, for INT32) with a scale.
type quantity struct {
	value, scale, zero *onnx.Value // zero may be nil
	axis               int         // along which there are several scales
}

// dequantized returns what v is dequantised from, with a scale that is known.
func dequantized(v *onnx.Value) (quantity, bool) {
	n := rewrite.Made(v, "DequantizeLinear")
	if n == nil || v.Datatype != backends.FP32 {
		return quantity{}, false
	}
	return quantityOf(n, n.Inputs[0])
}

// quantized returns what n makes of its input, with a scale that is known.
func quantized(n *onnx.Node) (quantity, bool) {
	if n.Op != "QuantizeLinear" || n.Domain != "" || !rewrite.IsFP32(n.Inputs[0]) {
		return quantity{}, false
	}
	q, ok := quantityOf(n, n.Outputs[0])
	return q, ok && q.whole()
}

func quantityOf(n *onnx.Node, value *onnx.Value) (quantity, bool) {
	q := quantity{value: value, scale: n.Inputs[1], axis: 1}
	if len(n.Inputs) > 2 {
		q.zero = n.Inputs[2]
	}
	if axis, ok := n.Attrs["axis"].(int64); ok {
		q.axis = int(axis)
	}
	if q.axis < 0 && value.HasShape {
		q.axis += len(value.Shape)
	}
	known := q.scale.Const != nil && q.scale.Datatype == backends.FP32 && (q.zero == nil || q.zero.Const != nil)
	return q, known && !truthy(n.Attrs["block_size"]) && (isByte(value.Datatype) || value.Datatype == backends.Int32)
}

// whole says that q has one scale.
func (q quantity) whole() bool { return q.scale.Const.Elements() == 1 }

// bytes says that q stands for bytes.
func (q quantity) bytes() bool { return isByte(q.value.Datatype) }

// along says that q has one scale, or n of them along an axis.
func (q quantity) along(axis int, n int64) bool {
	return q.whole() || q.axis == axis && len(q.scale.Const.Shape) == 1 && q.scale.Const.Elements() == n
}

// zeroPointOf returns q's zero point, made up where it is left out.
func zeroPointOf(r *rewrite.Graph, q quantity) *onnx.Value {
	if q.zero != nil {
		return q.zero
	}
	shape := q.scale.Const.Shape
	return r.Constant(backends.Tensor{
		Name: q.scale.Name + ".zero", Datatype: q.value.Datatype, Shape: shape,
		Data: make([]byte, q.scale.Const.Elements()*int64(q.value.Datatype.Size())),
	})
}

// alike says that two values of bytes mean the same numbers.
func alike(a, b quantity) bool {
	zero := func(q quantity) byte {
		if q.zero == nil || len(q.zero.Const.Data) == 0 {
			return 0
		}
		return q.zero.Const.Data[0]
	}
	return a.whole() && b.whole() && a.value.Datatype == b.value.Datatype && bytes.Equal(a.scale.Const.Data, b.scale.Const.Data) && zero(a) == zero(b)
}

// retype makes n another operator, known since some opset, with the same outputs.
func retype(n *onnx.Node, domain, op string, attrs onnx.Attrs, inputs ...*onnx.Value) bool {
	n.Domain, n.Op, n.Opset, n.Attrs = domain, op, rewrite.Newest, attrs
	if domain == onnx.Contrib {
		n.Opset = 1
	}
	for len(inputs) > 0 && inputs[len(inputs)-1] == nil {
		inputs = inputs[:len(inputs)-1]
	}
	n.Inputs = inputs
	return true
}

// fuseQuantizedOperator finds an operator between DequantizeLinear and QuantizeLinear.
func fuseQuantizedOperator(r *rewrite.Graph, n *onnx.Node) bool {
	y, ok := quantized(n)
	op := n.Inputs[0].Producer
	if !ok || !y.bytes() || op == nil || op.Domain != "" || !r.Private(n.Inputs[0]) {
		return false
	}
	if relu := rewrite.Made(op.Outputs[0], "Relu"); relu != nil {
		product := rewrite.Made(relu.Inputs[0], "Conv", "MatMul", "Gemm")
		if product == nil || !r.Private(relu.Inputs[0]) {
			return false
		}
		attrs := attrsOf(product)
		attrs[fusedActivation] = kernels.Activation{Function: kernels.Relu}
		with := *product
		with.Attrs, op = attrs, &with
	}
	switch op.Op {
	case "Conv":
		return quantizeConv(r, n, op, y)
	case "MatMul":
		a, b, ok := factors(r, op)
		return ok && retype(n, "", "QLinearMatMul", attrsOf(op), a.value, a.scale, zeroPointOf(r, a), b.value, b.scale, zeroPointOf(r, b), y.scale, zeroPointOf(r, y))
	case "Gemm":
		return quantizeGemm(r, n, op, &y)
	case "Add", "Mul":
		a, okA := dequantized(op.Inputs[0])
		b, okB := dequantized(op.Inputs[1])
		if !okA || !okB || !a.whole() || !b.whole() || a.value.Datatype != y.value.Datatype || b.value.Datatype != y.value.Datatype {
			return false
		}
		return retype(n, onnx.Contrib, "QLinear"+op.Op, nil, a.value, a.scale, zeroPointOf(r, a), b.value, b.scale, zeroPointOf(r, b), y.scale, zeroPointOf(r, y))
	case "GlobalAveragePool", "AveragePool", "Sigmoid", "LeakyRelu", "Softmax":
		return quantizeUnary(r, n, op, y)
	}
	return false
}

// quantizeUnary makes n the operator on bytes of one on floats with one input.
func quantizeUnary(r *rewrite.Graph, n, op *onnx.Node, y quantity) bool {
	x, ok := dequantized(op.Inputs[0])
	if !ok || !x.whole() || x.value.Datatype != y.value.Datatype || op.Opset < 11 && op.Op == "AveragePool" {
		return false
	}
	attrs := attrsOf(op)
	if op.Op == "Softmax" {
		attrs["opset"] = op.Opset
	}
	return retype(n, onnx.Contrib, "QLinear"+op.Op, attrs, x.value, x.scale, zeroPointOf(r, x), y.scale, zeroPointOf(r, y))
}

// factors returns the factors of a MatMul: the second may have a scale for each column.
func factors(r *rewrite.Graph, op *onnx.Node) (a, b quantity, ok bool) {
	a, okA := dequantized(op.Inputs[0])
	b, okB := dequantized(op.Inputs[1])
	if !okA || !okB || !a.whole() || !a.bytes() || !b.bytes() {
		return a, b, false
	}
	if b.whole() {
		return a, b, true
	}
	w := b.value.Const
	return a, b, w != nil && len(w.Shape) == 2 && b.along(1, w.Shape[1])
}

// quantizeConv makes n a QLinearConv.
func quantizeConv(r *rewrite.Graph, n, op *onnx.Node, y quantity) bool {
	x, okX := dequantized(op.Inputs[0])
	w, okW := dequantized(op.Inputs[1])
	if !okX || !okW || !x.whole() || !x.bytes() || !w.bytes() || w.value.Const == nil || len(w.value.Const.Shape) > 4 {
		return false
	}
	bias, ok := sumBias(op, x, w)
	if !ok || !w.along(0, w.value.Const.Shape[0]) {
		return false
	}
	return retype(n, "", "QLinearConv", attrsOf(op), x.value, x.scale, zeroPointOf(r, x), w.value, w.scale, zeroPointOf(r, w), y.scale, zeroPointOf(r, y), bias)
}

// sumBias returns the integers that input 2 of a product stands for, nil if it is left out. It has
// to be quantised with the product of the factors' scales.
func sumBias(op *onnx.Node, x, w quantity) (*onnx.Value, bool) {
	if len(op.Inputs) < 3 || op.Inputs[2] == nil {
		return nil, true
	}
	bias, ok := dequantized(op.Inputs[2])
	if !ok || bias.value.Datatype != backends.Int32 || bias.value.Const == nil || len(bias.value.Const.Shape) != 1 {
		return nil, false
	}
	if bias.zero != nil && slices.ContainsFunc(bias.zero.Const.Data, func(b byte) bool { return b != 0 }) {
		return nil, false
	}
	scales, _ := rewrite.Floats(w.scale)
	by, _ := rewrite.Scalar(x.scale)
	all, _ := rewrite.Floats(bias.scale)
	for i, s := range all {
		want := float64(by) * float64(scales[min(i, len(scales)-1)])
		if !(math.Abs(float64(s)-want) <= 1e-5*math.Abs(want)) {
			return nil, false
		}
	}
	return bias.value, len(scales) == 1 || bias.scale.Const.Elements() == int64(len(scales))
}

// quantizeGemm makes n a QGemm, of FP32 where y is nil.
func quantizeGemm(r *rewrite.Graph, n, op *onnx.Node, y *quantity) bool {
	a, okA := dequantized(op.Inputs[0])
	b, okB := dequantized(op.Inputs[1])
	if !okA || !okB || !a.whole() || !a.bytes() || !b.bytes() || b.value.Const == nil || len(b.value.Const.Shape) != 2 {
		return false
	}
	attrs := attrsOf(op)
	alpha, _ := attrs["alpha"].(float32)
	beta, _ := attrs["beta"].(float32)
	if attrs["alpha"] != nil && alpha != 1 || attrs["beta"] != nil && beta != 1 {
		return false
	}
	delete(attrs, "beta")
	columns := 1
	if truthy(attrs["transB"]) {
		columns = 0
	}
	bias, ok := sumBias(op, a, b)
	if !ok || !b.along(columns, b.value.Const.Shape[columns]) || bias != nil && bias.Const.Elements() != b.value.Const.Shape[columns] {
		return false
	}
	inputs := []*onnx.Value{a.value, a.scale, zeroPointOf(r, a), b.value, b.scale, zeroPointOf(r, b), bias, nil, nil}
	if y != nil {
		inputs[7], inputs[8] = y.scale, zeroPointOf(r, *y)
	}
	return retype(n, onnx.Contrib, "QGemm", attrs, inputs...)
}

// moves are operators that move elements, or choose from them, without computing.
var moves = []string{
	"Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool",
	"Reshape", "Slice", "SpaceToDepth", "Squeeze", "Tile", "Transpose", "Unsqueeze",
}

// fuseQuantizedMove lets such an operator move bytes where their meaning stays.
func fuseQuantizedMove(r *rewrite.Graph, n *onnx.Node) bool {
	y, ok := quantized(n)
	if !ok {
		return false
	}
	if x, ok := dequantized(n.Inputs[0]); ok && alike(x, y) {
		return rewrite.Become(n, "Identity", nil, x.value)
	}
	op := rewrite.Made(n.Inputs[0], moves...)
	if op == nil || !r.Private(n.Inputs[0]) || len(op.Outputs) > 1 && op.Outputs[1] != nil || op.Captured > 0 {
		return false
	}
	inputs := slices.Clone(op.Inputs)
	for i, v := range inputs {
		if i > 0 && op.Op != "Concat" {
			break
		}
		x, ok := dequantized(v)
		if !ok || !x.bytes() {
			return false
		}
		if !alike(x, y) {
			return op.Op == "Concat" && quantizeConcat(r, n, op, y)
		}
		inputs[i] = x.value
	}
	rewrite.Absorb(n, op, attrsOf(op), inputs...)
	if op.Op == "MaxPool" {
		n.Opset = max(n.Opset, 12) // from which on it takes bytes
	}
	return true
}

// quantizeConcat makes n a QLinearConcat.
func quantizeConcat(r *rewrite.Graph, n, op *onnx.Node, y quantity) bool {
	inputs := []*onnx.Value{y.scale, zeroPointOf(r, y)}
	for _, v := range op.Inputs {
		x, ok := dequantized(v)
		if !ok || !x.whole() || x.value.Datatype != y.value.Datatype {
			return false
		}
		inputs = append(inputs, x.value, x.scale, zeroPointOf(r, x))
	}
	return retype(n, onnx.Contrib, "QLinearConcat", attrsOf(op), inputs...)
}

// fuseQuantizedToFloat finds products of bytes whose result is not quantised.
func fuseQuantizedToFloat(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != "" || !rewrite.IsFP32(n.Outputs[0]) {
		return false
	}
	switch n.Op {
	case "MatMul":
		a, b, ok := factors(r, n)
		return ok && retype(n, onnx.Contrib, "MatMulIntegerToFloat", nil, a.value, b.value, a.scale, b.scale, zeroPointOf(r, a), zeroPointOf(r, b))
	case "Gemm":
		return quantizeGemm(r, n, n, nil)
	}
	return false
}

// dynamicProduct is Mul(Cast(product of bytes), Mul(scales)), where the bytes come from a
// DynamicQuantizeLinear.
type dynamicProduct struct {
	quantize, product *onnx.Node
	scale             *onnx.Value // of the weights
}

// dynamicProductOf finds a product that ends at n.
func dynamicProductOf(r *rewrite.Graph, n *onnx.Node, op string) (d dynamicProduct, ok bool) {
	if n.Op != "Mul" || n.Domain != "" || !rewrite.IsFP32(n.Outputs[0]) {
		return d, false
	}
	for i, v := range n.Inputs {
		cast := rewrite.Made(v, "Cast")
		if cast == nil || !r.Private(v) || !r.Private(cast.Inputs[0]) {
			continue
		}
		d.product = rewrite.Made(cast.Inputs[0], op)
		if d.product == nil || len(d.product.Inputs) < 3 {
			continue
		}
		if d.quantize = rewrite.Made(d.product.Inputs[0], "DynamicQuantizeLinear"); d.quantize == nil || d.product.Inputs[2] != d.quantize.Outputs[2] {
			continue
		}
		d.scale = rewrite.Other(rewrite.Made(n.Inputs[1-i], "Mul"), d.quantize.Outputs[1])
		return d, d.scale != nil && d.scale.Const != nil && d.scale.Datatype == backends.FP32
	}
	return d, false
}

// alone says that nothing but the product and its scales reads what was quantised.
func (d dynamicProduct) alone(r *rewrite.Graph) bool {
	return !slices.ContainsFunc(d.quantize.Outputs, func(v *onnx.Value) bool { return !r.Private(v) })
}

// fuseDynamicMatMul makes one step of a matrix product as quantize_dynamic writes it.
func fuseDynamicMatMul(r *rewrite.Graph, n *onnx.Node) bool {
	d, ok := dynamicProductOf(r, n, "MatMulInteger")
	if !ok {
		return false
	}
	w := d.product.Inputs[1]
	if !w.HasShape || len(w.Shape) != 2 || d.scale.Const.Elements() != 1 && (len(d.scale.Const.Shape) != 1 || d.scale.Const.Shape[0] != w.Shape[1].Size) {
		return false
	}
	var zero *onnx.Value
	if len(d.product.Inputs) > 3 {
		zero = d.product.Inputs[3]
	}
	if d.alone(r) {
		return retype(n, onnx.Contrib, "DynamicQuantizeMatMul", nil, d.quantize.Inputs[0], w, d.scale, zero)
	}
	out := d.quantize.Outputs
	return retype(n, onnx.Contrib, "MatMulIntegerToFloat", nil, out[0], w, out[1], d.scale, out[2], zero)
}

// fuseDynamicBias moves the addition of a constant row into such a product.
func fuseDynamicBias(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Op != "Add" || n.Domain != "" || !rewrite.IsFP32(n.Outputs[0]) {
		return false
	}
	for i, bias := range n.Inputs {
		p := n.Inputs[1-i].Producer
		place := map[string]int{"DynamicQuantizeMatMul": 4, "MatMulIntegerToFloat": 6}
		if p == nil || p.Domain != onnx.Contrib || place[p.Op] == 0 || len(p.Inputs) > place[p.Op] || !r.Private(n.Inputs[1-i]) {
			continue
		}
		w := p.Inputs[1]
		if bias.Const == nil || len(bias.Const.Shape) != 1 || !w.HasShape || len(w.Shape) != 2 || bias.Const.Shape[0] != w.Shape[1].Size {
			continue
		}
		inputs := slices.Clone(p.Inputs)
		for len(inputs) < place[p.Op] {
			inputs = append(inputs, nil)
		}
		return rewrite.Absorb(n, p, attrsOf(p), append(inputs, bias)...)
	}
	return false
}

// takesActivation says whether n is a product of bytes with an FP32 result that has none yet.
func takesActivation(n *onnx.Node) bool {
	return n != nil && n.Attrs[fusedActivation] == nil &&
		(n.Domain == onnx.Contrib && (n.Op == "DynamicQuantizeMatMul" || n.Op == "MatMulIntegerToFloat") || n.Domain == fusions && n.Op == "ConvIntegerToFloat")
}

// fuseDynamicConv makes one step of a convolution as quantize_dynamic writes it.
func fuseDynamicConv(r *rewrite.Graph, n *onnx.Node) bool {
	d, ok := dynamicProductOf(r, n, "ConvInteger")
	if !ok {
		return false
	}
	w := d.product.Inputs[1]
	if d.scale.Const.Elements() != 1 || !w.HasShape || len(w.Shape) > 4 {
		return false
	}
	var zero *onnx.Value
	if len(d.product.Inputs) > 3 {
		zero = d.product.Inputs[3]
	}
	retype(n, fusions, "ConvIntegerToFloat", attrsOf(d.product), d.product.Inputs[0], w, d.product.Inputs[2], zero, d.quantize.Outputs[1], d.scale)
	n.Opset = 1
	return true
}

// fuseDynamicConvBias moves the addition of a constant for each filter into such a convolution.
func fuseDynamicConvBias(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Op != "Add" || n.Domain != "" || !rewrite.IsFP32(n.Outputs[0]) {
		return false
	}
	for i, bias := range n.Inputs {
		c := n.Inputs[1-i].Producer
		if c == nil || c.Domain != fusions || c.Op != "ConvIntegerToFloat" || len(c.Inputs) > 6 || !r.Private(n.Inputs[1-i]) || bias.Const == nil {
			continue
		}
		filters := c.Inputs[1].Shape[0].Size
		shape := bias.Const.Shape
		if len(shape) != len(c.Inputs[1].Shape) || shape[1] != filters || bias.Const.Elements() != filters {
			continue
		}
		return rewrite.Absorb(n, c, attrsOf(c), append(slices.Clone(c.Inputs), bias)...)
	}
	return false
}

// tables are functions of one element that have a form in FP32.
var tables = []string{
	"Abs", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish",
	"Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh",
}

// fuseByteTable makes a table of a function of bytes.
func fuseByteTable(r *rewrite.Graph, n *onnx.Node) bool {
	y, ok := quantized(n)
	op := rewrite.Made(n.Inputs[0], tables...)
	if !ok || !y.bytes() || op == nil || !r.Private(n.Inputs[0]) || slices.ContainsFunc(op.Inputs[1:], func(v *onnx.Value) bool { return v != nil && v.Const == nil }) {
		return false
	}
	x, ok := dequantized(op.Inputs[0])
	if !ok || !x.whole() || !x.bytes() {
		return false
	}
	function := *op
	inputs := []*onnx.Value{x.value, x.scale, x.zero, y.scale, y.zero}
	retype(n, fusions, "ByteTable", onnx.Attrs{tableFunction: &function}, inputs...)
	n.Opset = 1
	return true
}
