package kernels

import (
	"fmt"
	"unsafe"
)

// panelWidth is the number of columns of B that stand together in a panel. Levels with wider
// registers take several panels at a time, so that one layout serves all.
const panelWidth = 16

// Packed is a K x N matrix laid out for reading by Gemm: panels of 16 columns, each of K rows of
// 16 values, the last filled up with zeros. It is never written after PackB and may be shared.
type Packed struct {
	k, n    int
	data    []float32
	offsets []int // where each row starts in a panel
}

// PackB packs b, K rows of N values ldb apart, or N rows of K values if transposed.
func PackB(b []float32, k, n, ldb int, transposed bool) *Packed {
	return Memory(nil).PackB(b, k, n, ldb, transposed)
}

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

// packing describes a K x N matrix that is to be packed: where element (k, j) stands.
type packing struct {
	k, n       int
	row        int // distance of rows as stored
	transposed bool
}

// packPanels writes the panels of b to dst.
func packPanels(dst, b []float32, p packing) {
	for j := 0; j < p.n; j += panelWidth {
		panel := dst[j*p.k : (j+panelWidth)*p.k]
		cols := min(p.n-j, panelWidth)
		switch {
		case p.transposed:
			packTransposed(panel, b[j*p.row:], cols, p)
		case cols == panelWidth:
			copyPanel(panel, b[min(j, len(b)):], p)
		default:
			packTail(panel, b[min(j, len(b)):], cols, p)
		}
	}
}

// packTail writes the columns that do not fill a panel.
func packTail(panel, b []float32, cols int, p packing) {
	for k := range p.k {
		row := panel[k*panelWidth : (k+1)*panelWidth]
		clear(row[copy(row, b[k*p.row:][:cols]):])
	}
}

// packTransposed writes the first cols rows of b as the columns of a panel.
func packTransposed(panel, b []float32, cols int, p packing) {
	done := transposePanel(panel, b, cols, p)
	for c := range cols {
		from := done
		if c >= cols/8*8 {
			from = 0
		}
		for k, v := range b[c*p.row:][from:p.k] {
			panel[(from+k)*panelWidth+c] = v
		}
	}
	for c := cols; c < panelWidth; c++ {
		for k := range p.k {
			panel[k*panelWidth+c] = 0
		}
	}
}

// shape is the size of a matrix and the distance of its rows.
type shape struct{ rows, cols, stride int }

func checkMatrix(name string, data []float32, s shape) {
	if s.rows < 0 || s.cols < 0 || s.rows > 1 && s.stride < s.cols {
		panic(fmt.Sprintf("kernels: %s is %d x %d with rows %d apart", name, s.rows, s.cols, s.stride))
	}
	if s.rows > 0 && len(data) < (s.rows-1)*s.stride+s.cols {
		panic(fmt.Sprintf("kernels: %s has %d values, too few for %d x %d with rows %d apart",
			name, len(data), s.rows, s.cols, s.stride))
	}
}
