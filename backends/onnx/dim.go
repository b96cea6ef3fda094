package onnx

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/thrumserve/thrum/backends"
)

// unknown is a dimension of which nothing is known.
var unknown = Dim{Size: -1}

func fixed(n int64) Dim { return Dim{Size: n} }

func (d Dim) known() bool { return d.Size >= 0 }

// isOpen reports whether nothing is known of d but perhaps that other dimensions equal it.
// The symbols that inference makes up have a question mark, those of files have none.
func (d Dim) isOpen() bool {
	return !d.known() && (d.Symbol == "" || strings.Contains(d.Symbol, "?"))
}

func fixedDims(shape []int64) []Dim {
	dims := make([]Dim, len(shape))
	for i, n := range shape {
		dims[i] = fixed(n)
	}
	return dims
}

func unknownDims(rank int) []Dim {
	dims := make([]Dim, rank)
	for i := range dims {
		dims[i] = unknown
	}
	return dims
}

// sizes returns the dimensions as a shape with instead for what is not known.
func sizes(dims []Dim, instead int64) []int64 {
	shape := make([]int64, len(dims))
	for i, d := range dims {
		if shape[i] = d.Size; !d.known() {
			shape[i] = instead
		}
	}
	return shape
}

// elements returns the number of elements, or -1 if a dimension is not known.
func elements(dims []Dim) int64 { return backends.Elements(sizes(dims, -1)) }

// product returns the product of dimensions; that of symbols is a symbol too.
func product(dims ...Dim) Dim {
	size := uint64(1)
	var symbols []string
	for _, d := range dims {
		switch {
		case d.Size == 0:
			return fixed(0)
		case d.known():
			hi, lo := bits.Mul64(size, uint64(d.Size))
			if hi != 0 || lo > math.MaxInt64 {
				return unknown
			}
			size = lo
		case d.Symbol == "":
			return unknown
		default:
			symbols = append(symbols, d.Symbol)
		}
	}
	switch {
	case len(symbols) == 0:
		return fixed(int64(size))
	case len(symbols) == 1 && size == 1:
		return Dim{Size: -1, Symbol: symbols[0]}
	}
	slices.Sort(symbols)
	if size != 1 {
		symbols = append(symbols, formatInt(int64(size)))
	}
	return symbolic(strings.Join(symbols, "×"))
}

// symbolic returns a dimension of that name, or an unknown one where names grow out of hand.
func symbolic(name string) Dim {
	if len(name) > 256 {
		return unknown
	}
	return Dim{Size: -1, Symbol: name}
}

// atMost is the smaller of a size and a symbol: how far positions in a table of that size
// are used by a sequence of that length.
func atMost(size int64, symbol string) Dim {
	return symbolic("min(" + formatInt(size) + "," + symbol + ")")
}

// isAtMost reports whether d is atMost of some size and the symbol of whole.
func (d Dim) isAtMost(whole Dim) bool {
	return whole.Symbol != "" && strings.HasPrefix(d.Symbol, "min(") && strings.HasSuffix(d.Symbol, ","+whole.Symbol+")")
}

// unify returns what is known of a dimension that is both a and b, and false if it cannot be.
func unify(a, b Dim) (Dim, bool) {
	switch {
	case a.known() && b.known():
		return a, a.Size == b.Size
	case a.known():
		return a, true
	case b.known() || a.Symbol == "":
		return b, true
	}
	return a, true
}

// broadcast returns the shape of an elementwise operation on a and b.
func broadcast(a, b []Dim) ([]Dim, bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, d := range b {
		at := len(a) - len(b) + i
		sum, ok := broadcastDim(a[at], d)
		if !ok {
			return nil, false
		}
		out[at] = sum
	}
	return out, true
}

func broadcastDim(a, b Dim) (Dim, bool) {
	switch {
	case a.Size == 1 || a == b:
		return b, true
	case b.Size == 1:
		return a, true
	case a.known() && b.known():
		return a, a.Size == b.Size
	case a.known():
		return a, true
	case b.known():
		return b, true
	case a.isAtMost(b):
		return b, true // anything shorter than b, other than 1, is an error at run time
	case b.isAtMost(a):
		return a, true
	}
	return unknown, true
}
