package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// lattice is a window on planes of any number of dimensions, for what no kernel is for.
type lattice struct {
	kernel, in, out []int
	sources         [][]int // by dimension: entry o·kernel+k is the input index of tap k at output o, -1 in the padding
	padded          [][]int // by dimension: how many taps at output o lie on the plane or its padding
}

// lattice places w, with these pads, on planes of one size that give planes of another.
func (w window) lattice(pads, in, out []int) lattice {
	l := lattice{kernel: w.kernel, in: in, out: out, sources: make([][]int, len(in)), padded: make([][]int, len(in))}
	for d, n := range in {
		l.sources[d], l.padded[d] = make([]int, 0, out[d]*w.kernel[d]), make([]int, out[d])
		for o := range out[d] {
			for k := range w.kernel[d] {
				at := o*w.strides[d] + k*w.dilations[d] - pads[d]
				if at < n+pads[len(in)+d] {
					l.padded[d][o]++
				}
				if at < 0 || at >= n {
					at = -1
				}
				l.sources[d] = append(l.sources[d], at)
			}
		}
	}
	return l
}

// each calls f for every tap at output element i that is over the plane, with the tap's number
// and the index of the element that it is over.
func (l lattice) each(i int, f func(tap, at int)) { l.visit(0, i, [2]int{}, f) }

func (l lattice) visit(d, i int, place [2]int, f func(tap, at int)) {
	if d == len(l.in) {
		f(place[0], place[1])
		return
	}
	o := i / product(l.out[d+1:]) % l.out[d]
	for k, at := range l.sources[d][o*l.kernel[d] : (o+1)*l.kernel[d]] {
		if at >= 0 {
			l.visit(d+1, i, [2]int{place[0]*l.kernel[d] + k, place[1]*l.in[d] + at}, f)
		}
	}
}

// taps counts the taps at output element i that lie on the plane or its padding.
func (l lattice) taps(i int) int {
	n := 1
	for d := range l.out {
		n *= l.padded[d][i/product(l.out[d+1:])%l.out[d]]
	}
	return n
}

// summary makes one number of those under a window.
type summary func(l lattice, i int, plane []float32) float32

// latticePool builds a pooling over any number of dimensions.
func (w window) latticePool(f summary) kernel {
	return func(r *run, in, out []*tensor) error {
		pads, err := w.makeOutput(r, in[0], out[0])
		if err != nil {
			return err
		}
		x, y := in[0], out[0]
		l := w.lattice(pads, x.shape[2:], y.shape[2:])
		plane, area := product(x.shape[2:]), product(y.shape[2:])
		src, dst := view[float32](x), view[float32](y)
		r.forRows(product(x.shape[:2]), area*product(w.kernel), func(lo, hi int) {
			for p := lo; p < hi; p++ {
				for i := range area {
					dst[p*area+i] = f(l, i, src[p*plane:(p+1)*plane])
				}
			}
		})
		return nil
	}
}

func largestOf(l lattice, i int, plane []float32) float32 {
	top := float32(math.Inf(-1))
	l.each(i, func(_, at int) { top = max(top, plane[at]) })
	return top
}

// averageOf returns the mean under a window, over the padding too if that counts.
func averageOf(countPads bool) summary {
	return func(l lattice, i int, plane []float32) float32 {
		sum, n := 0.0, 0
		l.each(i, func(_, at int) { sum, n = sum+float64(plane[at]), n+1 })
		if countPads {
			n = l.taps(i)
		}
		return float32(sum / float64(n))
	}
}

func normOf(p float64) summary {
	return func(l lattice, i int, plane []float32) float32 {
		sum := 0.0
		l.each(i, func(_, at int) { sum += math.Pow(math.Abs(float64(plane[at])), p) })
		return float32(math.Pow(sum, 1/p))
	}
}

// buildLpPool builds LpPool.
func buildLpPool(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	w, err := windowOf(n, nil)
	if err != nil {
		return nil, err
	}
	p := n.int("p", 2)
	if p < 1 {
		return nil, backends.Errorf(backends.ErrInvalid, "p is %d, it must be at least 1", p)
	}
	return w.latticePool(normOf(float64(p))), nil
}

// lattice computes a convolution over three and more dimensions.
func (c convolution) lattice(r *run, in, out []*tensor) error {
	x, w := in[0], in[1]
	if !slices.Equal(w.shape, c.shape) {
		return backends.Errorf(backends.ErrInvalid, "weights of shape %v where the model says %v", w.shape, c.shape)
	}
	pads, size, err := c.fit(r, in)
	if err != nil {
		return err
	}
	if err := r.makeTensor(out[0], x.dtype, append([]int{x.shape[0], c.shape[0]}, size...)); err != nil {
		return err
	}
	l := c.window.lattice(pads, x.shape[2:], size)
	filters, plane, area, taps := c.shape[0], product(x.shape[2:]), product(size), product(c.shape[2:])
	src, weights, dst := view[float32](x), view[float32](w), view[float32](out[0])
	r.engine.pool.For(x.shape[0]*filters, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			filter := i % filters
			first := i/filters*x.shape[1] + filter/(filters/c.groups)*c.shape[1]
			bias := float32(0)
			if len(in) > 2 && in[2] != nil {
				bias = view[float32](in[2])[filter]
			}
			for at := range area {
				sum := bias
				for channel := range c.shape[1] {
					from, row := src[(first+channel)*plane:], weights[(filter*c.shape[1]+channel)*taps:]
					l.each(at, func(tap, at int) { sum += row[tap] * from[at] })
				}
				dst[i*area+at] = sum
			}
		}
	})
	return c.finish(in, out[0])
}

// finish adds the residual and applies the activation of a convolution that is computed.
func (c convolution) finish(in []*tensor, y *tensor) error {
	dst := view[float32](y)
	if c.residual {
		added := in[len(in)-1]
		if !slices.Equal(added.shape, y.shape) {
			return backends.Errorf(backends.ErrInvalid, "a sum of shapes %v and %v", y.shape, added.shape)
		}
		addLoop(dst, dst, view[float32](added))
	}
	if c.activation.Function != kernels.None {
		kernels.Apply(dst, dst, c.activation)
	}
	return nil
}

// lattice computes the transposed convolution over three and more dimensions into out, which
// has what it starts with.
func (s spreading) lattice(r *run, x, w, y *tensor, pads []int) {
	// The places that an input element spreads to are those that a window over the output reads.
	l := s.window.lattice(pads, y.shape[2:], x.shape[2:])
	plane, area, taps := product(x.shape[2:]), product(y.shape[2:]), product(w.shape[2:])
	src, weights, dst := view[float32](x), view[float32](w), view[float32](y)
	perGroup, channels := y.shape[1]/s.groups, x.shape[1]/s.groups
	r.engine.pool.For(y.shape[0]*y.shape[1], 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			image, filter := i/y.shape[1], i%y.shape[1]
			to := dst[i*area : (i+1)*area]
			for c := range channels {
				channel := filter/perGroup*channels + c
				row := weights[(channel*perGroup+filter%perGroup)*taps:]
				for at, v := range src[(image*x.shape[1]+channel)*plane:][:plane] {
					l.each(at, func(tap, place int) { to[place] += v * row[tap] })
				}
			}
		}
	})
}
