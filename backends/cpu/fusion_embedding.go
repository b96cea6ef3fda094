package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// fuseEmbeddingBag finds the sum or the mean of rows of a table over the last dimension of their
// numbers, and with a factor for each row.
func fuseEmbeddingBag(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != "" || n.Op != "ReduceSum" && n.Op != "ReduceMean" || !rewrite.IsFP32(n.Outputs[0]) {
		return false
	}
	rows := n.Inputs[0]
	gather, weights := weightedRows(r, rows)
	if gather == nil {
		return false
	}
	index := gather.Inputs[1]
	rank := len(index.Shape)
	if rank < 1 || !reducesAxis(n, rank-1, rank+1) {
		return false
	}
	attrs := onnx.Attrs{}
	if (&node{Node: n}).int("keepdims", 1) != 0 {
		attrs[bagKeep] = true
	}
	return becomeBag(n, n.Op, attrs, gather.Inputs[0], index, weights, nil, nil, nil)
}

// becomeBag makes n an EmbeddingBag of the sums or means that a reduction makes.
func becomeBag(n *onnx.Node, reduction string, attrs onnx.Attrs, inputs ...*onnx.Value) bool {
	if reduction == "ReduceMean" {
		attrs[bagMean] = true
	}
	rewrite.Become(n, "EmbeddingBag", attrs, inputs...)
	n.Domain, n.Opset, n.Captured = fusions, 1, 0
	return true
}

// weightedRows returns the Gather of rows of a table that makes v, or makes what is multiplied with a
// weight for each row to make v. Nobody else reads what is between.
func weightedRows(r *rewrite.Graph, v *onnx.Value) (gather *onnx.Node, weights *onnx.Value) {
	if !r.Private(v) {
		return nil, nil
	}
	if g := rowsOfTable(v); g != nil {
		return g, nil
	}
	product := rewrite.Made(v, "Mul")
	if product == nil {
		return nil, nil
	}
	for i, rows := range product.Inputs {
		weights := product.Inputs[1-i]
		if g := rowsOfTable(rows); g != nil && r.Private(rows) && weighsRows(weights, rows) {
			return g, weights
		}
	}
	return nil, nil
}

// rowsOfTable returns the Gather that makes v of rows of a matrix of FP32.
func rowsOfTable(v *onnx.Value) *onnx.Node {
	g := rewrite.Made(v, "Gather")
	if g == nil || !rewrite.IsFP32(v) || !g.Inputs[1].HasShape {
		return nil
	}
	if table := g.Inputs[0]; !table.HasShape || len(table.Shape) != 2 || table.Shape[1].Size < 1 {
		return nil
	}
	if at := (&node{Node: g}).int("axis", 0); at != 0 && at != -2 {
		return nil
	}
	return g
}

// weighsRows says that weights has one element for each row of rows.
func weighsRows(weights, rows *onnx.Value) bool {
	if !rewrite.IsFP32(weights) || !weights.HasShape || !rows.HasShape || len(weights.Shape) != len(rows.Shape) {
		return false
	}
	last := len(rows.Shape) - 1
	return last > 0 && weights.Shape[last].Size == 1 && slices.EqualFunc(weights.Shape[:last], rows.Shape[:last], sameDim)
}

// reducesAxis says that a reduction is known to be over that one axis of a tensor of that rank.
func reducesAxis(n *onnx.Node, at, rank int) bool {
	axes := constantList(n, "axes", 1)
	return len(axes) == 1 && (axes[0] == at || axes[0] == at-rank)
}

// constantList returns the list that is an attribute of n, or else input i if that is known.
func constantList(n *onnx.Node, name string, i int) []int {
	b := &node{Node: n}
	if !b.has(name) && b.constant(i) == nil {
		return nil
	}
	list, err := b.list(name, i)(nil)
	if err != nil || b.err != nil {
		return nil
	}
	return list
}

