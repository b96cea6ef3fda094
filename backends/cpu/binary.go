package cpu

import "github.com/thrumserve/thrum/backends"

// loop2 computes one run of elements; a and b have the length of dst, or one element that
// goes with all of them.
type loop2[T, R element] func(dst []R, a, b []T)

// broadcasting applies f to all pairs of elements of two inputs.
func broadcasting[T, R element](d backends.Datatype, f loop2[T, R]) kernel {
	return func(r *run, in, out []*tensor) error {
		a, b := in[0], in[1]
		shape, err := r.broadcast(a.shape, b.shape)
		if err != nil {
			return err
		}
		if err := r.makePair(out[0], a, b, d, shape); err != nil {
			return err
		}
		p := pair[T, R]{f: f, dst: view[R](out[0]), a: view[T](a), b: view[T](b)}
		switch n := len(p.dst); {
		case n == 0:
		case len(p.a) == n && len(p.b) == n:
			split(r, n, elementGrain, evenPair[T, R]{p})
		case len(p.a) == n && len(p.b) == 1:
			split(r, n, elementGrain, pairWithOne[T, R]{p})
		default:
			o := r.odometer(shape, r.strides(shape), r.stretched(a.shape, shape), r.stretched(b.shape, shape))
			pairs(r, &o, p)
		}
		return nil
	}
}

// makePair makes t for what is computed of the elements of a and b, of which it may take the
// memory of one that has as many as t.
func (r *run) makePair(t, a, b *tensor, d backends.Datatype, shape []int) error {
	src := a
	if len(b.shape) > len(a.shape) || product(a.shape) < product(shape) {
		src = b
	}
	if src.dtype != d {
		return r.makeTensor(t, d, shape)
	}
	return r.makeOver(t, src, d, shape)
}

// pair is what a loop2 works on.
type pair[T, R element] struct {
	f         loop2[T, R]
	dst       []R
	a, b      []T
	n, na, nb int // elements of a run
}

// pairs applies f along an odometer whose operands are dst, a and b, in that order.
func pairs[T, R element](r *run, o *odometer, p pair[T, R]) {
	p.n = o.run()
	p.na, p.nb = 1+(p.n-1)*o.step(1), 1+(p.n-1)*o.step(2)
	spread(r, o, p)
}

func (p *pair[T, R]) visit(at []int) {
	p.f(p.dst[at[0]:at[0]+p.n], p.a[at[1]:at[1]+p.na], p.b[at[2]:at[2]+p.nb])
}

// evenPair is a pair of which a and b have the length of dst.
type evenPair[T, R element] struct{ pair[T, R] }

func (p *evenPair[T, R]) run(lo, hi int) { p.f(p.dst[lo:hi], p.a[lo:hi], p.b[lo:hi]) }

// pairWithOne is a pair of which b has one element.
type pairWithOne[T, R element] struct{ pair[T, R] }

func (p *pairWithOne[T, R]) run(lo, hi int) { p.f(p.dst[lo:hi], p.a[lo:hi], p.b) }

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
