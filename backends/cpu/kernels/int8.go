package kernels

import (
	"fmt"
	"math"
	"unsafe"
)

// In products of bytes A stands in signed and B in unsigned bytes, as the instructions want them;
// other matrices are moved by 128. Zero points and moves are taken out of the sums:
//
//	sum (a-za)(b-zb) = sum ab - zb sum a - za sum b + k za zb

// Bytes is a matrix of bytes, rows Stride apart.
type Bytes struct {
	Data   []byte
	Stride int
	Signed bool
	Zero   []int32 // the zero point: nil for 0, one, or one per row of A or column of B
}

// flip is what turns the bytes of b to signed ones if signed, to unsigned ones otherwise.
func (b Bytes) flip(signed bool) byte {
	if b.Signed == signed {
		return 0
	}
	return 0x80
}

// moved returns a zero point as it is after flip.
func (b Bytes) moved(zero int32, signed bool) int32 {
	switch {
	case b.Signed == signed:
		return zero
	case signed:
		return zero - 128
	}
	return zero + 128
}

// zero returns the i-th zero point after flip.
func (b Bytes) zero(i int, signed bool) int32 {
	switch len(b.Zero) {
	case 0:
		return b.moved(0, signed)
	case 1:
		return b.moved(b.Zero[0], signed)
	}
	return b.moved(b.Zero[i], signed)
}

// PackedBytes is a K x N matrix of bytes laid out for reading by ByteGemm. It is never written after
// PackBytes and may be shared.
type PackedBytes struct {
	k, n    int
	units   int       // of 32 bits along K
	data    []float32 // panels of units
	terms   []int32   // of the columns of whole panels: k zb - sum b
	zeros   []int32   // nil, or of each column -zb
	zero    int32     // of all columns otherwise
	offsets []int
}

// K returns the number of rows.
func (b *PackedBytes) K() int { return b.k }

// N returns the number of columns.
func (b *PackedBytes) N() int { return b.n }

// PackBytes packs K rows of N bytes, or N rows of K bytes if transposed.
func PackBytes(b Bytes, k, n int, transposed bool) *PackedBytes {
	return Memory(nil).PackBytes(b, k, n, transposed)
}

// PackBytes is the function PackBytes with a place for the result. What it holds depends on the
// zero points as well.
func (m Memory) PackBytes(b Bytes, k, n int, transposed bool) *PackedBytes {
	rows, cols := k, n
	if transposed {
		rows, cols = n, k
	}
	checkBytes("PackBytes: B", b, shape{rows, cols, b.Stride})
	if len(b.Zero) > 1 && len(b.Zero) != n {
		panic(fmt.Sprintf("kernels: PackBytes: %d zero points for %d columns", len(b.Zero), n))
	}
	p := newPackedBytes(b, k, n)
	p.take(m.make(p.size(), func(dst []float32) { p.fill(dst, b, transposed) }))
	return p
}

// newPackedBytes returns a matrix that has no data yet.
func newPackedBytes(b Bytes, k, n int) *PackedBytes {
	units := Int8.units(k)
	p := &PackedBytes{k: k, n: n, units: units, offsets: panelOffsets(units)}
	if len(b.Zero) <= 1 {
		p.zero = b.zero(0, false)
		return p
	}
	p.zeros = make([]int32, panels(n)*panelWidth)
	for j := range n {
		p.zeros[j] = -b.zero(j, false)
	}
	return p
}

// size returns how many values of 4 bytes the panels and the terms take.
func (b *PackedBytes) size() int { return panels(b.n) * panelWidth * (b.units + 1) }

// take makes data, of the matrix' size, its panels and terms.
func (b *PackedBytes) take(data []float32) {
	whole := panels(b.n) * panelWidth
	b.data, b.terms = data[:whole*b.units], intsOf(data[whole*b.units:])[:whole]
}

