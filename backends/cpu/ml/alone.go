package ml

import "github.com/thrumserve/thrum/backends/cpu/kernels"

// alone is a forest laid out for a row that comes alone: of each tree the upper levels, of which a
// row is compared with all branches, many trees at a time.
type alone[T Float] struct {
	trees   *kernels.RowTrees
	depth   int
	next    []int32   // by tree and exit: a node, or the complement of a leaf
	targets []int32   // by tree: what its values are for
	values  []float32 // by tree and exit: what it adds; nil where that is not all there is to an exit
	twigs   []twig    // by tree and exit: the rest of the tree; nil where there are values, or more than twigs
}

// twig is the rest of a tree below an exit: a full tree of twigDepth levels in half a cache line. What
// a row alone takes in a large forest is the time to read it.
type twig struct {
	limits  [3]float32
	columns [3]uint8
	toYes   uint8 // by branch: NaN goes to yes
	values  [4]float32
}

const twigDepth = 2

// aloneDepth is how many levels a word has bits for.
const aloneDepth = 6

// newAlone lays f out, or returns nil where it cannot be.
func newAlone[T Float](f *Forest[T]) *alone[T] {
	if _, ok := any(f.single).([]float32); !ok || f.features > kernels.MaxRowColumns {
		return nil
	}
	a := &alone[T]{depth: f.aloneDepth(), targets: make([]int32, len(f.roots))}
	a.trees = kernels.NewRowTrees(len(f.roots), a.depth)
	a.next = make([]int32, a.trees.Trees()<<a.depth)
	for tree, root := range f.roots {
		f.cut(root, a.depth, func(slot int, at int32) {
			n := &f.nodes[at]
			a.trees.Set(tree, slot, int(n.feature), float32(n.limit), f.nanToYes[at])
		}, func(exit int, at int32) { a.next[tree<<a.depth+exit] = at })
	}
	if a.values = a.tabulate(f, a.depth); a.values == nil && len(f.roots)<<a.depth <= len(f.nodes) {
		a.twigs = a.growTwigs(f)
	}
	return a
}

// aloneDepth returns how many levels are worth filling up.
func (f *Forest[T]) aloneDepth() int {
	depth := 1
	for _, root := range f.roots {
		depth = max(depth, min(aloneDepth, f.topDepth(root)))
	}
	for depth > 4 && len(f.roots)<<depth > 4*len(f.nodes) {
		depth--
	}
	return depth
}

// tabulate sets the targets and returns by tree what its exits at a depth add to them, or nil.
func (a *alone[T]) tabulate(f *Forest[T], depth int) []float32 {
	values, next := make([]float32, len(f.roots)<<depth), make([]int32, 1<<depth)
	for tree, root := range f.roots {
		f.cut(root, depth, func(int, int32) {}, func(exit int, at int32) { next[exit] = at })
		target, table := f.tabulate(next, values[tree<<depth:])
		if table == nil {
			return nil
		}
		a.targets[tree] = target
	}
	return values
}

// growTwigs returns what lies below the exits, or nil if that is more than twigs.
func (a *alone[T]) growTwigs(f *Forest[T]) []twig {
	values := a.tabulate(f, a.depth+twigDepth)
	if values == nil {
		return nil
	}
	twigs := make([]twig, len(f.roots)<<a.depth)
	for i := range twigs {
		w := &twigs[i]
		copy(w.values[:], values[i<<twigDepth:])
		f.cut(a.next[i], twigDepth, func(slot int, at int32) {
			n := &f.nodes[at]
			w.limits[slot-1], w.columns[slot-1] = float32(n.limit), uint8(n.feature)
			if f.nanToYes[at] {
				w.toYes |= 1 << (slot - 1)
			}
		}, func(int, int32) {})
	}
	return twigs
}

// aloneTrees is how many trees a row goes down at a time, whole groups of them.
const aloneTrees = 512

// countAlone counts what row i of r finds in the trees.
func (f *Forest[T]) countAlone(r *rows[T], i int, t *tally[T]) {
	a := f.alone
	x := r.x[i*r.columns:][:r.columns]
	var row kernels.Row
	for k, v := range x {
		row[k] = float32(v)
	}
	adds := t.aggregate == Sum || t.aggregate == Average
	var exits [aloneTrees]uint8
	var values [aloneTrees]float32
	for from := 0; from < len(f.roots); from += aloneTrees {
		a.trees.Exits(exits[:min(aloneTrees, a.trees.Trees()-from)], &row, from, r.nan)
		found := exits[:min(aloneTrees, len(f.roots)-from)]
		switch {
		case adds && a.values != nil:
			for tree, exit := range found {
				values[tree] = a.values[a.at(from+tree, exit)]
			}
		case adds && a.twigs != nil:
			a.followTwigs(values[:len(found)], found, from, &row, r.nan)
		default:
			f.leaveAlone(found, from, r, i, t)
			continue
		}
		a.add(t, i*f.targets, from, values[:len(found)])
	}
}

// at returns where the exit of a tree is in next, values and twigs.
func (a *alone[T]) at(tree int, exit uint8) int { return (tree-1)<<a.depth + int(exit) }

// followTwigs sets values to what the twigs at the exits hold for a row.
func (a *alone[T]) followTwigs(values []float32, exits []uint8, from int, row *kernels.Row, nan bool) {
	for tree, exit := range exits {
		w := &a.twigs[a.at(from+tree, exit)]
		k := 1 + w.no(0, row, nan)
		values[tree] = w.values[(2*(k-1)+w.no(k, row, nan))&3]
	}
}

// no returns 1 if the row goes to no at a branch, else 0.
func (w *twig) no(branch int, row *kernels.Row, nan bool) int {
	x := row[w.columns[branch]&(kernels.MaxRowColumns-1)]
	if x <= w.limits[branch] || nan && x != x && w.toYes>>branch&1 != 0 {
		return 0
	}
	return 1
}

// add adds to the scores of a row, which begin at base, the values of the trees from from on.
func (a *alone[T]) add(t *tally[T], base, from int, values []float32) {
	k := base + int(a.targets[from])
	score := t.scores[k]
	for tree, v := range values {
		if next := base + int(a.targets[from+tree]); next != k {
			t.scores[k], t.seen[k] = score, true
			k, score = next, t.scores[next]
		}
		score += T(v)
	}
	t.scores[k], t.seen[k] = score, true
}

// leaveAlone counts for row i the leaves that it finds from the exits of the trees on.
func (f *Forest[T]) leaveAlone(exits []uint8, from int, r *rows[T], i int, t *tally[T]) {
	a := f.alone
	var leaves [aloneTrees]int32
	found := leaves[:len(exits)]
	for tree, exit := range exits {
		found[tree] = a.next[a.at(from+tree, exit)]
	}
	first, k := i*r.columns, 0
	for ; !r.nan && k+4 <= len(found); k += 4 {
		end := f.walk(r.x, [4]int32(found[k:]), [4]int{first, first, first, first})
		copy(found[k:], end[:])
	}
	for ; k < len(found); k++ {
		found[k] = f.leafOfMissing(found[k], r.x[first:])
	}
	for _, leaf := range found {
		f.add(t, i, leaf)
	}
}
