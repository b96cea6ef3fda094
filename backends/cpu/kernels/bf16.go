package kernels

import "math"

// A bfloat16 is the upper half of a float32. Rounding is to nearest, ties to even; a NaN stays one
// and becomes quiet; what is smaller than the smallest normal number becomes a zero of its sign.

// roundBits returns the bits of x rounded to bfloat16, as those of a float32.
func roundBits(x float32) uint32 {
	const exponent, quiet, upper = 0x7f800000, 0x00400000, 0xffff0000
	u := math.Float32bits(x)
	switch {
	case u&exponent == 0:
		return u & (1 << 31)
	case x != x:
		return (u | quiet) & upper
	}
	return (u + 0x7fff + u>>16&1) & upper
}

// pair returns the unit of two values.
func pair(even, odd float32) float32 {
	return math.Float32frombits(roundBits(even)>>16 | roundBits(odd))
}

// conversion is rows of values that are rounded.
type conversion struct {
	dst, src       []float32
	odd            []float32 // as src: the other values of pairs
	rows, cols     int
	dstRow, srcRow int // distances of rows
	panel          int // distance of 16 units and the next in dst
}

// part returns some rows and columns of c, the first column a whole panel's.
func (c conversion) part(rows, cols span) *conversion {
	at := rows.lo*c.srcRow + cols.lo
	c.src = c.src[at:]
	if c.odd != nil {
		c.odd = c.odd[at:]
	}
	c.rows, c.cols = rows.hi-rows.lo, cols.hi-cols.lo
	return &c
}

func (c *conversion) pairRowsPortable() {
	for r := range c.rows {
		dst, even, odd := c.dst[r*c.dstRow:], c.src[r*c.srcRow:], c.odd[r*c.srcRow:]
		for i := range c.cols {
			dst[i/panelWidth*c.panel+i%panelWidth] = pair(even[i], odd[i])
		}
	}
}

func (c *conversion) roundPortable() {
	for r := range c.rows {
		dst := c.dst[r*c.dstRow:]
		for i, x := range c.src[r*c.srcRow:][:c.cols] {
			dst[i] = math.Float32frombits(roundBits(x))
		}
	}
}

// pairUpPortable does columns from an even one on; the last of an odd number gets a zero.
func (c *conversion) pairUpPortable(from int) {
	for r := range c.rows {
		dst, src := c.dst[r*c.dstRow:], c.src[r*c.srcRow:]
		i := from
		for ; i+1 < c.cols; i += 2 {
			dst[i/2] = pair(src[i], src[i+1])
		}
		if i < c.cols {
			dst[i/2] = pair(src[i], 0)
		}
	}
}

// leftStep returns how many words a unit of A takes. Where pairs are multiplied one value after
// the other, A is kept as float32 that has been rounded, so that it needs not be taken apart for
// each tile.
func leftStep(p Precision, l Level) int {
	if p == BF16 && l < AVX512BF16 || p == Int8 && l > Portable && l < AVX512VNNI {
		return 2
	}
	return 1
}

// left writes rows of A as units, in rows of so many words that are row apart.
func (p Precision) left(dst []float32, row int, a []float32, s shape) {
	if s.rows == 0 || s.cols == 0 {
		return
	}
	if p == FP32 {
		for r := range s.rows {
			copy(dst[r*row:][:s.cols], a[r*s.stride:])
		}
		return
	}
	level := CurrentLevel()
	step := leftStep(p, level)
	words := p.units(s.cols) * step
	if used := (s.cols*step + 1) / 2; used < words {
		for r := range s.rows {
			clear(dst[r*row+used:][:words-used])
		}
	}
	c := conversion{dst: dst, src: a, rows: s.rows, cols: s.cols, dstRow: row, srcRow: s.stride}
	if step == 1 {
		c.pairUp(level)
	} else {
		c.round(level)
	}
}

// zeros stand for the row that an odd number of rows lacks.
var zeros [blockCols]float32

// pairPanels writes the panels of b as pairs.
func pairPanels(dst []float32, b Matrix) {
	if b.K == 0 {
		return
	}
	for lo := 0; lo < b.N; lo += blockCols {
		part := b.columns(lo, min(lo+blockCols, b.N))
		to := dst[lo*BF16.units(b.K):]
		if b.Transposed {
			part.pairColumns(to)
		} else {
			part.pairRows(to)
		}
	}
}

// pairRows writes the panels of up to blockCols columns whose rows are dense.
func (b Matrix) pairRows(dst []float32) {
	units, level := BF16.units(b.K), CurrentLevel()
	if b.N%panelWidth != 0 {
		clear(dst[b.N/panelWidth*units*panelWidth:][:units*panelWidth])
	}
	c := conversion{
		dst: dst, src: b.Data, rows: b.K / 2, cols: b.N,
		dstRow: panelWidth, srcRow: 2 * b.Stride, panel: units * panelWidth,
	}
	if c.rows > 0 {
		c.odd = b.Data[b.Stride:]
		c.pairRows(level)
	}
	if b.K%2 != 0 {
		c.dst, c.src, c.odd, c.rows = dst[b.K/2*panelWidth:], b.Data[(b.K-1)*b.Stride:], zeros[:], 1
		c.pairRows(level)
	}
}

// pairColumns writes the panels of columns that are dense.
func (b Matrix) pairColumns(dst []float32) {
	units := BF16.units(b.K)
	s := borrow(b.N*units, 0)
	defer s.giveBack()
	clear(s.data)
	c := conversion{dst: s.data, src: b.Data, rows: b.N, cols: b.K, dstRow: units, srcRow: b.Stride}
	c.pairUp(CurrentLevel())
	Matrix{s.data, units, b.N, units, true}.pack(dst)
}
