package cpu

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// isByte says that d is a type of bytes that count.
func isByte(d backends.Datatype) bool { return d == backends.Uint8 || d == backends.Int8 }

// zerosOf returns the elements of a zero point, nil if it is left out or zero.
func zerosOf(t *tensor) []int32 {
	if t == nil {
		return nil
	}
	zeros, some := make([]int32, t.len()), false
	for i, v := range t.raw {
		zeros[i] = int32(v)
		if t.dtype == backends.Int8 {
			zeros[i] = int32(int8(v))
		}
		some = some || v != 0
	}
	if !some {
		return nil
	}
	return zeros
}

// bytesOf returns a matrix of bytes with rows of so many.
func bytesOf(t *tensor, cols int, zeros []int32) kernels.Bytes {
	return kernels.Bytes{Data: t.raw, Stride: cols, Signed: t.dtype == backends.Int8, Zero: zeros}
}

// byteMatMul is a product of two tensors of bytes: inputs a and b of a node with zero points.
type byteMatMul struct {
	a, b, zeroA, zeroB int // the inputs; b is nil where it is packed
	packed             *kernels.PackedBytes
}

// byteMatMulOf reads and checks the node, and packs a matrix that is known at load.
func byteMatMulOf(n *node, p byteMatMul) (byteMatMul, error) {
	for _, i := range []int{p.a, p.b} {
		if !isByte(n.input(i)) {
			return p, n.unsupported("an input of %v", n.input(i))
		}
	}
	for zero, of := range map[int]int{p.zeroA: p.a, p.zeroB: p.b} {
		if n.given(zero) && n.input(zero) != n.input(of) {
			return p, n.unsupported("a zero point of %v for bytes of %v", n.input(zero), n.input(of))
		}
	}
	b, zero := n.constant(p.b), n.constant(p.zeroB)
	if b == nil || b.rank() != 2 || zero == nil && n.given(p.zeroB) {
		return p, nil
	}
	k, cols := b.shape[0], b.shape[1]
	zeros := zerosOf(zero)
	if len(zeros) > 1 && len(zeros) != cols {
		return p, backends.Errorf(backends.ErrInvalid, "zero points of shape %v for %d columns", zero.shape, cols)
	}
	n.take(p.b)
	p.packed = n.engine.packBytes(bytesOf(b, cols, zeros), k, cols, false)
	return p, nil
}

// packBytes packs a constant matrix of bytes.
func (e *engine) packBytes(b kernels.Bytes, k, n int, transposed bool) *kernels.PackedBytes {
	return e.keep(fmt.Sprint("Bytes", k, n, transposed, b.Signed, b.Zero), b.Data).PackBytes(b, k, n, transposed)
}

// sizes returns what is multiplied. With a packed matrix that is one product.
func (p byteMatMul) sizes(in []*tensor) (matMulSizes, error) {
	a := in[p.a].shape
	if p.packed == nil {
		return matMulShape(a, in[p.b].shape)
	}
	s, err := matMulShape(a, []int{p.packed.K(), p.packed.N()})
	if err == nil {
		s.m, s.batch, s.stepsA, s.stepsB = s.m*product(s.batch), nil, nil, nil
	}
	return s, err
}

// each calls f for every product, with where its result starts.
func (p byteMatMul) each(in []*tensor, s matMulSizes, f func(g kernels.ByteGemm, at int)) error {
	a, zeros := in[p.a], zerosOf(optional(in, p.zeroA))
	rows, err := spreadZeros(zeros, s.m, product(s.batch))
	if err != nil {
		return err
	}
	if s.m*s.n == 0 {
		return nil
	}
	g := kernels.ByteGemm{M: s.m, A: bytesOf(a, s.k, nil), B: p.packed}
	if p.packed != nil {
		g.A.Zero = rows(0)
		f(g, 0)
		return nil
	}
	b := in[p.b]
	cols, err := spreadZeros(zerosOf(optional(in, p.zeroB)), s.n, product(s.batch))
	if err != nil {
		return err
	}
	o := newOdometer(append(slices.Clone(s.batch), 1), append(s.stepsA, 0), append(s.stepsB, 0))
	step, i := o.run(), 0
	var room []float32
	again := kernels.Memory(func(n int, fill func([]float32)) []float32 {
		if len(room) < n {
			room = make([]float32, n)
		}
		fill(room[:n])
		return room[:n]
	})
	o.each(func(at []int) {
		for j := range step {
			fromA, fromB := at[0]+j*o.step(0), at[1]+j*o.step(1)
			left, right := bytesOf(a, s.k, rows(i)), bytesOf(b, s.n, cols(i))
			left.Data, right.Data = left.Data[fromA:], right.Data[fromB:]
			g.A, g.B = left, again.PackBytes(right, s.k, s.n, false)
			f(g, i*s.m*s.n)
			i++
		}
	})
	return nil
}

// optional returns input i, nil if it is left out.
func optional(in []*tensor, i int) *tensor {
	if i >= len(in) {
		return nil
	}
	return in[i]
}

