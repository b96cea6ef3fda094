package cublaslt

// Type is the type of a matrix's elements, a cudaDataType.
type Type int32

// The types of products.
const (
	F32  Type = 0
	F16  Type = 2
	I8   Type = 3
	I32  Type = 10
	BF16 Type = 14
)

// Activation is a function that a product applies to its sums.
type Activation uint32

// The functions that the library has. Its GELU is the one made of a tanh.
const (
	None     Activation = 0
	Relu     Activation = 2
	GeluTanh Activation = 32
)

// Product is D = activation(Alpha·A·B + bias + residual) for Batch matrices A [M, K], B [K, N] and D [M, N]. Products of
// I8 are of I32, B transposed, without bias and activation.
type Product struct {
	Type           Type // of A and B: F32, F16, BF16 or I8
	TF32           bool // products of F32 may be taken with 10 bits of mantissa
	M, N, K, Batch int64
	A, B, D        Matrix
	TransposedB    bool // B lies as [N, K], and B.Row is from one column to the next
	Alpha          float32
	Activation     Activation
	Bias           uint32 // alignment of a row [N] that is added to each; 0 for none
	Residual       uint32 // alignment of what is added and lies as D does; 0 for none
}

// Matrix says how matrices lie. Row and Batch count elements.
type Matrix struct {
	Row       int64  // from one row to the next; elements of a row follow each other
	Batch     int64  // from one matrix to the next; 0 for the same
	Alignment uint32 // a power of two that divides their address, at most 256
}

// Operands are the addresses of what a product reads and writes.
type Operands struct{ A, B, Bias, Residual, D uint64 }

// result returns the type of D.
func (p Product) result() Type {
	if p.Type == I8 {
		return I32
	}
	return p.Type
}

// Compute types, of cublasComputeType_t.
const (
	compute32F     int32 = 68
	compute32I     int32 = 72
	compute32FTF32 int32 = 77
)

// compute returns what products are taken and added in, and the type of alpha and beta.
func (p Product) compute() (compute int32, scale Type) {
	switch {
	case p.Type == I8:
		return compute32I, I32
	case p.TF32:
		return compute32FTF32, F32
	}
	return compute32F, F32
}

// Epilogues, of cublasLtEpilogue_t.
const (
	epilogueDefault uint32 = 1
	epilogueBias    uint32 = 4
)

// epilogue returns what happens to the sums.
func (p Product) epilogue() uint32 {
	e := uint32(p.Activation)
	if p.Bias != 0 {
		e |= epilogueBias
	}
	if e == 0 {
		return epilogueDefault
	}
	return e
}
