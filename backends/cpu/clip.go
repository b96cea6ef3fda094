package cpu

import (
	"math"

	"github.com/thrumserve/thrum/backends"
)

// buildClip builds Clip with limits as attributes or as inputs.
func buildClip(n *node) (kernel, error) {
	switch d := n.input(0); d {
	case backends.FP32:
		if a, ok := clipOf(n); ok {
			return activating(a), nil
		}
		return clip(d, float32(n.float("min", -math.MaxFloat32)), n.float("max", math.MaxFloat32), n.Opset < 11), nil
	case backends.FP64:
		return clip(d, float64(n.float("min", -math.MaxFloat32)), float64(n.float("max", math.MaxFloat32)), n.Opset < 11), nil
	case backends.Int8:
		return clip[int8](d, 0, 0, false), nil
	case backends.Int16:
		return clip[int16](d, 0, 0, false), nil
	case backends.Int32:
		return clip[int32](d, 0, 0, false), nil
	case backends.Int64:
		return clip[int64](d, 0, 0, false), nil
	case backends.Uint8:
		return clip[uint8](d, 0, 0, false), nil
	case backends.Uint16:
		return clip[uint16](d, 0, 0, false), nil
	case backends.Uint32:
		return clip[uint32](d, 0, 0, false), nil
	case backends.Uint64:
		return clip[uint64](d, 0, 0, false), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

// clip returns the kernel that keeps elements between two limits: those given if fixed, else
// those of inputs 1 and 2, where they are given.
func clip[T number](d backends.Datatype, low, high T, fixed bool) kernel {
	return func(r *run, in, out []*tensor) error {
		if err := r.makeTensor(out[0], d, in[0].shape); err != nil {
			return err
		}
		dst, src := view[T](out[0]), view[T](in[0])
		copy(dst, src)
		lows, highs := limit[T](in, 1), limit[T](in, 2)
		if fixed {
			lows, highs = []T{low}, []T{high}
		}
		if len(lows) > 1 || len(highs) > 1 {
			return backends.Errorf(backends.ErrInvalid, "a limit that is no scalar")
		}
		for _, l := range lows {
			for i, v := range dst {
				dst[i] = max(v, l)
			}
		}
		for _, l := range highs {
			for i, v := range dst {
				dst[i] = min(v, l)
			}
		}
		return nil
	}
}

func limit[T number](in []*tensor, i int) []T {
	if i >= len(in) || in[i] == nil {
		return nil
	}
	return view[T](in[i])
}
