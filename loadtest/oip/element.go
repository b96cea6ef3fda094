package oip

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
)

// float returns a floating-point element.
func float(d Datatype, element []byte) float64 {
	switch d {
	case FP16:
		return halfToFloat(binary.LittleEndian.Uint16(element))
	case BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(element)) << 16))
	case FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(element)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(element))
}

// AppendFloat appends the nearest element of a floating-point datatype to v.
func AppendFloat(data []byte, d Datatype, v float64) []byte {
	switch d {
	case FP16:
		return binary.LittleEndian.AppendUint16(data, floatToHalf(v))
	case BF16:
		return binary.LittleEndian.AppendUint16(data, floatToBrain(v))
	case FP32:
		return binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
	}
	return binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
}

// AppendInteger appends the low bytes of v, as many as an element of d has.
func AppendInteger(data []byte, d Datatype, v uint64) []byte {
	for range d.Size() {
		data = append(data, byte(v))
		v >>= 8
	}
	return data
}

// integer returns the bits of an element, extended by its sign if it has one.
func integer(d Datatype, element []byte) uint64 {
	v := uint64(0)
	for i, b := range element {
		v |= uint64(b) << (8 * i)
	}
	if unused := 64 - 8*len(element); d.Signed() {
		return uint64(int64(v<<unused) >> unused)
	}
	return v
}

// appendText appends an element as JSON has it; NaN and the infinities, which JSON does not have,
// by their names.
func appendText(dst []byte, d Datatype, element []byte) []byte {
	switch {
	case d == Bool:
		return strconv.AppendBool(dst, element[0] != 0)
	case d == FP64:
		return strconv.AppendFloat(dst, float(d, element), 'g', -1, 64)
	case d.Float():
		return strconv.AppendFloat(dst, float(d, element), 'g', -1, 32)
	case d.Signed():
		return strconv.AppendInt(dst, int64(integer(d, element)), 10)
	case d.Unsigned():
		return strconv.AppendUint(dst, integer(d, element), 10)
	}
	text, err := json.Marshal(string(element))
	if err != nil {
		panic(err) // no string fails
	}
	return append(dst, text...)
}

const (
	halfFraction = 10              // bits
	halfLeast    = -14             // exponent of its smallest normal number
	halfInfinity = 0x1f << 10      // as bits
	halfQuiet    = 0x1f<<10 | 1<<9 // NaN
)

func halfToFloat(h uint16) float64 {
	sign := 1.0
	if h>>15 != 0 {
		sign = -1
	}
	exponent, fraction := int(h>>halfFraction&0x1f), float64(h&(1<<halfFraction-1))
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, halfLeast-halfFraction)
	case 0x1f:
		if fraction != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(fraction+1<<halfFraction, exponent-15-halfFraction)
}

// floatToHalf rounds to the nearest, to the even one of two.
func floatToHalf(v float64) uint16 {
	sign := uint16(math.Float64bits(v) >> 63 << 15)
	switch v = math.Abs(v); {
	case math.IsNaN(v):
		return sign | halfQuiet
	case math.IsInf(v, 1):
		return sign | halfInfinity
	case v == 0:
		return sign
	}
	_, e := math.Frexp(v) // v = m·2^e with m in [0.5, 1)
	exponent := max(e-1, halfLeast)
	units := math.RoundToEven(math.Ldexp(v, halfFraction-exponent))
	// A carry into the exponent, or from the subnormal numbers to the normal ones, adds up by itself.
	bits := float64((exponent-halfLeast)<<halfFraction) + units
	return sign | uint16(min(bits, halfInfinity))
}

// floatToBrain rounds to the nearest, to the even one of two.
func floatToBrain(v float64) uint16 {
	if math.IsNaN(v) {
		return 0x7fc0
	}
	bits := math.Float32bits(float32(v))
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
