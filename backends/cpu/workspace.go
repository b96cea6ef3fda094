package cpu

// workspace is what kernels use again from one execution to the next, so that they allocate
// nothing: lists of numbers that live until the end of the step, and whatever a step remembers.
type workspace struct {
	numbers []int
	states  [][]any // by step
}

// mark returns the state of the lists, for reset.
func (w *workspace) mark() []int { return w.numbers }

// reset ends the life of the lists that have been made since mark.
func (w *workspace) reset(mark []int) {
	if cap(mark) == cap(w.numbers) {
		w.numbers = mark
		return
	}
	w.numbers = w.numbers[:0]
}

// ints returns n zeros that live until the step under way ends.
func (w *workspace) ints(n int) []int {
	if len(w.numbers)+n > cap(w.numbers) {
		w.numbers = make([]int, 0, max(2*cap(w.numbers), n, 256))
	}
	first := len(w.numbers)
	w.numbers = w.numbers[:first+n]
	all := w.numbers[first:len(w.numbers):len(w.numbers)]
	clear(all)
	return all
}

// list returns the numbers given, in a list that lives until the step under way ends.
func (w *workspace) list(from ...int) []int {
	all := w.ints(len(from))
	copy(all, from)
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
