package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildConvTranspose builds the gradient of a convolution: each input element adds its
// weights, times itself, to the output.
func buildConvTranspose(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("inputs of %v", n.input(0))
	}
	shape, err := weightShape(n)
	if err != nil {
		return nil, err
	}
	w, err := windowOf(n, shape[2:])
	if err != nil {
		return nil, err
	}
	t := spreading{window: w, groups: n.int("group", 1), extra: n.ints("output_padding"), wanted: n.ints("output_shape")}
	if t.extra == nil {
		t.extra = make([]int, len(w.kernel))
	}
	if len(t.extra) != len(w.kernel) || slices.ContainsFunc(t.extra, negative) || t.wanted != nil && len(t.wanted) != len(w.kernel) || t.groups < 1 {
		return nil, backends.Errorf(backends.ErrInvalid, "output_padding %v and output_shape %v for a kernel of shape %v", t.extra, t.wanted, w.kernel)
	}
	return t.kernel, nil
}

// spreading is a ConvTranspose.
type spreading struct {
	window window
	groups int
	extra  []int // output_padding
	wanted []int // output_shape
}

func (s spreading) kernel(r *run, in, out []*tensor) error {
	x, w := in[0], in[1]
	if x.rank() != w.rank() || x.shape[1] != w.shape[0] || x.shape[1]%s.groups != 0 {
		return backends.Errorf(backends.ErrInvalid, "an input of shape %v for weights of shape %v in %d groups", x.shape, w.shape, s.groups)
	}
	filters := w.shape[1] * s.groups
	pads, size := s.fit(x.shape[2:])
	if slices.ContainsFunc(size, negative) {
		return backends.Errorf(backends.ErrInvalid, "pads %v larger than the output", pads)
	}
	if err := r.makeTensor(out[0], x.dtype, append([]int{x.shape[0], filters}, size...)); err != nil {
		return err
	}
	if len(in) > 2 && in[2] != nil {
		if in[2].len() != filters {
			return backends.Errorf(backends.ErrInvalid, "a bias of shape %v for %d filters", in[2].shape, filters)
		}
		startWith(out[0], view[float32](in[2]))
	} else {
		clear(out[0].raw)
	}
	if x.rank() > 4 {
		s.lattice(r, x, w, out[0], pads)
		return nil
	}
	y, plane := images(out[0]), s.window.plane(pads)
	r.engine.pool.For(x.shape[0]*filters, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			s.spread(images(x), y, view[float32](w), plane, i)
		}
	})
	return nil
}

// startWith fills each plane with its bias.
func startWith(y *tensor, bias []float32) {
	plane := product(y.shape[2:])
	for i := range y.shape[0] * y.shape[1] {
		fill(view[float32](y)[i*plane:(i+1)*plane], bias[i%y.shape[1]])
	}
}

// fit returns the pads and the size of the output planes.
func (s spreading) fit(size []int) (pads, out []int) {
	w, dims := s.window, len(size)
	pads, out = slices.Clone(w.pads), make([]int, dims)
	for d, n := range size {
		full := (n-1)*w.strides[d] + (w.kernel[d]-1)*w.dilations[d] + 1 + s.extra[d]
		if s.wanted == nil && (w.auto == "NOTSET" || w.auto == "VALID") {
			out[d] = full - pads[d] - pads[dims+d]
			continue
		}
		out[d] = n * w.strides[d]
		if s.wanted != nil {
			out[d] = s.wanted[d]
		}
		cut := max(0, full-out[d])
		pads[d], pads[dims+d] = cut/2, cut-cut/2
		if w.auto == "SAME_LOWER" || s.wanted != nil && w.auto != "SAME_UPPER" {
			pads[d], pads[dims+d] = cut-cut/2, cut/2
		}
	}
	return pads, out
}

// spread computes plane i of y, counted through all images.
func (s spreading) spread(x, y kernels.Images, weights []float32, w kernels.Window, i int) {
	image, filter := i/y.C, i%y.C
	perGroup := y.C / s.groups
	channels := x.C / s.groups
	taps := w.Kernel[0] * w.Kernel[1]
	dst := y.Data[i*y.H*y.W : (i+1)*y.H*y.W]
	for c := range channels {
		channel := filter/perGroup*channels + c
		src := x.Data[(image*x.C+channel)*x.H*x.W:][:x.H*x.W]
		taps := weights[(channel*perGroup+filter%perGroup)*taps:][:taps]
		for tap, v := range taps {
			top := tap/w.Kernel[1]*w.Dilation[0] - w.Pads[0]
			left := tap%w.Kernel[1]*w.Dilation[1] - w.Pads[1]
			for row := range x.H {
				at := row*w.Stride[0] + top
				if at >= 0 && at < y.H {
					spreadRow(dst[at*y.W:][:y.W], src[row*x.W:][:x.W], v, left, w.Stride[1])
				}
			}
		}
	}
}

// spreadRow adds v times src[i] to dst[left + i*stride], where there is such a place.
func spreadRow(dst, src []float32, v float32, left, stride int) {
	for i, x := range src {
		if at := left + i*stride; at >= 0 && at < len(dst) {
			dst[at] += v * x
		}
	}
}
