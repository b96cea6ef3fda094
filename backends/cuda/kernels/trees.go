package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Comparisons are what a node of a tree does with a feature and its limit, numbered as TreeEnsemble
// numbers them.
var Comparisons = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}

// TreeNode is a branch. Yes and No are indices of nodes, or complements of indices of leaves.
type TreeNode struct {
	Feature     int32 // less than 1 << 28
	Mode        uint8 // an index of Comparisons
	MissingTrue bool  // NaN goes to Yes
	Limit       float32
	Yes, No     int32
}

// TreeNodeSize is the bytes of a TreeNode in memory.
const TreeNodeSize = 16

// Append adds what a kernel reads of n.
func (n TreeNode) Append(to []byte) []byte {
	head := uint32(n.Feature) | uint32(n.Mode)<<28
	if n.MissingTrue {
		head |= 1 << 31
	}
	for _, v := range []uint32{head, math.Float32bits(n.Limit), uint32(n.Yes), uint32(n.No)} {
		to = binary.LittleEndian.AppendUint32(to, v)
	}
	return to
}

// Trees sends rows X [Rows, Features] of F32 through a forest. Y is the scores [Rows, Targets] of F32: for
// each target the sum, average, minimum or maximum of the weights for it in the leaves that the row
// comes to, and Absent where there are none.
type Trees struct {
	Aggregate         string // SUM, AVERAGE, MIN or MAX
	Rows, Features    int64
	Count, Targets    int64  // trees; scores of a row
	Nodes             uint64 // as TreeNode.Append writes them
	Roots             uint64 // of Count I32: indices of nodes, or complements of leaves
	Ends              uint64 // by leaf, I32: where its weights end; they begin where those of the one before end
	TargetIDs, Values uint64 // by weight: I32 and F32
	X, Y              uint64
	Absent            float32
}

// MaxTargets is how many scores a forest may give to a row.
const MaxTargets = MostShared / 4 / 32

var aggregates = []string{"SUM", "AVERAGE", "MIN", "MAX"}

// Launch returns how a device computes t.
func (t Trees) Launch() (Launch, error) {
	code := slices.Index(aggregates, t.Aggregate)
	if code < 0 {
		return Launch{}, fmt.Errorf("no kernel aggregates by %q", t.Aggregate)
	}
	if err := positive(t.Rows, t.Features, t.Count, t.Targets); err != nil {
		return Launch{}, err
	}
	if t.Targets > MaxTargets {
		return Launch{}, fmt.Errorf("trees with %d targets: at most %d", t.Targets, MaxTargets)
	}
	threads := int64(256)
	for threads > 32 && threads*t.Targets*4 > PlainShared {
		threads /= 2
	}
	abreast := int64(1) // rows of a block
	for abreast < 32 && ceil(t.Rows, abreast) > 2*full {
		abreast *= 2
	}
	args := cells(nil, t.Nodes, t.Roots, t.Ends, t.TargetIDs, t.Values, t.X, t.Y)
	args = cells(args, int64(code), t.Rows, t.Features, t.Count, t.Targets, abreast)
	args = append(args, number(t.Absent))
	g, err := grid(ceil(t.Rows, abreast), 1, 1)
	return Launch{Name: "trees", Grid: g, Block: [3]uint32{uint32(threads), 1, 1}, Shared: uint32(threads * t.Targets * 4), Args: args}, err
}