// spreadZeros returns the zero points of each of some matrices of n rows (or columns): one for
// all, or one for each row of one matrix or of all.
func spreadZeros(zeros []int32, n, matrices int) (func(i int) []int32, error) {
	switch len(zeros) {
	case 0, 1:
		return func(int) []int32 { return zeros }, nil
	case n * matrices:
		return func(i int) []int32 { return zeros[i*n:][:n] }, nil
	case n:
		return func(int) []int32 { return zeros }, nil
	}
	if n > 0 && n%len(zeros) == 0 && matrices == 1 { // of several matrices that are multiplied as one
		return func(int) []int32 { return slices.Repeat(zeros, n/len(zeros)) }, nil
	}
	return nil, backends.Errorf(backends.ErrInvalid, "%d zero points for %d rows or columns", len(zeros), n)
}

// buildMatMulInteger builds the product of quantised matrices, in INT32.
func buildMatMulInteger(n *node) (kernel, error) {
	p, err := byteMatMulOf(n, byteMatMul{a: 0, b: 1, zeroA: 2, zeroB: 3})
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		s, err := p.sizes(in)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], backends.Int32, s.out); err != nil {
			return err
		}
		c := view[int32](out[0])
		return p.each(in, s, func(g kernels.ByteGemm, at int) { g.Int32(r.engine.pool, c[at:], s.n) })
	}, nil
}

// byteConv is a convolution of bytes: inputs x and w of a node with zero points.
type byteConv struct {
	convolution
	x, w, zeroX, zeroW int
	weights            *tensor                 // those known at load
	packed             *kernels.PackedByteConv // where the pads are known too
}

// byteConvOf reads and checks the node, and packs weights that are known at load.
func byteConvOf(n *node, p byteConv) (byteConv, error) {
	for _, i := range []int{p.x, p.w} {
		if !isByte(n.input(i)) {
			return p, n.unsupported("an input of %v", n.input(i))
		}
	}
	// The shape rules of convolutions look at input 1.
	plain := *n.Node
	plain.Inputs = slices.Clone(n.Inputs)
	plain.Inputs[1] = n.Inputs[p.w]
	c, err := convolutionOf(&node{Node: &plain, engine: n.engine})
	if err != nil {
		return p, err
	}
	if len(c.shape) > 4 {
		return p, n.unsupported("convolutions of %d dimensions: it has those of 1 and 2", len(c.shape)-2)
	}
	p.convolution = c
	w, zero := n.constant(p.w), n.constant(p.zeroW)
	if w == nil || zero == nil && n.given(p.zeroW) {
		return p, nil
	}
	if c.window.auto != "NOTSET" && c.window.auto != "VALID" {
		p.weights = n.engine.kept(n.take(p.w))
		return p, nil
	}
	n.take(p.w)
	kind := fmt.Sprint("ByteConv", c.shape, c.groups, w.dtype, zerosOf(zero))
	p.packed, err = p.pack(w, zero, c.window.fixedPads(), n.engine.keep(kind, w.raw))
	return p, err
}

// pack packs weights for certain pads.
func (p byteConv) pack(w, zero *tensor, pads []int, m kernels.Memory) (*kernels.PackedByteConv, error) {
	if !slices.Equal(w.shape, p.shape) {
		return nil, backends.Errorf(backends.ErrInvalid, "weights of shape %v where the model says %v", w.shape, p.shape)
	}
	zeros := zerosOf(zero)
	if len(zeros) > 1 && len(zeros) != p.shape[0] {
		return nil, backends.Errorf(backends.ErrInvalid, "zero points of shape %v for %d filters", zero.shape, p.shape[0])
	}
	return m.PackByteConv(kernels.Conv{
		Channels: w.shape[1] * p.groups, Filters: w.shape[0], Groups: p.groups, Window: p.window.plane(pads),
	}, bytesOf(w, 0, zeros)), nil
}

// prepare returns the convolution of the inputs and the shape of its result.
func (p byteConv) prepare(r *run, in []*tensor) (c kernels.ByteConv, shape []int, err error) {
	x := in[p.x]
	pads, size, err := p.fit(r, []*tensor{x})
	if err != nil {
		return c, nil, err
	}
	zeros := zerosOf(optional(in, p.zeroX))
	if len(zeros) > 1 {
		return c, nil, backends.Errorf(backends.ErrInvalid, "zero points of shape %v for all images", in[p.zeroX].shape)
	}
	packed := p.packed
	if packed == nil {
		w := p.weights
		if w == nil {
			w = in[p.w]
		}
		if packed, err = p.pack(w, optional(in, p.zeroW), pads, nil); err != nil {
			return c, nil, err
		}
	}
	planes := images(x)
	c = kernels.ByteConv{
		X:    kernels.ByteImages{Data: x.raw, N: planes.N, C: planes.C, H: planes.H, W: planes.W, Signed: x.dtype == backends.Int8, Zero: zeros},
		W:    packed,
		Size: [2]int{1, size[len(size)-1]},
	}
	if len(size) == 2 {
		c.Size[0] = size[0]
	}
	return c, append([]int{x.shape[0], p.shape[0]}, size...), nil
}

// buildConvInteger builds the convolution of quantised values, in INT32.
func buildConvInteger(n *node) (kernel, error) {
	p, err := byteConvOf(n, byteConv{x: 0, w: 1, zeroX: 2, zeroW: 3})
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		c, shape, err := p.prepare(r, in)
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], backends.Int32, shape); err != nil {
			return err
		}
		c.Int32(r.engine.pool, view[int32](out[0]))
		return nil
	}, nil
}
