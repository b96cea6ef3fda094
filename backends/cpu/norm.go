package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// scaleShift multiplies each plane of x with its channel's scale and adds the shift. Channels
// are dimension 1.
func scaleShift(r *run, y, x *tensor, scale, shift []float32) error {
	if err := r.makeTensor(y, x.dtype, x.shape); err != nil {
		return err
	}
	channels := len(scale)
	plane := product(x.shape) / max(1, channels*x.shape[0])
	dst, src := view[float32](y), view[float32](x)
	r.forRows(x.shape[0]*channels, plane, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			a, b := scale[i%channels], shift[i%channels]
			to := dst[i*plane : (i+1)*plane]
			for j, v := range src[i*plane : (i+1)*plane] {
				to[j] = v*a + b
			}
		}
	})
	return nil
}

func checkChannels(x *tensor, perChannel ...*tensor) error {
	if x.rank() < 2 {
		return backends.Errorf(backends.ErrInvalid, "an input of shape %v has no channels", x.shape)
	}
	for _, t := range perChannel {
		if t.len() != x.shape[1] {
			return backends.Errorf(backends.ErrInvalid, "%d values for the %d channels of shape %v", t.len(), x.shape[1], x.shape)
		}
	}
	return nil
}

// buildBatchNormalization builds the operator as inference means it, with given statistics.
func buildBatchNormalization(n *node) (kernel, error) {
	if n.int("training_mode", 0) != 0 {
		return nil, n.unsupported("training_mode")
	}
	for i := range 5 {
		if n.input(i) != backends.FP32 {
			return nil, n.unsupported("an input of %v", n.input(i))
		}
	}
	epsilon := n.float("epsilon", 1e-5)
	return func(r *run, in, out []*tensor) error {
		if in[0].rank() == 1 {
			return backends.Errorf(backends.ErrInvalid, "an input of shape %v has no channels", in[0].shape)
		}
		if err := checkChannels(in[0], in[1:5]...); err != nil {
			return err
		}
		scale, shift := normalisation(view[float32](in[1]), view[float32](in[2]), view[float32](in[3]), view[float32](in[4]), epsilon)
		return scaleShift(r, out[0], in[0], scale, shift)
	}, nil
}

// normalisation returns the factors and terms that a batch normalisation comes to.
func normalisation(gamma, beta, mean, variance []float32, epsilon float32) (scale, shift []float32) {
	scale, shift = make([]float32, len(gamma)), make([]float32, len(gamma))
	for c := range gamma {
		s := float64(gamma[c]) / math.Sqrt(float64(variance[c])+float64(epsilon))
		scale[c], shift[c] = float32(s), float32(float64(beta[c])-s*float64(mean[c]))
	}
	return scale, shift
}

// buildInstanceNormalization normalises each plane by itself.
func buildInstanceNormalization(n *node) (kernel, error) {
	return groupNormalization(n, func(channels int) int { return channels }, true)
}

// buildGroupNormalization normalises groups of planes together. Before opset 21 scale and
// bias had one value per group.
func buildGroupNormalization(n *node) (kernel, error) {
	groups := n.int("num_groups", 0)
	return groupNormalization(n, func(int) int { return groups }, n.Opset >= 21)
}

func groupNormalization(n *node, groupsOf func(channels int) int, perChannel bool) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	epsilon := n.float("epsilon", 1e-5)
	return func(r *run, in, out []*tensor) error {
		x := in[0]
		if err := checkChannels(x); err != nil {
			return err
		}
		channels := x.shape[1]
		groups := groupsOf(channels)
		values := groups
		if perChannel {
			values = channels
		}
		if groups < 1 && channels > 0 || groups > 0 && channels%groups != 0 || in[1].len() != values || in[2].len() != values {
			return backends.Errorf(backends.ErrInvalid, "%d groups, %d scales and %d biases for %d channels", groups, in[1].len(), in[2].len(), channels)
		}
		if err := r.makeTensor(out[0], x.dtype, x.shape); err != nil || x.len() == 0 {
			return err
		}
		g := groupNorm{
			size: channels / groups, plane: product(x.shape[2:]), channels: channels, perScale: channels / values,
			scale: view[float32](in[1]), bias: view[float32](in[2]), epsilon: epsilon,
		}
		dst, src := view[float32](out[0]), view[float32](x)
		r.forRows(x.shape[0]*groups, g.size*g.plane, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				g.normalise(dst, src, i)
			}
		})
		return nil
	}, nil
}

