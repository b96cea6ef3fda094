package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildMatMul builds MatMul: matrix products of the last two dimensions, all others
// broadcasting.
func buildMatMul(n *node) (kernel, error) {
	switch d := n.input(0); d {
	case backends.FP32:
		if n.given(1) && n.Inputs[1].Const != nil && len(n.Inputs[1].Const.Shape) == 2 {
			return weighted{packed: packMatrix(n.take(1), false)}.kernel, nil
		}
		return batched{}.kernel, nil
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

// weighted is a product with a constant matrix.
type weighted struct {
	packed     *kernels.Packed
	bias       []float32          // one per column, or nil
	residual   bool               // the last input is added to the product
	activation kernels.Activation // of the sum
}

// packMatrix packs a constant matrix.
func packMatrix(t *tensor, transposed bool) *kernels.Packed {
	k, n := t.shape[0], t.shape[1]
	if transposed {
		k, n = n, k
	}
	return kernels.PackB(view[float32](t), k, n, t.shape[1], transposed)
}

func (w weighted) kernel(r *run, in, out []*tensor) error {
	a, k, n := in[0], w.packed.K(), w.packed.N()
	last := a.rank() - 1
	if last < 0 || a.shape[last] != k {
		return backends.Errorf(backends.ErrInvalid, "a matrix product of shape %v with %d rows", a.shape, k)
	}
	shape := slices.Clone(a.shape)
	shape[last] = n
	if err := r.makeTensor(out[0], a.dtype, shape); err != nil {
		return err
	}
	ep := kernels.Epilogue{Bias: w.bias, Activation: w.activation}
	if w.residual {
		added := in[len(in)-1]
		if !slices.Equal(added.shape, shape) {
			return backends.Errorf(backends.ErrInvalid, "a sum of shapes %v and %v", shape, added.shape)
		}
		ep.Residual = view[float32](added)
	}
	kernels.Gemm(r.engine.pool, product(shape[:last]), view[float32](a), k, w.packed, view[float32](out[0]), n, ep)
	return nil
}

// batched is a product of two values of the run, of which transposeB says that the second has
// rows and columns exchanged.
type batched struct {
	transposeA, transposeB bool
	alpha                  float32 // 0 stands for 1
}

func (b batched) kernel(r *run, in, out []*tensor) error {
	x, y := in[0], in[1]
	shapeX, shapeY := b.logical(x.shape, b.transposeA), b.logical(y.shape, b.transposeB)
	s, err := matMulShape(shapeX, shapeY)
	if err != nil {
		return err
	}
	if err := r.makeTensor(out[0], x.dtype, s.out); err != nil {
		return err
	}
	s.joinRows(b.transposeA)
	g := kernels.BatchGemm{
		M: s.m, N: s.n, K: s.k, Alpha: b.alpha,
		A: kernels.Operand{Data: view[float32](x), Stride: s.k, Transposed: b.transposeA},
		B: kernels.Operand{Data: view[float32](y), Stride: s.n, Transposed: b.transposeB},
		C: kernels.Operand{Data: view[float32](out[0]), Stride: s.n},
	}
	if b.transposeA {
		g.A.Stride = s.m
	}
	if b.transposeB {
		g.B.Stride = s.k
	}
	s.eachPair(&g, func() { g.Run(r.engine.pool) })
	return nil
}

// logical returns shape with its last dimensions exchanged if that is how it is stored.
func (batched) logical(shape []int, transposed bool) []int {
	if !transposed || len(shape) < 2 {
		return shape
	}
	s := slices.Clone(shape)
	last := len(s) - 1
	s[last], s[last-1] = s[last-1], s[last]
	return s
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

// joinRows makes one product of all where the second matrix is the same for all batches.
func (s *matMulSizes) joinRows(transposedA bool) {
	one := !transposedA
	for d, n := range s.batch {
		one = one && (n == 1 || s.stepsB[d] == 0 && s.stepsA[d] != 0)
	}
	if one {
		s.m *= product(s.batch)
		s.batch, s.stepsA, s.stepsB = nil, nil, nil
	}
}

// eachPair sets the matrices of g to two batch dimensions at a time and calls f.
func (s *matMulSizes) eachPair(g *kernels.BatchGemm, f func()) {
	o := newOdometer(s.batch, scaled(strides(s.batch), s.m*s.n), s.stepsA, s.stepsB)
	if o.run() == 0 || s.m == 0 || s.n == 0 {
		return
	}
	// The walk stops before the last dimension; the one before it becomes part of each call too.
	inner := len(o.dims) - 2
	g.Batch = [2]int{1, o.run()}
	operands := [...]*kernels.Operand{&g.C, &g.A, &g.B}
	for k, p := range operands {
		p.Batch = [2]int{0, o.step(k)}
		if inner >= 0 {
			p.Batch[0] = o.steps[k][inner]
		}
	}
	if inner >= 0 {
		g.Batch[0] = o.dims[inner]
		o.dims = slices.Delete(o.dims, inner, inner+1)
		for k := range o.steps {
			o.steps[k] = slices.Delete(o.steps[k], inner, inner+1)
		}
	}
	var whole [3][]float32
	for k, p := range operands {
		whole[k] = p.Data
	}
	o.each(func(at []int) {
		for k, p := range operands {
			p.Data = whole[k][at[k]:]
		}
		f()
	})
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
