package oip

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// appendFloat64 appends the shortest decimal that reads back as v, or reports false if JSON
// has none.
func appendFloat64(dst []byte, v float64) ([]byte, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dst, false
	}
	format := byte('f')
	if size := math.Abs(v); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 64), true
}

// appendFloat32 appends the shortest decimal that reads back as v, of several the one nearest
// to v, or reports false if JSON has none.
func appendFloat32(dst []byte, v float32) ([]byte, bool) {
	raw := math.Float32bits(v)
	exponent, fraction := int(raw>>23&0xff), raw&(1<<23-1)
	if exponent == 0xff {
		return dst, false
	}
	if raw>>31 != 0 {
		dst = append(dst, '-')
	}
	if exponent == 0 && fraction == 0 {
		return append(dst, '0'), true
	}
	digits, power := shortest(exponent, fraction)
	for digits%10 == 0 {
		digits, power = digits/10, power+1
	}
	return appendDecimal(dst, digits, power), true
}

// shortest returns digits·10^power, the decimal with the fewest digits (but for trailing
// zeros) inside the rounding interval of the float32 with these fields, by the method of
// Raffaello Giulietti, "The Schubfach way to render doubles" (2020): the interval's ends and
// its middle, times four, are brought to the one power of ten at which the interval holds at
// least one and at most ten multiples, by one multiplication each.
func shortest(exponent int, fraction uint32) (digits uint32, power int) {
	c, q := fraction, -149 // v = c·2^q
	if exponent > 0 {
		c, q = fraction|1<<23, exponent-150
	}
	closer := fraction == 0 && exponent > 1 // the neighbour below is half as far as the one above
	left, middle, right := 4*c-2, 4*c, 4*c+2
	k := floorLog10Pow2(q)
	if closer {
		left, k = 4*c-1, floorLog10ThreeQuartersPow2(q)
	}
	shift := q + floorLog2Pow10(-k) + 1
	g := tens[-k-minTen]
	lower, v, upper := mulOdd(g, left<<shift), mulOdd(g, middle<<shift), mulOdd(g, right<<shift)
	if c%2 != 0 { // an odd c loses a tie, so the ends are outside
		lower, upper = lower+1, upper-1
	}
	if s := v / 40; s > 0 { // one digit less will do if just one neighbour is inside
		down, up := lower <= 40*s, 40*s+40 <= upper
		if down != up {
			return s + b2u(up), k + 1
		}
	}
	s := v / 4
	down, up := lower <= 4*s, 4*s+4 <= upper
	if down != up {
		return s + b2u(up), k
	}
	middle = 4*s + 2
	return s + b2u(v > middle || v == middle && s%2 != 0), k
}

// mulOdd returns g·c / 2^64, rounded down, with the lowest bit set if anything was cut off.
func mulOdd(g uint64, c uint32) uint32 {
	hi, _ := bits.Mul64(g, uint64(c)<<32)
	return uint32(hi>>32) | b2u(uint32(hi) > 1)
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// The logarithms are exact for the exponents of a float32.
func floorLog10Pow2(q int) int              { return (q * 1262611) >> 22 }
func floorLog10ThreeQuartersPow2(q int) int { return (q*1262611 - 524031) >> 22 }
func floorLog2Pow10(k int) int              { return (k * 1741647) >> 19 }

// minTen and maxTen bound the powers of ten that the exponents of a float32 lead to.
const minTen, maxTen = -31, 45

// tens holds for each power k from minTen to maxTen the uint64 that is 10^k scaled by a power
// of two to have its highest bit set, rounded down, plus one.
var tens = scaledTens()

func scaledTens() (all [maxTen - minTen + 1]uint64) {
	ten := big.NewInt(10)
	for i := range all {
		k := int64(minTen + i)
		scaled := new(big.Int).Exp(ten, big.NewInt(max(k, -k)), nil)
		if k < 0 {
			scaled.Div(new(big.Int).Lsh(big.NewInt(1), 192), scaled)
		} else {
			scaled.Lsh(scaled, 192)
		}
		scaled.Rsh(scaled, uint(scaled.BitLen()-64))
		all[i] = scaled.Uint64() + 1
	}
	return all
}

// appendDecimal appends digits·10^power, without an exponent from 1e-6 up to below 1e21.
func appendDecimal(dst []byte, digits uint32, power int) []byte {
	n := countDigits(digits)
	point := n + power // digits before the decimal point
	switch {
	case point > 21 || point < -5:
		return appendScientific(dst, digits, n, point-1)
	case power >= 0:
		dst = appendDigits(dst, digits, n)
		return append(dst, "00000000000000000000"[:power]...)
	case point > 0:
		start := len(dst)
		dst = appendDigits(append(dst, 0), digits, n)
		copy(dst[start:], dst[start+1:start+1+point])
		dst[start+point] = '.'
		return dst
	}
	dst = append(dst, '0', '.')
	for ; point < 0; point++ {
		dst = append(dst, '0')
	}
	return appendDigits(dst, digits, n)
}

// appendScientific appends n digits with a point after the first and an exponent.
func appendScientific(dst []byte, digits uint32, n, exponent int) []byte {
	start := len(dst)
	dst = appendDigits(append(dst, 0), digits, n)
	dst[start] = dst[start+1]
	if dst[start+1] = '.'; n == 1 {
		dst = dst[:start+1]
	}
	dst = append(dst, 'e')
	return strconv.AppendInt(dst, int64(exponent), 10)
}

// countDigits returns the number of decimal digits of v, which is not 0.
func countDigits(v uint32) int {
	n := bits.Len32(v) * 1233 >> 12 // 1233/4096 is log10 of 2
	if uint64(v) >= uintTens[n] {
		n++
	}
	return n
}

var uintTens = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}

// pairs holds the numbers from 00 to 99.
const pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839" +
	"4041424344454647484950515253545556575859606162636465666768697071727374757677787980" +
	"81828384858687888990919293949596979899"

// appendDigits appends the n digits of v.
func appendDigits(dst []byte, v uint32, n int) []byte {
	var text [10]byte
	i := n
	for ; i >= 2; i -= 2 {
		pair := v % 100 * 2
		v /= 100
		text[i-1], text[i-2] = pairs[pair+1], pairs[pair]
	}
	if i == 1 {
		text[0] = byte('0' + v)
	}
	return append(dst, text[:n]...)
}
