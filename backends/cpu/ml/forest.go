package ml

import (
	"math"
	"slices"
	"sync"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// Forest is a set of trees, each of which leads a row to a leaf that holds weights for targets.
type Forest[T Float] struct {
	nodes    []node[T]
	nanToYes []bool // by node; read only where a feature is NaN
	roots    []int32
	ends     []int32 // by leaf: where its weights end; they begin where those of the leaf before end
	weights  []weight[T]
	single   []T // by leaf: its only weight, if every leaf has exactly one and there is one target
	features int // columns that a row needs
	targets  int
	nan      bool // some node sends NaN to yes

	abreast *abreast[T] // nil where rows go one by one
	alone   *alone[T]   // nil where a row alone goes as in a block

	idle *idle
}

// idle is what counting uses again.
type idle struct {
	countings, tallies sync.Pool // of *counting[T] and *tally[T]
}

// node sends x to next[1] if x <= limit, else to next[0]: a node, or the complement of a leaf.
// 16 bytes with float32 limits, four to a cache line.
type node[T Float] struct {
	limit   T
	feature int32
	next    [2]int32
}

type weight[T Float] struct {
	target int32
	value  T
}

// trees is what a file says about a forest, once its tables are read.
type trees[T Float] struct {
	splits  []split[T]
	roots   []int32 // indices of splits, or complements of leaves
	leaves  [][]weight[T]
	targets int64
}

// maxNodes bounds a forest so that indices fit their 32 bits.
const maxNodes = 1 << 30

// Features returns how many columns a row must have at least.
func (f *Forest[T]) Features() int { return f.features }

// Targets returns how many scores a row gets.
func (f *Forest[T]) Targets() int { return f.targets }

// plant checks t and makes a forest of it.
func plant[T Float](t trees[T]) (*Forest[T], error) {
	if t.targets < 1 || t.targets > maxNodes {
		return nil, invalid("%d targets or classes: 1 to %d can be", t.targets, maxNodes)
	}
	f := &Forest[T]{targets: int(t.targets), idle: new(idle)}
	if err := f.keepLeaves(t); err != nil {
		return nil, err
	}
	if err := checkShape(t); err != nil {
		return nil, err
	}
	order := depthFirst(t)
	if len(order) < len(t.splits) {
		return nil, invalid("no root leads to %d of the %d branches: they belong to no tree", len(t.splits)-len(order), len(t.splits))
	}
	if err := f.layOut(t, order); err != nil {
		return nil, err
	}
	if kernels.CurrentLevel() > kernels.Portable {
		f.abreast = newAbreast(f)
	}
	if kernels.CurrentLevel() >= kernels.AVX512 {
		f.alone = newAlone(f)
	}
	return f, nil
}

// layOut makes the nodes of f from the splits of t, in the given order.
func (f *Forest[T]) layOut(t trees[T], order []int32) error {
	at, size := make([]int32, len(t.splits)), 0
	for _, i := range order {
		s := &t.splits[i]
		if s.feature < 0 || s.feature >= math.MaxInt32 {
			return invalid("a node reads feature %d", s.feature)
		}
		f.features = max(f.features, int(s.feature)+1)
		at[i] = int32(size)
		if size += s.size(); size > maxNodes {
			return invalid("more than %d nodes", maxNodes)
		}
	}
	entry := func(i int32) int32 {
		if i < 0 {
			return i
		}
		return at[i]
	}
	w := &nodes[T]{all: make([]node[T], size), nanToYes: make([]bool, size)}
	for _, i := range order {
		s := &t.splits[i]
		s.write(w, entry(s.yes), entry(s.no))
	}
	for _, root := range t.roots {
		f.roots = append(f.roots, entry(root))
	}
	f.nodes, f.nanToYes, f.nan = w.all, w.nanToYes, slices.Contains(w.nanToYes, true)
	return nil
}

// checkShape refuses what is not a tree: a branch with two parents, or a root with one. In what
// passes no root leads to a cycle.
func checkShape[T Float](t trees[T]) error {
	child := make([]bool, len(t.splits))
	for i := range t.splits {
		s := &t.splits[i]
		for k, c := range []int32{s.yes, s.no} {
			if c < 0 || k == 1 && c == s.yes {
				continue
			}
			if child[c] {
				return invalid("node %d of the trees is the child of two nodes", c)
			}
			child[c] = true
		}
	}
	root := make([]bool, len(t.splits))
	for _, r := range t.roots {
		if r < 0 {
			continue
		}
		if child[r] || root[r] {
			return invalid("node %d of the trees is a root and also part of another tree", r)
		}
		root[r] = true
	}
	return nil
}

// depthFirst returns the splits that roots lead to, so that a tree lies together and a branch
// before what it leads to.
func depthFirst[T Float](t trees[T]) (order []int32) {
	var stack []int32
	for _, root := range t.roots {
		stack = append(stack, root)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if i < 0 {
				continue
			}
			order = append(order, i)
			s := &t.splits[i]
			if s.no != s.yes {
				stack = append(stack, s.no)
			}
			stack = append(stack, s.yes)
		}
	}
	return order
}

