package cpu

import (
	"github.com/thrumserve/thrum/backends"
)

// buildArg builds ArgMax and ArgMin.
func buildArg(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return arg[float32](n), nil
	case backends.FP64:
		return arg[float64](n), nil
	case backends.Int8:
		return arg[int8](n), nil
	case backends.Int16:
		return arg[int16](n), nil
	case backends.Int32:
		return arg[int32](n), nil
	case backends.Int64:
		return arg[int64](n), nil
	case backends.Uint8:
		return arg[uint8](n), nil
	case backends.Uint16:
		return arg[uint16](n), nil
	case backends.Uint32:
		return arg[uint32](n), nil
	case backends.Uint64:
		return arg[uint64](n), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func arg[T number](n *node) kernel {
	at, keep, last := n.int("axis", 0), n.int("keepdims", 1) != 0, n.int("select_last_index", 0) != 0
	better := func(a, b T) bool { return a > b }
	if n.Op == "ArgMin" {
		better = func(a, b T) bool { return a < b }
	}
	return func(r *run, in, out []*tensor) error {
		s, err := r.reductionOf(in[0].shape, r.list(at), keep)
		if err != nil {
			return err
		}
		if s.width == 0 {
			return backends.Errorf(backends.ErrInvalid, "no elements to choose from along axis %d of shape %v", at, in[0].shape)
		}
		src := r.scratch()
		if err := r.transpose(src, in[0], s.perm); err != nil {
			return err
		}
		if err := r.makeTensor(out[0], backends.Int64, s.out); err != nil {
			return err
		}
		bestOfRows(view[int64](out[0]), view[T](src), better, last)
		return nil
	}
}

// bestOfRows sets dst to where the best element of each row is: the first of equals, or the
// last of them.
func bestOfRows[T number](dst []int64, src []T, better func(a, b T) bool, last bool) {
	if len(dst) == 0 {
		return
	}
	width := len(src) / len(dst)
	for i := range dst {
		row, best := src[i*width:(i+1)*width], 0
		for j, v := range row {
			if better(v, row[best]) || last && v == row[best] {
				best = j
			}
		}
		dst[i] = int64(best)
	}
}
