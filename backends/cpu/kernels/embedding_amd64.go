//go:build !purego

package kernels

import "unsafe"

// take copies the rows to dst, in parts of so many columns that no call takes long.
func (t *Table) take(dst []float32, l *lookup) {
	level := CurrentLevel()
	if level == Portable {
		t.takePortable(dst, l)
		return
	}
	ahead := l.finish(t)
	for col := 0; col < t.width; col += lookupValues {
		to, from, offsets, cols := unsafe.SliceData(dst[col:]), t.column(col), &l.offsets[0], min(lookupValues, t.width-col)
		switch {
		case t.values != nil && level >= AVX512:
			takeRowsAVX512(to, from, offsets, l.n, cols, 4*t.width, ahead)
		case t.values != nil:
			takeRowsAVX2(to, from, offsets, l.n, cols, 4*t.width, ahead)
		case level >= AVX512:
			takeHalfRowsAVX512(to, from, offsets, l.n, cols, 4*t.width, ahead)
		default:
			takeHalfRowsAVX2(to, from, offsets, l.n, cols, 4*t.width, ahead)
		}
	}
}

// column returns where a column starts.
func (t *Table) column(col int) *byte {
	if t.values != nil {
		return (*byte)(unsafe.Pointer(&t.values[col]))
	}
	return (*byte)(unsafe.Pointer(&t.halves[col]))
}

// bagCols returns how many columns are summed together: eight vectors.
func bagCols(level Level) int {
	switch {
	case level >= AVX512:
		return 8 * 16
	case level >= AVX2:
		return 8 * 8
	}
	return 1 << 30
}

func (s *bagSum) run(level Level) {
	switch {
	case level == Portable:
		s.portable()
	case s.values != nil && level >= AVX512:
		sumRowsAVX512(s)
	case s.values != nil:
		sumRowsAVX2(s)
	case level >= AVX512:
		sumHalfRowsAVX512(s)
	default:
		sumHalfRowsAVX2(s)
	}
}
