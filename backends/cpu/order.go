package cpu

import (
	"cmp"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildTopK builds TopK: the k largest or smallest elements along an axis, in order, equal
// ones by their position.
func buildTopK(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return topK[float32](n), nil
	case backends.FP64:
		return topK[float64](n), nil
	case backends.Int32:
		return topK[int32](n), nil
	case backends.Int64:
		return topK[int64](n), nil
	case backends.Uint64:
		return topK[uint64](n), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func topK[T number](n *node) kernel {
	at, count := n.int("axis", -1), n.list("", 1)
	if n.has("k") {
		k := n.int("k", 0)
		count = func([]*tensor) ([]int, error) { return []int{k}, nil }
	}
	order := func(a, b T) int { return cmp.Compare(b, a) }
	if n.int("largest", 1) == 0 {
		order = cmp.Compare[T]
	}
	return func(r *run, in, out []*tensor) error {
		a, err := axis(at, in[0].rank())
		if err != nil {
			return err
		}
		ks, err := count(in)
		if err != nil {
			return err
		}
		if len(ks) != 1 || ks[0] < 0 || ks[0] > in[0].shape[a] {
			return backends.Errorf(backends.ErrInvalid, "k=%v of the %d elements along axis %d", ks, in[0].shape[a], a)
		}
		shape := slices.Clone(in[0].shape)
		shape[a] = ks[0]
		values, places := orScratch(r, out, 0), orScratch(r, out, 1)
		if err := r.makeTensor(values, in[0].dtype, shape); err != nil {
			return err
		}
		if err := r.makeTensor(places, backends.Int64, shape); err != nil {
			return err
		}
		best := func(row []T, index []int64) {
			slices.SortStableFunc(index, func(i, j int64) int { return order(row[i], row[j]) })
		}
		pickRows(values, places, in[0], a, best)
		return nil
	}
}

// orScratch returns output i, or a scratch tensor where nobody wants it.
func orScratch(r *run, out []*tensor, i int) *tensor {
	if i < len(out) && out[i] != nil {
		return out[i]
	}
	return r.scratch()
}

// pickRows orders the positions along axis a of src and keeps as many of each row as values
// and places have room for.
func pickRows[T number](values, places, src *tensor, a int, order func(row []T, index []int64)) {
	n, k, inner := src.shape[a], values.shape[a], product(src.shape[a+1:])
	from, to, at := view[T](src), view[T](values), view[int64](places)
	row, index := make([]T, n), make([]int64, n)
	for o := range product(src.shape[:a]) {
		for i := range inner {
			for j := range n {
				row[j], index[j] = from[(o*n+j)*inner+i], int64(j)
			}
			order(row, index)
			for j := range k {
				to[(o*k+j)*inner+i], at[(o*k+j)*inner+i] = row[index[j]], index[j]
			}
		}
	}
}

// buildCumulative builds CumSum and CumProd.
func buildCumulative(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return cumulative[float32](n), nil
	case backends.FP64:
		return cumulative[float64](n), nil
	case backends.Int32:
		return cumulative[int32](n), nil
	case backends.Int64:
		return cumulative[int64](n), nil
	case backends.Uint32:
		return cumulative[uint32](n), nil
	case backends.Uint64:
		return cumulative[uint64](n), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func cumulative[T number](n *node) kernel {
	add, start := addUp[T], T(0)
	if n.Op == "CumProd" {
		add, start = multiplyUp[T], 1
	}
	exclusive, backward, along := n.int("exclusive", 0) != 0, n.int("reverse", 0) != 0, n.list("", 1)
	return func(r *run, in, out []*tensor) error {
		at, err := along(in)
		if err != nil {
			return err
		}
		if len(at) != 1 {
			return backends.Errorf(backends.ErrInvalid, "%d axes, not one", len(at))
		}
		a, err := axis(at[0], in[0].rank())
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], in[0].dtype, in[0].shape); err != nil {
			return err
		}
		n, inner := in[0].shape[a], product(in[0].shape[a+1:])
		src, dst := view[T](in[0]), view[T](out[0])
		for o := range product(in[0].shape[:a]) {
			for i := range inner {
				l := line{o*n*inner + i, inner, n}
				if backward {
					l.first, l.step = l.first+(n-1)*inner, -inner
				}
				accumulateLine(dst, src, l, cumulation[T]{start, add, exclusive})
			}
		}
		return nil
	}
}

func addUp[T number](a, b T) T { return a + b }

func multiplyUp[T number](a, b T) T { return a * b }

// line is n elements, step apart.
type line struct{ first, step, n int }

// cumulation says what each element of a line becomes of those up to it, or before it.
type cumulation[T number] struct {
	start     T
	add       func(a, b T) T
	exclusive bool
}

func accumulateLine[T number](dst, src []T, l line, c cumulation[T]) {
	sum := c.start
	for at, left := l.first, l.n; left > 0; at, left = at+l.step, left-1 {
		before := sum
		sum = c.add(sum, src[at])
		dst[at] = sum
		if c.exclusive {
			dst[at] = before
		}
	}
}
