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
		if n.given(1) && n.Inputs[1].Const != nil && len(n.Inputs[1].Const.Shape) == 2 {
			return buildLinear(n)
		}
		return buildProduct(n)
	case backends.FP64:
		return matMul[float64](d), nil
	case backends.Int32:
		return matMul[int32](d), nil
	case backends.Int64:
		return matMul[int64](d), nil
	case backends.Uint32:
		return matMul[uint32](d), nil
	case backends.Uint64:
		return matMul[uint64](d), nil
	}
	return nil, n.unsupported("inputs of %v", n.input(0))
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

// matMul is the plain product, for the types that kernels has none for.
func matMul[T number](d backends.Datatype) kernel {
	return func(r *run, in, out []*tensor) error {
		s, err := matMulShape(in[0].shape, in[1].shape)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], d, s.out); err != nil {
			return err
		}
		multiplyAll(s, view[T](out[0]), view[T](in[0]), view[T](in[1]))
		return nil
	}
}

func multiplyAll[T number](s matMulSizes, c, a, b []T) {
	clear(c)
	size := s.m * s.n
	if size == 0 {
		return
	}
	o := newOdometer(append(s.batch, 1, 1), append(scaled(strides(s.batch), size), 0, 0), append(s.stepsA, 0, 0), append(s.stepsB, 0, 0))
	n := o.run()
	o.each(func(at []int) {
		for i := range n {
			fc, fa, fb := at[0]+i*o.step(0), at[1]+i*o.step(1), at[2]+i*o.step(2)
			multiply(c[fc:fc+size], a[fa:fa+s.m*s.k], b[fb:fb+s.k*s.n], s.k)
		}
	})
}

// multiply adds the product of matrices to c, in which k is the size that a and b share.
func multiply[T number](c, a, b []T, k int) {
	if k == 0 {
		return
	}
	n := len(b) / k
	for i := range len(a) / k {
		row := c[i*n : (i+1)*n]
		for p, v := range a[i*k : (i+1)*k] {
			for j, w := range b[p*n : (p+1)*n] {
				row[j] += v * w
			}
		}
	}
}
