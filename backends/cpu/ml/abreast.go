package ml

import (
	"math"
	"slices"
	"sync"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// abreast is a forest laid out for many rows at a time. The upper levels of each tree are a full
// tree that compares codes of one byte, which stand for values as far as the limits of those levels
// tell them apart; where they do not end in leaves, rows walk on from there one by one.
type abreast[T Float] struct {
	features   []coded[T]
	columns    int
	tops       []top
	targets    int
	everywhere []int32   // the targets of tables: every row has a weight for them
	scratch    sync.Pool // of *scratch
}

// coded is a feature that branches compare with limits. Its codes fill a column for every
// codeLimits limits: a value has the highest code in the columns of lower limits, the lowest in
// those of higher ones.
type coded[T Float] struct {
	feature  int32
	nanToYes bool
	limits   []T // in order, without NaN
	column   int // the first
	ranking  *kernels.Ranking
}

// codeLimits is how many limits a code of one byte stands between, with a code below all values
// for NaN that goes to yes, and for limits that no value is at most.
const codeLimits = 254

// columns returns how many columns the codes of c fill.
func (c *coded[T]) columns() int { return max(1, (len(c.limits)+codeLimits-1)/codeLimits) }

// codeBase returns what the codes of a feature's i-th column are below the ranks of its values.
func codeBase(i int) int32 { return int32(i*codeLimits + 127) }

// Ranks of NaN: below those of all values, or above.
const (
	rankBelow = -1
	rankAbove = math.MaxInt32 / 2
)

// top is the upper part of a tree. Its exits are counted from the left, yes.
type top struct {
	tree   *kernels.Tree
	next   []int32 // by exit: a node, or the complement of a leaf
	ended  bool    // every exit is a leaf
	target int32
	values []float32 // by exit: what it adds to target; nil if the leaves hold something else
}

// maxColumns bounds the memory that the codes of a block take.
const maxColumns = 2048

// newAbreast lays f out, or returns nil where it has too many limits.
func newAbreast[T Float](f *Forest[T]) *abreast[T] {
	a := &abreast[T]{targets: f.targets}
	depths := make([]int, len(f.roots))
	limits := map[columnKey][]T{}
	for i, root := range f.roots {
		depths[i] = f.topDepth(root)
		f.cut(root, depths[i], func(_ int, at int32) {
			n := &f.nodes[at]
			key := columnKey{n.feature, f.nanToYes[at]}
			limits[key] = append(limits[key], n.limit)
		}, func(int, int32) {})
	}
	index := a.encode(limits)
	if a.columns > maxColumns {
		return nil
	}
	for i, root := range f.roots {
		t := f.top(root, depths[i], func(at int32, slot int) kernels.Branch {
			n := &f.nodes[at]
			return a.features[index[columnKey{n.feature, f.nanToYes[at]}]].branch(n.limit, slot)
		})
		if a.tops = append(a.tops, t); t.values != nil && !slices.Contains(a.everywhere, t.target) {
			a.everywhere = append(a.everywhere, t.target)
		}
	}
	a.scratch.New = func() any { return a.newScratch() }
	return a
}

// columnKey names a coded feature.
type columnKey struct {
	feature  int32
	nanToYes bool
}

// encode sets the features of a, which compare with the limits, and returns where each is.
func (a *abreast[T]) encode(limits map[columnKey][]T) map[columnKey]int {
	index := map[columnKey]int{}
	for key, list := range limits {
		c := coded[T]{feature: key.feature, nanToYes: key.nanToYes, limits: members(list), column: a.columns}
		if l, ok := any(c.limits).([]float32); ok {
			c.ranking = kernels.NewRanking(l)
		}
		index[key] = len(a.features)
		a.features = append(a.features, c)
		a.columns += c.columns()
	}
	return index
}

// branch returns the branch that sends a value right if it is above limit.
func (c *coded[T]) branch(limit T, slot int) kernels.Branch {
	if limit != limit {
		return kernels.Branch{Column: uint16(c.column), Slot: uint8(slot), Limit: math.MinInt8}
	}
	at, _ := slices.BinarySearch(c.limits, limit)
	i := at / codeLimits
	return kernels.Branch{Column: uint16(c.column + i), Slot: uint8(slot), Limit: int8(int32(at) - codeBase(i))}
}

// topDepth returns how many levels of the tree at root are worth filling up: as many as it has, but
// so that most of the slots hold branches.
func (f *Forest[T]) topDepth(root int32) int {
	var branches [kernels.MaxDepth + 1]int // by level from 1 on
	var count func(at int32, level int)
	count = func(at int32, level int) {
		if at < 0 || level > kernels.MaxDepth {
			return
		}
		branches[level]++
		count(f.nodes[at].next[0], level+1)
		count(f.nodes[at].next[1], level+1)
	}
	count(root, 1)
	depth, sum := 1, branches[1]
	for level := 2; level <= kernels.MaxDepth && branches[level] > 0; level++ {
		if sum += branches[level]; 1<<level <= max(64, 4*sum) {
			depth = level
		}
	}
	return depth
}

// cut calls branch for the nodes in the upper levels of the tree at root, with their slots, and
// exit for each exit from those levels.
func (f *Forest[T]) cut(root int32, depth int, branch, exit func(slot int, at int32)) {
	var down func(at int32, slot int)
	down = func(at int32, slot int) {
		if slot >= 1<<depth {
			exit(slot-1<<depth, at)
			return
		}
		yes, no := at, at
		if at >= 0 {
			branch(slot, at)
			yes, no = f.nodes[at].next[1], f.nodes[at].next[0]
		}
		down(yes, 2*slot)
		down(no, 2*slot+1)
	}
	down(root, 1)
}

// top lays out the upper levels of the tree at root.
func (f *Forest[T]) top(root int32, depth int, encode func(at int32, slot int) kernels.Branch) top {
	t := top{next: make([]int32, 1<<depth), ended: true}
	var branches []kernels.Branch
	f.cut(root, depth, func(slot int, at int32) {
		branches = append(branches, encode(at, slot))
	}, func(exit int, at int32) {
		t.next[exit] = at
		t.ended = t.ended && at < 0
	})
	t.tree = kernels.NewTree(depth, branches)
	if _, ok := any(f.single).([]float32); ok && t.ended {
		t.target, t.values = f.tabulate(t.next, make([]float32, tableSize(len(t.next))))
	}
	return t
}

// tabulate sets values to what the exits that lead to next add to the target that it returns. It
// returns no values where an exit is no leaf, or a leaf with other than one weight for that target.
func (f *Forest[T]) tabulate(next []int32, values []float32) (target int32, table []float32) {
	for exit, at := range next {
		if at >= 0 {
			return 0, nil
		}
		w := f.leafWeights(^at)
		if len(w) != 1 || exit > 0 && w[0].target != target {
			return 0, nil
		}
		target, values[exit] = w[0].target, float32(w[0].value)
	}
	return target, values
}

// tableSize returns how long the table of so many exits is.
func tableSize(exits int) int {
	if exits <= 64 {
		return 64
	}
	return 256
}

// scratch is the memory that a block of rows takes.
type scratch struct {
	codes  []int8
	ranks  [kernels.BlockRows]int32
	masks  kernels.Masks
	exits  kernels.Exits
	leaves [kernels.BlockRows]int32
	sums   [][kernels.BlockRows]float32 // by target; none if there are more than maxSums
}

// maxSums bounds the memory of sums.
const maxSums = 64

func (a *abreast[T]) newScratch() *scratch {
	s := &scratch{codes: make([]int8, a.columns*kernels.BlockRows)}
	if a.targets <= maxSums {
		s.sums = make([][kernels.BlockRows]float32, a.targets)
	}
	return s
}

// count counts what rows find in the trees, for each row in the order of the trees.
func (a *abreast[T]) count(f *Forest[T], r *rows[T], t *tally[T]) {
	s := a.scratch.Get().(*scratch)
	defer a.scratch.Put(s)
	for i := range a.features {
		a.features[i].code(s, r)
	}
	if _, ok := any(t.scores).([]float32); ok && s.sums != nil && (t.aggregate == Sum || t.aggregate == Average) {
		a.sum(f, s, r, t)
		return
	}
	for i := range a.tops {
		for row, leaf := range f.leaves(&a.tops[i], s, r) {
			f.add(t, row, leaf)
		}
	}
}

// sum is count where weights of float32 are added, by tables as far as there are any.
func (a *abreast[T]) sum(f *Forest[T], s *scratch, r *rows[T], t *tally[T]) {
	clear(s.sums)
	n := r.len()
	for i := range a.tops {
		p := &a.tops[i]
		if p.values != nil {
			p.tree.Exits(&s.exits, s.codes, n, &s.masks)
			kernels.AddAt(&s.sums[p.target], p.values, &s.exits, n)
			continue
		}
		for row, leaf := range f.leaves(p, s, r) {
			for _, w := range f.leafWeights(leaf) {
				s.sums[w.target][row] += float32(w.value)
				t.seen[row*a.targets+int(w.target)] = true
			}
		}
	}
	for k := range a.targets {
		for row, v := range s.sums[k][:n] {
			t.scores[row*a.targets+k] = T(v)
		}
	}
	for _, k := range a.everywhere {
		for row := range n {
			t.seen[row*a.targets+int(k)] = true
		}
	}
}

// leaves returns the leaf of a tree, cut into p, that each row ends in.
func (f *Forest[T]) leaves(p *top, s *scratch, r *rows[T]) []int32 {
	n := r.len()
	p.tree.Exits(&s.exits, s.codes, n, &s.masks)
	leaves := s.leaves[:n]
	for row, exit := range s.exits[:n] {
		leaves[row] = p.next[exit]
	}
	f.finish(p.ended, leaves, r)
	return leaves
}

// finish takes rows from the nodes or complements of leaves that they are at to leaves.
func (f *Forest[T]) finish(ended bool, at []int32, r *rows[T]) {
	i, columns := 0, r.columns
	for ; !ended && !r.nan && i+4 <= len(at); i += 4 {
		from := i * columns
		found := f.walk(r.x, [4]int32(at[i:]), [4]int{from, from + columns, from + 2*columns, from + 3*columns})
		copy(at[i:], found[:])
	}
	for ; i < len(at); i++ {
		at[i] = f.leafOfMissing(at[i], r.x[i*columns:])
	}
}

// code sets the codes of c for a block of rows.
func (c *coded[T]) code(s *scratch, r *rows[T]) {
	missing := int32(rankAbove)
	if c.nanToYes {
		missing = rankBelow
	}
	x := r.x[c.feature:]
	if x32, ok := any(x).([]float32); ok {
		c.ranking.Ranks(&s.ranks, r.len(), x32, r.columns, missing)
	} else {
		c.rank(&s.ranks, r.len(), x, r.columns, missing)
	}
	for i := range c.columns() {
		kernels.Codes(s.codes[(c.column+i)*kernels.BlockRows:], &s.ranks, codeBase(i))
	}
}

// rank sets ranks[i] to how many limits are below x[i*stride], or to missing for NaN.
func (c *coded[T]) rank(ranks *[kernels.BlockRows]int32, n int, x []T, stride int, missing int32) {
	for i := range n {
		v := x[i*stride]
		if v != v {
			ranks[i] = missing
			continue
		}
		at, _ := slices.BinarySearch(c.limits, v)
		ranks[i] = int32(at)
	}
}
