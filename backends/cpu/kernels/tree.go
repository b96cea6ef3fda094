package kernels

import "fmt"

// BlockRows is how many rows go down a tree together.
const BlockRows = 512

// MaxDepth is how many levels of branches a Tree may have.
const MaxDepth = 8

// Masks is the memory that Tree.Exits works in: a bit for each row, for each slot.
type Masks [1 << MaxDepth][BlockRows / 64]uint64

// Exits says for each row of a block where it leaves a tree.
type Exits [BlockRows]uint8

// Branch sends a row right if its code in a column is above a limit, left otherwise. The root of
// a tree is in slot 1; left and right of slot s are 2s and 2s+1.
type Branch struct {
	Column uint16
	Slot   uint8
	Limit  int8
}

// Tree is a decision tree over codes. It is a full tree of its depth: where a slot has no branch,
// all that lies under it must mean the same.
type Tree struct {
	depth    int
	columns  int
	branches []Branch
}

// NewTree returns the tree of these branches, which has 1 to MaxDepth levels.
func NewTree(depth int, branches []Branch) *Tree {
	if depth < 1 || depth > MaxDepth {
		panic(fmt.Sprintf("kernels: a tree of %d levels: 1 to %d can be", depth, MaxDepth))
	}
	t := &Tree{depth: depth, branches: branches}
	for _, b := range branches {
		if b.Slot < 1 || int(b.Slot) >= 1<<depth {
			panic(fmt.Sprintf("kernels: slot %d in a tree of %d levels", b.Slot, depth))
		}
		t.columns = max(t.columns, int(b.Column)+1)
	}
	return t
}

// Depth returns how many levels t has; a row has one of 1<<Depth exits.
func (t *Tree) Depth() int { return t.depth }

// Exits sets exits to where the first rows of a block leave t, counted from the left, and what lies
// behind them to something. codes holds the columns, BlockRows codes of each.
func (t *Tree) Exits(exits *Exits, codes []int8, rows int, masks *Masks) {
	if rows < 1 || rows > BlockRows || len(codes) < t.columns*BlockRows {
		panic(fmt.Sprintf("kernels: %d rows of %d codes for %d columns", rows, len(codes), t.columns))
	}
	t.exits(exits, codes, rows, masks)
}

func (t *Tree) exitsPortable(exits *Exits, codes []int8, rows int) {
	var branches [1 << MaxDepth]Branch
	for _, b := range t.branches {
		branches[b.Slot] = b
	}
	for i := range rows {
		slot := 1
		for range t.depth {
			b := branches[slot]
			slot *= 2
			if b.Slot != 0 && codes[int(b.Column)*BlockRows+i] > b.Limit {
				slot++
			}
		}
		exits[i] = uint8(slot - 1<<t.depth)
	}
}

// AddAt adds table[exits[i]] to sums[i] for every row of a block. The table has 64 or 256 values,
// and every exit is one of its indices.
func AddAt(sums *[BlockRows]float32, table []float32, exits *Exits, rows int) {
	if len(table) != 64 && len(table) != 256 || rows < 0 || rows > BlockRows {
		panic(fmt.Sprintf("kernels: %d rows from a table of %d values", rows, len(table)))
	}
	addAt(sums, table, exits, rows)
}

func addAtPortable(sums *[BlockRows]float32, table []float32, exits *Exits, rows int) {
	for i, at := range exits[:rows] {
		sums[i] += table[at]
	}
}

// Codes sets the codes of a column: ranks minus base, or what of an int8 is nearest.
func Codes(codes []int8, ranks *[BlockRows]int32, base int32) {
	narrow((*[BlockRows]int8)(codes), ranks, base)
}

func narrowPortable(codes *[BlockRows]int8, ranks *[BlockRows]int32, base int32) {
	for i, r := range ranks {
		codes[i] = int8(min(max(r-base, -128), 127))
	}
}

// Ranking looks up values among limits.
type Ranking struct {
	limits []float32 // in order, then infinities, so that there are 2^steps-1
	steps  int
}

// NewRanking returns a ranking among limits, which are in order and without NaN.
func NewRanking(limits []float32) *Ranking {
	r := &Ranking{steps: 4}
	for 1<<r.steps <= len(limits) {
		r.steps++
	}
	r.limits = make([]float32, 1<<r.steps-1)
	fill(r.limits[copy(r.limits, limits):], inf)
	return r
}

// Ranks sets ranks[i] for n rows to how many limits are below x[i*stride], or to missing for NaN.
func (r *Ranking) Ranks(ranks *[BlockRows]int32, n int, x []float32, stride int, missing int32) {
	if n < 1 || n > BlockRows || stride < 1 || len(x) <= (n-1)*stride {
		panic(fmt.Sprintf("kernels: %d values of %d, %d apart", n, len(x), stride))
	}
	r.ranks(ranks, n, x, stride, missing)
}

func (r *Ranking) ranksPortable(ranks *[BlockRows]int32, n int, x []float32, stride int, missing int32) {
	for i := range n {
		v := x[i*stride]
		if v != v {
			ranks[i] = missing
			continue
		}
		rank := 0
		for step := 1 << (r.steps - 1); step > 0; step >>= 1 {
			if r.limits[rank+step-1] < v {
				rank += step
			}
		}
		ranks[i] = int32(rank)
	}
}
