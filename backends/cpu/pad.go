package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildPad builds Pad with constant, edge, reflected or wrapped elements.
func buildPad(n *node) (kernel, error) {
	mode := n.string("mode", "constant")
	switch mode {
	case "constant", "edge", "reflect", "wrap":
	default:
		return nil, n.unsupported("mode %q", mode)
	}
	amounts, axes := n.list("pads", 1), n.list("", 3)
	f := byWidth(n.input(0), padded[uint8], padded[uint16], padded[uint32], padded[uint64], padded[string])
	value := &tensor{dtype: n.input(0), raw: make([]byte, 8), strings: []string{""}}
	if v := n.float("value", 0); n.input(0) == backends.FP32 {
		view[float32](value)[0] = v
	} else if v != 0 {
		return nil, n.unsupported("a pad value of %v for an input of %v", v, n.input(0))
	}
	return func(r *run, in, out []*tensor) error {
		pads, err := padsOf(in, amounts, axes)
		if err != nil {
			return err
		}
		shape := slices.Clone(in[0].shape)
		rank := len(shape)
		for d := range shape {
			shape[d] += pads[d] + pads[rank+d]
			if mode != "constant" && in[0].shape[d] == 0 && shape[d] > 0 {
				return backends.Errorf(backends.ErrInvalid, "no elements to pad shape %v with", in[0].shape)
			}
		}
		if err := r.makeTensor(out[0], in[0].dtype, shape); err != nil {
			return err
		}
		v := value
		if len(in) > 2 && in[2] != nil {
			if v = in[2]; v.len() != 1 {
				return backends.Errorf(backends.ErrInvalid, "a pad value of shape %v", v.shape)
			}
		}
		f(out[0], in[0], v, sources(in[0].shape, shape, pads, mode))
		return nil
	}, nil
}

// padsOf returns two pads for each dimension of the input: all beginnings, then all ends.
func padsOf(in []*tensor, amounts, axes list) ([]int, error) {
	rank := in[0].rank()
	given, err := amounts(in)
	if err != nil {
		return nil, err
	}
	at, err := axes(in)
	if err != nil {
		return nil, err
	}
	if at == nil {
		for d := range rank {
			at = append(at, d)
		}
	}
	if len(given) != 2*len(at) {
		return nil, backends.Errorf(backends.ErrInvalid, "pads %v for %d axes", given, len(at))
	}
	pads := make([]int, 2*rank)
	for i, a := range at {
		if a, err = axis(a, rank); err != nil {
			return nil, err
		}
		for side, v := range []int{given[i], given[len(at)+i]} {
			if v < -maxPad || v > maxPad {
				return nil, backends.Errorf(backends.ErrInvalid, "a pad of %d elements", v)
			}
			pads[side*rank+a] = v
		}
	}
	return pads, nil
}

const maxPad = 1 << 31

// sources returns, for each dimension, from where in the input each index of the output
// takes its elements; -1 stands for the pad value.
func sources(from, to, pads []int, mode string) [][]int {
	all := make([][]int, len(to))
	for d, n := range to {
		all[d] = make([]int, max(n, 0))
		for i := range all[d] {
			all[d][i] = source(i-pads[d], from[d], mode)
		}
	}
	return all
}

func source(i, n int, mode string) int {
	if i >= 0 && i < n {
		return i
	}
	switch mode {
	case "edge":
		return min(max(i, 0), n-1)
	case "wrap":
		return floorMod(i, n)
	case "reflect":
		if n == 1 {
			return 0
		}
		if i = floorMod(i, 2*n-2); i >= n {
			i = 2*n - 2 - i
		}
		return i
	}
	return -1
}

// padded fills dst from src as the sources say.
func padded[T element](dst, src, value *tensor, sources [][]int) {
	to, from, v := view[T](dst), view[T](src), view[T](value)[0]
	if len(sources) == 0 {
		copy(to, from)
		return
	}
	steps := strides(src.shape)
	var walk func(d, at int, inside bool)
	walk = func(d, at int, inside bool) {
		for _, s := range sources[d] {
			next, in := at+s*steps[d], inside && s >= 0
			switch {
			case d < len(sources)-1:
				walk(d+1, next, in)
				continue
			case in:
				to[0] = from[next]
			default:
				to[0] = v
			}
			to = to[1:]
		}
	}
	walk(0, 0, true)
}

// buildDepthToSpace moves channels to blocks of pixels; SpaceToDepth moves them back. Both
// are a transposition of the dimensions that blocks divide.
func buildDepthToSpace(n *node) (kernel, error) {
	b, mode := n.int("blocksize", 0), n.string("mode", "DCR")
	if mode != "DCR" && mode != "CRD" {
		return nil, backends.Errorf(backends.ErrInvalid, "mode %q: it is DCR or CRD", mode)
	}
	back := n.Op == "SpaceToDepth"
	// The blocks' two dimensions stand before the channels or after them.
	blocks := map[string]int{"DCR": 1, "CRD": 2}[mode]
	return func(r *run, in, out []*tensor) error {
		x := in[0]
		if x.rank() != 4 || b < 1 || !back && x.shape[1]%(b*b) != 0 || back && (x.shape[2]%b != 0 || x.shape[3]%b != 0) {
			return backends.Errorf(backends.ErrInvalid, "an input of shape %v in blocks of %d", x.shape, b)
		}
		c, h, w := x.shape[1], x.shape[2], x.shape[3]
		apart, shape, perm := r.scratch(), []int{x.shape[0], c * b * b, h / b, w / b}, []int{0, 3, 5, 1, 2, 4}
		if back {
			apart.share(x, []int{x.shape[0], c, h / b, b, w / b, b})
			if blocks == 2 {
				perm = []int{0, 1, 3, 5, 2, 4}
			}
		} else {
			c /= b * b
			split := slices.Insert([]int{x.shape[0], c, h, w}, blocks, b, b)
			apart.share(x, split)
			shape, perm = []int{x.shape[0], c, h * b, w * b}, []int{0, 3, 4, 1, 5, 2}
			if blocks == 2 {
				perm = []int{0, 1, 4, 2, 5, 3}
			}
		}
		if err := r.transpose(out[0], apart, perm); err != nil {
			return err
		}
		out[0].shape = append(out[0].shape[:0], shape...)
		return nil
	}, nil
}
