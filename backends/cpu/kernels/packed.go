package kernels

import (
	"fmt"
	"unsafe"
)

// panelWidth is the number of columns of B that stand together in a panel. Levels with wider
// registers take several panels at a time, so that one layout serves all.
const panelWidth = 16

// Matrix is K x N values as they are stored: K rows of N values, Stride apart, or N rows of K
// values if Transposed.
type Matrix struct {
	Data       []float32
	K, N       int
	Stride     int
	Transposed bool
}

// Packed is a K x N matrix laid out for reading by Gemm: panels of 16 columns, each with a row of
// 16 units for every one along K, the last panel filled up with zeros. It is never written after
// PackB and may be shared.
type Packed struct {
	precision Precision
	k, n      int
	units     int // along K
	data      []float32
	offsets   []int // where each row of units starts in a panel
	asBytes         // for Int8, instead of data and offsets
}

// PackB packs b for products of a precision, for the level of this process.
func PackB(b Matrix, p Precision) *Packed { return Memory(nil).PackB(b, p) }

// Precision returns the precision of products with b.
func (b *Packed) Precision() Precision { return b.precision }

// K returns the number of rows.
func (b *Packed) K() int { return b.k }

// N returns the number of columns.
func (b *Packed) N() int { return b.n }

// aligned returns n values that start with a cache line: vectors that lie across two cost twice.
func aligned(n int) []float32 {
	const line = 16
	x := make([]float32, n+line)
	past := int(uintptr(unsafe.Pointer(unsafe.SliceData(x))) / 4 % line)
	return x[line-past:][:n:n]
}

// panels returns how many panels n columns take.
func panels(n int) int { return (n + panelWidth - 1) / panelWidth }

func panelOffsets(k int) []int { return strided(make([]int, k), panelWidth) }

// strided sets offsets[i] = i*step.
func strided(offsets []int, step int) []int {
	for i := range offsets {
		offsets[i] = i * step
	}
	return offsets
}

// columns returns some columns of b.
func (b Matrix) columns(lo, hi int) Matrix {
	at := lo
	if b.Transposed {
		at *= b.Stride
	}
	b.Data, b.N = b.Data[min(at, len(b.Data)):], hi-lo
	return b
}

// packPanels writes the panels of b for products of a precision to dst.
func packPanels(dst []float32, b Matrix, p Precision) {
	switch p {
	case FP32:
		b.pack(dst)
	case BF16:
		pairPanels(dst, b)
	default:
		panic("kernels: no product of precision " + p.String())
	}
}

// pack writes the panels of b, whose values are units, to dst.
func (b Matrix) pack(dst []float32) {
	for j := 0; j < b.N; j += panelWidth {
		panel := dst[j*b.K : (j+panelWidth)*b.K]
		part := b.columns(j, min(j+panelWidth, b.N))
		switch {
		case b.Transposed:
			packTransposed(panel, part)
		case part.N == panelWidth:
			copyPanel(panel, part)
		default:
			packTail(panel, part)
		}
	}
}

// packTail writes columns that do not fill a panel.
func packTail(panel []float32, b Matrix) {
	for k := range b.K {
		row := panel[k*panelWidth : (k+1)*panelWidth]
		clear(row[copy(row, b.Data[k*b.Stride:][:b.N]):])
	}
}

// packTransposed writes dense columns to a panel.
func packTransposed(panel []float32, b Matrix) {
	done := transposePanel(panel, b)
	for c := range b.N {
		from := done
		if c >= b.N/8*8 {
			from = 0
		}
		for k, v := range b.Data[c*b.Stride:][from:b.K] {
			panel[(from+k)*panelWidth+c] = v
		}
	}
	for c := b.N; c < panelWidth; c++ {
		for k := range b.K {
			panel[k*panelWidth+c] = 0
		}
	}
}

// shape is the size of a matrix and the distance of its rows.
type shape struct{ rows, cols, stride int }

func (b Matrix) check(name string) {
	s := shape{b.K, b.N, b.Stride}
	if b.Transposed {
		s.rows, s.cols = b.N, b.K
	}
	checkMatrix(name, b.Data, s)
}

func checkMatrix(name string, data []float32, s shape) {
	if s.rows < 0 || s.cols < 0 || s.rows > 1 && s.stride < s.cols {
		panic(fmt.Sprintf("kernels: %s is %d x %d with rows %d apart", name, s.rows, s.cols, s.stride))
	}
	if s.rows > 0 && len(data) < (s.rows-1)*s.stride+s.cols {
		panic(fmt.Sprintf("kernels: %s has %d values, too few for %d x %d with rows %d apart",
			name, len(data), s.rows, s.cols, s.stride))
	}
}
