package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// Attributes of a product that fusions give.
const (
	permA   = "thrum.permA"   // []int: a transposition of A that the product does by itself
	permB   = "thrum.permB"   // likewise of B
	permOut = "thrum.permOut" // likewise of the result
	scale   = "thrum.scale"   // float32: a factor of the result, before input 2 is added
)

// buildProduct builds batched products of two values of the run: A, B, and what is added.
func buildProduct(n *node) (kernel, error) {
	p := batched{
		permA: attribute[[]int](n, permA, nil), permB: attribute[[]int](n, permB, nil), permOut: attribute[[]int](n, permOut, nil),
		alpha: n.float(scale, 1), precision: n.engine.precision.ofValues(),
	}
	return p.kernel, nil
}

type batched struct {
	permA, permB, permOut []int // nil for the order as it is
	alpha                 float32
	precision             kernels.Precision
}

// strided is a tensor whose dimensions may stand in memory in another order.
type strided struct {
	*tensor
	shape, steps []int
	from         int // element of the tensor
}

// ordered returns t with its dimensions in the order of perm.
func (r *run) ordered(t *tensor, perm []int) (strided, error) {
	return r.permuted(strided{tensor: t, shape: t.shape, steps: r.strides(t.shape)}, perm)
}

// permuted returns s with its dimensions in the order of perm, as they are if it is nil.
func (r *run) permuted(s strided, perm []int) (strided, error) {
	if perm == nil {
		return s, nil
	}
	if err := checkPermutation(perm, len(s.shape)); err != nil {
		return s, err
	}
	shape, steps := r.ints(len(perm)), r.ints(len(perm))
	for i, p := range perm {
		shape[i], steps[i] = s.shape[p], s.steps[p]
	}
	s.shape, s.steps = shape, steps
	return s, nil
}

// asMatrix makes vectors matrices: a row if they stand left in a product, else a column.
func (s *strided) asMatrix(left bool) {
	if len(s.shape) != 1 {
		return
	}
	if left {
		s.shape, s.steps = []int{1, s.shape[0]}, []int{s.shape[0], 1}
	} else {
		s.shape, s.steps = []int{s.shape[0], 1}, []int{1, 1}
	}
}

// operand returns s as an operand, without its batch distances, or ok false if neither rows
// nor columns are dense.
func (s strided) operand() (o kernels.Operand, ok bool) {
	last := len(s.shape) - 1
	rows, cols := s.shape[last-1], s.shape[last]
	o.Data = view[float32](s.tensor)
	o.Data = o.Data[min(s.from, len(o.Data)):]
	switch {
	case s.steps[last] == 1 || cols == 1:
		o.Stride = s.steps[last-1]
	case s.steps[last-1] == 1 || rows == 1:
		o.Stride, o.Transposed = s.steps[last], true
	default:
		return o, false
	}
	return o, true
}

// dense returns s as an operand, copied to scratch memory if it must be.
func (r *run) dense(s *strided) (kernels.Operand, error) {
	if o, ok := s.operand(); ok {
		return o, nil
	}
	copied := r.scratch()
	if err := r.rearrange(copied, s.tensor, s.shape, s.steps, s.from); err != nil {
		return kernels.Operand{}, err
	}
	*s = strided{tensor: copied, shape: copied.shape, steps: r.strides(copied.shape)}
	o, _ := s.operand()
	return o, nil
}

func (b batched) kernel(r *run, in, out []*tensor) error {
	x, err := r.ordered(in[0], b.permA)
	if err != nil {
		return err
	}
	y, err := r.ordered(in[1], b.permB)
	if err != nil {
		return err
	}
	s, err := matMulShape(x.shape, y.shape)
	if err != nil {
		return err
	}
	x.asMatrix(true)
	y.asMatrix(false)
	g := kernels.BatchGemm{M: s.m, N: s.n, K: s.k, Alpha: b.alpha, Precision: b.precision}
	if g.A, err = r.dense(&x); err != nil {
		return err
	}
	if g.B, err = r.dense(&y); err != nil {
		return err
	}
	z, finish, err := b.result(r, out[0], s)
	if err != nil {
		return err
	}
	g.C, _ = z.operand()
	batch := len(s.batch)
	steps := [][]int{batchSteps(x, batch), batchSteps(y, batch), z.steps[:batch], make([]int, batch)}
	if len(in) > 2 && in[2] != nil {
		added, err := r.added(in[2], z.shape)
		if err != nil {
			return err
		}
		g.Added, _ = added.operand()
		steps[3] = added.steps[:batch]
	}
	runBatches(r, g, s.batch, steps)
	return finish()
}

