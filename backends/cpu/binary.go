package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// loop2 computes one run of elements; a and b have the length of dst, or one element that
// goes with all of them.
type loop2[T, R element] func(dst []R, a, b []T)

// broadcasting applies f to all pairs of elements of two inputs.
func broadcasting[T, R element](d backends.Datatype, f loop2[T, R]) kernel {
	return func(r *run, in, out []*tensor) error {
		a, b := in[0], in[1]
		shape := a.shape
		if !slices.Equal(a.shape, b.shape) {
			var err error
			if shape, err = broadcast(a.shape, b.shape); err != nil {
				return err
			}
		}
		if err := r.makeTensor(out[0], d, shape); err != nil {
			return err
		}
		x, y, dst := view[T](a), view[T](b), view[R](out[0])
		switch {
		case len(dst) == 0:
		case len(x) == len(dst) && len(y) == len(dst):
			r.engine.pool.For(len(dst), elementGrain, func(lo, hi int) { f(dst[lo:hi], x[lo:hi], y[lo:hi]) })
		case len(x) == len(dst) && len(y) == 1:
			r.engine.pool.For(len(dst), elementGrain, func(lo, hi int) { f(dst[lo:hi], x[lo:hi], y) })
		default:
			o := newOdometer(shape, strides(shape), stretched(a.shape, shape), stretched(b.shape, shape))
			pairs(r, &o, f, dst, x, y)
		}
		return nil
	}
}

// pairs applies f along an odometer whose operands are dst, a and b, in that order.
func pairs[T, R element](r *run, o *odometer, f loop2[T, R], dst []R, a, b []T) {
	n := o.run()
	na, nb := 1+(n-1)*o.step(1), 1+(n-1)*o.step(2)
	o.spread(r.engine.pool, func(at []int) {
		f(dst[at[0]:at[0]+n], a[at[1]:at[1]+na], b[at[2]:at[2]+nb])
	})
}

// each2 makes a loop of a function of two elements.
func each2[T, R element](f func(a, b T) R) loop2[T, R] {
	return func(dst []R, a, b []T) {
		switch {
		case len(a) == len(dst) && len(b) == len(dst):
			for i := range dst {
				dst[i] = f(a[i], b[i])
			}
		case len(b) == 1:
			for i := range dst {
				dst[i] = f(a[i], b[0])
			}
		default:
			for i := range dst {
				dst[i] = f(a[0], b[i])
			}
		}
	}
}
