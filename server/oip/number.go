package oip

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"

	"github.com/thrumserve/thrum/backends"
)

var (
	errNumber  = errors.New("not a JSON number")
	errInteger = errors.New("not an integer")
	errRange   = errors.New("out of range")
	errBool    = errors.New("not true, false, 0 or 1")
)

// decimal is a JSON number as ±mantissa·10^exponent. The mantissa holds only while digits,
// which leaves leading zeros out, is at most 19.
type decimal struct {
	mantissa uint64
	exponent int
	digits   int
	negative bool
}

// maxDigits is how many decimal digits always fit a uint64.
const maxDigits = 19

// scanDecimal reads the JSON number at text[i] and returns the index after it, or -1 if there
// is none. It is one long function because it is called for every element of every tensor:
// in three functions, an FP32 element took 21 ns instead of 18.
func scanDecimal(text []byte, i int) (d decimal, next int) {
	negative := i < len(text) && text[i] == '-'
	if negative {
		i++
	}
	if i >= len(text) || !isDigit(text[i]) {
		return d, -1
	}
	mantissa, digits, exponent := uint64(0), 0, 0
	if text[i] == '0' {
		i++
	} else {
		start := i
		for ; i < len(text) && isDigit(text[i]); i++ {
			mantissa = mantissa*10 + uint64(text[i]-'0')
		}
		digits = i - start
	}
	if i < len(text) && text[i] == '.' {
		i++
		start := i
		if digits == 0 {
			for i < len(text) && text[i] == '0' {
				i++
			}
		}
		significant := i
		for i+8 <= len(text) {
			chunk := binary.LittleEndian.Uint64(text[i:])
			if !eightDigits(chunk) {
				break
			}
			mantissa = mantissa*1e8 + parseEight(chunk)
			i += 8
		}
		for ; i < len(text) && isDigit(text[i]); i++ {
			mantissa = mantissa*10 + uint64(text[i]-'0')
		}
		if i == start {
			return d, -1
		}
		digits += i - significant
		exponent = start - i
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		var power int
		power, i = scanPower(text, i+1)
		exponent += power
	}
	return decimal{mantissa, exponent, digits, negative}, i
}

// maxPower is beyond every power of ten that makes a difference to a number that fits a body.
const maxPower = 1 << 40

// scanPower reads the exponent after an 'e' and returns the index after it, or -1.
func scanPower(text []byte, i int) (power, next int) {
	negative := false
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		negative = text[i] == '-'
		i++
	}
	if i >= len(text) || !isDigit(text[i]) {
		return 0, -1
	}
	for ; i < len(text) && isDigit(text[i]); i++ {
		power = min(power*10+int(text[i]-'0'), maxPower)
	}
	if negative {
		power = -power
	}
	return power, i
}

func isDigit(ch byte) bool { return ch-'0' <= 9 }

// eightDigits reports whether all bytes of chunk are ASCII digits.
func eightDigits(chunk uint64) bool {
	return chunk&0xf0f0f0f0f0f0f0f0|(chunk+0x0606060606060606)&0xf0f0f0f0f0f0f0f0>>4 == 0x3333333333333333
}

// parseEight returns the number that eight ASCII digits spell, the first in the lowest byte.
func parseEight(chunk uint64) uint64 {
	return eight(chunk - zeros)
}

// pow10 holds the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// scaled returns d's magnitude with at most two roundings, or false if it may take more.
func (d decimal) scaled() (float64, bool) {
	signed := int64(d.mantissa) // converts in one instruction where a uint64 takes a branch
	if d.digits > maxDigits || signed < 0 || d.exponent < -22 || d.exponent > 22 {
		return 0, false
	}
	if d.exponent < 0 {
		return float64(signed) / pow10[-d.exponent], true
	}
	return float64(signed) * pow10[d.exponent], true
}

