package kernels_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// forest is random trees.
type forest struct {
	nodes   []kernels.TreeNode
	roots   []int32
	ends    []int32
	ids     []int32
	weights []float64
}

// grow adds a tree and returns where it begins.
func (f *forest) grow(b *bench, depth int, features, targets int64) int32 {
	if depth == 0 || b.rand.IntN(6) == 0 {
		for range b.rand.IntN(3) {
			f.ids, f.weights = append(f.ids, int32(b.rand.Int64N(targets))), append(f.weights, float64(float32(b.rand.NormFloat64())))
		}
		f.ends = append(f.ends, int32(len(f.ids)))
		return ^int32(len(f.ends) - 1)
	}
	at := len(f.nodes)
	f.nodes = append(f.nodes, kernels.TreeNode{})
	yes, no := f.grow(b, depth-1, features, targets), f.grow(b, depth-1, features, targets)
	f.nodes[at] = kernels.TreeNode{Feature: int32(b.rand.Int64N(features)), Mode: uint8(b.rand.IntN(len(kernels.Comparisons))), MissingTrue: b.rand.IntN(2) == 0,
		Limit: float32(b.rand.IntN(9)-4) / 2, Yes: yes, No: no}
	return int32(at)
}

// leaf returns where a row comes to.
func (f *forest) leaf(at int32, row func(int32) float64) int32 {
	for at >= 0 {
		n := f.nodes[at]
		x, limit := row(n.Feature), float64(n.Limit)
		yes := []bool{x <= limit, x < limit, x >= limit, x > limit, x == limit, x != limit}[n.Mode]
		if at = n.No; yes || x != x && n.MissingTrue {
			at = n.Yes
		}
	}
	return ^at
}

func (f *forest) scores(aggregate string, targets int64, absent float64, row func(int32) float64) []float64 {
	held := make([][]float64, targets)
	for _, root := range f.roots {
		leaf, from := f.leaf(root, row), int32(0)
		if leaf > 0 {
			from = f.ends[leaf-1]
		}
		for i := from; i < f.ends[leaf]; i++ {
			held[f.ids[i]] = append(held[f.ids[i]], f.weights[i])
		}
	}
	scores := make([]float64, targets)
	for i, all := range held {
		if len(all) == 0 {
			scores[i] = absent
			continue
		}
		scores[i] = joined(map[string]string{"SUM": "Sum", "AVERAGE": "Sum", "MIN": "Min", "MAX": "Max"}[aggregate], all)
		if aggregate == "AVERAGE" {
			scores[i] /= float64(len(f.roots))
		}
	}
	return scores
}

func (b *bench) integers(v []int32) *array {
	b.Helper()
	return b.empty(kernels.I32, int64(len(v))).fill(func(i int) float64 { return float64(v[i]) })
}

func TestTrees(t *testing.T) {
	for _, aggregate := range []string{"SUM", "AVERAGE", "MIN", "MAX"} {
		for _, s := range [][4]int64{{1, 3, 1, 1}, {7, 5, 40, 1}, {300, 4, 33, 3}, {1, 6, 300, 60}, {9, 2, 11, 384}, {3, 2, 40, kernels.MaxTargets}, {2000, 3, 5, 1}} {
			t.Run(fmt.Sprint(aggregate, s), func(t *testing.T) { newBench(t).trees(aggregate, s) })
		}
	}
}

// trees holds a forest that is drawn, for rows, features, trees and targets, against the exact scores.
func (b *bench) trees(aggregate string, s [4]int64) {
	b.Helper()
	rows, features, count, targets := s[0], s[1], s[2], s[3]
	f := new(forest)
	for range count {
		f.roots = append(f.roots, f.grow(b, 6, features, targets))
	}
	f.ids, f.weights = append(f.ids, 0), append(f.weights, 0) // tables are never empty
	var data []byte
	for _, n := range append(f.nodes, kernels.TreeNode{}) {
		data = n.Append(data)
	}
	nodes := b.straight(kernels.U8, int64(len(data)))
	copy(nodes.data, data)
	nodes.before = bytes.Clone(data)
	x := b.empty(kernels.F32, rows*features).fill(func(int) float64 {
		if b.rand.IntN(8) == 0 {
			return math.NaN()
		}
		return float64(b.rand.IntN(11)-5) / 2
	})
	y := b.empty(kernels.F32, rows*targets)
	weights := b.empty(kernels.F32, int64(len(f.weights))).fill(func(i int) float64 { return f.weights[i] })
	absent := []float64{0, -3.5, math.Inf(-1)}[b.rand.IntN(3)]
	k := kernels.Trees{Aggregate: aggregate, Absent: float32(absent), Rows: rows, Features: features, Count: count, Targets: targets, Nodes: nodes.at(), Roots: b.integers(f.roots).at(),
		Ends: b.integers(f.ends).at(), TargetIDs: b.integers(f.ids).at(), Values: weights.at(), X: x.at(), Y: y.at()}
	b.run(k)
	var scores []float64
	b.check(k, y, precision(kernels.F32), func(i int) float64 {
		if int64(i)%targets == 0 {
			scores = f.scores(aggregate, targets, absent, func(feature int32) float64 { return x.get(i/int(targets)*int(features) + int(feature)) })
		}
		return scores[int64(i)%targets]
	})
}
