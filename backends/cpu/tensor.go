package cpu

import (
	"math"
	"slices"
	"unsafe"

	"github.com/thrumserve/thrum/backends"
)

// element is a type that elements of a tensor are read and written as. FP16 and BF16 are
// uint16, BOOL is uint8 or bool, BYTES is string.
type element interface {
	bool | uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64 | float32 | float64 | string
}

// integer is an element that counts.
type integer interface {
	uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64
}

// float is an element that rounds.
type float interface{ float32 | float64 }

// number is an element that can be calculated with.
type number interface{ integer | float }

// tensor is a value during a run: a dense, row-major array in the memory of a buffer, of a
// constant or of a request. Only the step that allocates it writes to it.
type tensor struct {
	dtype   backends.Datatype
	shape   []int
	raw     []byte   // the elements, unless they are strings
	strings []string // the elements of a BYTES tensor
	buf     *buffer  // what raw is part of; nil if nobody counts its uses
	numbers []int    // the elements, of a short list that stays as it is; nil where they are not kept
}

// view returns the elements of t as a slice over its memory. T must have the width of t's
// datatype.
func view[T element](t *tensor) []T {
	var zero T
	if s, ok := any(&t.strings).(*[]T); ok {
		return *s
	}
	if len(t.raw) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.raw[0])), len(t.raw)/int(unsafe.Sizeof(zero)))
}

// len returns the number of elements.
func (t *tensor) len() int {
	if t.dtype == backends.Bytes {
		return len(t.strings)
	}
	return len(t.raw) / t.dtype.Size()
}

// rank returns the number of dimensions.
func (t *tensor) rank() int { return len(t.shape) }

// share makes t another view, in the given shape, of all elements of src.
func (t *tensor) share(src *tensor, shape []int) {
	t.dtype, t.raw, t.strings, t.buf = src.dtype, src.raw, src.strings, src.buf
	t.shape = append(t.shape[:0], shape...)
	if t.buf != nil {
		t.buf.uses++
	}
}

// part makes t a view of n elements of src that start at element from.
func (t *tensor) part(src *tensor, shape []int, from int) {
	t.share(src, shape)
	n := product(shape)
	if src.dtype == backends.Bytes {
		t.strings = src.strings[from : from+n]
		return
	}
	size := src.dtype.Size()
	t.raw = src.raw[from*size : (from+n)*size]
}

// ints returns the elements of an INT32 or INT64 tensor, such as a shape or a list of axes.
func (t *tensor) ints() ([]int, error) {
	switch t.dtype {
	case backends.Int64:
		return convertInts(view[int64](t)), nil
	case backends.Int32:
		return convertInts(view[int32](t)), nil
	}
	return nil, backends.Errorf(backends.ErrInvalid, "a tensor of %v where INT64 is needed", t.dtype)
}

// list is like ints; nobody may write to what it returns.
func (t *tensor) list() ([]int, error) {
	if t.numbers != nil {
		return t.numbers, nil
	}
	return t.ints()
}

// maxNumbers bounds the lists that constants keep.
const maxNumbers = 64

// keepNumbers makes a constant know its list, if it is a short one.
func (t *tensor) keepNumbers() {
	if (t.dtype == backends.Int64 || t.dtype == backends.Int32) && t.len() > 0 && t.len() <= maxNumbers {
		t.numbers, _ = t.ints()
	}
}

func convertInts[T int32 | int64](from []T) []int {
	all := make([]int, len(from))
	for i, v := range from {
		all[i] = int(v)
	}
	return all
}

// importTensor makes t a view of what the tensor b holds.
func (t *tensor) importTensor(b *backends.Tensor) error {
	if err := b.Check(); err != nil {
		return err
	}
	*t = tensor{dtype: b.Datatype, shape: t.shape[:0]}
	for _, d := range b.Shape {
		t.shape = append(t.shape, int(d))
	}
	if b.Datatype == backends.Bool {
		if i := slices.IndexFunc(b.Data, func(v byte) bool { return v > 1 }); i >= 0 {
			return backends.Errorf(backends.ErrInvalid, "tensor %q: element %d is %d, a BOOL is 0 or 1", b.Name, i, b.Data[i])
		}
	}
	if b.Datatype != backends.Bytes {
		t.raw = aligned(b.Data, b.Datatype.Size())
		return nil
	}
	t.strings = make([]string, 0, b.Elements())
	for s := range backends.BytesElements(b.Data) {
		t.strings = append(t.strings, string(s))
	}
	return nil
}

// exportTensor returns t in the form that leaves the engine, sharing its memory.
func (t *tensor) exportTensor(name string) backends.Tensor {
	b := backends.Tensor{Name: name, Datatype: t.dtype, Shape: make([]int64, len(t.shape)), Data: t.raw}
	for i, d := range t.shape {
		b.Shape[i] = int64(d)
	}
	if t.dtype == backends.Bytes {
		b.Data = nil
		for _, s := range t.strings {
			b.Data = backends.AppendBytesElement(b.Data, []byte(s))
		}
	}
	return b
}

// addressOf returns where b lies.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// aligned returns data, or a copy of it where this processor cannot load elements of that
// size from where data lies.
func aligned(data []byte, size int) []byte {
	if unalignedLoads || len(data) == 0 || uintptr(unsafe.Pointer(&data[0]))%uintptr(size) == 0 {
		return data
	}
	c := newMemory(len(data))
	copy(c, data)
	return c
}

// product returns the number of elements of shape, or -1 if it is negative or overflows.
func product(shape []int) int {
	n, zero := 1, false
	for _, d := range shape {
		switch {
		case d < 0:
			return -1
		case d == 0:
			zero = true
		case n > math.MaxInt/d:
			n = math.MaxInt
		default:
			n *= d
		}
	}
	if zero {
		return 0
	}
	if n == math.MaxInt {
		return -1
	}
	return n
}

// strides returns, for each dimension of shape, the distance between neighbours.
func strides(shape []int) []int { return stridesIn(make([]int, len(shape)), shape) }

func stridesIn(s, shape []int) []int {
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// axis returns a, counted from the end where it is negative, as an index below rank.
func axis(a, rank int) (int, error) {
	if a < -rank || a >= rank {
		return 0, backends.Errorf(backends.ErrInvalid, "axis %d of a tensor of rank %d", a, rank)
	}
	if a < 0 {
		a += rank
	}
	return a, nil
}

// axesOf returns the axes as distinct ascending indices below rank.
func axesOf(axes []int, rank int) ([]int, error) {
	all := make([]int, len(axes))
	for i, a := range axes {
		var err error
		if all[i], err = axis(a, rank); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		return nil, backends.Errorf(backends.ErrInvalid, "axes %v name one dimension twice", axes)
	}
	return all, nil
}
