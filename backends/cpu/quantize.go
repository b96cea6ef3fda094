package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// scaling is how a quantised tensor's scale and zero point spread over it.
type scaling struct {
	axis, block int
}

func scalingOf(n *node) scaling { return scaling{n.int("axis", 1), n.int("block_size", 0)} }

// at returns the function from an element's index in x to that of its scale in a tensor of
// the given shape: one for all, one per index along the axis, or one per block along it.
func (s scaling) at(x *tensor, shape []int) (func(i int) int, error) {
	if product(shape) == 1 && (s.block == 0 || x.rank() == 0) {
		return func(int) int { return 0 }, nil
	}
	a, err := axis(s.axis, x.rank())
	if err != nil {
		return nil, err
	}
	inner := product(x.shape[a+1:])
	if s.block == 0 && len(shape) == 1 && shape[0] == x.shape[a] {
		return func(i int) int { return i / inner % x.shape[a] }, nil
	}
	blocks := 0
	if s.block > 0 {
		blocks = (x.shape[a] + s.block - 1) / s.block
	}
	want := slices.Clone(x.shape)
	want[a] = blocks
	if blocks == 0 || !slices.Equal(shape, want) {
		return nil, backends.Errorf(backends.ErrInvalid, "scales of shape %v for a tensor of shape %v along axis %d", shape, x.shape, a)
	}
	return func(i int) int {
		return (i/inner/x.shape[a]*blocks+i/inner%x.shape[a]/s.block)*inner + i%inner
	}, nil
}

// buildQuantizeLinear builds the rounding of floats to integers of a scale.
func buildQuantizeLinear(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 || n.input(1) != backends.FP32 {
		return nil, n.unsupported("inputs of %v and %v", n.input(0), n.input(1))
	}
	s := scalingOf(n)
	switch d := n.output(0); d {
	case backends.Uint8, backends.Int8:
		return s.quantizingBytes(d), nil
	case backends.Uint16:
		return quantizing[uint16](s, d, 0, math.MaxUint16), nil
	case backends.Int16:
		return quantizing[int16](s, d, math.MinInt16, math.MaxInt16), nil
	}
	return nil, n.unsupported("an output of %v", n.output(0))
}

// quantizingBytes is quantizing to bytes.
func (s scaling) quantizingBytes(d backends.Datatype) kernel {
	other := quantizing[uint8](s, d, 0, math.MaxUint8)
	if d == backends.Int8 {
		other = quantizing[int8](s, d, math.MinInt8, math.MaxInt8)
	}
	return func(r *run, in, out []*tensor) error {
		types, inner, err := s.stretches(in, d)
		if err != nil {
			return err
		}
		if types == nil {
			return other(r, in, out)
		}
		if err := r.makeTensor(out[0], d, in[0].shape); err != nil {
			return err
		}
		src, dst, scales := view[float32](in[0]), out[0].raw, view[float32](in[1])
		r.forStretches(len(src), inner, func(lo, hi int) {
			i := lo / inner % len(types)
			types[i].Quantize(dst[lo:hi], src[lo:hi], scales[i])
		})
		return nil
	}
}

// stretches returns the types of bytes that follow each other in in[0], or in the result of the
// quantisation of it, each for inner elements: one type, or one per index along the axis. It returns
// nil where scales change from element to element or along blocks.
func (s scaling) stretches(in []*tensor, d backends.Datatype) (types []kernels.ByteType, inner int, err error) {
	x, n := in[0], in[1].len()
	if s.block != 0 || n == 0 || x.len() == 0 {
		return nil, 0, nil
	}
	inner = x.len()
	if n > 1 {
		a, err := axis(s.axis, x.rank())
		if err != nil {
			return nil, 0, err
		}
		inner = product(x.shape[a+1:])
		if in[1].rank() != 1 || x.shape[a] != n || inner < 16 {
			return nil, 0, nil
		}
	}
	zero := optional(in, 2)
	if zero != nil && zero.len() != n {
		return nil, 0, backends.Errorf(backends.ErrInvalid, "zero points of shape %v for scales of shape %v", zero.shape, in[1].shape)
	}
	zeros := zerosOf(zero)
	types = make([]kernels.ByteType, n)
	for i := range types {
		types[i].Signed = d == backends.Int8
		if zeros != nil {
			types[i].Zero = zeros[i]
		}
	}
	return types, inner, nil
}

// forStretches splits n elements over the threads, none of the parts with elements of two stretches.
func (r *run) forStretches(n, inner int, f func(lo, hi int)) {
	if inner == n {
		r.engine.pool.For(n, elementGrain, f)
		return
	}
	r.engine.pool.For(n/inner, 1+elementGrain/inner, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i*inner, (i+1)*inner)
		}
	})
}

