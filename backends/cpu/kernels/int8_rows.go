package kernels

import "math"

// Quantize sets dst to Zero + src/scale, rounded to even and bounded to the bytes there are: the
// operator QuantizeLinear. NaN becomes the smallest byte.
func (b ByteType) Quantize(dst []byte, src []float32, scale float32) {
	if len(dst) != len(src) {
		panic("kernels: Quantize: lengths differ")
	}
	b.quantize(dst, src, scale, false)
}

// ByteType is a type of bytes with its zero point.
type ByteType struct {
	Signed bool
	Zero   int32
}

// bounds returns the smallest and the largest value before the zero point is added.
func (b ByteType) bounds() (low, high float32) {
	l, h := Rounding{Signed: b.Signed}.bounds()
	return float32(l - b.Zero), float32(h - b.Zero)
}

// quantize is Quantize or, with the inverse of a scale, a multiplication instead of a division.
func (b ByteType) quantize(dst []byte, src []float32, scale float32, inverse bool) {
	low, high := b.bounds()
	if !inSixteens(len(src)) {
		for i, v := range src {
			if inverse {
				v *= scale
			} else {
				v /= scale
			}
			dst[i] = roundToByte(v, low, high, b.Zero)
		}
		return
	}
	for lo, hi := 0, 0; hi < len(src); {
		lo, hi = sixteens(hi, len(src))
		quantizeLevel(dst[lo:hi], src[lo:hi], b.Zero, [3]float32{scale, low, high}, inverse)
	}
}

// roundToByte rounds v to even within bounds and adds the zero point. A NaN becomes the lower bound.
func roundToByte(v, low, high float32, zero int32) byte {
	if !(v > low) {
		v = low
	}
	if v > high {
		v = high
	}
	return byte(int32(math.RoundToEven(float64(v))) + zero)
}

// Dequantize sets dst to (src-Zero)*scale: the operator DequantizeLinear.
func (b ByteType) Dequantize(dst []float32, src []byte, scale float32) {
	if len(dst) != len(src) {
		panic("kernels: Dequantize: lengths differ")
	}
	source := Bytes{Signed: b.Signed}
	flip, zero := source.flip(false), source.moved(b.Zero, false)
	if !inSixteens(len(src)) {
		for i, v := range src {
			dst[i] = float32(int32(v^flip)-zero) * scale
		}
		return
	}
	for lo, hi := 0, 0; hi < len(src); {
		lo, hi = sixteens(hi, len(src))
		dequantizeLevel(dst[lo:hi], src[lo:hi], flip, zero, scale)
	}
}

// round sets dst to the sums as bytes. The scales are one for all or one for each.
func (r Rounding) round(dst []byte, sums []int32, scales []float32) {
	t := ByteType{Signed: r.Signed, Zero: r.Zero}
	low, high := t.bounds()
	if r.Relu {
		low = 0
	}
	if !inSixteens(len(sums)) {
		for i, v := range sums {
			dst[i] = roundToByte(float32(v)*scales[min(i, len(scales)-1)], low, high, r.Zero)
		}
		return
	}
	for lo, hi := 0, 0; hi < len(sums); {
		lo, hi = sixteens(hi, len(sums))
		factors := scales
		if len(scales) > 1 {
			factors = scales[lo:hi]
		}
		requantizeLevel(dst[lo:hi], sums[lo:hi], factors, r.Zero, [2]float32{low, high})
	}
}

// scaleSums sets dst to sums*(scale*cols) + bias; cols and bias are one for all or one for each.
// dst may be the memory of sums.
func scaleSums(dst []float32, sums []int32, scale float32, cols, bias []float32) {
	whole := 0
	if CurrentLevel() > Portable {
		whole = len(sums) &^ 15
		scaleSumsLevel(dst[:whole], sums[:whole], scale, cols, bias)
	}
	for i := whole; i < len(sums); i++ {
		x := float32(sums[i]) * (scale * cols[min(i, len(cols)-1)])
		dst[i] = x + bias[min(i, len(bias)-1)]
	}
}

// correct adds term + factor*cols to the sums. Both may be written and read up to a whole panel.
func correct(sums, cols []int32, term, factor int32) {
	if correctLevel(sums, cols, term, factor) {
		return
	}
	for i := range sums {
		sums[i] += term + factor*cols[i]
	}
}

func addInts(dst, x []int32) {
	for i := range dst {
		dst[i] += x[i]
	}
}

// sumSigned returns the sum of the bytes of a row, as signed ones after the bits of flip are turned.
func sumSigned(row []byte, flip byte) int32 {
	total, done := sumLevel(row, flip^0x80)
	total -= 128 * done
	for _, v := range row[done:] {
		total += int(int8(v ^ flip))
	}
	return int32(total)
}

// inSixteens says that there is assembly for n values: they are done 16 at a time, and where some
// are left the last 16 of all once more.
func inSixteens(n int) bool { return n >= panelWidth && CurrentLevel() > Portable }

// sixteens returns the part of n values that comes after those done, as many as assembly may take.
func sixteens(done, n int) (lo, hi int) {
	whole := n / panelWidth * panelWidth
	if done >= whole {
		return n - panelWidth, n
	}
	return done, min(done+chunk, whole)
}
