package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildResize builds Resize and Upsample by the nearest element, linear or cubic interpolation.
func buildResize(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 && n.string("mode", "nearest") != "nearest" {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	s, err := resizingOf(n)
	if err != nil {
		return nil, err
	}
	near := byWidth(n.input(0), padded[uint8], padded[uint16], padded[uint32], padded[uint64], padded[string])
	beyond := &tensor{dtype: n.input(0), raw: make([]byte, 8), strings: []string{""}}
	if n.input(0) == backends.FP32 {
		view[float32](beyond)[0] = s.beyond
	} else if s.beyond != 0 {
		return nil, n.unsupported("an extrapolation_value of %v for an input of %v", s.beyond, n.input(0))
	}
	return func(r *run, in, out []*tensor) error {
		shape, scales, err := s.target(in)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], in[0].dtype, shape); err != nil || out[0].len() == 0 {
			return err
		}
		if in[0].len() == 0 {
			return backends.Errorf(backends.ErrInvalid, "no elements to fill shape %v with", shape)
		}
		lines, err := s.stretches(in, shape, scales)
		if err != nil {
			return err
		}
		if s.mode != "nearest" {
			return s.interpolate(r, out[0], in[0], lines)
		}
		sources := make([][]int, len(shape))
		for d, t := range lines {
			sources[d] = s.nearestSources(t)
		}
		near(out[0], in[0], beyond, sources)
		return nil
	}, nil
}

// resizingOf reads the attributes.
func resizingOf(n *node) (resizing, error) {
	s := resizing{
		mode: n.string("mode", "nearest"), rounding: n.string("nearest_mode", "round_prefer_floor"),
		coordinates: n.string("coordinate_transformation_mode", "half_pixel"),
		policy:      n.string("keep_aspect_ratio_policy", "stretch"), axes: n.ints("axes"),
		scales: n.floats("scales"), scaleInput: 2, smooth: n.int("antialias", 0) != 0,
		curve: float64(n.float("cubic_coeff_a", -0.75)), inside: n.int("exclude_outside", 0) != 0,
		beyond: n.float("extrapolation_value", 0),
	}
	if n.Op == "Upsample" || n.Opset < 11 {
		s.coordinates, s.rounding, s.scaleInput = "asymmetric", "floor", 1
	}
	switch s.mode {
	case "bilinear":
		s.mode = "linear"
	case "nearest", "linear", "cubic":
	default:
		return s, n.unsupported("mode %q", s.mode)
	}
	switch s.coordinates {
	case "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric", "tf_crop_and_resize":
		return s, nil
	}
	return s, n.unsupported("coordinate_transformation_mode %q", s.coordinates)
}

// resizing holds the attributes of a Resize.
type resizing struct {
	mode, rounding, coordinates, policy string
	axes                                []int
	scales                              []float32
	scaleInput                          int // the input that holds scales; the next holds sizes

	smooth bool    // where it shrinks, each output is a mean of all inputs that it stands for
	curve  float64 // of cubic interpolation
	inside bool    // what is outside of the input has no weight
	beyond float32 // what a crop shows outside of the input
}

// stretch is one dimension of a Resize.
type stretch struct {
	inputs, n int
	scale     float64
	lo, hi    float64 // the part of the input that a crop shows
}

// stretches returns how each dimension is resized.
func (s resizing) stretches(in []*tensor, shape []int, scales []float64) ([]stretch, error) {
	all := make([]stretch, len(shape))
	for d, n := range shape {
		all[d] = stretch{in[0].shape[d], n, scales[d], 0, 1}
	}
	if s.coordinates != "tf_crop_and_resize" {
		return all, nil
	}
	axes := s.axes
	if axes == nil {
		for d := range all {
			axes = append(axes, d)
		}
	}
	if len(in) < 2 || in[1] == nil || in[1].dtype != backends.FP32 || in[1].len() != 2*len(axes) {
		return nil, backends.Errorf(backends.ErrInvalid, "a crop needs a roi of %d numbers of %v", 2*len(axes), backends.FP32)
	}
	roi := view[float32](in[1])
	for i, a := range axes {
		a, err := axis(a, len(all))
		if err != nil {
			return nil, err
		}
		all[a].lo, all[a].hi = float64(roi[i]), float64(roi[len(axes)+i])
	}
	return all, nil
}

