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
	for i, v := range n.Inputs {
		if v == nil || !slices.Contains(v.Shape, batch) || i > 0 && readsOnlyType(n) {
			continue
		}
		if loses(n, symbol) || worksAlong(n, slices.Index(v.Shape, batch), v) {
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