// fuseBagLoop finds the loop over bags of any size that PyTorch makes of an EmbeddingBag: its body
// takes a slice of the numbers of rows, from a start to an end that it looks up by the iteration, and
// sums the rows.
func fuseBagLoop(_ *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != "" || n.Op != "Loop" || len(n.Arguments()) != 2 || len(n.Outputs) != 1 || n.Inputs[0] == nil {
		return false
	}
	body, ok := n.Attrs["body"].(*onnx.Graph)
	if !ok || len(body.Inputs) != 2 || len(body.Outputs) != 2 {
		return false
	}
	if n.Inputs[1] != nil && !isTrue(n.Inputs[1], nil) || !isTrue(body.Outputs[0], body.Inputs[1]) {
		return false
	}
	b := bagBody{Graph: body}
	if !b.match() {
		return false
	}
	return becomeBag(n, b.reduction, onnx.Attrs{}, b.table, b.index, b.weights, b.starts, b.ends, n.Inputs[0])
}

// isTrue says that v is known not to be zero, or zero only where the other value is.
func isTrue(v, other *onnx.Value) bool {
	for v.Const == nil && v != other {
		n := rewrite.Made(v, "Cast", "Identity")
		if n == nil {
			return false
		}
		v = n.Inputs[0]
	}
	return v == other || v.Const.Elements() == 1 && slices.ContainsFunc(v.Const.Data, func(b byte) bool { return b != 0 })
}

// bagBody is the body of a loop over bags.
type bagBody struct {
	*onnx.Graph
	reduction    string
	table, index *onnx.Value
	weights      *onnx.Value // nil without
	starts, ends *onnx.Value
}

// match says whether the body is one, and what it reads.
func (b *bagBody) match() bool {
	sum := rewrite.Made(b.Outputs[1], "ReduceSum", "ReduceMean")
	if sum == nil || !reducesAxis(sum, 0, 2) || (&node{Node: sum}).int("keepdims", 1) != 0 {
		return false
	}
	b.reduction = sum.Op
	rows := sum.Inputs[0]
	if product := rewrite.Made(rows, "Mul"); product != nil {
		column := rewrite.Made(product.Inputs[1], "Unsqueeze")
		if column == nil || !slices.Equal(constantList(column, "axes", 1), []int{1}) || !rewrite.IsFP32(column.Inputs[0]) {
			return false
		}
		rows, b.weights = product.Inputs[0], b.slice(column.Inputs[0])
		if b.weights == nil {
			return false
		}
	}
	gather := rowsOfTable(rows)
	if gather == nil {
		return false
	}
	b.table, b.index = gather.Inputs[0], b.slice(gather.Inputs[1])
	return b.index != nil && len(b.index.Shape) == 1 && b.outer(b.table) &&
		b.starts.Datatype == b.index.Datatype && b.ends.Datatype == b.index.Datatype
}

// slice returns what v is a slice of, if that is from the bag's start to its end.
func (b *bagBody) slice(v *onnx.Value) *onnx.Value {
	n := rewrite.Made(v, "Slice")
	if n == nil || len(n.Inputs) < 3 || !b.outer(n.Inputs[0]) {
		return nil
	}
	if len(n.Inputs) > 3 && n.Inputs[3] != nil && !slices.Equal(constantList(n, "", 3), []int{0}) ||
		len(n.Inputs) > 4 && n.Inputs[4] != nil && !slices.Equal(constantList(n, "", 4), []int{1}) {
		return nil
	}
	starts, ends := b.lookedUp(n.Inputs[1]), b.lookedUp(n.Inputs[2])
	if starts == nil || ends == nil || b.starts != nil && (starts != b.starts || ends != b.ends) {
		return nil
	}
	b.starts, b.ends = starts, ends
	return n.Inputs[0]
}

// lookedUp returns what v is the element of that the iteration counts, in a list of one.
func (b *bagBody) lookedUp(v *onnx.Value) *onnx.Value {
	list := rewrite.Made(v, "Unsqueeze")
	if list == nil || !slices.Equal(constantList(list, "axes", 1), []int{0}) {
		return nil
	}
	n := rewrite.Made(list.Inputs[0], "Gather")
	if n == nil || n.Inputs[1] != b.Inputs[0] || (&node{Node: n}).int("axis", 0) != 0 || !b.outer(n.Inputs[0]) {
		return nil
	}
	if !n.Inputs[0].HasShape || len(n.Inputs[0].Shape) != 1 {
		return nil
	}
	return n.Inputs[0]
}

// outer says that v is a value of the graphs around the body.
func (b *bagBody) outer(v *onnx.Value) bool {
	return !slices.Contains(b.Inputs, v) && (v.Producer == nil || !slices.Contains(b.Nodes, v.Producer))
}
