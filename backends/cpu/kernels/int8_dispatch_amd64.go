//go:build !purego

package kernels

import "unsafe"

// interleaveLevel makes units of the first values of four rows and returns of how many.
func interleaveLevel(dst []float32, rows [4][]byte, flip byte) int {
	if CurrentLevel() == Portable {
		return 0
	}
	whole := len(dst) / panelWidth * panelWidth
	for from := 0; from < whole; from += chunk {
		n := min(chunk, whole-from)
		var at [4]*byte
		for i, row := range rows {
			at[i] = unsafe.SliceData(row[from:][:n])
		}
		interleave4(unsafe.SliceData(dst[from:]), at[0], at[1], at[2], at[3], n, int(flip))
	}
	return whole
}

// splitLevel takes the first bytes of a row apart and returns how many.
func splitLevel(dst []float32, src []byte, flip byte) int {
	whole := len(src) / panelWidth * panelWidth
	for from := 0; from < whole; from += chunk {
		n := min(chunk, whole-from)
		splitBytes(unsafe.SliceData(dst[from/2:][:n/2]), unsafe.SliceData(src[from:]), n, int(flip))
	}
	return whole
}

// sumLevel returns the sum of the first bytes of a row, unsigned after the bits of flip are
// turned, and of how many.
func sumLevel(row []byte, flip byte) (total, done int) {
	if CurrentLevel() == Portable {
		return 0, 0
	}
	whole := len(row) / panelWidth * panelWidth
	for from := 0; from < whole; from += chunk {
		var part int
		sumBytes(&part, unsafe.SliceData(row[from:]), min(chunk, whole-from), int(flip))
		total += part
	}
	return total, whole
}

// moveLevel copies the first bytes of a row with the bits of flip turned, and returns of how many and
// the sum, as of unsigned bytes once the highest bits are turned.
func moveLevel(dst, src []byte, flip byte) (total, done int) {
	if CurrentLevel() == Portable {
		return 0, 0
	}
	whole := len(src) / panelWidth * panelWidth
	for from := 0; from < whole; from += chunk {
		var part int
		n := min(chunk, whole-from)
		moveBytes(&part, unsafe.SliceData(dst[from:][:n]), unsafe.SliceData(src[from:]), n, int(flip))
		total += part
	}
	return total, whole
}

// quantizeLevel quantises whole groups of 16 values. The bounds come after the scale or its inverse.
func quantizeLevel(dst []byte, src []float32, zero int32, factors [3]float32, inverse bool) {
	to, from, n := unsafe.SliceData(dst), unsafe.SliceData(src), len(src)
	wide := CurrentLevel() >= AVX512
	switch {
	case wide && inverse:
		quantizeByAVX512(to, from, n, int(zero), factors[0], factors[1], factors[2])
	case wide:
		quantizeAVX512(to, from, n, int(zero), factors[0], factors[1], factors[2])
	case inverse:
		quantizeByAVX2(to, from, n, int(zero), factors[0], factors[1], factors[2])
	default:
		quantizeAVX2(to, from, n, int(zero), factors[0], factors[1], factors[2])
	}
}

// dequantizeLevel dequantises whole groups of 16 values.
func dequantizeLevel(dst []float32, src []byte, flip byte, zero int32, scale float32) {
	to, from := unsafe.SliceData(dst), unsafe.SliceData(src)
	if CurrentLevel() >= AVX512 {
		dequantizeAVX512(to, from, len(src), int(flip), int(zero), scale)
		return
	}
	dequantizeAVX2(to, from, len(src), int(flip), int(zero), scale)
}

// requantizeLevel rounds whole groups of 16 sums.
func requantizeLevel(dst []byte, sums []int32, scales []float32, zero int32, bounds [2]float32) {
	var repeated [panelWidth]float32
	scales, step := repeat(scales, &repeated)
	to, from, by := unsafe.SliceData(dst), unsafe.SliceData(sums), unsafe.SliceData(scales)
	if CurrentLevel() >= AVX512 {
		requantizeAVX512(to, from, by, len(sums), step, int(zero), bounds[0], bounds[1])
		return
	}
	requantizeAVX2(to, from, by, len(sums), step, int(zero), bounds[0], bounds[1])
}

// scaleSumsLevel scales whole groups of 16 sums.
func scaleSumsLevel(dst []float32, sums []int32, scale float32, cols, bias []float32) {
	var repeated [2][panelWidth]float32
	cols, colStep := repeat(cols, &repeated[0])
	bias, biasStep := repeat(bias, &repeated[1])
	for from := 0; from < len(sums); from += chunk {
		n := min(chunk, len(sums)-from)
		to, x := unsafe.SliceData(dst[from:]), unsafe.SliceData(sums[from:])
		c, b := unsafe.SliceData(cols[from*colStep/(4*panelWidth):]), unsafe.SliceData(bias[from*biasStep/(4*panelWidth):])
		if CurrentLevel() >= AVX512 {
			scaleSumsAVX512(to, x, c, b, n, colStep, biasStep, scale)
		} else {
			scaleSumsAVX2(to, x, c, b, n, colStep, biasStep, scale)
		}
	}
}

// wholeSumsLevel makes integers of the first sums, which are float32, and returns of how many.
func wholeSumsLevel(sums []int32, bias int32) int {
	level := CurrentLevel()
	if level == Portable {
		return 0
	}
	whole := len(sums) / panelWidth * panelWidth
	for from := 0; from < whole; from += chunk {
		x, n := unsafe.SliceData(sums[from:]), min(chunk, whole-from)
		if level >= AVX512 {
			wholeSumsAVX512(x, n, int(bias))
		} else {
			wholeSumsAVX2(x, n, int(bias))
		}
	}
	return whole
}

// repeat returns 16 times the only value of x, or x, and how many bytes further the next 16 are.
func repeat(x []float32, room *[panelWidth]float32) ([]float32, int) {
	if len(x) != 1 {
		return x, 4 * panelWidth
	}
	fill(room[:], x[0])
	return room[:], 0
}

// correctLevel reports whether there is assembly; if so the sums are corrected, up to a whole panel.
func correctLevel(sums, cols []int32, term, factor int32) bool {
	level := CurrentLevel()
	if level == Portable {
		return false
	}
	n := panels(len(sums)) * panelWidth
	sums, cols = sums[:n], cols[:n]
	for len(sums) > 0 {
		n := min(chunk, len(sums))
		if level >= AVX512 {
			correctAVX512(unsafe.SliceData(sums), unsafe.SliceData(cols), n, int(term), int(factor))
		} else {
			correctAVX2(unsafe.SliceData(sums), unsafe.SliceData(cols), n, int(term), int(factor))
		}
		sums, cols = sums[n:], cols[n:]
	}
	return true
}