// target returns the shape of the result and the scale of each dimension.
func (s resizing) target(in []*tensor) (shape []int, scales []float64, err error) {
	x, i := in[0], s.scaleInput
	axes, factors := s.axes, s.scales
	if axes == nil {
		for d := range x.shape {
			axes = append(axes, d)
		}
	}
	if i < len(in) && in[i] != nil && in[i].len() > 0 {
		factors = view[float32](in[i])
	}
	shape, scales = slices.Clone(x.shape), make([]float64, x.rank())
	fill(scales, 1)
	if factors == nil && i+1 < len(in) && in[i+1] != nil {
		sizes, err := in[i+1].ints()
		if err != nil {
			return nil, nil, err
		}
		return shape, scales, s.toSizes(shape, scales, axes, sizes)
	}
	if len(factors) != len(axes) {
		return nil, nil, backends.Errorf(backends.ErrInvalid, "%d scales for %d axes", len(factors), len(axes))
	}
	for j, f := range factors {
		a, err := axis(axes[j], x.rank())
		if err != nil {
			return nil, nil, err
		}
		if !(f > 0) || float64(f) > maxWindow {
			return nil, nil, backends.Errorf(backends.ErrInvalid, "a scale of %v", f)
		}
		shape[a], scales[a] = int(math.Floor(float64(x.shape[a])*float64(f))), float64(f)
	}
	return shape, scales, nil
}

// toSizes sets shape and scales so that the axes get the sizes, or, where the policy keeps
// the aspect ratio, the same scale.
func (s resizing) toSizes(shape []int, scales []float64, axes, sizes []int) error {
	if len(sizes) != len(axes) || slices.ContainsFunc(sizes, negative) {
		return backends.Errorf(backends.ErrInvalid, "sizes %v for %d axes", sizes, len(axes))
	}
	common := math.Inf(1)
	choose := math.Min
	if s.policy == "not_smaller" {
		common, choose = 0, math.Max
	}
	for j, a := range axes {
		a, err := axis(a, len(shape))
		if err != nil {
			return err
		}
		if shape[a] == 0 {
			return backends.Errorf(backends.ErrInvalid, "no elements along axis %d", a)
		}
		scales[a] = float64(sizes[j]) / float64(shape[a])
		common = choose(common, scales[a])
	}
	for j, a := range axes {
		a, _ = axis(a, len(shape))
		if s.policy == "stretch" {
			shape[a] = sizes[j]
			continue
		}
		scales[a] = common
		shape[a] = int(math.Floor(common*float64(shape[a]) + 0.5))
	}
	return nil
}

// position returns where output i lies among the inputs.
func (s resizing) position(i int, t stretch) float64 {
	at, inputs, n, scale := float64(i), t.inputs, t.n, t.scale
	switch s.coordinates {
	case "asymmetric":
		return at / scale
	case "align_corners":
		if n == 1 {
			return 0
		}
		return at * float64(inputs-1) / (scale*float64(inputs) - 1)
	case "pytorch_half_pixel":
		if n == 1 {
			return 0
		}
	case "tf_crop_and_resize":
		last := float64(inputs - 1)
		if n == 1 {
			return (t.lo + t.hi) * last / 2
		}
		return (t.lo + at*(t.hi-t.lo)/float64(n-1)) * last
	case "half_pixel_symmetric":
		adjustment := float64(n) / (scale * float64(inputs))
		center := float64(inputs) / 2
		return center*(1-adjustment) + (at+0.5)/scale - 0.5
	}
	return (at+0.5)/scale - 0.5
}

