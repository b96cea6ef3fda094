//go:build !purego

package kernels

import (
	"math"
	"unsafe"
)

// locate sets offsets to where the first rows of index start in t, and returns how many of them it has
// set: before one that is not in the table it stops.
func locate[I Index](offsets []int, index []I, t *Table) int {
	level, n := CurrentLevel(), len(index)
	if level == Portable || n == 0 || max(t.rows, t.stride) > math.MaxUint32 {
		return 0
	}
	to, from := &offsets[:n][0], unsafe.Pointer(&index[0])
	wide := unsafe.Sizeof(index[0]) == 8
	switch {
	case wide && level >= AVX512:
		return locate64AVX512(to, (*int64)(from), n, t.rows, t.stride)
	case wide:
		return locate64AVX2(to, (*int64)(from), n, t.rows, t.stride)
	case level >= AVX512:
		return locate32AVX512(to, (*int32)(from), n, t.rows, t.stride)
	}
	return locate32AVX2(to, (*int32)(from), n, t.rows, t.stride)
}

// takeCols is how many columns assembly copies at a time.
const takeCols = 64 << 10

// take copies the rows to dst, in parts of so many columns that no call takes long.
func (t *Table) take(dst []float32, l *lookup) {
	level := CurrentLevel()
	if level == Portable {
		t.takePortable(dst, l)
		return
	}
	ahead := l.finish(t)
	for col := 0; col < t.width; col += takeCols {
		to, from, offsets, cols := unsafe.SliceData(dst[col:]), t.column(col), &l.offsets[0], min(takeCols, t.width-col)
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

// ask asks for the rows.
func (t *Table) ask(l *lookup) {
	switch {
	case CurrentLevel() == Portable:
	case t.values != nil:
		askRows(t.column(0), &l.offsets[0], l.n, t.width)
	default:
		askHalfRows(t.column(0), &l.offsets[0], l.n, t.width)
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
