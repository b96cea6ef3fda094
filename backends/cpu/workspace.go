package cpu

import (
	"slices"
	"sync"
)

// workspace is what kernels use again from one execution to the next, so that they allocate
// nothing: lists of numbers that live until the end of the step, and whatever a step remembers.
type workspace struct {
	numbers []int
	rows    [][]int
	states  [][]any // by step
}

// mark returns the state of the lists, for reset.
func (w *workspace) mark() marked { return marked{w.numbers, w.rows} }

type marked struct {
	numbers []int
	rows    [][]int
}

// reset ends the life of the lists that have been made since mark.
func (w *workspace) reset(m marked) {
	w.numbers, w.rows = cutTo(w.numbers, m.numbers), cutTo(w.rows, m.rows)
}

// cutTo returns list as it was, or from its beginning if it has moved since.
func cutTo[T any](list, before []T) []T {
	if cap(list) == cap(before) {
		return before
	}
	return list[:0]
}

// ints returns n zeros that live until the step under way ends.
func (w *workspace) ints(n int) (all []int) {
	w.numbers, all = bump(w.numbers, n)
	return all
}

// bump returns n zeros behind list, which moves where it has no room for them.
func bump[T any](list []T, n int) (longer, all []T) {
	first := len(list)
	if first+n > cap(list) {
		list, first = make([]T, 0, max(2*cap(list), n, 256)), 0
	}
	longer = list[:first+n]
	all = longer[first : first+n : first+n]
	clear(all)
	return longer, all
}

// list returns the numbers given, in a list that lives until the step under way ends.
func (w *workspace) list(from ...int) []int {
	all := w.ints(len(from))
	copy(all, from)
	return all
}

// joined returns the numbers of both lists.
func (w *workspace) joined(a, b []int) []int {
	all := w.ints(len(a) + len(b))
	copy(all[copy(all, a):], b)
	return all
}

// strides is the function strides with a list of the workspace.
func (w *workspace) strides(shape []int) []int { return stridesIn(w.ints(len(shape)), shape) }

// stretched is the function stretched with a list of the workspace.
func (w *workspace) stretched(from, to []int) []int {
	steps := w.ints(len(to))
	skip, n := len(to)-len(from), 1
	for i := len(from) - 1; i >= 0; i-- {
		if from[i] != 1 {
			steps[skip+i] = n
		}
		n *= from[i]
	}
	return steps
}

// odometer is newOdometer with lists of the workspace.
func (w *workspace) odometer(shape []int, steps ...[]int) odometer {
	var o odometer
	w.rows, o.steps = bump(w.rows, len(steps))
	o.dims = w.ints(len(shape) + 1)[:0]
	for k := range o.steps {
		o.steps[k] = w.ints(len(shape) + 1)[:0]
	}
	o.space = w.ints(len(shape) + 1 + len(steps))
	o.merge(shape, steps)
	return o
}

// broadcast is the function broadcast of two shapes with a list of the workspace.
func (w *workspace) broadcast(a, b []int) ([]int, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	shape := w.list(a...)
	for i, n := range b {
		have := &shape[len(a)-len(b)+i]
		if *have == 1 {
			*have = n
		} else if n != 1 && n != *have {
			return broadcast(a, b)
		}
	}
	return shape, nil
}

// remember returns the T that the step under way uses in every execution of this run, as the
// last one left it.
func remember[T any](r *run) *T {
	if r.under == nil || r.under.id >= len(r.states) {
		return new(T)
	}
	have := r.states[r.under.id]
	for _, s := range have {
		if t, ok := s.(*T); ok {
			return t
		}
	}
	t := new(T)
	r.states[r.under.id] = append(have, t)
	return t
}

// split has args run for disjoint ranges that cover [0, n), on the model's threads, as Pool.For does.
// Arguments that are values cost no allocation.
func split[A any, P interface {
	*A
	run(lo, hi int)
}](r *run, n, grain int, args A) {
	t := remember[ranges[A, P]](r)
	t.args = args
	r.engine.pool.Do(n, grain, t)
	var none A
	t.args = none
}

// ranges is a loop of split.
type ranges[A any, P interface {
	*A
	run(lo, hi int)
}] struct{ args A }

// Do computes some of the indices.
func (t *ranges[A, P]) Do(lo, hi int) { P(&t.args).run(lo, hi) }

// spread has args visit every position of all dimensions of o but the last, with the operands'
// offsets, which are not to be kept: on several threads, where there are elements enough for that.
func spread[A any, P interface {
	*A
	visit(at []int)
}](r *run, o *odometer, args A) {
	t := remember[positions[A, P]](r)
	t.odometer, t.args = *o, args
	if t.space == nil {
		t.space = r.ints(len(o.dims) + len(o.steps))
	}
	if all := product(o.dims); len(o.dims) < 2 || all < 2*elementGrain {
		t.walk(o.dims, t.space)
	} else {
		r.engine.pool.Do(o.dims[0], 1+elementGrain/(all/o.dims[0]), t)
	}
	var none A
	t.args, t.odometer = none, odometer{}
}

// positions is a walk of spread.
type positions[A any, P interface {
	*A
	visit(at []int)
}] struct {
	odometer
	args A
}

// spaces are for those that walk at the same time.
var spaces = sync.Pool{New: func() any { return new([]int) }}

// Do walks over some of the indices of the first dimension.
func (t *positions[A, P]) Do(lo, hi int) {
	space := spaces.Get().(*[]int)
	defer spaces.Put(space)
	n := len(t.dims) + len(t.steps)
	*space = append((*space)[:0], t.dims...)
	for range n + 1 {
		*space = append(*space, 0)
	}
	dims, rest := (*space)[:len(t.dims)], (*space)[len(t.dims):]
	dims[0] = hi - lo
	for k := range t.steps {
		rest[k] = lo * t.steps[k][0]
	}
	t.walk(dims, rest)
}

// walk visits all positions of dims, from the offsets on that space begins with.
func (t *positions[A, P]) walk(dims, space []int) {
	w := odometer{dims: dims, steps: t.steps}
	if slices.Contains(dims, 0) {
		return
	}
	offsets, index := space[:len(t.steps)], space[len(t.steps):][:len(dims)-1]
	for more := true; more; more = w.next(offsets, index) {
		P(&t.args).visit(offsets)
	}
}
