package oip

// Datatype is the protocol's name of what a tensor's elements are.
type Datatype string

// The datatypes.
const (
	Bool   Datatype = "BOOL"
	Uint8  Datatype = "UINT8"
	Uint16 Datatype = "UINT16"
	Uint32 Datatype = "UINT32"
	Uint64 Datatype = "UINT64"
	Int8   Datatype = "INT8"
	Int16  Datatype = "INT16"
	Int32  Datatype = "INT32"
	Int64  Datatype = "INT64"
	FP16   Datatype = "FP16"
	BF16   Datatype = "BF16"
	FP32   Datatype = "FP32"
	FP64   Datatype = "FP64"
	Bytes  Datatype = "BYTES"
)

// Datatypes lists them all.
var Datatypes = []Datatype{Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, FP16, BF16, FP32, FP64, Bytes}

var sizes = map[Datatype]int{
	Bool: 1, Uint8: 1, Uint16: 2, Uint32: 4, Uint64: 8, Int8: 1, Int16: 2, Int32: 4, Int64: 8, FP16: 2, BF16: 2, FP32: 4, FP64: 8,
}

// Size returns the bytes of an element, or 0 for Bytes, whose elements vary, and for what is no
// datatype.
func (d Datatype) Size() int { return sizes[d] }

// Signed reports an integer that may be negative.
func (d Datatype) Signed() bool { return d == Int8 || d == Int16 || d == Int32 || d == Int64 }

// Unsigned reports an integer that may not.
func (d Datatype) Unsigned() bool { return d == Uint8 || d == Uint16 || d == Uint32 || d == Uint64 }

// Float reports a floating-point number.
func (d Datatype) Float() bool { return d == FP16 || d == BF16 || d == FP32 || d == FP64 }
