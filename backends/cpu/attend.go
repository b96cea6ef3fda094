package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// Attributes of an Attend, which fusions give.
const (
	attendOperands = "thrum.operands"   // [3]headed: queries, keys, values
	attendHidden   = "thrum.zeroHidden" // there if a query whose weights are NaN gets zeros
)

// headed says how the operand of an attention stands in an input: which columns of the last
// dimension, in how many heads, and in what order of the dimensions that there are then.
type headed struct {
	from, width int   // width 0: all columns
	heads       int   // 0: the dimensions are as they are
	perm        []int // nil for the order as it is
}

// buildAttend builds attention as exporters write it in parts: queries, keys as the right operand
// of a product, values, and what is added to the products.
func buildAttend(n *node) (kernel, error) {
	a := attend{
		operands: attribute(n, attendOperands, [3]headed{}), permOut: attribute[[]int](n, permOut, nil),
		alpha: n.float(scale, 1), zero: n.has(attendHidden), precision: n.engine.precision.ofValues(),
	}
	return a.kernel, nil
}

type attend struct {
	operands  [3]headed
	permOut   []int
	alpha     float32
	zero      bool
	precision kernels.Precision
}

// of returns the operand in t.
func (h headed) of(r *run, t *tensor) (strided, error) {
	if h.heads == 0 {
		return r.ordered(t, h.perm)
	}
	last := t.rank() - 1
	if last < 0 {
		return strided{}, backends.Errorf(backends.ErrInvalid, "attention to a tensor of shape %v", t.shape)
	}
	width := h.width
	if width == 0 {
		width = t.shape[last]
	}
	if h.from+width > t.shape[last] || width%h.heads != 0 {
		return strided{}, backends.Errorf(backends.ErrInvalid, "%d heads of columns %d to %d of shape %v", h.heads, h.from, h.from+width, t.shape)
	}
	apart := strided{tensor: t, shape: r.ints(last + 2), steps: r.ints(last + 2), from: h.from}
	copy(apart.shape, t.shape[:last])
	copy(apart.steps, r.strides(t.shape)[:last])
	apart.shape[last], apart.shape[last+1] = h.heads, width/h.heads
	apart.steps[last], apart.steps[last+1] = width/h.heads, 1
	return r.permuted(apart, h.perm)
}

func (a attend) kernel(r *run, in, out []*tensor) error {
	var o [3]strided
	for i := range o {
		var err error
		if o[i], err = a.operands[i].of(r, in[i]); err != nil {
			return err
		}
	}
	shape, keys, err := a.sizes(r, o)
	if err != nil {
		return err
	}
	last := len(shape) - 1
	k := kernels.Attention{
		Batch: [2]int{1, 1}, Queries: shape[last-1], Keys: keys, Width: o[0].shape[last], ValueWidth: shape[last],
		Alpha: a.alpha, ZeroHidden: a.zero, Precision: a.precision,
	}
	copy(k.Batch[4-len(shape):], shape[:last-1])
	for i, to := range []*kernels.Operand{&k.Q, &k.K, &k.V} {
		if *to, err = r.dense(&o[i]); err != nil {
			return err
		}
		to.Batch = o[i].pairOfSteps(shape)
	}
	if err := a.mask(r, &k, in, shape); err != nil {
		return err
	}
	y, err := a.result(r, out[0], shape)
	if err != nil {
		return err
	}
	k.Y, _ = y.operand()
	k.Y.Batch = y.pairOfSteps(shape)
	k.Run(r.engine.pool)
	return nil
}

// sizes returns the shape of the result before it is put in order, and the number of keys.
func (a attend) sizes(r *run, o [3]strided) (shape []int, keys int, err error) {
	q, k, v := o[0].shape, o[1].shape, o[2].shape
	last := len(q) - 1
	fits := last >= 1 && last <= 3 && len(k) == len(q) && len(v) == len(q)
	if fits {
		keys = k[last]
		fits = k[last-1] == q[last] && v[last-1] == keys
		shape = r.list(q...)
		shape[last] = v[last]
		for i := 0; i < last-1 && fits; i++ {
			shape[i] = max(q[i], k[i], v[i])
			for _, d := range [...]int{q[i], k[i], v[i]} {
				fits = fits && (d == 1 || d == shape[i])
			}
		}
	}
	if !fits {
		return nil, 0, backends.Errorf(backends.ErrInvalid, "attention of queries, keys and values of shapes %v, %v and %v", q, k, v)
	}
	return shape, keys, nil
}

// pairOfSteps returns how far s moves for a step in each of the one or two dimensions of shape
// before the matrices.
func (s strided) pairOfSteps(shape []int) (steps [2]int) {
	for i := range len(shape) - 2 {
		if s.shape[i] != 1 {
			steps[4-len(shape)+i] = s.steps[i]
		}
	}
	return steps
}

// mask sets what is added to the products, if anything is.
func (a attend) mask(r *run, k *kernels.Attention, in []*tensor, shape []int) error {
	if len(in) < 4 || in[3] == nil {
		return nil
	}
	scores := r.list(shape...)
	scores[len(scores)-1] = k.Keys
	added, err := r.added(in[3], scores)
	if err != nil {
		return err
	}
	k.Added, _ = added.operand()
	for i := range len(shape) - 2 {
		k.Added.Batch[4-len(shape)+i] = added.steps[i]
	}
	return nil
}

// result makes the tensor for the result, and returns it with the dimensions in the order of shape.
func (a attend) result(r *run, out *tensor, shape []int) (strided, error) {
	if a.permOut == nil {
		err := r.makeTensor(out, backends.FP32, shape)
		return strided{tensor: out, shape: shape, steps: r.strides(shape)}, err
	}
	if err := checkPermutation(a.permOut, len(shape)); err != nil {
		return strided{}, err
	}
	turned, back := r.ints(len(shape)), r.ints(len(shape))
	for i, p := range a.permOut {
		turned[i], back[p] = shape[p], i
	}
	if err := r.makeTensor(out, backends.FP32, turned); err != nil {
		return strided{}, err
	}
	return r.ordered(out, back)
}

// checkPermutation reports an order that does not have each of rank dimensions once.
func checkPermutation(perm []int, rank int) error {
	seen := 0
	for i, p := range perm {
		if p >= 0 && p < rank && !slices.Contains(perm[:i], p) {
			seen++
		}
	}
	if seen != rank || len(perm) != rank {
		return backends.Errorf(backends.ErrInvalid, "perm %v does not order the dimensions of a tensor of rank %d", perm, rank)
	}
	return nil
}
