package backends

import "fmt"

// Datatype is the element type of a tensor, as the Open Inference Protocol names it.
type Datatype uint8

// The datatypes of the Open Inference Protocol. The zero value is not a datatype.
const (
	Invalid Datatype = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	FP16
	FP32
	FP64
	BF16
	Bytes
)

var datatypes = [...]struct {
	name string
	size int
}{
	Invalid: {"INVALID", 0},
	Bool:    {"BOOL", 1},
	Uint8:   {"UINT8", 1},
	Uint16:  {"UINT16", 2},
	Uint32:  {"UINT32", 4},
	Uint64:  {"UINT64", 8},
	Int8:    {"INT8", 1},
	Int16:   {"INT16", 2},
	Int32:   {"INT32", 4},
	Int64:   {"INT64", 8},
	FP16:    {"FP16", 2},
	FP32:    {"FP32", 4},
	FP64:    {"FP64", 8},
	BF16:    {"BF16", 2},
	Bytes:   {"BYTES", 0},
}

// String returns the protocol's name, such as "FP32".
func (d Datatype) String() string {
	if int(d) < len(datatypes) {
		return datatypes[d].name
	}
	return fmt.Sprintf("Datatype(%d)", uint8(d))
}

// Size returns the bytes of one element, or 0 for Bytes, whose elements vary.
func (d Datatype) Size() int {
	if int(d) < len(datatypes) {
		return datatypes[d].size
	}
	return 0
}

// ParseDatatype returns the datatype that the protocol calls name.
func ParseDatatype(name string) (Datatype, error) {
	for d := Bool; d <= Bytes; d++ {
		if datatypes[d].name == name {
			return d, nil
		}
	}
	return Invalid, Errorf(ErrInvalid, "unknown datatype %q: use one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, FP32, FP64, BF16, BYTES", name)
}
