package oip

import (
	"math"
	"strconv"
)

// appendFloat32 appends the shortest decimal that reads back as v, or reports false if JSON
// has none.
func appendFloat32(dst []byte, v float32) ([]byte, bool) {
	return appendFloat(dst, float64(v), 32)
}

// appendFloat64 appends the shortest decimal that reads back as v, or reports false if JSON
// has none.
func appendFloat64(dst []byte, v float64) ([]byte, bool) {
	return appendFloat(dst, v, 64)
}

func appendFloat(dst []byte, v float64, bits int) ([]byte, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dst, false
	}
	format := byte('f')
	if size := math.Abs(v); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, bits), true
}
