package kernels

import "fmt"

// Quantize computes Y = saturate(round(X/scale) + zero) of X [Outer, Count, Inner], dense: round is to even.
type Quantize struct {
	From                Type // F32, F16 or BF16
	To                  Type // U8 or I8
	Outer, Count, Inner int64
	X, Y                uint64
	Scale               uint64 // of F32: [Count]
	Zero                uint64 // of type To: [Count]; 0 for zeros
}

// Launch returns how a device computes q.
func (q Quantize) Launch() (Launch, error) {
	return affine("quantize", q.From, q.To, []int64{q.Outer, q.Count, q.Inner}, cells(nil, q.X, q.Y, q.Scale, q.Zero))
}

// Dequantize computes Y = (X - zero)·scale of X [Outer, Count, Inner], dense.
type Dequantize struct {
	From                Type // U8, I8 or I32
	To                  Type // F32, F16 or BF16
	Outer, Count, Inner int64
	X, Y                uint64
	Scale               uint64 // of F32: [Count]
	Zero                uint64 // of type From: [Count]; 0 for zeros
}

// Launch returns how a device computes d.
func (d Dequantize) Launch() (Launch, error) {
	return affine("dequantize", d.To, d.From, []int64{d.Outer, d.Count, d.Inner}, cells(nil, d.X, d.Y, d.Scale, d.Zero))
}

func affine(name string, float, integer Type, shape []int64, args []uint64) (Launch, error) {
	if err := floating(float); err != nil {
		return Launch{}, err
	}
	if integer != U8 && integer != I8 && (integer != I32 || name == "quantize") {
		return Launch{}, fmt.Errorf("no kernel to %s %v", name, integer)
	}
	n := shape[0] * shape[1] * shape[2]
	if err := positive(shape[0], shape[1], shape[2], n); err != nil {
		return Launch{}, err
	}
	args = cells(args, int64(float), int64(integer), n, shape[1], shape[2])
	return flat(name, n, args)
}

// Requantized is what becomes of sums s of products of bytes, of as many columns as there are: with
// y = Activation(s·Scale + Bias + residual) or, without Before, Activation(s·Scale + Bias) + residual, they
// become y where Out is of floating point and saturate(round(y/OutScale) + OutZero) where it is of eight
// bits. Where Out is I32 they stay what they are, and nothing else is looked at.
type Requantized struct {
	Out           Type   // F32, F16, BF16, I8, U8 or I32
	Scale         uint64 // of F32, for each column
	Bias          uint64 // of F32, for each column; 0 for none
	Residual      uint64 // lies as the result does; 0 for none
	ResidualType  Type   // F32, F16, BF16, I8 or U8
	ResidualScale float32
	ResidualZero  int64 // it counts (v - ResidualZero)·ResidualScale
	Activation    Activation
	Before        bool
	OutScale      float32
	OutZero       int64
}

func (r Requantized) cells() ([]uint64, error) {
	if !r.Out.float() && r.Out != I8 && r.Out != U8 && r.Out != I32 {
		return nil, fmt.Errorf("no kernel makes %v of sums of bytes", r.Out)
	}
	if t := r.ResidualType; r.Residual != 0 && !t.float() && t != I8 && t != U8 {
		return nil, fmt.Errorf("no kernel adds %v to sums of bytes", t)
	}
	e, err := Epilogue{Bias: r.Bias, Residual: r.Residual, Activation: r.Activation, Before: r.Before}.cells(nil)
	if err != nil {
		return nil, err
	}
	args := append([]uint64{uint64(r.Out), r.Scale}, e[:2]...)
	args = append(args, uint64(r.ResidualType), number(r.ResidualScale), uint64(r.ResidualZero))
	args = append(args, e[2:]...)
	return append(args, number(r.OutScale), uint64(r.OutZero)), nil
}

// bytes returns an error for what no product of bytes begins with.
func bytes(t Type) error {
	if t != I8 && t != U8 {
		return fmt.Errorf("no kernel multiplies %v with i8", t)
	}
	return nil
}

// GemmInt8 computes Y [M, N] of the product of A [M, K] and B, which lies as [N, K] of I8. Its sums are
// exact. Where A has a zero point, its product with the sums of B's columns belongs into the bias.
type GemmInt8 struct {
	Requantized
	A        Type // of A: I8 or U8
	M, N, K  int64
	AddressA uint64
	AddressB uint64
	Y        uint64
	Room     Room
}

func (g GemmInt8) plan() plan {
	return planOf("int8", [3]int64{g.M, g.N, g.K}, 1, g.Room.Processors)
}

// PartsBytes returns the bytes of Room.Parts that g needs.
func (g GemmInt8) PartsBytes() int64 { return g.plan().bytes() }

// Launches returns how a device computes g.
func (g GemmInt8) Launches() ([]Launch, error) {
	if err := bytes(g.A); err != nil {
		return nil, err
	}
	if err := positive(g.M, g.N, g.K); err != nil {
		return nil, err
	}
	r, err := g.Requantized.cells()
	if err != nil {
		return nil, err
	}
	args := append(cells(cells(nil, g.AddressA, g.AddressB, g.Y), g.M, g.N, g.K), r...)
	p := g.plan()
	return p.launches(fmt.Sprintf("gemm_%v_nt", g.A), args, g.Room.Parts, func() (Launch, error) {
		return p.join("join_i32", g.Room.Parts, g.Y, append(cells(nil, g.N, p.shares), r...))
	})
}

// ConvInt8 computes Y of X ∗ W, of bytes. Its sums are exact. X is Pad outside of the images: the zero
// point, so that what it adds to all sums belongs into the bias.
type ConvInt8 struct {
	Slide
	Requantized
	Type Type // of X: I8 or U8; weights are I8
	Pad  int64
	Room Room
}

func (c ConvInt8) gemm() GemmInt8 {
	return GemmInt8{Requantized: c.Requantized, A: c.Type, M: c.rows(), N: c.OutChannels, K: c.Channels, AddressA: c.X, AddressB: c.Weights, Y: c.Y, Room: c.Room}
}

func (c ConvInt8) plan() plan { return c.Slide.plan("int8", 1, c.Room.Processors) }

// PartsBytes returns the bytes of Room.Parts that c needs.
func (c ConvInt8) PartsBytes() int64 {
	switch {
	case c.product():
		return c.gemm().PartsBytes()
	case c.Depthwise() || c.check() != nil:
		return 0
	}
	return c.plan().bytes()
}

// Launches returns how a device computes c.
func (c ConvInt8) Launches() ([]Launch, error) {
	if err := bytes(c.Type); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.product() {
		return c.gemm().Launches()
	}
	r, err := c.Requantized.cells()
	if err != nil {
		return nil, err
	}
	args := append(cells(c.Slide.cells(), c.Pad), r...)
	if c.Depthwise() {
		return c.depthwise(c.Type.String(), args)
	}
	p := c.plan()
	return p.launches(fmt.Sprintf("conv_%v", c.Type), args, c.Room.Parts, func() (Launch, error) {
		return p.join("join_i32", c.Room.Parts, c.Y, append(cells(nil, c.OutChannels, p.shares), r...))
	})
}
