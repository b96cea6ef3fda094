package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// fuseFlatTranspose finds matrices that are transposed as one long batch: a Reshape that joins
// the batch dimensions, a Transpose of the last two, and a Reshape that parts them again.
func fuseFlatTranspose(_ *rewrite.Graph, n *onnx.Node) bool {
	if n.Op != "Reshape" || n.Domain != "" {
		return false
	}
	turn := rewrite.Made(n.Inputs[0], "Transpose")
	if turn == nil || !slices.Equal(permOf(turn), []int{0, 2, 1}) {
		return false
	}
	join := rewrite.Made(turn.Inputs[0], "Reshape")
	if join == nil {
		return false
	}
	x, y := join.Inputs[0], n.Outputs[0]
	if !x.HasShape || !y.HasShape || len(x.Shape) < 3 || len(x.Shape) != len(y.Shape) {
		return false
	}
	perm := make([]int, len(x.Shape))
	for i := range perm {
		perm[i] = i
	}
	last := len(perm) - 1
	perm[last], perm[last-1] = last-1, last
	for i, p := range perm {
		if !sameDim(y.Shape[i], x.Shape[p]) {
			return false
		}
	}
	joined := join.Outputs[0]
	if !sameDim(joined.Shape[1], x.Shape[last-1]) || !sameDim(joined.Shape[2], x.Shape[last]) {
		return false
	}
	return rewrite.Become(n, "Transpose", onnx.Attrs{"perm": int64s(perm)}, x)
}

// sameDim says that a and b are equal in every run.
func sameDim(a, b onnx.Dim) bool { return a == b && (a.Size >= 0 || a.Symbol != "") }

// fuseTransposes makes one of a transposition of a transposition.
func fuseTransposes(_ *rewrite.Graph, n *onnx.Node) bool {
	if n.Op != "Transpose" || n.Domain != "" {
		return false
	}
	first := rewrite.Made(n.Inputs[0], "Transpose")
	if first == nil {
		return false
	}
	a, b := permOf(first), permOf(n)
	if a == nil || len(a) != len(b) {
		return false
	}
	perm := make([]int, len(a))
	for i, p := range b {
		perm[i] = a[p]
	}
	return rewrite.Become(n, "Transpose", onnx.Attrs{"perm": int64s(perm)}, first.Inputs[0])
}

// permOf returns the order of a Transpose, nil if it is the reverse of an unknown rank.
func permOf(n *onnx.Node) []int {
	perm := (&node{Node: n}).ints("perm")
	if perm == nil && n.Inputs[0].HasShape {
		perm = reversed(len(n.Inputs[0].Shape))
	}
	return perm
}

func int64s(from []int) []int64 {
	all := make([]int64, len(from))
	for i, v := range from {
		all[i] = int64(v)
	}
	return all
}
