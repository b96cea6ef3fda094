package ml

import (
	"slices"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// Aggregate is how the weights that the trees give to a target become its score.
type Aggregate uint8

// The aggregates, numbered as TreeEnsemble numbers them.
const (
	Average Aggregate = iota
	Sum
	Min
	Max
)

var aggregates = []string{"AVERAGE", "SUM", "MIN", "MAX"}

// ParseAggregate returns the aggregate of that name.
func ParseAggregate(name string) (Aggregate, error) {
	i := slices.Index(aggregates, name)
	if i < 0 {
		return 0, invalid("aggregate_function %q is none of %v", name, aggregates)
	}
	return Aggregate(i), nil
}

// NumberedAggregate returns the aggregate with that number.
func NumberedAggregate(n int64) (Aggregate, error) {
	if n < 0 || n >= int64(len(aggregates)) {
		return 0, invalid("aggregate_function %d: there are 0 to %d", n, len(aggregates)-1)
	}
	return Aggregate(n), nil
}

// tally is the state of counting: a score for each row and target, and whether any tree has
// given that target a weight.
type tally[T Float] struct {
	aggregate Aggregate
	scores    []T
	seen      []bool
}

// add counts a weight for the score at i.
func (t *tally[T]) add(i int, w T) {
	switch {
	case t.aggregate == Sum || t.aggregate == Average:
		t.scores[i] += w
	case !t.seen[i], t.aggregate == Min && w < t.scores[i], t.aggregate == Max && w > t.scores[i]:
		t.scores[i] = w
	}
	t.seen[i] = true
}

// count sends rows down every tree and counts what they find, for each row in the order of the
// trees. Trees are outside and rows inside, so that a tree's nodes are read from memory once for
// a block of rows; a few rows alone take several trees at a time.
func (f *Forest[T]) count(r *rows[T], t *tally[T]) {
	clear(t.scores)
	clear(t.seen)
	switch {
	case f.abreast != nil && r.len() >= abreastRows:
		f.abreast.count(f, r, t)
		return
	case f.alone != nil && r.columns <= kernels.MaxRowColumns:
		for i := range r.len() {
			f.countAlone(r, i, t)
		}
		return
	}
	var leaves [blockRows]int32
	if r.len() >= 4 {
		for _, root := range f.roots {
			f.descend(root, r, leaves[:r.len()])
			for i, leaf := range leaves[:r.len()] {
				f.add(t, i, leaf)
			}
		}
		return
	}
	for i := range r.len() {
		for roots := range slices.Chunk(f.roots, blockRows) {
			f.visit(roots, r, i, leaves[:len(roots)])
			for _, leaf := range leaves[:len(roots)] {
				f.add(t, i, leaf)
			}
		}
	}
}

// add counts for row i what a leaf holds.
func (f *Forest[T]) add(t *tally[T], i int, leaf int32) {
	if f.single != nil && t.aggregate == Sum {
		t.scores[i] += f.single[leaf]
		return
	}
	for _, w := range f.leafWeights(leaf) {
		t.add(i*f.targets+int(w.target), w.value)
	}
}

// abreastRows is from how many rows on a forest that is laid out for many is worth its while.
const abreastRows = 32

// blockRows returns how many rows f counts at a time.
func (f *Forest[T]) blockRows() int {
	if f.abreast != nil {
		return kernels.BlockRows
	}
	return blockRows
}

// treeGrain is how many steps from node to node are worth handing to another thread.
const treeGrain = 4096

// counting is the counting of the scores of some rows, by blocks. It is used again, so that it
// allocates nothing.
type counting[T Float] struct {
	forest    *Forest[T]
	x         []T
	columns   int
	aggregate Aggregate
	scores    []T
	classes   []int32 // of a classifier
	finish    finisher[T]

	body func(from, to int) // blocks
}

// finisher makes the scores and the classes of rows, from the given one on, of what was counted.
type finisher[T Float] interface {
	finishBlock(classes []int32, from int, t *tally[T])
}

// eachBlock has rows finished in blocks whose scores are counted, split over threads. The scores of
// a block are a part of c's.
func (f *Forest[T]) eachBlock(c counting[T], run For) {
	const depth = 8 // about what a row walks down a tree
	grain, block := 1+treeGrain/(1+depth*len(f.roots)), f.blockRows()
	if f.abreast != nil {
		grain = max(grain, block/4)
	}
	w, _ := f.idle.countings.Get().(*counting[T])
	if w == nil {
		w = new(counting[T])
		w.body = w.blocks
	}
	c.forest, c.body = f, w.body
	*w = c
	run(len(c.x)/c.columns, grain, w.body)
	*w = counting[T]{body: w.body}
	f.idle.countings.Put(w)
}

// blocks counts and finishes some of the rows.
func (w *counting[T]) blocks(from, to int) {
	f := w.forest
	block := f.blockRows()
	t, _ := f.idle.tallies.Get().(*tally[T])
	if t == nil {
		t = new(tally[T])
	}
	if need := min(block, to-from) * f.targets; cap(t.seen) < need {
		t.seen = make([]bool, need)
	}
	for ; from < to; from += block {
		end := min(from+block, to)
		*t = tally[T]{w.aggregate, w.scores[from*f.targets : end*f.targets], t.seen[:(end-from)*f.targets]}
		clear(t.seen)
		f.count(f.block(w.x, w.columns, from, end), t)
		w.finish.finishBlock(w.classes, from, t)
	}
	t.scores = nil
	f.idle.tallies.Put(t)
}
