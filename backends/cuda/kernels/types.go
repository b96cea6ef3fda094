package kernels

import "fmt"

// Type is the type of a tensor's elements.
type Type uint8

// The types that kernels know. Their numbers are those of src/types.h.
const (
	F32 Type = iota
	F16
	BF16
	Bool // one byte, 0 or 1
	U8
	I8
	I32
	I64
)

var types = [...]struct {
	name string
	size int64
}{F32: {"f32", 4}, F16: {"f16", 2}, BF16: {"bf16", 2}, Bool: {"bool", 1}, U8: {"u8", 1}, I8: {"i8", 1}, I32: {"i32", 4}, I64: {"i64", 8}}

// Size returns the bytes of an element.
func (t Type) Size() int64 { return types[t].size }

// String returns what t is called in the names of kernels.
func (t Type) String() string {
	if int(t) < len(types) {
		return types[t].name
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// float says that t is a type of floating point.
func (t Type) float() bool { return t <= BF16 }

// floating returns an error where t is not a type of floating point.
func floating(t Type) error {
	if !t.float() {
		return fmt.Errorf("it computes with f32, f16 and bf16, not with %v", t)
	}
	return nil
}
