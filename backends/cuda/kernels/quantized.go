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

// GemmInt8 computes Y = Activation((A·B)·scale + bias) of A [M, K] and B, which lies as [N, K] of I8, and
// quantises that where Out is of eight bits. The product is exact. Where A has a zero point, its
// product with the sums of B's columns belongs into the bias.
type GemmInt8 struct {
	A          Type // of A: I8 or U8
	Out        Type // F32, F16, BF16, I8 or U8
	M, N, K    int64
	AddressA   uint64
	AddressB   uint64
	Y          uint64
	Scale      uint64 // of F32: [N]
	Bias       uint64 // of F32: [N]; 0 for none
	Activation Activation
	OutScale   float32 // where Out is of eight bits: Y = saturate(round(y/OutScale) + OutZero)
	OutZero    int64
}

// Launch returns how a device computes g.
func (g GemmInt8) Launch() (Launch, error) {
	if g.A != I8 && g.A != U8 || !g.Out.float() && g.Out != I8 && g.Out != U8 {
		return Launch{}, fmt.Errorf("no kernel multiplies %v with i8 to %v", g.A, g.Out)
	}
	if err := positive(g.M, g.N, g.K); err != nil {
		return Launch{}, err
	}
	args := cells(nil, g.AddressA, g.AddressB, g.Y)
	args = cells(args, g.M, g.N, g.K, int64(g.Out))
	args = cells(args, g.Scale)
	args, err := Epilogue{Bias: g.Bias, Activation: g.Activation}.cells(args)
	if err != nil {
		return Launch{}, err
	}
	args = cells(append(args, number(g.OutScale)), g.OutZero)
	t := tileOf("int8", g.M, g.N, 1)
	return t.launch(fmt.Sprintf("gemm_%v_nt", g.A), g.M, g.N, 1, args)
}