// nearestSources returns which input each output is, -1 for none.
func (s resizing) nearestSources(t stretch) []int {
	all := make([]int, t.n)
	for i := range all {
		at := s.position(i, t)
		if s.isBeyond(at, t) {
			all[i] = -1
			continue
		}
		switch s.rounding {
		case "floor":
			at = math.Floor(at)
		case "ceil":
			at = math.Ceil(at)
		case "round_prefer_ceil":
			at = math.Floor(at + 0.5)
		default:
			at = math.Ceil(at - 0.5)
		}
		all[i] = min(max(int(at), 0), t.inputs-1)
	}
	return all
}

// isBeyond says whether a crop shows nothing of the input at a position.
func (s resizing) isBeyond(at float64, t stretch) bool {
	return s.coordinates == "tf_crop_and_resize" && !(at >= 0 && at <= float64(t.inputs-1))
}

// mix is what an output is made of: inputs with weights, none for what is beyond the input.
type mix struct {
	at     []int
	shares []float32
}

// mixes returns what the outputs along a dimension are made of.
func (s resizing) mixes(t stretch) []mix {
	weight, reach := tent, 1.0
	if s.mode == "cubic" {
		weight, reach = func(x float64) float64 { return cubic(x, s.curve) }, 2
	}
	shrink := 1.0
	if s.smooth {
		shrink = min(1, t.scale)
	}
	all := make([]mix, t.n)
	for i := range all {
		if at := s.position(i, t); !s.isBeyond(at, t) {
			all[i] = s.mixAt(at, t.inputs, func(x float64) float64 { return weight(x * shrink) }, reach/shrink)
		}
	}
	return all
}

// mixAt weighs the inputs nearer to a position than reach. Beyond the ends they go on as they end.
func (s resizing) mixAt(at float64, inputs int, weight func(distance float64) float64, reach float64) mix {
	first, last := int(math.Floor(at-reach))+1, int(math.Ceil(at+reach))-1
	var m mix
	total := 0.0
	for i := first; i <= last; i++ {
		w := weight(float64(i) - at)
		if s.inside && (i < 0 || i >= inputs) {
			continue
		}
		total += w
		m.at = append(m.at, min(max(i, 0), inputs-1))
		m.shares = append(m.shares, float32(w))
	}
	for i := range m.shares {
		m.shares[i] /= float32(total)
	}
	return m
}

// tent is linear interpolation's weight of an input at a distance.
func tent(x float64) float64 { return max(0, 1-math.Abs(x)) }

// cubic is the weight of an input at a distance in cubic interpolation with parameter a.
func cubic(x, a float64) float64 {
	x = math.Abs(x)
	switch {
	case x <= 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((x-5)*x+8)*x*a - 4*a
	}
	return 0
}

// interpolate resizes one dimension after the other.
func (s resizing) interpolate(r *run, y, x *tensor, lines []stretch) error {
	for d, t := range lines {
		if t.n == t.inputs && t.scale == 1 && t.lo == 0 && t.hi == 1 {
			continue
		}
		next := r.scratch()
		shape := slices.Clone(x.shape)
		shape[d] = t.n
		if err := r.makeTensor(next, x.dtype, shape); err != nil {
			return err
		}
		mixAlong(next, x, d, s.mixes(t), s.beyond)
		x = next
	}
	copy(y.raw, x.raw)
	return nil
}

// mixAlong makes the slices of y along dimension d of those of x.
func mixAlong(y, x *tensor, d int, mixes []mix, beyond float32) {
	dst, src := view[float32](y), view[float32](x)
	inner := product(x.shape[d+1:])
	for o := range product(x.shape[:d]) {
		plane := src[o*x.shape[d]*inner:][:x.shape[d]*inner]
		for _, m := range mixes {
			row := dst[:inner]
			dst = dst[inner:]
			if m.at == nil {
				fill(row, beyond)
				continue
			}
			clear(row)
			for j, at := range m.at {
				share := m.shares[j]
				for i, v := range plane[at*inner:][:inner] {
					row[i] += share * v
				}
			}
		}
	}
}
