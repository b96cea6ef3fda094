package ml

import (
	"math"
	"slices"
)

// Scale writes (x - offset) * scale to dst, each column with its own offset and scale or all
// with one. Numbers of offsets and scales that are neither that of the columns nor one are
// an ErrInvalid.
func Scale[T Float](dst []float32, x []T, columns int, offset, scale []float32) error {
	n := len(offset)
	if len(scale) != n || n != 1 && n != columns {
		return invalid("%d offsets and %d scales for %d features: they need as many or one", n, len(scale), columns)
	}
	for i, v := range x {
		k := i % n
		dst[i] = float32((v - T(offset[k])) * T(scale[k]))
	}
	return nil
}

// Norm is what Normalize divides a row by.
type Norm uint8

// The norms.
const (
	NormMax Norm = iota // the largest element, not its size
	NormL1
	NormL2
)

var norms = []string{"MAX", "L1", "L2"}

// ParseNorm returns the norm of that name.
func ParseNorm(name string) (Norm, error) {
	i := slices.Index(norms, name)
	if i < 0 {
		return 0, invalid("norm %q is none of %v", name, norms)
	}
	return Norm(i), nil
}

// Normalize writes the rows of x to dst, each divided by its norm unless that is 0.
func Normalize[T Float](dst []float32, x []T, columns int, norm Norm) {
	if columns == 0 {
		return
	}
	for from := 0; from < len(x); from += columns {
		normalizeRow(dst[from:from+columns], x[from:from+columns], norm)
	}
}

func normalizeRow[T Float](dst []float32, row []T, norm Norm) {
	size := rowNorm(row, norm)
	for i, v := range row {
		switch {
		case size == 0:
			dst[i] = float32(v)
		case norm == NormL2:
			dst[i] = float32(math.Copysign(math.Sqrt(float64(float32(v*v)/size)), float64(v)))
		default:
			dst[i] = float32(v) / size
		}
	}
}

func rowNorm[T Float](row []T, norm Norm) float32 {
	var sum float32
	if norm == NormMax {
		sum = -math.MaxFloat32
	}
	for _, v := range row {
		switch norm {
		case NormMax:
			sum = max(sum, float32(v))
		case NormL1:
			sum += float32(max(v, -v))
		case NormL2:
			sum += float32(v * v)
		}
	}
	return sum
}

// Binarize writes 1 to dst where x is above the threshold and 0 elsewhere.
func Binarize[T Number](dst, x []T, threshold float32) {
	for i, v := range x {
		dst[i] = 0
		if float64(v) > float64(threshold) {
			dst[i] = 1
		}
	}
}

// Number is an element that Binarize and Impute take.
type Number interface{ Float | int32 | int64 }

// Impute writes x to dst with each element that is missing, NaN meaning every NaN, replaced by the value
// of its column; a number of values that is not that of the columns means the first for all.
func Impute[T Number](dst, x []T, columns int, missing T, values []T) error {
	if len(values) == 0 {
		return invalid("no values to put where one is missing")
	}
	if len(values) != columns {
		values = values[:1]
	}
	for i, v := range x {
		dst[i] = v
		if v == missing || v != v && missing != missing {
			dst[i] = values[i%len(values)]
		}
	}
	return nil
}
