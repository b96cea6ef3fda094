package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// odometer walks the index space of dims and keeps, for each operand, the offset of the
// current element. Dimensions of size 1 are gone and neighbours that all operands walk as one
// are merged, so that the last dimension is the longest run that can be handled by one loop.
type odometer struct {
	dims  []int
	steps [][]int // steps[k][d] is how far operand k moves for one step in dimension d
}

// newOdometer prepares a walk over shape by operands with the given steps.
func newOdometer(shape []int, steps ...[]int) odometer {
	o := odometer{steps: make([][]int, len(steps))}
	for d, n := range shape {
		if n == 1 {
			continue
		}
		last := len(o.dims) - 1
		if last >= 0 && o.mergeable(steps, d, n) {
			o.dims[last] *= n
			for k := range steps {
				o.steps[k][last] = steps[k][d]
			}
			continue
		}
		o.dims = append(o.dims, n)
		for k := range steps {
			o.steps[k] = append(o.steps[k], steps[k][d])
		}
	}
	if len(o.dims) == 0 {
		o.dims = []int{1}
		for k := range steps {
			o.steps[k] = []int{0}
		}
	}
	return o
}

// mergeable says whether dimension d of size n continues the last dimension kept.
func (o *odometer) mergeable(steps [][]int, d, n int) bool {
	last := len(o.dims) - 1
	for k := range steps {
		if o.steps[k][last] != steps[k][d]*n {
			return false
		}
	}
	return true
}

// run is the size of the last dimension.
func (o *odometer) run() int { return o.dims[len(o.dims)-1] }

// step is how far operand k moves for one step in the last dimension.
func (o *odometer) step(k int) int { return o.steps[k][len(o.dims)-1] }

// each calls f for every position of all dimensions but the last, with the operands' offsets,
// which f must not keep.
func (o *odometer) each(f func(offsets []int)) { o.walk(make([]int, len(o.steps)), f) }

// spread is each on several threads, where there are elements enough for that.
func (o *odometer) spread(p *kernels.Pool, f func(offsets []int)) {
	all := product(o.dims)
	if len(o.dims) < 2 || all < 2*elementGrain {
		o.each(f)
		return
	}
	p.For(o.dims[0], 1+elementGrain/(all/o.dims[0]), func(lo, hi int) {
		part := odometer{dims: slices.Clone(o.dims), steps: o.steps}
		part.dims[0] = hi - lo
		offsets := make([]int, len(o.steps))
		for k := range offsets {
			offsets[k] = lo * o.steps[k][0]
		}
		part.walk(offsets, f)
	})
}

// walk is each from the given offsets on.
func (o *odometer) walk(offsets []int, f func(offsets []int)) {
	if slices.Contains(o.dims, 0) {
		return
	}
	index := make([]int, len(o.dims)-1)
	for {
		f(offsets)
		d := len(index) - 1
		for ; d >= 0; d-- {
			index[d]++
			for k := range offsets {
				offsets[k] += o.steps[k][d]
			}
			if index[d] < o.dims[d] {
				break
			}
			for k := range offsets {
				offsets[k] -= o.steps[k][d] * o.dims[d]
			}
			index[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// broadcast returns the shape that all shapes stretch to by the rules of numpy.
func broadcast(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	all := make([]int, rank)
	for i := range all {
		all[i] = 1
	}
	for _, s := range shapes {
		for i, n := range s {
			have := &all[rank-len(s)+i]
			if *have != 1 && n != 1 && *have != n {
				return nil, backends.Errorf(backends.ErrInvalid, "shapes %v do not broadcast together", shapes)
			}
			if n != 1 {
				*have = n
			}
		}
	}
	return all, nil
}

// stretched returns the steps with which a tensor of shape from walks the shape to that it
// broadcasts to.
func stretched(from, to []int) []int {
	steps := make([]int, len(to))
	skip := len(to) - len(from)
	for i, s := range strides(from) {
		if from[i] != 1 {
			steps[skip+i] = s
		}
	}
	return steps
}
