package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildMatMulInteger builds the product of quantised matrices, in INT32.
func buildMatMulInteger(n *node) (kernel, error) {
	widenA, err := widening(n, 0, 2)
	if err != nil {
		return nil, err
	}
	widenB, err := widening(n, 1, 3)
	if err != nil {
		return nil, err
	}
	multiply := matMul[int32](backends.Int32)
	return func(r *run, in, out []*tensor) error {
		a, b := r.scratch(), r.scratch()
		if err := widenA(r, in, a); err != nil {
			return err
		}
		if err := widenB(r, in, b); err != nil {
			return err
		}
		return multiply(r, []*tensor{a, b}, out)
	}, nil
}

// buildConvInteger builds the convolution of quantised values, in INT32.
func buildConvInteger(n *node) (kernel, error) {
	c, err := convolutionOf(n)
	if err != nil {
		return nil, err
	}
	if len(c.shape) > 4 {
		return nil, n.unsupported("convolutions of %d dimensions: it has those of 1 and 2", len(c.shape)-2)
	}
	widenX, err := widening(n, 0, 2)
	if err != nil {
		return nil, err
	}
	widenW, err := widening(n, 1, 3)
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		x, w := r.scratch(), r.scratch()
		if err := widenX(r, in, x); err != nil {
			return err
		}
		if err := widenW(r, in, w); err != nil {
			return err
		}
		return c.integers(r, out[0], x, w)
	}, nil
}

// integers computes the convolution of INT32 tensors.
func (c convolution) integers(r *run, y, x, w *tensor) error {
	if !slices.Equal(w.shape, c.shape) {
		return backends.Errorf(backends.ErrInvalid, "weights of shape %v where the model says %v", w.shape, c.shape)
	}
	pads, size, err := c.fit(r, []*tensor{x})
	if err != nil {
		return err
	}
	if err := r.makeTensor(y, backends.Int32, append([]int{x.shape[0], w.shape[0]}, size...)); err != nil {
		return err
	}
	g := grid{window: c.window.plane(pads), in: planeSize(x), out: planeSize(y)}
	area := g.out[0] * g.out[1]
	dst := view[int32](y)
	r.engine.pool.For(x.shape[0]*w.shape[0], 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			image, filter := i/w.shape[0], i%w.shape[0]
			first := image*x.shape[1] + filter/(w.shape[0]/c.groups)*w.shape[1]
			g.convolve(dst[i*area:(i+1)*area], view[int32](x)[first*g.in[0]*g.in[1]:], view[int32](w)[filter*product(w.shape[1:]):][:product(w.shape[1:])])
		}
	})
	return nil
}

// convolve computes one filter of one image.
func (g grid) convolve(dst, planes, weights []int32) {
	taps := g.window.Kernel[0] * g.window.Kernel[1]
	for i := range dst {
		sum := int32(0)
		for c := range len(weights) / taps {
			plane := planes[c*g.in[0]*g.in[1]:]
			g.eachTap(i/g.out[1], i%g.out[1], func(tap, at int) { sum += plane[at] * weights[c*taps+tap] })
		}
		dst[i] = sum
	}
}

// widening returns the function that makes out the INT32 difference of input i and its zero
// point, input zero. A zero point has one element, or one per row of A, column of B or filter.
func widening(n *node, i, zero int) (func(r *run, in []*tensor, out *tensor) error, error) {
	cast, err := converter(n, n.input(i), backends.Int32)
	if err != nil || !n.given(zero) {
		return func(r *run, in []*tensor, out *tensor) error { return cast(r, in[i:i+1], []*tensor{out}) }, err
	}
	castZero, err := converter(n, n.input(zero), backends.Int32)
	if err != nil {
		return nil, err
	}
	subtract := broadcasting(backends.Int32, subLoop[int32])
	var trailing []int // dimensions of size 1 that a zero point per row or filter stretches over
	switch {
	case n.Op == "ConvInteger":
		trailing = orOnes(nil, len(n.Inputs[1].Shape)-1)
	case i == 0:
		trailing = []int{1}
	}
	return func(r *run, in []*tensor, out *tensor) error {
		values, zeros := r.scratch(), r.scratch()
		if err := cast(r, in[i:i+1], []*tensor{values}); err != nil {
			return err
		}
		if err := castZero(r, in[zero:zero+1], []*tensor{zeros}); err != nil {
			return err
		}
		if zeros.rank() == 1 && zeros.len() > 1 {
			zeros.shape = append(zeros.shape, trailing...)
		}
		return subtract(r, []*tensor{values, zeros}, []*tensor{out})
	}, nil
}
