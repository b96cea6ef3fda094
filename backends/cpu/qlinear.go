package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// checkQLinear refuses scales that are not FP32 and results that are not bytes.
func checkQLinear(n *node, scales ...int) error {
	for _, i := range scales {
		if n.input(i) != backends.FP32 {
			return n.unsupported("a scale of %v", n.input(i))
		}
	}
	if !isByte(n.output(0)) {
		return n.unsupported("an output of %v", n.output(0))
	}
	return nil
}

// roundingOf returns how sums become bytes of a scale and a zero point, which have one element
// each. A sum's own scale is the product of a and b, of which b may have one element per column.
func roundingOf(a float32, b []float32, scale, zero *tensor, d backends.Datatype) (kernels.Rounding, error) {
	t, err := byteTypeOf(d, scale, zero)
	if err != nil {
		return kernels.Rounding{}, err
	}
	by := view[float32](scale)[0]
	factors := make([]float32, len(b))
	for i, v := range b {
		product := a * v
		factors[i] = product / by
	}
	return kernels.Rounding{Scale: factors, Zero: t.Zero, Signed: t.Signed}, nil
}

// byteTypeOf returns the type of bytes with one scale and one zero point, or none.
func byteTypeOf(d backends.Datatype, scale, zero *tensor) (kernels.ByteType, error) {
	t := kernels.ByteType{Signed: d == backends.Int8}
	if scale.len() != 1 || zero != nil && zero.len() != 1 {
		return t, backends.Errorf(backends.ErrInvalid, "a scale of shape %v with a zero point: they need one element each", scale.shape)
	}
	if zeros := zerosOf(zero); zeros != nil {
		t.Zero = zeros[0]
	}
	return t, nil
}

// buildQLinearMatMul builds the product of quantised values, exact in integers, that is scaled
// and rounded to the type of the result.
func buildQLinearMatMul(n *node) (kernel, error) {
	if err := checkQLinear(n, 1, 4, 6); err != nil {
		return nil, err
	}
	p, err := byteMatMulOf(n, byteMatMul{a: 0, b: 3, zeroA: 2, zeroB: 5})
	if err != nil {
		return nil, err
	}
	d, relu := n.output(0), endsInRelu(n)
	return func(r *run, in, out []*tensor) error {
		s, err := p.sizes(in)
		if err != nil {
			return err
		}
		rows, cols := view[float32](in[1]), view[float32](in[4])
		if len(cols) != 1 && len(cols) != s.n || len(rows) != 1 && (len(rows) == 0 || s.m%len(rows) != 0) {
			return backends.Errorf(backends.ErrInvalid, "scales of shapes %v and %v for products of %d x %d", in[1].shape, in[4].shape, s.m, s.n)
		}
		rounding, err := roundingOf(rows[0], cols, in[6], in[7], d)
		if err != nil {
			return err
		}
		rounding.Relu = relu
		if err := r.makeTensor(out[0], d, s.out); err != nil {
			return err
		}
		return p.each(in, s, func(g kernels.ByteGemm, at int) {
			c := out[0].raw[at:]
			if len(rows) == 1 {
				g.Bytes(r.engine.pool, c, s.n, rounding)
				return
			}
			eachRow(g, func(i int, row kernels.ByteGemm) {
				rounding, _ := roundingOf(rows[i%len(rows)], cols, in[6], in[7], d)
				rounding.Relu = relu
				row.Bytes(r.engine.pool, c[i*s.n:], s.n, rounding)
			})
		})
	}, nil
}

// endsInRelu says that a Relu comes before the rounding: no other activation is fused there.
func endsInRelu(n *node) bool {
	return attribute(n, fusedActivation, kernels.Activation{}).Function == kernels.Relu
}

// eachRow calls f for the product of each row.
func eachRow(g kernels.ByteGemm, f func(i int, row kernels.ByteGemm)) {
	for i := range g.M {
		row := g
		row.M, row.A.Data = 1, g.A.Data[i*g.A.Stride:]
		if len(g.A.Zero) > 1 {
			row.A.Zero = g.A.Zero[i : i+1]
		}
		f(i, row)
	}
}

// buildQLinearConv builds the convolution of quantised values, exact in integers, that is scaled
// and rounded to the type of the result.
func buildQLinearConv(n *node) (kernel, error) {
	if err := checkQLinear(n, 1, 4, 6); err != nil {
		return nil, err
	}
	p, err := byteConvOf(n, byteConv{x: 0, w: 3, zeroX: 2, zeroW: 5})
	if err != nil {
		return nil, err
	}
	d, relu := n.output(0), endsInRelu(n)
	return func(r *run, in, out []*tensor) error {
		c, shape, err := p.prepare(r, in)
		if err != nil {
			return err
		}
		filters := view[float32](in[4])
		if in[1].len() != 1 || len(filters) != 1 && len(filters) != shape[1] {
			return backends.Errorf(backends.ErrInvalid, "scales of shapes %v and %v for %d filters", in[1].shape, in[4].shape, shape[1])
		}
		rounding, err := roundingOf(view[float32](in[1])[0], filters, in[6], in[7], d)
		if err != nil {
			return err
		}
		rounding.Relu = relu
		if c.Bias, err = sumsBias(optional(in, 8), shape[1]); err != nil {
			return err
		}
		if err := r.makeTensor(out[0], d, shape); err != nil {
			return err
		}
		c.Bytes(r.engine.pool, out[0].raw, rounding)
		return nil
	}, nil
}

// sumsBias returns the elements of a bias of n sums, nil if it is left out.
func sumsBias(t *tensor, n int) ([]int32, error) {
	if t == nil {
		return nil, nil
	}
	if t.dtype != backends.Int32 || t.len() != n && t.len() != 1 {
		return nil, backends.Errorf(backends.ErrInvalid, "a bias of shape %v of %v for %d sums of INT32", t.shape, t.dtype, n)
	}
	if t.len() < n {
		return slices.Repeat(view[int32](t), n), nil
	}
	return view[int32](t), nil
}