// groupNorm normalises groups of size planes.
type groupNorm struct {
	size, plane, channels int
	perScale              int // channels that share a scale
	scale, bias           []float32
	epsilon               float32
}

func (g *groupNorm) normalise(dst, src []float32, group int) {
	from := group * g.size * g.plane
	values := src[from : from+g.size*g.plane]
	mean, deviation := moments(values)
	inverse := 1 / math.Sqrt(deviation+float64(g.epsilon))
	for c := range g.size {
		channel := (group*g.size + c) % g.channels / g.perScale
		a := inverse * float64(g.scale[channel])
		b := float64(g.bias[channel]) - a*mean
		to := dst[from+c*g.plane : from+(c+1)*g.plane]
		for i, v := range values[c*g.plane : (c+1)*g.plane] {
			to[i] = float32(a*float64(v) + b)
		}
	}
}

// moments returns mean and variance.
func moments(values []float32) (mean, variance float64) {
	for _, v := range values {
		mean += float64(v)
	}
	mean /= float64(len(values))
	for _, v := range values {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / float64(len(values))
}

// buildLayerNormalization builds LayerNormalization and RMSNormalization: rows, which are all
// dimensions from an axis on, are normalised by themselves.
func buildLayerNormalization(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.input(1) != backends.FP32 {
		return nil, n.unsupported("inputs of %v and %v", n.input(0), n.input(1))
	}
	rms := n.Op == "RMSNormalization"
	at, epsilon := n.int("axis", -1), n.float("epsilon", 1e-5)
	return func(r *run, in, out []*tensor) error {
		a, err := axis(at, in[0].rank())
		if err != nil {
			return err
		}
		norm := kernels.Norm{Epsilon: epsilon}
		if norm.Scale, err = r.stretchedTo(in, 1, in[0].shape[a:]); err != nil {
			return err
		}
		if norm.Bias, err = r.stretchedTo(in, 2, in[0].shape[a:]); err != nil {
			return err
		}
		if err := r.makeTensor(out[0], in[0].dtype, in[0].shape); err != nil {
			return err
		}
		t := normed{view[float32](out[0]), view[float32](in[0]), norm, kernels.LayerNorm}
		if rms {
			t.f = kernels.RMSNorm
		}
		if width := len(norm.Scale); len(t.dst) > 0 {
			split(r, len(t.dst)/width, rowGrain(width), t)
		}
		return writeMoments(r, in[0], out, a, epsilon)
	}, nil
}

// normed is what a normalisation of rows works on.
type normed struct {
	dst, src []float32
	kernels.Norm
	f func(dst, src []float32, n kernels.Norm)
}

func (t *normed) run(lo, hi int) {
	width := len(t.Scale)
	t.f(t.dst[lo*width:hi*width], t.src[lo*width:hi*width], t.Norm)
}

// stretchedTo returns input i as values of the given shape, or nil if it is left out.
func (r *run) stretchedTo(in []*tensor, i int, shape []int) ([]float32, error) {
	if i >= len(in) || in[i] == nil {
		return nil, nil
	}
	t := in[i]
	if slices.Equal(t.shape, shape) {
		return view[float32](t), nil
	}
	if s, err := broadcast(t.shape, shape); err != nil || !slices.Equal(s, shape) {
		return nil, backends.Errorf(backends.ErrInvalid, "scale or bias of shape %v for rows of shape %v", t.shape, shape)
	}
	all := make([]float32, product(shape))
	o := newOdometer(shape, strides(shape), stretched(t.shape, shape), make([]int, len(shape)))
	pairs(r, &o, pair[float32, float32]{f: addLoop[float32], dst: all, a: view[float32](t), b: []float32{0}})
	return all, nil
}

// writeMoments fills the second and third output of a layer normalisation: mean and inverse
// deviation of the rows.
func writeMoments(r *run, x *tensor, out []*tensor, a int, epsilon float32) error {
	if len(out) < 2 {
		return nil
	}
	shape := slices.Clone(x.shape)
	fill(shape[a:], 1)
	means, inverses := orScratch(r, out, 1), orScratch(r, out, 2)
	for _, t := range []*tensor{means, inverses} {
		if err := r.makeTensor(t, backends.FP32, shape); err != nil {
			return err
		}
	}
	src, width := view[float32](x), product(x.shape[a:])
	for i := range view[float32](means) {
		mean, variance := moments(src[i*width : (i+1)*width])
		view[float32](means)[i] = float32(mean)
		view[float32](inverses)[i] = float32(1 / math.Sqrt(variance+float64(epsilon)))
	}
	return nil
}

// buildLpNormalization builds the division of lines by their norm; a line of zeros stays.
func buildLpNormalization(n *node) (kernel, error) {
	p := n.int("p", 2)
	if n.input(0) != backends.FP32 || p != 1 && p != 2 {
		return nil, n.unsupported("an input of %v with p=%d", n.input(0), p)
	}
	return alongAxis(n.int("axis", -1), false, func(dst, src []float32, cols int) {
		for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
			sum := 0.0
			for _, v := range src[:cols] {
				sum += math.Pow(math.Abs(float64(v)), float64(p))
			}
			if p == 2 {
				sum = math.Sqrt(sum)
			}
			for i, v := range src[:cols] {
				if dst[i] = 0; sum != 0 {
					dst[i] = float32(float64(v) / sum)
				}
			}
		}
	}), nil
}

