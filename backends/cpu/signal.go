package cpu

import (
	"math"
	"math/cmplx"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// maxTransform bounds the length of a transform.
const maxTransform = 1 << 24

// buildDFT builds the discrete Fourier transform along an axis.
func buildDFT(n *node) (kernel, error) {
	if d := n.input(0); d != backends.FP32 {
		return nil, n.unsupported("an input of %v", d)
	}
	d := dft{inverse: n.int("inverse", 0) != 0, onesided: n.int("onesided", 0) != 0, length: n.list("", 1), axis: n.list("", 2)}
	if n.Opset < 20 {
		at := []int{n.int("axis", 1)}
		d.axis = func([]*tensor) ([]int, error) { return at, nil }
	} else if !n.given(2) {
		d.axis = func([]*tensor) ([]int, error) { return []int{-2}, nil }
	}
	return d.kernel, nil
}

type dft struct {
	inverse, onesided bool
	length, axis      list
}

func (d dft) kernel(r *run, in, out []*tensor) error {
	x := in[0]
	at, err := d.axis(in)
	if err != nil {
		return err
	}
	parts := 0
	if x.rank() > 1 {
		parts = x.shape[x.rank()-1]
	}
	if len(at) != 1 || parts < 1 || parts > 2 || d.onesided && (d.inverse == (parts == 1)) {
		return backends.Errorf(backends.ErrInvalid, "a transform of shape %v along axes %v, inverse %v, onesided %v", x.shape, at, d.inverse, d.onesided)
	}
	a, err := axis(at[0], x.rank())
	if err != nil {
		return err
	}
	if a == x.rank()-1 {
		return backends.Errorf(backends.ErrInvalid, "a transform along axis %d, which has the parts of numbers", a)
	}
	n := x.shape[a]
	if d.inverse && d.onesided {
		n = 2 * (n - 1)
	}
	if given, err := d.length(in); err != nil {
		return err
	} else if len(given) == 1 {
		n = given[0]
	}
	if n < 1 || n > maxTransform {
		return backends.Errorf(backends.ErrInvalid, "a transform of %d elements", n)
	}
	shape := slices.Clone(x.shape)
	shape[a], shape[x.rank()-1] = n, 2
	switch {
	case d.onesided && d.inverse:
		shape[x.rank()-1] = 1
	case d.onesided:
		shape[a] = n/2 + 1
	}
	if err := r.makeTensor(out[0], x.dtype, shape); err != nil {
		return err
	}
	return d.lines(r, out[0], x, a, newTransform(n))
}

// lines transforms each line along axis a.
func (d dft) lines(r *run, y, x *tensor, a int, t *transform) error {
	inner := product(x.shape[a+1 : x.rank()-1])
	from := signalLine{view[float32](x), inner, x.shape[x.rank()-1], x.shape[a]}
	to := signalLine{view[float32](y), inner, y.shape[y.rank()-1], y.shape[a]}
	values := make([]complex128, t.n)
	for o := range product(x.shape[:a]) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		for i := range inner {
			clear(values)
			for k := range min(from.n, t.n) {
				values[k] = from.at(o, k, i)
			}
			if d.inverse {
				if d.onesided {
					mirror(values, min(from.n, t.n/2+1))
				}
				t.inverse(values)
			} else {
				t.forward(values)
			}
			for k := range to.n {
				to.set(o, k, i, values[k])
			}
		}
	}
	return nil
}

// mirror fills the part of a transform of real numbers that its first elements tell.
func mirror(values []complex128, given int) {
	clear(values[given:])
	for k := 1; 2*k < len(values); k++ {
		values[len(values)-k] = cmplx.Conj(values[k])
	}
}

// signalLine addresses complex numbers, or real ones where there is one part, along an axis.
type signalLine struct {
	data            []float32
	inner, parts, n int
}

func (l signalLine) at(o, k, i int) complex128 {
	p := l.data[((o*l.n+k)*l.inner+i)*l.parts:]
	if l.parts == 1 {
		return complex(float64(p[0]), 0)
	}
	return complex(float64(p[0]), float64(p[1]))
}

func (l signalLine) set(o, k, i int, v complex128) {
	p := l.data[((o*l.n+k)*l.inner+i)*l.parts:]
	p[0] = float32(real(v))
	if l.parts == 2 {
		p[1] = float32(imag(v))
	}
}

// buildSTFT builds the transforms of overlapping frames of a signal.
func buildSTFT(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.given(2) && n.input(2) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	s := stft{onesided: n.int("onesided", 1) != 0, step: n.list("", 1), length: n.list("", 3)}
	return s.kernel, nil
}

type stft struct {
	onesided     bool
	step, length list
}

func (s stft) kernel(r *run, in, out []*tensor) error {
	x := in[0]
	if x.rank() == 2 {
		x = &tensor{dtype: x.dtype, shape: append(slices.Clone(x.shape), 1), raw: x.raw}
	}
	if x.rank() != 3 || x.shape[2] < 1 || x.shape[2] > 2 || s.onesided && x.shape[2] != 1 {
		return backends.Errorf(backends.ErrInvalid, "a signal of shape %v, onesided %v", in[0].shape, s.onesided)
	}
	step, n, window, err := s.frames(in, x)
	if err != nil {
		return err
	}
	count, bins := (x.shape[1]-n)/step+1, n
	if s.onesided {
		bins = n/2 + 1
	}
	if err := r.makeTensor(out[0], x.dtype, []int{x.shape[0], count, bins, 2}); err != nil {
		return err
	}
	from := signalLine{view[float32](x), 1, x.shape[2], x.shape[1]}
	to := signalLine{view[float32](out[0]), 1, 2, bins}
	t, values := newTransform(n), make([]complex128, n)
	for i := range x.shape[0] * count {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		for k := range values {
			values[k] = from.at(i/count, i%count*step+k, 0)
			if window != nil {
				values[k] *= complex(float64(window[k]), 0)
			}
		}
		t.forward(values)
		for k := range bins {
			to.set(i, k, 0, values[k])
		}
	}
	return nil
}

