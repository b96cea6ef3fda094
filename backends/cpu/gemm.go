package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildGemm builds alpha·A·B + beta·C, A and B transposed as the attributes say.
func buildGemm(n *node) (kernel, error) {
	g := gemm{
		transA: n.int("transA", 0) != 0, transB: n.int("transB", 0) != 0,
		alpha: n.float("alpha", 1), beta: n.float("beta", 1),
	}
	switch n.input(0) {
	case backends.FP32:
		if isLinear(n.Node) {
			return buildLinear(n)
		}
		return gemmOf[float32](g), nil
	case backends.FP64:
		return gemmOf[float64](g), nil
	case backends.Int32:
		return gemmOf[int32](g), nil
	case backends.Int64:
		return gemmOf[int64](g), nil
	case backends.Uint32:
		return gemmOf[uint32](g), nil
	case backends.Uint64:
		return gemmOf[uint64](g), nil
	}
	return nil, n.unsupported("inputs of %v", n.input(0))
}

// gemm holds the attributes of a Gemm.
type gemm struct {
	transA, transB bool
	alpha, beta    float32
}

// scaledTensor returns a copy of an FP32 tensor times v.
func scaledTensor(t *tensor, v float32) *tensor {
	s := &tensor{dtype: t.dtype, shape: t.shape, raw: newMemory(len(t.raw))}
	mulLoop(view[float32](s), view[float32](t), []float32{v})
	return s
}

// gemmOf is the kernel of any Gemm.
func gemmOf[T number](g gemm) kernel {
	return func(r *run, in, out []*tensor) error {
		if in[0].rank() != 2 || in[1].rank() != 2 {
			return backends.Errorf(backends.ErrInvalid, "a matrix product of shapes %v and %v", in[0].shape, in[1].shape)
		}
		a, err := r.turned(in[0], g.transA)
		if err != nil {
			return err
		}
		b, err := r.turned(in[1], g.transB)
		if err != nil {
			return err
		}
		s, err := matMulShape(a.shape, b.shape)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], a.dtype, s.out); err != nil {
			return err
		}
		c := view[T](out[0])
		multiplyMatrices(r, s, c, view[T](a), view[T](b))
		mulLoop(c, c, []T{T(g.alpha)})
		if len(in) < 3 || in[2] == nil {
			return nil
		}
		if shape, err := broadcast(in[2].shape, s.out); err != nil || !slices.Equal(shape, s.out) {
			return backends.Errorf(backends.ErrInvalid, "C of shape %v to add to shape %v", in[2].shape, s.out)
		}
		o := newOdometer(s.out, strides(s.out), strides(s.out), stretched(in[2].shape, s.out))
		beta := T(g.beta)
		pairs(r, &o, pair[T, T]{f: each2(func(a, b T) T { return a + beta*b }), dst: c, a: c, b: view[T](in[2])})
		return nil
	}
}

// turned returns t, transposed if turn says so, for the step under way.
func (r *run) turned(t *tensor, turn bool) (*tensor, error) {
	if !turn {
		return t, nil
	}
	s := r.scratch()
	return s, r.transpose(s, t, []int{1, 0})
}

// multiplyMatrices computes all products of s, whose second matrix differs where the first does.
func multiplyMatrices[T number](r *run, s matMulSizes, c, a, b []T) {
	floats, ok := any(c).([]float32)
	if !ok {
		multiplyAll(s, c, a, b)
		return
	}
	kernels.BatchGemm{
		Batch: [2]int{1, product(s.batch)}, M: s.m, N: s.n, K: s.k,
		A: kernels.Operand{Data: any(a).([]float32), Stride: s.k, Batch: [2]int{0, s.m * s.k}},
		B: kernels.Operand{Data: any(b).([]float32), Stride: s.n, Batch: [2]int{0, s.k * s.n}},
		C: kernels.Operand{Data: floats, Stride: s.n, Batch: [2]int{0, s.m * s.n}},
	}.Run(r.engine.pool)
}