// buildMeanVarianceNormalization normalises what lies along some axes together.
func buildMeanVarianceNormalization(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	axes := n.ints("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	return func(r *run, in, out []*tensor) error {
		s, err := r.reductionOf(in[0].shape, axes, true)
		if err != nil {
			return err
		}
		rows, done := r.scratch(), r.scratch()
		if err := r.transpose(rows, in[0], s.perm); err != nil {
			return err
		}
		if err := r.makeTensor(done, backends.FP32, rows.shape); err != nil {
			return err
		}
		src, dst := view[float32](rows), view[float32](done)
		for from := 0; from < len(src); from += s.width {
			mean, variance := moments(src[from : from+s.width])
			for i, v := range src[from : from+s.width] {
				dst[from+i] = float32((float64(v) - mean) / (math.Sqrt(variance) + 1e-9))
			}
		}
		return r.transpose(out[0], done, inverse(s.perm))
	}, nil
}

// buildLRN builds the local response normalisation across channels.
func buildLRN(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	l := lrn{size: n.int("size", 1), alpha: float64(n.float("alpha", 0.0001)), beta: float64(n.float("beta", 0.75)), bias: float64(n.float("bias", 1))}
	return func(r *run, in, out []*tensor) error {
		if err := checkChannels(in[0]); err != nil {
			return err
		}
		if err := r.makeTensor(out[0], in[0].dtype, in[0].shape); err != nil {
			return err
		}
		channels, plane := in[0].shape[1], product(in[0].shape[2:])
		dst, src := view[float32](out[0]), view[float32](in[0])
		for i := range in[0].shape[0] {
			l.image(dst[i*channels*plane:][:channels*plane], src[i*channels*plane:][:channels*plane], channels)
		}
		return nil
	}, nil
}

type lrn struct {
	size              int
	alpha, beta, bias float64
}

func (l lrn) image(dst, src []float32, channels int) {
	plane := len(src) / max(1, channels)
	for c := range channels {
		lo, hi := max(0, c-(l.size-1)/2), min(channels, c+l.size/2+1)
		for i := range plane {
			sum := 0.0
			for k := lo; k < hi; k++ {
				sum += square(float64(src[k*plane+i]))
			}
			dst[c*plane+i] = float32(float64(src[c*plane+i]) / math.Pow(l.bias+l.alpha/float64(l.size)*sum, l.beta))
		}
	}
}