// frames returns how far apart frames are, their length, and what to weigh their elements with.
func (s stft) frames(in []*tensor, x *tensor) (step, n int, window []float32, err error) {
	steps, err := s.step(in)
	if err != nil {
		return 0, 0, nil, err
	}
	lengths, err := s.length(in)
	if err != nil {
		return 0, 0, nil, err
	}
	n = x.shape[1]
	if len(in) > 2 && in[2] != nil {
		window = view[float32](in[2])
		n = len(window)
	}
	if len(lengths) == 1 {
		n = lengths[0]
	}
	if len(steps) != 1 || steps[0] < 1 || n < 1 || n > min(x.shape[1], maxTransform) || window != nil && len(window) != n {
		return 0, 0, nil, backends.Errorf(backends.ErrInvalid, "frames of %d elements, each %v after the last, of a signal of %d, and a window of %d", n, steps, x.shape[1], len(window))
	}
	return steps[0], n, window, nil
}

// buildWindowFunction builds BlackmanWindow, HammingWindow and HannWindow: cosines weighed.
func buildWindowFunction(n *node) (kernel, error) {
	weights := map[string][3]float64{
		"BlackmanWindow": {0.42, 0.5, 0.08}, "HammingWindow": {25.0 / 46, 21.0 / 46, 0}, "HannWindow": {0.5, 0.5, 0},
	}[n.Op]
	periodic, size := n.int("periodic", 1) != 0, n.list("", 0)
	cast, err := converter(n, backends.FP64, n.output(0))
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		sizes, err := size(in)
		if err != nil {
			return err
		}
		if len(sizes) != 1 {
			return backends.Errorf(backends.ErrInvalid, "a size of shape %v, not of one element", in[0].shape)
		}
		exact := r.scratch()
		if err := r.makeTensor(exact, backends.FP64, sizes); err != nil {
			return err
		}
		period := float64(sizes[0])
		if !periodic {
			period = max(1, period-1)
		}
		for i := range sizes[0] {
			at := 2 * math.Pi * float64(i) / period
			view[float64](exact)[i] = weights[0] - weights[1]*math.Cos(at) + weights[2]*math.Cos(2*at)
		}
		return cast(r, []*tensor{exact}, out)
	}, nil
}

// buildMelWeightMatrix builds the weights that sum up a spectrum into bands of the mel scale.
func buildMelWeightMatrix(n *node) (kernel, error) {
	var casts [5]kernel
	for i := range casts {
		var err error
		if casts[i], err = converter(n, n.input(i), backends.FP64); err != nil {
			return nil, err
		}
	}
	cast, err := converter(n, backends.FP64, n.output(0))
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		var args [5]float64
		for i, t := range in {
			real := r.scratch()
			if err := casts[i](r, in[i:i+1], []*tensor{real}); err != nil {
				return err
			}
			if real.len() != 1 {
				return backends.Errorf(backends.ErrInvalid, "input %d of shape %v, not of one element", i, t.shape)
			}
			args[i] = view[float64](real)[0]
		}
		m := melScale{bands: int(args[0]), length: int(args[1]), rate: args[2], low: args[3], high: args[4]}
		if !(args[0] >= 1) || !(args[1] >= 1) || args[0] > maxTransform || args[1] > maxTransform || !(m.rate > 0) || !(m.low >= 0) || !(m.high >= m.low) || m.high > m.rate {
			return backends.Errorf(backends.ErrInvalid, "%v bands of %v elements at a rate of %v from %v to %v", args[0], args[1], m.rate, m.low, m.high)
		}
		exact := r.scratch()
		if err := r.makeTensor(exact, backends.FP64, []int{m.length/2 + 1, m.bands}); err != nil {
			return err
		}
		clear(exact.raw)
		m.fill(view[float64](exact))
		return cast(r, []*tensor{exact}, out)
	}, nil
}

type melScale struct {
	bands, length   int
	rate, low, high float64
}

// edges returns the elements of the spectrum at which bands begin, peak and end.
func (m melScale) edges() []int {
	mel := func(hertz float64) float64 { return 2595 * math.Log10(1+hertz/700) }
	hertz := func(mel float64) float64 { return 700 * (math.Pow(10, mel/2595) - 1) }
	all := make([]int, m.bands+2)
	step := (mel(m.high) - mel(m.low)) / float64(len(all))
	for i := range all {
		at := hertz(mel(m.low) + float64(i)*step)
		all[i] = int(math.Floor(float64(m.length+1) * at / m.rate))
	}
	return all
}

func (m melScale) fill(weights []float64) {
	edges := m.edges()
	set := func(bin, band int, v float64) {
		if at := bin*m.bands + band; at < len(weights) {
			weights[at] = v
		}
	}
	for band := range m.bands {
		low, peak, high := edges[band], edges[band+1], edges[band+2]
		if low == peak {
			set(peak, band, 1)
		}
		for bin := low; bin <= peak && low < peak; bin++ {
			set(bin, band, float64(bin-low)/float64(peak-low))
		}
		for bin := peak; bin < high; bin++ {
			set(bin, band, float64(high-bin)/float64(high-peak))
		}
	}
}