// keepLeaves takes over the weights of t.
func (f *Forest[T]) keepLeaves(t trees[T]) error {
	single := t.targets == 1
	for _, leaf := range t.leaves {
		single = single && len(leaf) == 1
		f.weights = append(f.weights, leaf...)
		if len(f.weights) > maxNodes {
			return invalid("more than %d weights", maxNodes)
		}
		f.ends = append(f.ends, int32(len(f.weights)))
	}
	if single {
		for _, w := range f.weights {
			f.single = append(f.single, w.value)
		}
	}
	return nil
}

// leafWeights returns what a leaf adds to the scores.
func (f *Forest[T]) leafWeights(leaf int32) []weight[T] {
	from := int32(0)
	if leaf > 0 {
		from = f.ends[leaf-1]
	}
	return f.weights[from:f.ends[leaf]]
}

// blockRows is how many rows go down a tree while its nodes are in the cache.
const blockRows = 64

// rows are some rows of a matrix, at most blockRows.
type rows[T Float] struct {
	x       []T
	columns int
	nan     bool // one of them has a NaN that a node may send to yes
}

func (r *rows[T]) len() int { return len(r.x) / r.columns }

// block returns rows from to to of x.
func (f *Forest[T]) block(x []T, columns, from, to int) *rows[T] {
	r := &rows[T]{x: x[from*columns : to*columns], columns: columns}
	if f.nan {
		for _, v := range r.x {
			if v != v {
				r.nan = true
				break
			}
		}
	}
	return r
}

// descend writes to leaves the leaf of the tree at root that each row ends in.
func (f *Forest[T]) descend(root int32, r *rows[T], leaves []int32) {
	if r.nan {
		for i := range leaves {
			leaves[i] = f.leafOfMissing(root, r.x[i*r.columns:])
		}
		return
	}
	i, columns := 0, r.columns
	for ; i+4 <= len(leaves); i += 4 {
		from := i * columns
		at := f.walk(r.x, [4]int32{root, root, root, root}, [4]int{from, from + columns, from + 2*columns, from + 3*columns})
		copy(leaves[i:], at[:])
	}
	for ; i < len(leaves); i++ {
		leaves[i] = f.leafOf(root, r.x[i*columns:])
	}
}

// visit writes to leaves the leaf that row i of r ends in of each of the trees at roots.
func (f *Forest[T]) visit(roots []int32, r *rows[T], i int, leaves []int32) {
	from, k := i*r.columns, 0
	for ; k+4 <= len(roots) && !r.nan; k += 4 {
		at := f.walk(r.x, [4]int32(roots[k:]), [4]int{from, from, from, from})
		copy(leaves[k:], at[:])
	}
	for ; k < len(roots); k++ {
		leaves[k] = f.leafOfMissing(roots[k], r.x[from:])
	}
}

// walk returns the leaves that four rows end in: row k begins at from[k] of x and at node at[k].
// Each step waits for memory, and four can wait at once.
func (f *Forest[T]) walk(x []T, at [4]int32, from [4]int) [4]int32 {
	nodes := f.nodes
	if len(nodes) == 0 {
		return [4]int32{^at[0], ^at[1], ^at[2], ^at[3]}
	}
	a, b, c, d := at[0], at[1], at[2], at[3]
	for a&b&c&d >= 0 {
		a = step(nodes, a, x, from[0])
		b = step(nodes, b, x, from[1])
		c = step(nodes, c, x, from[2])
		d = step(nodes, d, x, from[3])
	}
	return [4]int32{^a, ^b, ^c, ^d}
}

func (f *Forest[T]) leafOf(at int32, row []T) int32 {
	for at >= 0 {
		at = step(f.nodes, at, row, 0)
	}
	return ^at
}

// step returns where the row that begins at from goes from at, which is at itself where that is a
// leaf. It has no branches, which no processor could foresee.
func step[T Float](nodes []node[T], at int32, x []T, from int) int32 {
	ended := at >> 31 // all ones where at is a leaf
	n := &nodes[at&^ended]
	side := 0
	if x[from+int(n.feature)] <= n.limit {
		side = 1
	}
	return n.next[side]&^ended | at&ended
}

func (f *Forest[T]) leafOfMissing(at int32, row []T) int32 {
	for at >= 0 {
		n := &f.nodes[at]
		x := row[n.feature]
		side := 0
		if x <= n.limit || x != x && f.nanToYes[at] {
			side = 1
		}
		at = n.next[side]
	}
	return ^at
}

// check refuses rows that are too narrow for f, and an x that is not whole rows.
func (f *Forest[T]) check(x []T, columns int) error {
	if columns < f.features {
		return invalid("rows of %d features: the trees read %d", columns, f.features)
	}
	if columns < 1 || len(x)%columns != 0 {
		return invalid("%d numbers are not rows of %d features", len(x), columns)
	}
	return nil
}
