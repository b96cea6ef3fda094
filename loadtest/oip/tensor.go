package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Tensor is a named array. Its Data are as in the protocol's binary extension: little-endian,
// row-major, without padding; a BOOL is a byte of 0 or 1, an element of BYTES its length as a
// uint32 and then its bytes.
type Tensor struct {
	Name     string
	Datatype Datatype
	Shape    []int64
	Data     []byte
}

// Elements returns the product of the dimensions, or -1 if one is negative or it does not fit an
// int64.
func Elements(shape []int64) int64 {
	n, zero := uint64(1), false
	for _, d := range shape {
		if d < 0 {
			return -1
		}
		if d == 0 {
			zero = true
			continue
		}
		high, low := bits.Mul64(n, uint64(d))
		if high != 0 || low > math.MaxInt64 {
			return -1
		}
		n = low
	}
	if zero {
		return 0
	}
	return int64(n)
}

// Check reports data that do not fit the shape and the datatype.
func (t Tensor) Check() error {
	n := Elements(t.Shape)
	if n < 0 {
		return fmt.Errorf("tensor %q: shape %v is negative or overflows", t.Name, t.Shape)
	}
	if t.Datatype == Bytes {
		return t.checkBytes(n)
	}
	size := int64(t.Datatype.Size())
	if size == 0 {
		return fmt.Errorf("tensor %q: unknown datatype %q: use one of %v", t.Name, t.Datatype, Datatypes)
	}
	if n > math.MaxInt64/size || n*size != int64(len(t.Data)) {
		return fmt.Errorf("tensor %q: %d bytes do not fit shape %v of %s (%d elements of %d bytes)", t.Name, len(t.Data), t.Shape, t.Datatype, n, size)
	}
	return nil
}

func (t Tensor) checkBytes(want int64) error {
	n := int64(0)
	for rest := t.Data; len(rest) > 0; n++ {
		if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return fmt.Errorf("tensor %q: element %d is cut short", t.Name, n)
		}
		rest = rest[4+binary.LittleEndian.Uint32(rest):]
	}
	if n != want {
		return fmt.Errorf("tensor %q: %d elements do not fit shape %v (%d elements)", t.Name, n, t.Shape, want)
	}
	return nil
}

// elements yields index and bytes of each element, those of BYTES without their length. The tensor
// has passed Check.
func (t Tensor) elements() func(yield func(i int, element []byte) bool) {
	return func(yield func(int, []byte) bool) {
		rest, skip, size := t.Data, 0, t.Datatype.Size()
		for i := 0; len(rest) > 0; i++ {
			if t.Datatype == Bytes {
				skip, size = 4, int(binary.LittleEndian.Uint32(rest))
			}
			if !yield(i, rest[skip:skip+size]) {
				return
			}
			rest = rest[skip+size:]
		}
	}
}

// AppendBytesElement appends an element of a BYTES tensor to its data.
func AppendBytesElement(data, element []byte) []byte {
	data = binary.LittleEndian.AppendUint32(data, uint32(len(element)))
	return append(data, element...)
}
