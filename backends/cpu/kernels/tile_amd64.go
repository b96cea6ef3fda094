//go:build !purego

package kernels

// maxRows returns how many rows a tile may have.
func maxRows(l Level) int {
	switch l {
	case AVX512:
		return 14
	case AVX2:
		return 6
	}
	return 4
}

// maxPanels returns how many panels a tile of so many rows may have, a power of two. A single row
// needs eight sums to keep the multipliers busy; many rows fill the registers with fewer panels.
func maxPanels(l Level, rows int) int {
	switch {
	case l == AVX512 && rows == 1:
		return 8
	case l == AVX512 && rows <= 4 || l == AVX2 && rows == 1:
		return 4
	case l == AVX512 || l == AVX2 && rows <= 3:
		return 2
	}
	return 1
}

func (t *tile) run(l Level) {
	switch l {
	case AVX512:
		tileAVX512(t)
	case AVX2:
		tileAVX2(t)
	default:
		tilePortable(t)
	}
}
