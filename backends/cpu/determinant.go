package cpu

import (
	"math"

	"github.com/thrumserve/thrum/backends"
)

// buildDet builds the determinants of square matrices.
func buildDet(n *node) (kernel, error) {
	switch d := n.input(0); d {
	case backends.FP32:
		return determinants[float32], nil
	case backends.FP64:
		return determinants[float64], nil
	default:
		return nil, n.unsupported("an input of %v", d)
	}
}

func determinants[T float](r *run, in, out []*tensor) error {
	x := in[0]
	last := x.rank() - 1
	if last < 1 || x.shape[last] != x.shape[last-1] {
		return backends.Errorf(backends.ErrInvalid, "a tensor of shape %v has no square matrices", x.shape)
	}
	if err := r.makeTensor(out[0], x.dtype, x.shape[:last-1]); err != nil {
		return err
	}
	n := x.shape[last]
	matrix := make([]float64, n*n)
	for i := range view[T](out[0]) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		for j := range matrix {
			matrix[j] = float64(view[T](x)[i*n*n+j])
		}
		view[T](out[0])[i] = T(determinant(matrix, n))
	}
	return nil
}

// determinant eliminates below the diagonal, with the largest element as the pivot; it destroys m.
func determinant(m []float64, n int) float64 {
	det := 1.0
	for c := range n {
		pivot := c
		for i := c + 1; i < n; i++ {
			if math.Abs(m[i*n+c]) > math.Abs(m[pivot*n+c]) {
				pivot = i
			}
		}
		if m[pivot*n+c] == 0 {
			return 0
		}
		if pivot != c {
			det = -det
			for j := range n {
				m[pivot*n+j], m[c*n+j] = m[c*n+j], m[pivot*n+j]
			}
		}
		det *= m[c*n+c]
		for i := c + 1; i < n; i++ {
			factor := m[i*n+c] / m[c*n+c]
			for j := c; j < n; j++ {
				m[i*n+j] -= factor * m[c*n+j]
			}
		}
	}
	return det
}