// fill packs the matrix.
func (b *PackedBytes) fill(dst []float32, from Bytes, transposed bool) {
	to := *b
	to.take(dst)
	flip := from.flip(false)
	step := panelWidth * to.units
	for j := 0; j < b.n; j += panelWidth {
		cols := min(b.n-j, panelWidth)
		panel := bytePanel{units: to.data[j*to.units:][:step], cols: cols, k: b.k, flip: flip}
		if transposed {
			panel.packColumns(from.Data[j*from.Stride:], from.Stride)
		} else {
			panel.packRows(from.Data[min(j, len(from.Data)):], from.Stride)
		}
		panel.sum(to.terms[j:][:panelWidth])
	}
	for j := range b.n {
		to.terms[j] = int32(b.k)*from.zero(j, false) - to.terms[j]
	}
}

// bytePanel is 16 columns being packed.
type bytePanel struct {
	units   []float32
	cols, k int
	flip    byte
}

// packRows packs from rows of the matrix, step apart.
func (p bytePanel) packRows(b []byte, step int) {
	var lines [4][panelWidth]byte
	for k := 0; k < p.k; k += 4 {
		var rows [4][]byte
		for i := range rows {
			row := lines[i][:]
			n := 0
			if k+i < p.k {
				if p.cols == panelWidth {
					rows[i] = b[(k+i)*step:][:panelWidth]
					continue
				}
				n = copy(row, b[(k+i)*step:][:p.cols])
			}
			for j := range row[n:] {
				row[n+j] = p.flip
			}
			rows[i] = row
		}
		interleave(p.units[k/4*panelWidth:][:panelWidth], rows, p.flip)
	}
}

// packColumns packs from columns of the matrix, step apart.
func (p bytePanel) packColumns(b []byte, step int) {
	clear(p.units)
	to := bytesOf(p.units)
	for c := range p.cols {
		for k, v := range b[c*step:][:p.k] {
			to[k/4*4*panelWidth+4*c+k%4] = v ^ p.flip
		}
	}
}

// sum adds up the columns.
func (p bytePanel) sum(sums []int32) {
	clear(sums)
	for i, v := range bytesOf(p.units) {
		sums[i/4%panelWidth] += int32(v)
	}
}

// interleave makes units of four rows as long as dst, with the bits of flip turned.
func interleave(dst []float32, rows [4][]byte, flip byte) {
	to := bytesOf(dst)
	for i := interleaveLevel(dst, rows, flip); i < len(dst); i++ {
		for r, row := range rows {
			to[4*i+r] = row[i] ^ flip
		}
	}
}

// leftBytes writes a row of A as units of signed bytes, as many words each as leftStep says, and
// returns the sum of the bytes.
func leftBytes(dst []float32, src []byte, flip byte) int32 {
	if leftStep(Int8, CurrentLevel()) == 1 {
		to := bytesOf(dst)
		clear(to[len(src):])
		return flipped(to[:len(src)], src, flip)
	}
	done := splitLevel(dst, src, flip)
	to := int16sOf(dst)
	clear(to[done:])
	for i := done; i < len(src); i++ {
		to[i/4*4+i%2*2+i%4/2] = int16(int8(src[i] ^ flip))
	}
	return sumSigned(src, flip)
}

// flipped sets dst[i] = src[i]^flip and returns the sum, as of signed bytes.
func flipped(dst, src []byte, flip byte) int32 {
	total, done := moveLevel(dst, src, flip)
	total -= 128 * done
	for i := done; i < len(src); i++ {
		dst[i] = src[i] ^ flip
		total += int(int8(dst[i]))
	}
	return int32(total)
}

func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

func int16sOf(x []float32) []int16 {
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

func intsOf(x []float32) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func floatsOf(x []int32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func checkBytes(name string, b Bytes, s shape) {
	if s.rows < 0 || s.cols < 0 || s.rows > 1 && s.stride < s.cols {
		panic(fmt.Sprintf("kernels: %s is %d x %d with rows %d apart", name, s.rows, s.cols, s.stride))
	}
	if s.rows > 0 && len(b.Data) < (s.rows-1)*s.stride+s.cols {
		panic(fmt.Sprintf("kernels: %s has %d bytes, too few for %d x %d with rows %d apart",
			name, len(b.Data), s.rows, s.cols, s.stride))
	}
}

// unit returns the unit of four equal bytes.
func unit(v byte) float32 { return math.Float32frombits(uint32(v) * 0x01010101) }
