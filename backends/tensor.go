package backends

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Tensor is a named, typed, row-major array.
//
// Data holds the elements in little-endian order without padding: exactly
// Elements()·Datatype.Size() bytes. A BYTES tensor holds, for each element, its length as a
// little-endian uint32 and then its bytes; a BOOL element is one byte, 0 or 1. That is the
// layout of the protocol's binary extension, so tensors cross every boundary unconverted.
type Tensor struct {
	Name     string
	Datatype Datatype
	Shape    []int64 // no negative dimension; empty for a scalar
	Data     []byte
}

// Parameter is a request or response parameter. Value is its canonical JSON text: a string,
// a number or a boolean, such as `"abc"`, `12` or `true`.
type Parameter struct {
	Name  string
	Value string
}

// Batch is what crosses a Predict in either direction. It is immutable once handed over:
// neither caller nor callee writes to Data again, so both may keep and share it, but for an
// answer with a Lease, which may be read until it is released.
type Batch struct {
	Tensors []Tensor

	// Set by the caller of Predict.
	Outputs    []string    // names of the outputs wanted, in this order; nil for all
	Parameters []Parameter // the client's parameters that a model may read, sorted by name
	NoCache    bool        // neither answer from the cache nor store in it

	// Set by who answers Predict.
	Trace Trace
	Lease *Lease // what keeps Data readable; nil if it is the garbage collector's
}

// Release says that the caller has read what it needs of an answer. It does nothing for a
// batch without a Lease.
func (b Batch) Release() { b.Lease.Release() }

// Trace says what happened to one call on its way; each stage fills what it knows.
type Trace struct {
	Cache     CacheOutcome
	Queue     time.Duration // from entering the queue until its batch was sent
	Compute   time.Duration // from sending the batch until its result
	BatchRows int           // rows that were executed together, this call's included
}

// CacheOutcome says what the prediction cache did for a call.
type CacheOutcome string

// The outcomes; the empty string means that the model has no cache.
const (
	CacheHit    CacheOutcome = "hit"    // answered from the cache
	CacheMiss   CacheOutcome = "miss"   // computed, then stored
	CacheShared CacheOutcome = "shared" // waited for the same prediction that another call had under way
	CacheBypass CacheOutcome = "bypass" // the caller asked for a fresh answer
)

// Elements returns the product of the dimensions, or -1 if one is negative or the product
// does not fit an int64.
func Elements(shape []int64) int64 {
	n := uint64(1)
	zero := false
	for _, d := range shape {
		if d < 0 {
			return -1
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return -1
		}
		n = lo
	}
	if zero {
		return 0
	}
	return int64(n)
}

// Elements returns the number of elements, or -1 if the shape is not a valid one.
func (t Tensor) Elements() int64 { return Elements(t.Shape) }

// Check reports a shape that is negative or overflows and data that does not fit it.
func (t Tensor) Check() error {
	n := t.Elements()
	if n < 0 {
		return Errorf(ErrInvalid, "tensor %q: shape %v is negative or overflows", t.Name, t.Shape)
	}
	if t.Datatype == Bytes {
		return t.checkBytes(n)
	}
	size := t.Datatype.Size()
	if size == 0 {
		return Errorf(ErrInvalid, "tensor %q: no datatype", t.Name)
	}
	if n > math.MaxInt64/int64(size) || int64(len(t.Data)) != n*int64(size) {
		return Errorf(ErrInvalid, "tensor %q: %d bytes of data do not fit shape %v of %v (%d elements of %d bytes)",
			t.Name, len(t.Data), t.Shape, t.Datatype, n, size)
	}
	return nil
}

func (t Tensor) checkBytes(want int64) error {
	rest, n := t.Data, int64(0)
	for ; len(rest) > 0; n++ {
		if len(rest) < 4 {
			return Errorf(ErrInvalid, "tensor %q: element %d is cut short in its length prefix", t.Name, n)
		}
		size := binary.LittleEndian.Uint32(rest)
		if uint64(size) > uint64(len(rest)-4) {
			return Errorf(ErrInvalid, "tensor %q: element %d claims %d bytes, %d are left", t.Name, n, size, len(rest)-4)
		}
		rest = rest[4+size:]
	}
	if n != want {
		return Errorf(ErrInvalid, "tensor %q: %d elements do not fit shape %v (%d elements)", t.Name, n, t.Shape, want)
	}
	return nil
}

// AppendBytesElement appends one element of a BYTES tensor to data.
func AppendBytesElement(data []byte, element []byte) []byte {
	data = binary.LittleEndian.AppendUint32(data, uint32(len(element)))
	return append(data, element...)
}

// BytesElements yields the elements of a BYTES tensor's data, which must have passed Check.
func BytesElements(data []byte) func(yield func(element []byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) >= 4 {
			end := 4 + int(binary.LittleEndian.Uint32(data))
			if !yield(data[4:end:end]) {
				return
			}
			data = data[end:]
		}
	}
}

// Rows returns the first dimension of the first tensor: the number of examples in the batch
// of a model whose signature is Batched. It returns 1 where there is no such dimension.
func (b Batch) Rows() int {
	if len(b.Tensors) == 0 || len(b.Tensors[0].Shape) == 0 {
		return 1
	}
	return int(b.Tensors[0].Shape[0])
}

// Tensor returns the tensor of that name.
func (b Batch) Tensor(name string) (Tensor, bool) {
	i := slices.IndexFunc(b.Tensors, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		return Tensor{}, false
	}
	return b.Tensors[i], true
}
