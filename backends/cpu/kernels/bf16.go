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

// pairRowsPortable sets dst[i/16*step + i%16] = pair(even[i], odd[i]).
func pairRowsPortable(dst, even, odd []float32, step int) {
	for i, x := range even {
		dst[i/panelWidth*step+i%panelWidth] = pair(x, odd[i])
	}
}

func roundRowPortable(dst, src []float32) {
	for i, x := range src {
		dst[i] = math.Float32frombits(roundBits(x))
	}
}

func pairUpPortable(dst, src []float32) {
	for i := range len(src) / 2 {
		dst[i] = pair(src[2*i], src[2*i+1])
	}
	rest := dst[len(src)/2:]
	clear(rest)
	if len(src)%2 != 0 {
		rest[0] = pair(src[len(src)-1], 0)
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

// left writes a row of A as units.
func (p Precision) left(dst, row []float32) {
	level := CurrentLevel()
	if leftStep(p, level) == 1 {
		pairUp(level, dst, row)
		return
	}
	roundRow(level, dst, row)
	clear(dst[len(row):])
}

// zeros stand for the row that an odd number of rows lacks.
var zeros [blockCols]float32

// pairPanels writes the panels of b as pairs.
func pairPanels(dst []float32, b Matrix) {
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
	units := BF16.units(b.K)
	if b.N%panelWidth != 0 {
		clear(dst[b.N/panelWidth*units*panelWidth:][:units*panelWidth])
	}
	for u := range units {
		even, odd := b.Data[2*u*b.Stride:][:b.N], zeros[:b.N]
		if 2*u+1 < b.K {
			odd = b.Data[(2*u+1)*b.Stride:][:b.N]
		}
		pairRows(dst[u*panelWidth:], even, odd, units*panelWidth)
	}
}

// pairColumns writes the panels of columns that are dense.
func (b Matrix) pairColumns(dst []float32) {
	units := BF16.units(b.K)
	s := borrow(b.N*units, 0)
	defer s.giveBack()
	for c := range b.N {
		pairUp(CurrentLevel(), s.data[c*units:][:units], b.Data[c*b.Stride:][:b.K])
	}
	Matrix{s.data, units, b.N, units, true}.pack(dst)
}
