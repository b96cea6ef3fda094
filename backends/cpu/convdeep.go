package cpu

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// deepConvolution computes a convolution over three and more dimensions as one over planes, the last
// two: each place of the kernel in the dimensions before makes a channel of every channel.
type deepConvolution struct {
	convolution
	flat    convolution         // over planes
	packed  *kernels.PackedConv // nil where the pads depend on the size of the input, or the weights on the run
	weights *tensor             // constant ones that are not packed
}

// buildDeepConv builds convolutions over three and more dimensions.
func buildDeepConv(n *node, c convolution) (kernel, error) {
	if product(c.shape) == 0 {
		return c.lattice, nil
	}
	c.precision = n.engine.precision.ofWeights()
	d := deepConvolution{convolution: c, flat: c}
	outer := len(c.shape) - 4
	d.flat.shape = []int{c.shape[0], c.shape[1] * product(c.shape[2:2+outer]), c.shape[2+outer], c.shape[3+outer]}
	d.flat.window = c.window.dimensions(outer, outer+2)
	w := n.take(1)
	if w != nil && (c.window.auto == "NOTSET" || c.window.auto == "VALID") {
		place := n.engine.keep(fmt.Sprint("Conv", c.shape, c.groups, c.precision), w.raw)
		d.packed = d.pack(w, c.window.fixedPads(), place)
	} else if w != nil {
		d.weights = n.engine.kept(w)
	}
	return d.kernel, nil
}

// dimensions returns w as it moves over some of its dimensions.
func (w window) dimensions(lo, hi int) window {
	dims := len(w.kernel)
	return window{
		kernel: w.kernel[lo:hi], strides: w.strides[lo:hi], dilations: w.dilations[lo:hi], auto: w.auto, ceil: w.ceil,
		pads: slices.Concat(w.pads[lo:hi], w.pads[dims+lo:dims+hi]),
	}
}

// pack packs weights for certain pads.
func (d deepConvolution) pack(w *tensor, pads []int, m kernels.Memory) *kernels.PackedConv {
	flat := &tensor{dtype: w.dtype, shape: d.flat.shape, raw: w.raw}
	dims := len(pads) / 2
	return d.flat.pack(flat, slices.Concat(pads[dims-2:dims], pads[2*dims-2:]), m)
}

func (d deepConvolution) kernel(r *run, in, out []*tensor) error {
	pads, size, err := d.fit(r, in)
	if err != nil {
		return err
	}
	packed := d.packed
	if packed == nil {
		w := d.weights
		if w == nil {
			w = in[1]
		}
		if !slices.Equal(w.shape, d.shape) {
			return backends.Errorf(backends.ErrInvalid, "weights of shape %v where the model says %v", w.shape, d.shape)
		}
		packed = d.pack(w, pads, nil)
	}
	x, y := in[0], out[0]
	if err := r.makeTensor(y, x.dtype, slices.Concat([]int{x.shape[0], d.shape[0]}, size)); err != nil {
		return err
	}
	if len(y.raw) == 0 {
		return nil
	}
	if err := d.convolve(r, in, y, packed, d.places(pads, x.shape[2:], size)); err != nil {
		return err
	}
	return d.finish(in, y)
}

// places returns which plane of a channel of x each place of the kernel is over, -1 in the padding,
// for one plane of a channel of y after the other.
func (d deepConvolution) places(pads, in, out []int) []int {
	dims := len(in)
	outer := dims - 2
	w := d.window.dimensions(0, outer)
	l := w.lattice(slices.Concat(pads[:outer], pads[dims:dims+outer]), in[:outer], out[:outer])
	taps := product(w.kernel)
	all := make([]int, product(out[:outer])*taps)
	fill(all, -1)
	for o := 0; o < len(all); o += taps {
		l.each(o/taps, func(tap, at int) { all[o+tap] = at })
	}
	return all
}

// deepBytes is how much is laid out for the kernel for planes at a time.
const deepBytes = 32 << 20

// convolve computes y but for what finish does.
func (d deepConvolution) convolve(r *run, in []*tensor, y *tensor, packed *kernels.PackedConv, places []int) error {
	x, from, to := in[0], r.scratch(), r.scratch()
	planes := product(y.shape[2 : len(y.shape)-2]) // of a channel of y
	count, channels := x.shape[0]*planes, packed.Conv().Channels
	in2, out2 := x.shape[len(x.shape)-2:], y.shape[len(y.shape)-2:]
	each := min(count, max(1, deepBytes/(4*max(1, channels*product(in2)))))
	if err := r.makeTensor(from, x.dtype, []int{each, channels, in2[0], in2[1]}); err != nil {
		return err
	}
	if err := r.makeTensor(to, x.dtype, []int{each, d.shape[0], out2[0], out2[1]}); err != nil {
		return err
	}
	var ep kernels.Epilogue
	if len(in) > 2 && in[2] != nil {
		ep.RowBias = view[float32](in[2])
	}
	for first := 0; first < count; first += each {
		from.shape[0], to.shape[0] = min(each, count-first), min(each, count-first)
		layOutPlanes(r, from, x, first*channels, places)
		kernels.Conv2D(r.engine.pool, packed, images(from), images(to), ep)
		d.spreadPlanes(r, y, to, first)
	}
	return nil
}

// layOutPlanes fills from with the planes that the kernel is over, from the given one on: for each plane
// of y, channel and place of the kernel there is one, of zeros in the padding.
func layOutPlanes(r *run, from, x *tensor, first int, places []int) {
	channels := x.shape[1]
	area, deep := product(from.shape[2:]), product(x.shape[2:])
	taps := from.shape[1] / channels
	planes := len(places) / taps
	dst, src := view[float32](from), view[float32](x)
	r.forRows(from.shape[0]*from.shape[1], area, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			channel, tap := (first+i)/taps, (first+i)%taps
			image := channel / channels
			place := places[image%planes*taps+tap]
			to := dst[i*area : (i+1)*area]
			if place < 0 {
				clear(to)
				continue
			}
			copy(to, src[(image/planes*channels+channel%channels)*deep+place*area:])
		}
	})
}

// spreadPlanes puts what is computed for planes of y, from the given one on, where it belongs.
func (d deepConvolution) spreadPlanes(r *run, y, from *tensor, first int) {
	filters := d.shape[0]
	area, deep := product(from.shape[2:]), product(y.shape[2:])
	dst, src := view[float32](y), view[float32](from)
	planes := deep / area
	r.forRows(from.shape[0]*filters, area, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			image, filter := first+i/filters, i%filters
			copy(dst[(image/planes*filters+filter)*deep+image%planes*area:], src[i*area:(i+1)*area])
		}
	})
}
