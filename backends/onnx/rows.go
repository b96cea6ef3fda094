package onnx

import (
	"slices"
	"strings"
)

// mixesRows reports whether n lets the rows of a batch, the dimensions called symbol,
// influence each other: it reduces over them, computes along them or pairs them. Where
// shapes are not known it sees no harm.
func mixesRows(n *Node, symbol string) bool {
	batch := Dim{Size: -1, Symbol: symbol}
	for _, sub := range n.subgraphs() {
		if slices.ContainsFunc(sub.Nodes, func(n *Node) bool { return mixesRows(n, symbol) }) {
			return true
		}
	}
	for i, v := range n.Inputs {
		if v == nil || !slices.Contains(v.Shape, batch) || i > 0 && readsOnlyType(n) {
			continue
		}
		if mixers[n.Op] || loses(n, symbol) || worksAlong(n, slices.Index(v.Shape, batch), v) {
			return true
		}
	}
	for _, v := range n.Outputs {
		if v != nil && count(v.Shape, batch) > 1 {
			return true
		}
	}
	return false
}

// mixers are the operators that are taken to mix rows wherever these stand in an input: their
// shapes do not tell that one row's result reaches another.
var mixers = map[string]bool{
	"Compress": true, "CumProd": true, "DFT": true, "LinearAttention": true, "Loop": true, "LpNormalization": true,
	"MeanVarianceNormalization": true, "NonMaxSuppression": true, "ReverseSequence": true, "RotaryEmbedding": true, "Scan": true,
	"Scatter": true, "TensorScatter": true, "Unique": true,
}

func readsOnlyType(n *Node) bool { return n.Op == "CastLike" }

// loses reports whether an output is fully known to have no rows, though an input has them.
func loses(n *Node, symbol string) bool {
	if n.Op == "Shape" || n.Op == "Size" {
		return false
	}
	return slices.ContainsFunc(n.Outputs, func(v *Value) bool {
		return v != nil && v.HasShape && !slices.ContainsFunc(v.Shape, func(d Dim) bool {
			return d.isOpen() || slices.Contains(strings.Split(d.Symbol, "×"), symbol)
		})
	})
}

// worksAlong reports whether n keeps the shape of v but computes along its dimension rows.
func worksAlong(n *Node, rows int, v *Value) bool {
	c := &call{Node: n, in: &inference{vectors: map[*Value]*vector{}}}
	rank := len(v.Shape)
	along := func(axis int64) bool { return axis == int64(rows) || axis+int64(rank) == int64(rows) }
	switch n.Op {
	case "Softmax", "LogSoftmax", "Hardmax":
		if n.Opset < 13 {
			axis := c.int("axis", 1)
			return rows >= int(axis) || axis < 0 && rows >= int(axis)+rank
		}
		return along(c.int("axis", -1))
	case "LayerNormalization", "RMSNormalization":
		axis := c.int("axis", -1)
		return rows >= int(axis) && axis >= 0 || axis < 0 && rows >= int(axis)+rank
	case "CumSum":
		axis, known := c.ints(1)
		return known && len(axis) == 1 && along(axis[0])
	case "GatherElements", "ScatterElements":
		return along(c.int("axis", 0))
	case "Slice":
		out := n.Outputs[0]
		return out.HasShape && out.Shape[rows] != v.Shape[rows]
	case "LSTM", "GRU", "RNN":
		return rows != int(1-c.int("layout", 0))
	case "Trilu":
		return rows >= rank-2
	}
	return false
}

func count(dims []Dim, want Dim) int {
	n := 0
	for _, d := range dims {
		if d == want {
			n++
		}
	}
	return n
}
