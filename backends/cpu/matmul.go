package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildMatMul builds MatMul: matrix products of the last two dimensions, all others
// broadcasting.
func buildMatMul(n *node) (kernel, error) {
	switch d := n.input(0); d {
	case backends.FP32:
		return matMul(d, dotLoop[float32]), nil
	case backends.FP64:
		return matMul(d, dotLoop[float64]), nil
	case backends.Int32:
		return matMul(d, dotLoop[int32]), nil
	case backends.Int64:
		return matMul(d, dotLoop[int64]), nil
	case backends.Uint32:
		return matMul(d, dotLoop[uint32]), nil
	case backends.Uint64:
		return matMul(d, dotLoop[uint64]), nil
	}
	return nil, n.unsupported("inputs of %v", n.input(0))
}

// product2 computes the m×n matrix c = a·b of an m×k and a k×n matrix.
type product2[T number] func(c, a, b []T, m, n, k int)

// dotLoop is the plain product.
func dotLoop[T number](c, a, b []T, m, n, k int) {
	clear(c)
	for i := range m {
		row := c[i*n : (i+1)*n]
		for p := range k {
			v := a[i*k+p]
			for j, w := range b[p*n : (p+1)*n] {
				row[j] += v * w
			}
		}
	}
}

func matMul[T number](d backends.Datatype, f product2[T]) kernel {
	return func(r *run, in, out []*tensor) error {
		s, err := matMulShape(in[0].shape, in[1].shape)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], d, s.out); err != nil {
			return err
		}
		a, b, c := view[T](in[0]), view[T](in[1]), view[T](out[0])
		o := newOdometer(append(s.batch, 1), append(s.stepsA, 0), append(s.stepsB, 0))
		at, size := 0, s.m*s.n
		if len(c) == 0 {
			return nil
		}
		o.each(func(from []int) {
			for i := range o.run() {
				fa, fb := from[0]+i*o.step(0), from[1]+i*o.step(1)
				f(c[at:at+size], a[fa:fa+s.m*s.k], b[fb:fb+s.k*s.n], s.m, s.n, s.k)
				at += size
			}
		})
		return nil
	}
}

// matMulSizes says which products a MatMul of two shapes consists of.
type matMulSizes struct {
	m, n, k        int
	batch          []int // the dimensions before the matrices
	stepsA, stepsB []int // how far each operand moves, in elements, for a step in batch
	out            []int
}

func matMulShape(a, b []int) (s matMulSizes, err error) {
	if len(a) == 0 || len(b) == 0 {
		return s, backends.Errorf(backends.ErrInvalid, "a matrix product of shapes %v and %v", a, b)
	}
	rowsA, colsB := a, b
	if len(a) == 1 {
		rowsA = []int{1, a[0]}
	}
	if len(b) == 1 {
		colsB = []int{b[0], 1}
	}
	ra, rb := len(rowsA), len(colsB)
	s.m, s.k, s.n = rowsA[ra-2], rowsA[ra-1], colsB[rb-1]
	if colsB[rb-2] != s.k {
		return s, backends.Errorf(backends.ErrInvalid, "a matrix product of shapes %v and %v: %d columns meet %d rows", a, b, s.k, colsB[rb-2])
	}
	if s.batch, err = broadcast(rowsA[:ra-2], colsB[:rb-2]); err != nil {
		return s, err
	}
	s.stepsA = scaled(stretched(rowsA[:ra-2], s.batch), s.m*s.k)
	s.stepsB = scaled(stretched(colsB[:rb-2], s.batch), s.k*s.n)
	s.out = slices.Clone(s.batch)
	if len(a) > 1 {
		s.out = append(s.out, s.m)
	}
	if len(b) > 1 {
		s.out = append(s.out, s.n)
	}
	return s, nil
}

func scaled(steps []int, by int) []int {
	for i := range steps {
		steps[i] *= by
	}
	return steps
}
