package onnx

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/thrumserve/thrum/backends"
)

// scalar is an integer or boolean that may be known before the run, or known to equal a
// dimension. Vectors of them carry shapes through the arithmetic by which exporters compute
// the target of a Reshape.
type scalar struct {
	known  bool
	n      int64
	symbol string
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

func number(n int64) scalar { return scalar{known: true, n: n} }

func truth(b bool) scalar {
	if b {
		return number(1)
	}
	return number(0)
}

func (d Dim) scalar() scalar {
	if d.known() {
		return number(d.Size)
	}
	return scalar{symbol: d.Symbol}
}

// dim returns the scalar as a dimension.
func (s scalar) dim() Dim {
	if !s.known {
		return Dim{Size: -1, Symbol: s.symbol}
	}
	if s.n < 0 {
		return unknown
	}
	return fixed(s.n)
}

// vector is the content of an integer or boolean tensor of rank 0 or 1.
type vector struct {
	elems    []scalar
	isScalar bool // rank 0
}

// The bounds of the vectors that are followed. A shape has at most maxRank elements, but index
// ranges over positions are computed in the same way.
const (
	maxVector  = 1024
	maxVectors = 1 << 22 // elements of all of them
)

func (v *vector) allKnown() bool {
	for _, e := range v.elems {
		if !e.known {
			return false
		}
	}
	return true
}

// wrapped returns the vector with its numbers as 32 bits hold them.
func (v *vector) wrapped() *vector {
	out := &vector{elems: slices.Clone(v.elems), isScalar: v.isScalar}
	for i := range out.elems {
		out.elems[i].n = int64(int32(out.elems[i].n))
	}
	return out
}

// vectorOf returns the content of a small constant.
func vectorOf(t *backends.Tensor) *vector {
	size := t.Datatype.Size()
	if len(t.Shape) > 1 || size == 0 || len(t.Data)/size > maxVector || readInt(t.Datatype) == nil {
		return nil
	}
	v := &vector{isScalar: len(t.Shape) == 0}
	for data := t.Data; len(data) >= size; data = data[size:] {
		v.elems = append(v.elems, number(readInt(t.Datatype)(data)))
	}
	return v
}

// readInt returns how an element of an integer datatype is read, nil for other datatypes.
func readInt(dt backends.Datatype) func(b []byte) int64 {
	switch dt {
	case backends.Bool, backends.Uint8:
		return func(b []byte) int64 { return int64(b[0]) }
	case backends.Int8:
		return func(b []byte) int64 { return int64(int8(b[0])) }
	case backends.Uint16:
		return func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }
	case backends.Int16:
		return func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) }
	case backends.Uint32:
		return func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }
	case backends.Int32:
		return func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) }
	case backends.Int64:
		return func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }
	}
	return nil
}

// tensor returns a fully known vector as a tensor.
func (v *vector) tensor(dt backends.Datatype) *backends.Tensor {
	t := &backends.Tensor{Datatype: dt, Shape: []int64{int64(len(v.elems))}}
	if v.isScalar {
		t.Shape = []int64{}
	}
	all := make([]int64, len(v.elems))
	for i, e := range v.elems {
		all[i] = e.n
	}
	t.Data = packInts(all, dt.Size())
	return t
}
