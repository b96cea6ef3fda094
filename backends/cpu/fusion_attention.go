package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// fuseAttention finds softmax(q·k+mask)·v: two products around a softmax of the last dimension,
// with or without the replacement of NaN by zeros that PyTorch puts behind it.
func fuseAttention(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != fusions || n.Op != "Product" || len(n.Inputs) > 2 || n.Attrs[permA] != nil || n.Attrs[scale] != nil {
		return false
	}
	weights, hidden := withoutNaN(r, n.Inputs[0])
	if weights == nil {
		return false
	}
	softmax := rewrite.Made(weights, "Softmax")
	if softmax == nil || !isLastAxis(softmax) {
		return false
	}
	scores := productBefore(r, softmax.Inputs[0])
	if scores == nil || scores.Attrs[permOut] != nil || !areOfOneRank(scores.Inputs[0], scores.Inputs[1], n.Inputs[1]) {
		return false
	}
	var o [3]headed
	o[0].perm, _ = scores.Attrs[permA].([]int)
	o[1].perm, _ = scores.Attrs[permB].([]int)
	o[2].perm, _ = n.Attrs[permB].([]int)
	attrs := onnx.Attrs{attendOperands: o}
	if perm, ok := n.Attrs[permOut].([]int); ok {
		if perm[len(perm)-1] != len(perm)-1 {
			return false
		}
		attrs[permOut] = perm
	}
	if factor, ok := scores.Attrs[scale]; ok {
		attrs[scale] = factor
	}
	if hidden {
		attrs[attendHidden] = true
	}
	inputs := append([]*onnx.Value{scores.Inputs[0], scores.Inputs[1], n.Inputs[1]}, scores.Inputs[2:]...)
	n.Op, n.Attrs, n.Inputs = "Attend", attrs, inputs
	return true
}

// withoutNaN returns the value that v, which only one node reads, is without its NaN, or v itself; nil
// if others read it.
func withoutNaN(r *rewrite.Graph, v *onnx.Value) (weights *onnx.Value, hidden bool) {
	if !r.Private(v) {
		return nil, false
	}
	where := rewrite.Made(v, "Where")
	if where == nil {
		return v, false
	}
	test := rewrite.Made(where.Inputs[0], "IsNaN")
	zero, ok := rewrite.Scalar(where.Inputs[1])
	weights = where.Inputs[2]
	if test == nil || !r.Private(where.Inputs[0]) || !ok || zero != 0 || test.Inputs[0] != weights || r.Reads(weights) != 2 {
		return nil, false
	}
	return weights, true
}

// isLastAxis says that a Softmax is one of the last dimension.
func isLastAxis(n *onnx.Node) bool {
	otherwise := int64(-1)
	if n.Opset < 13 {
		otherwise = 1
	}
	axis := int64((&node{Node: n}).int("axis", int(otherwise)))
	return axis == -1 || n.Inputs[0].HasShape && axis == int64(len(n.Inputs[0].Shape))-1
}

// areOfOneRank says that values have all three dimensions, or all four.
func areOfOneRank(values ...*onnx.Value) bool {
	for _, v := range values {
		if !v.HasShape || len(v.Shape) != len(values[0].Shape) {
			return false
		}
	}
	rank := len(values[0].Shape)
	return rank == 3 || rank == 4
}

// fuseHeads lets an attention part the last dimension into heads by itself.
func fuseHeads(_ *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != fusions || n.Op != "Attend" {
		return false
	}
	o, inputs, done := n.Attrs[attendOperands].([3]headed), slices.Clone(n.Inputs), false
	for i := range o {
		reshape := rewrite.Made(inputs[i], "Reshape")
		if reshape == nil || o[i].heads != 0 {
			continue
		}
		whole, parts := reshape.Inputs[0], reshape.Outputs[0]
		last := len(whole.Shape) - 1
		if !whole.HasShape || !parts.HasShape || last < 1 || len(parts.Shape) != last+2 ||
			!slices.EqualFunc(whole.Shape[:last], parts.Shape[:last], sameDim) {
			continue
		}
		heads, width := parts.Shape[last].Size, parts.Shape[last+1].Size
		if heads < 1 || width < 1 || whole.Shape[last].Size != heads*width {
			continue
		}
		o[i].heads, inputs[i], done = int(heads), whole, true
	}
	if !done {
		return false
	}
	attrs := attrsOf(n)
	attrs[attendOperands] = o
	return rewrite.Absorb(n, n, attrs, inputs...)
}