// result makes the tensor for the product's matrices, and returns what is left to do when they
// are computed.
func (b batched) result(r *run, out *tensor, s matMulSizes) (z strided, finish func() error, err error) {
	logical := append(slices.Clone(s.batch), s.m, s.n)
	if b.permOut == nil {
		err = r.makeTensor(out, backends.FP32, s.out)
		return strided{tensor: out, shape: logical, steps: r.strides(logical)}, func() error { return nil }, err
	}
	if err := checkPermutation(b.permOut, len(s.out)); err != nil {
		return z, nil, err
	}
	shape := make([]int, len(s.out))
	for i, p := range b.permOut {
		shape[i] = s.out[p]
	}
	if len(s.out) == len(logical) && b.permOut[len(shape)-1] == len(shape)-1 {
		if err := r.makeTensor(out, backends.FP32, shape); err != nil {
			return z, nil, err
		}
		z, err = r.ordered(out, inverse(b.permOut))
		return z, func() error { return nil }, err
	}
	whole := r.scratch()
	err = r.makeTensor(whole, backends.FP32, s.out)
	return strided{tensor: whole, shape: logical, steps: r.strides(logical)}, func() error { return r.transpose(out, whole, b.permOut) }, err
}

// added returns t as it stretches over the product, its columns dense.
func (r *run) added(t *tensor, shape []int) (strided, error) {
	if all, err := r.broadcast(t.shape, shape); err != nil || !slices.Equal(all, shape) {
		return strided{}, backends.Errorf(backends.ErrInvalid, "a sum of shapes %v and %v", shape, t.shape)
	}
	s := strided{tensor: t, shape: shape, steps: r.stretched(t.shape, shape)}
	last := len(shape) - 1
	if s.steps[last] == 1 || shape[last] == 1 {
		return s, nil
	}
	whole := r.scratch()
	err := r.rearrange(whole, t, shape, s.steps, 0)
	return strided{tensor: whole, shape: shape, steps: r.strides(shape)}, err
}

// batchSteps returns how far s moves for a step in each of the n batch dimensions of the result.
func batchSteps(s strided, n int) []int {
	own := len(s.shape) - 2
	steps := make([]int, n)
	for i := range own {
		if s.shape[i] != 1 {
			steps[n-own+i] = s.steps[i]
		}
	}
	return steps
}

// runBatches runs g for all indices of the batch dimensions, of which one call takes two. The
// steps are those of A, B, C and what is added.
func runBatches(r *run, g kernels.BatchGemm, batch []int, steps [][]int) {
	o := newOdometer(batch, steps...)
	if g.M == 0 || g.N == 0 {
		return
	}
	operands := [...]*kernels.Operand{&g.A, &g.B, &g.C, &g.Added}
	last := len(o.dims) - 1
	if joinsRows(&g, &o) {
		g.M *= o.dims[last]
		o.dims[last] = 1
	}
	g.Batch = [2]int{1, o.dims[last]}
	for k, p := range operands {
		p.Batch[1] = o.steps[k][last]
	}
	if inner := last - 1; inner >= 0 {
		g.Batch[0] = o.dims[inner]
		o.dims = slices.Delete(o.dims, inner, last)
		for k, p := range operands {
			p.Batch[0] = o.steps[k][inner]
			o.steps[k] = slices.Delete(o.steps[k], inner, last)
		}
	}
	var whole [len(operands)][]float32
	for k, p := range operands {
		whole[k] = p.Data
	}
	o.each(func(at []int) {
		for k, p := range operands {
			if whole[k] != nil {
				p.Data = whole[k][at[k]:]
			}
		}
		g.Run(r.engine.pool)
	})
}

// joinsRows says whether the last batch dimension only brings more rows for one B.
func joinsRows(g *kernels.BatchGemm, o *odometer) bool {
	return o.run() > 1 && o.step(1) == 0 && !g.A.Transposed && g.Added.Data == nil &&
		o.step(0) == g.M*g.A.Stride && o.step(2) == g.M*g.C.Stride
}
