package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// odometer walks the index space of dims and keeps, for each operand, the offset of the
// current element. Dimensions of size 1 are gone and neighbours that all operands walk as one
// are merged, so that the last dimension is the longest run that can be handled by one loop.
type odometer struct {
	dims  []int
	steps [][]int // steps[k][d] is how far operand k moves for one step in dimension d
	space []int   // zeros to walk with; nil for new ones
}

// newOdometer prepares a walk over shape by operands with the given steps.
func newOdometer(shape []int, steps ...[]int) odometer {
	o := odometer{steps: make([][]int, len(steps))}
	o.merge(shape, steps)
	return o
}

// merge adds the dimensions of a shape.
func (o *odometer) merge(shape []int, steps [][]int) {
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
		o.dims = append(o.dims, 1)
		for k := range steps {
			o.steps[k] = append(o.steps[k], 0)
		}
	}
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
func (o *odometer) each(f func(offsets []int)) {
	if slices.Contains(o.dims, 0) {
		return
	}
	offsets, index := make([]int, len(o.steps)), make([]int, len(o.dims)-1)
	for more := true; more; more = o.next(offsets, index) {
		f(offsets)
	}
}

// next moves on to the next position, and says whether there was one.
func (o *odometer) next(offsets, index []int) bool {
	for d := len(index) - 1; d >= 0; d-- {
		index[d]++
		for k := range offsets {
			offsets[k] += o.steps[k][d]
		}
		if index[d] < o.dims[d] {
			return true
		}
		for k := range offsets {
			offsets[k] -= o.steps[k][d] * o.dims[d]
		}
		index[d] = 0
	}
	return false
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