// appendFP32 appends the float32 nearest to the number at text[i].
//
// scaled is off by at most two units in the last place of a float64 (one rounding of the
// mantissa, one of the product or quotient), so rounding it to a float32 gives the nearest
// one unless it lies that close to the middle between two of them: its low 29 bits, which
// the rounding drops, are then 2^28 give or take 2.
func appendFP32(out, text []byte, i int) ([]byte, int, error) {
	d, next := scanDecimal(text, i)
	if next < 0 {
		return out, i, errNumber
	}
	f, ok := d.scaled()
	if low := math.Float64bits(f) & (1<<29 - 1); !ok || low-(1<<28-2) <= 4 {
		v, err := strconv.ParseFloat(string(text[i:next]), 32)
		if err != nil {
			return out, i, errRange
		}
		return binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v))), next, nil
	}
	v := float32(f)
	if v > math.MaxFloat32 {
		return out, i, errRange
	}
	if d.negative {
		v = -v
	}
	return binary.LittleEndian.AppendUint32(out, math.Float32bits(v)), next, nil
}

// appendFP64 appends the float64 nearest to the number at text[i]: one exact operation for a
// mantissa of up to 53 bits (Clinger), strconv for the rest.
func appendFP64(out, text []byte, i int) ([]byte, int, error) {
	d, next := scanDecimal(text, i)
	if next < 0 {
		return out, i, errNumber
	}
	f, ok := d.scaled()
	if !ok || d.mantissa > 1<<53 {
		v, err := strconv.ParseFloat(string(text[i:next]), 64)
		if err != nil {
			return out, i, errRange
		}
		return binary.LittleEndian.AppendUint64(out, math.Float64bits(v)), next, nil
	}
	if d.negative {
		f = -f
	}
	return binary.LittleEndian.AppendUint64(out, math.Float64bits(f)), next, nil
}

// appendInteger appends the integer at text[i] in the size of datatype d. A number written
// with a point or an exponent counts if its value is an integer: 1.0, 2e3.
func appendInteger(d backends.Datatype) appendElement {
	signed := d >= backends.Int8 && d <= backends.Int64
	bits := 8 * d.Size()
	most, least := uint64(math.MaxUint64)>>(64-bits), uint64(0)
	if signed {
		most >>= 1
		least = most + 1
	}
	return func(out, text []byte, i int) ([]byte, int, error) {
		magnitude, negative, next, err := scanInteger(text, i)
		if err != nil {
			return out, i, err
		}
		value, bound := magnitude, most
		if negative {
			value, bound = -magnitude, least
		}
		if magnitude > bound {
			return out, i, errRange
		}
		return appendLow(out, value, bits), next, nil
	}
}

// appendLow appends the low bits of v, little-endian.
func appendLow(out []byte, v uint64, bits int) []byte {
	switch bits {
	case 8:
		return append(out, byte(v))
	case 16:
		return binary.LittleEndian.AppendUint16(out, uint16(v))
	case 32:
		return binary.LittleEndian.AppendUint32(out, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(out, v)
}

// scanInteger reads the number at text[i], exactly.
func scanInteger(text []byte, i int) (magnitude uint64, negative bool, next int, err error) {
	d, next := scanDecimal(text, i)
	if next < 0 {
		return 0, false, i, errNumber
	}
	if d.digits <= maxDigits && d.exponent == 0 {
		return d.mantissa, d.negative, next, nil
	}
	digits, exponent := significant(text[i:next], d.exponent)
	switch {
	case len(digits) == 0:
		return 0, d.negative, next, nil
	case exponent < 0:
		return 0, false, i, errInteger
	case len(digits)+exponent > maxDigits+1:
		return 0, false, i, errRange
	}
	for range exponent {
		digits = append(digits, '0')
	}
	magnitude, err = strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0, false, i, errRange
	}
	return magnitude, d.negative, next, nil
}

// significant returns the digits of a JSON number without leading and trailing zeros, and
// the exponent that belongs to them.
func significant(number []byte, exponent int) ([]byte, int) {
	var digits []byte
	for _, ch := range number {
		if ch|0x20 == 'e' {
			break
		}
		if isDigit(ch) && (ch != '0' || len(digits) > 0) {
			digits = append(digits, ch)
		}
	}
	for len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		exponent++
	}
	return digits, exponent
}

// appendBool appends true, false, 1 or 0 at text[i] as one byte.
func appendBool(out, text []byte, i int) ([]byte, int, error) {
	c := cursor{text: text, at: i}
	switch {
	case c.word("true") || c.word("1"):
		return append(out, 1), c.at, nil
	case c.word("false") || c.word("0"):
		return append(out, 0), c.at, nil
	}
	return out, i, errBool
}