func quantizing[T integer](s scaling, d backends.Datatype, low, high float64) kernel {
	return func(r *run, in, out []*tensor) error {
		at, err := s.at(in[0], in[1].shape)
		if err != nil {
			return err
		}
		zeros, err := zeroPoints[T](in)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], d, in[0].shape); err != nil {
			return err
		}
		dst, scales := view[T](out[0]), view[float32](in[1])
		for i, v := range view[float32](in[0]) {
			k := at(i)
			q := math.RoundToEven(float64(v / scales[k]))
			if zeros != nil {
				q += float64(zeros[k])
			}
			dst[i] = T(max(low, min(high, q)))
		}
		return nil
	}
}

// zeroPoints returns input 2, with as many elements as the scales, or nil if it is left out.
func zeroPoints[T integer](in []*tensor) ([]T, error) {
	if len(in) < 3 || in[2] == nil {
		return nil, nil
	}
	if in[2].len() != in[1].len() {
		return nil, backends.Errorf(backends.ErrInvalid, "zero points of shape %v for scales of shape %v", in[2].shape, in[1].shape)
	}
	return view[T](in[2]), nil
}

func buildDequantizeLinear(n *node) (kernel, error) {
	if n.output(0) != backends.FP32 || n.input(1) != backends.FP32 {
		return nil, n.unsupported("scales of %v and an output of %v", n.input(1), n.output(0))
	}
	s := scalingOf(n)
	switch n.input(0) {
	case backends.Uint8, backends.Int8:
		return s.dequantizingBytes(n.input(0)), nil
	case backends.Uint16:
		return dequantizing[uint16](s), nil
	case backends.Int16:
		return dequantizing[int16](s), nil
	case backends.Int32:
		return dequantizing[int32](s), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

// dequantizingBytes is dequantizing from bytes.
func (s scaling) dequantizingBytes(d backends.Datatype) kernel {
	other := dequantizing[uint8](s)
	if d == backends.Int8 {
		other = dequantizing[int8](s)
	}
	return func(r *run, in, out []*tensor) error {
		types, inner, err := s.stretches(in, d)
		if err != nil {
			return err
		}
		if types == nil {
			return other(r, in, out)
		}
		if err := r.makeTensor(out[0], backends.FP32, in[0].shape); err != nil {
			return err
		}
		src, dst, scales := in[0].raw, view[float32](out[0]), view[float32](in[1])
		r.forStretches(len(dst), inner, func(lo, hi int) {
			i := lo / inner % len(types)
			types[i].Dequantize(dst[lo:hi], src[lo:hi], scales[i])
		})
		return nil
	}
}

func dequantizing[T integer](s scaling) kernel {
	return func(r *run, in, out []*tensor) error {
		at, err := s.at(in[0], in[1].shape)
		if err != nil {
			return err
		}
		zeros, err := zeroPoints[T](in)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], backends.FP32, in[0].shape); err != nil {
			return err
		}
		dst, scales := view[float32](out[0]), view[float32](in[1])
		for i, v := range view[T](in[0]) {
			k := at(i)
			q := float32(v)
			if zeros != nil {
				q = float32(int64(v) - int64(zeros[k]))
			}
			dst[i] = q * scales[k]
		}
		return nil
	}
}

// buildDynamicQuantizeLinear builds the quantisation to UINT8 with the scale that the values
// themselves need.
func buildDynamicQuantizeLinear(*node) (kernel, error) {
	return func(r *run, in, out []*tensor) error {
		values := view[float32](in[0])
		scale, zero := dynamicScale(values)
		scales, zeros := orScratch(r, out, 1), orScratch(r, out, 2)
		if err := r.makeTensor(scales, backends.FP32, nil); err != nil {
			return err
		}
		if err := r.makeTensor(zeros, backends.Uint8, nil); err != nil {
			return err
		}
		view[float32](scales)[0], zeros.raw[0] = scale, zero
		if err := r.makeTensor(out[0], backends.Uint8, in[0].shape); err != nil {
			return err
		}
		dst := out[0].raw
		r.engine.pool.For(len(values), elementGrain, func(lo, hi int) {
			kernels.ByteType{Zero: int32(zero)}.Quantize(dst[lo:hi], values[lo:hi], scale)
		})
		return nil
	}, nil
}

// dynamicScale returns the scale and zero point that spread values and zero over a byte.
func dynamicScale(values []float32) (scale float32, zero uint8) {
	var bounds [2]float32
	kernels.MinRows(bounds[:1], values, len(values))
	kernels.MaxRows(bounds[1:], values, len(values))
	low, high := min(bounds[0], 0), max(bounds[1], 0)
	scale = (high - low) / 255
	if scale == 0 {
		return 1, 0
	}
	return scale, uint8(max(0, min(255, math.RoundToEven(float64(-low/scale)))))
}