// fuseProjections makes one layer of those, of one input, that make the queries, keys and values of
// an attention.
func fuseProjections(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != fusions || n.Op != "Attend" {
		return false
	}
	o, inputs := n.Attrs[attendOperands].([3]headed), slices.Clone(n.Inputs)
	var members []int // operands whose layers have the input of the first of them
	var layers []*onnx.Node
	for i := len(o) - 1; i >= 0; i-- {
		layer := inputs[i].Producer
		if o[i].heads == 0 || layer == nil || !r.Private(inputs[i]) || !isPlainLayer(layer) {
			continue
		}
		if len(layers) == 0 || layer.Inputs[0] == layers[0].Inputs[0] && len(layer.Inputs) == len(layers[0].Inputs) {
			members, layers = append(members, i), append(layers, layer)
		}
	}
	if len(layers) < 2 {
		return false
	}
	joined, widths := joinLayers(r, layers)
	from := 0
	for j, i := range members {
		o[i].from, o[i].width, inputs[i] = from, widths[j], joined
		from += widths[j]
	}
	attrs := attrsOf(n)
	attrs[attendOperands] = o
	return rewrite.Absorb(n, n, attrs, inputs...)
}

// isPlainLayer says that n is a product with a constant matrix, to which at most a whole constant
// row is added.
func isPlainLayer(n *onnx.Node) bool {
	if !isLayer(n) || len(n.Inputs) > 3 || n.Attrs[fusedActivation] != nil || n.Attrs[fusedResidual] != nil || !n.Inputs[0].HasShape {
		return false
	}
	b := &node{Node: n}
	if b.float("alpha", 1) != 1 || b.float("beta", 1) != 1 {
		return false
	}
	return len(n.Inputs) < 3 || n.Inputs[2] != nil && n.Inputs[2].Const.Elements() == columnsOf(n)
}

// columnsOf returns the number of columns of a layer.
func columnsOf(layer *onnx.Node) int64 {
	w := layer.Inputs[1].Const
	if truthy(layer.Attrs["transB"]) {
		return w.Shape[0]
	}
	return w.Shape[1]
}

// joinLayers adds one layer that computes the columns of all, before the first node that needs
// one, and returns its result and how many columns each has.
func joinLayers(r *rewrite.Graph, layers []*onnx.Node) (*onnx.Value, []int) {
	var widths []int
	total := 0
	for _, l := range layers {
		widths = append(widths, int(columnsOf(l)))
		total += widths[len(widths)-1]
	}
	x := layers[0].Inputs[0]
	rows := int(x.Shape[len(x.Shape)-1].Size)
	matrix := &tensor{dtype: backends.FP32, shape: []int{rows, total}, raw: newMemory(4 * rows * total)}
	bias := &tensor{dtype: backends.FP32, shape: []int{total}, raw: newMemory(4 * total)}
	from := 0
	for i, l := range layers {
		layColumns(view[float32](matrix)[from:], constantFloats(l.Inputs[1]), total, truthy(l.Attrs["transB"]))
		if len(l.Inputs) > 2 {
			copy(view[float32](bias)[from:], view[float32](constantFloats(l.Inputs[2])))
		}
		from += widths[i]
	}
	inputs := []*onnx.Value{x, r.Constant(matrix.exportTensor(layers[0].Name + ".joined"))}
	if len(layers[0].Inputs) > 2 {
		inputs = append(inputs, r.Constant(bias.exportTensor(layers[0].Name+".bias")))
	}
	return insertLayer(r, layers, inputs, int64(total)), widths
}

// layColumns writes a matrix into rows that are stride apart.
func layColumns(dst []float32, w *tensor, stride int, transposed bool) {
	src, cols := view[float32](w), w.shape[1]
	for i := range w.shape[0] {
		row := src[i*cols : (i+1)*cols]
		if !transposed {
			copy(dst[i*stride:], row)
			continue
		}
		for j, v := range row {
			dst[j*stride+i] = v
		}
	}
}

// insertLayer adds a layer of so many columns before the first of others.
func insertLayer(r *rewrite.Graph, others []*onnx.Node, inputs []*onnx.Value, columns int64) *onnx.Value {
	x := inputs[0]
	out := &onnx.Value{Name: others[0].Name + ".joined", Datatype: backends.FP32, HasShape: true}
	out.Shape = append(slices.Clone(x.Shape[:len(x.Shape)-1]), onnx.Dim{Size: columns})
	r.Insert(&onnx.Node{
		Op: "Linear", Domain: fusions, Opset: 1, Name: others[0].Name, Inputs: inputs, Outputs: []*onnx.Value{out}, Attrs: onnx.Attrs{},
	}, others)
	return out
}
