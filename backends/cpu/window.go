package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// window is how a kernel moves over the dimensions after the first two, as the attributes of
// a convolution or a pooling say. All lists have one entry per dimension, pads two: first all
// beginnings, then all ends.
type window struct {
	kernel, strides, dilations, pads []int
	auto                             string // how pads are chosen, unless "NOTSET"
	ceil                             bool   // a last window may reach beyond the padding
}

// windowOf reads the attributes. kernel is the size where the attribute may be left out.
func windowOf(n *node, kernel []int) (window, error) {
	w := window{
		kernel: n.ints("kernel_shape"), strides: n.ints("strides"), dilations: n.ints("dilations"),
		pads: n.ints("pads"), auto: n.string("auto_pad", "NOTSET"), ceil: n.int("ceil_mode", 0) != 0,
	}
	if w.kernel == nil {
		w.kernel = kernel
	}
	dims := len(w.kernel)
	w.strides, w.dilations = orOnes(w.strides, dims), orOnes(w.dilations, dims)
	if w.pads == nil {
		w.pads = make([]int, 2*dims)
	}
	sizes := slices.Concat(w.kernel, w.strides, w.dilations)
	if len(sizes) != 3*dims || len(w.pads) != 2*dims || slices.ContainsFunc(sizes, func(v int) bool { return v < 1 || v > maxWindow }) {
		return w, backends.Errorf(backends.ErrInvalid, "kernel_shape %v, strides %v, dilations %v and pads %v", w.kernel, w.strides, w.dilations, w.pads)
	}
	if slices.ContainsFunc(w.pads, func(v int) bool { return v < 0 || v > maxWindow }) {
		return w, n.unsupported("pads %v", w.pads)
	}
	switch w.auto {
	case "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
		return w, nil
	}
	return w, n.unsupported("auto_pad %q", w.auto)
}

// maxWindow bounds all sizes of a window, so that sums and products of them are numbers.
const maxWindow = 1 << 24

func orOnes(v []int, n int) []int {
	if v != nil {
		return v
	}
	v = make([]int, n)
	fill(v, 1)
	return v
}

// fit returns the pads and the number of positions of w on the planes of a tensor of the
// given shape. It refuses planes that padding makes larger than a value may be.
func (w window) fit(r *run, shape []int) (pads, out []int, err error) {
	size := shape[min(2, len(shape)):]
	dims := len(w.kernel)
	if len(size) != dims {
		return nil, nil, backends.Errorf(backends.ErrInvalid, "a kernel of shape %v on planes of shape %v", w.kernel, size)
	}
	pads, out = r.ints(len(w.pads)), r.ints(dims)
	if w.auto != "VALID" {
		copy(pads, w.pads)
	}
	padded := r.list(shape...)
	for d, n := range size {
		extent := (w.kernel[d]-1)*w.dilations[d] + 1
		if w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER" {
			positions := (n + w.strides[d] - 1) / w.strides[d]
			all := max(0, (positions-1)*w.strides[d]+extent-n)
			pads[d], pads[dims+d] = all/2, all-all/2
			if w.auto == "SAME_LOWER" {
				pads[d], pads[dims+d] = all-all/2, all/2
			}
		}
		padded[2+d] += pads[d] + pads[dims+d] + w.strides[d]
		out[d] = w.positions(d, n+pads[d]+pads[dims+d]-extent, n+pads[d])
		if out[d] <= 0 {
			return nil, nil, backends.Errorf(backends.ErrInvalid, "a kernel of shape %v with dilations %v is larger than the padded planes of shape %v", w.kernel, w.dilations, size)
		}
	}
	if n := product(padded); n < 0 || n > r.limit/8 {
		return nil, nil, backends.Errorf(backends.ErrInvalid, "planes of shape %v with pads %v are larger than the %d bytes that a value may have", size, pads, r.limit)
	}
	return pads, out, nil
}

// fixedPads returns the pads as far as they do not depend on the size of the planes.
func (w window) fixedPads() []int {
	if w.auto == "VALID" {
		return make([]int, len(w.pads))
	}
	return slices.Clone(w.pads)
}

// positions counts the positions in dimension d, with room to move by. In ceil mode the last
// may reach over the end but must start before it.
func (w window) positions(d, room, end int) int {
	if room < 0 {
		return 0
	}
	n := room/w.strides[d] + 1
	if w.ceil && room%w.strides[d] != 0 && n*w.strides[d] < end {
		n++
	}
	return n
}
