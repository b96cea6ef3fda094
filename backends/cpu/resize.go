package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildResize builds Resize and Upsample by the nearest element or linear interpolation.
func buildResize(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 && n.string("mode", "nearest") != "nearest" {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	s, err := resizingOf(n)
	if err != nil {
		return nil, err
	}
	near := byWidth(n.input(0), nearest[uint8], nearest[uint16], nearest[uint32], nearest[uint64], nearest[string])
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
		if s.mode == "linear" {
			return s.linear(r, out[0], in[0], scales)
		}
		sources := make([][]int, len(shape))
		for d := range shape {
			sources[d] = s.nearestSources(in[0].shape[d], shape[d], scales[d])
		}
		near(out[0], in[0], sources)
		return nil
	}, nil
}

// resizingOf reads the attributes.
func resizingOf(n *node) (resizing, error) {
	s := resizing{
		mode: n.string("mode", "nearest"), rounding: n.string("nearest_mode", "round_prefer_floor"),
		coordinates: n.string("coordinate_transformation_mode", "half_pixel"),
		policy:      n.string("keep_aspect_ratio_policy", "stretch"), axes: n.ints("axes"),
		scales: n.floats("scales"), scaleInput: 2,
	}
	if n.Op == "Upsample" || n.Opset < 11 {
		s.coordinates, s.rounding, s.scaleInput = "asymmetric", "floor", 1
	}
	switch s.mode {
	case "bilinear":
		s.mode = "linear"
	case "nearest", "linear":
	default:
		return s, n.unsupported("mode %q", s.mode)
	}
	if n.int("antialias", 0) != 0 {
		return s, n.unsupported("antialias")
	}
	switch s.coordinates {
	case "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric":
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

// position returns where index i of n outputs lies among the inputs.
func (s resizing) position(i, inputs, n int, scale float64) float64 {
	at := float64(i)
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
	case "half_pixel_symmetric":
		adjustment := float64(n) / (scale * float64(inputs))
		center := float64(inputs) / 2
		return center*(1-adjustment) + (at+0.5)/scale - 0.5
	}
	return (at+0.5)/scale - 0.5
}

// nearestSources returns which input each output is.
func (s resizing) nearestSources(inputs, n int, scale float64) []int {
	all := make([]int, n)
	for i := range all {
		at := s.position(i, inputs, n, scale)
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
		all[i] = min(max(int(at), 0), inputs-1)
	}
	return all
}

// nearest copies elements as the sources, one list per dimension, say.
func nearest[T element](dst, src *tensor, sources [][]int) {
	padded[T](dst, src, &tensor{raw: make([]byte, 8), strings: []string{""}}, sources)
}

// blend is an element between two inputs: (1-share)·lo + share·hi.
type blend struct {
	lo, hi int
	share  float32
}

func (s resizing) blends(inputs, n int, scale float64) []blend {
	all := make([]blend, n)
	for i := range all {
		at := s.position(i, inputs, n, scale)
		floor := math.Floor(at)
		lo := int(floor)
		all[i] = blend{min(max(lo, 0), inputs-1), min(max(lo+1, 0), inputs-1), float32(at - floor)}
	}
	return all
}

// linear interpolates one dimension after the other.
func (s resizing) linear(r *run, y, x *tensor, scales []float64) error {
	for d := range y.shape {
		if y.shape[d] == x.shape[d] && scales[d] == 1 {
			continue
		}
		next := r.scratch()
		shape := slices.Clone(x.shape)
		shape[d] = y.shape[d]
		if err := r.makeTensor(next, x.dtype, shape); err != nil {
			return err
		}
		interpolate(next, x, d, s.blends(x.shape[d], y.shape[d], scales[d]))
		x = next
	}
	copy(y.raw, x.raw)
	return nil
}

func interpolate(y, x *tensor, d int, blends []blend) {
	dst, src := view[float32](y), view[float32](x)
	inner := product(x.shape[d+1:])
	for o := range product(x.shape[:d]) {
		plane := src[o*x.shape[d]*inner:][:x.shape[d]*inner]
		for _, b := range blends {
			lo, hi := plane[b.lo*inner:][:inner], plane[b.hi*inner:][:inner]
			for i := range inner {
				dst[i] = lo[i]*(1-b.share) + hi[i]*b.share
			}
			dst = dst[inner:]
		}
	}
}
