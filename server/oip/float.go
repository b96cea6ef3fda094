package oip

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"unsafe"
)

// appendFloat64s appends the float64 in data with commas between them. It returns how many it has
// appended: all but for one that JSON has no form for.
func appendFloat64s(dst, data []byte) ([]byte, int) {
	for i := 0; i+8 <= len(data); i += 8 {
		v := math.Float64frombits(binary.LittleEndian.Uint64(data[i:]))
		var finite bool
		if dst, finite = appendFloat64(appendComma(dst, i), v); !finite {
			return dst, i / 8
		}
	}
	return dst, len(data) / 8
}

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

// appendFloat32s appends the float32 in data with commas between them, for each the shortest decimal
// that reads back as it, of several the nearest. It returns how many it has appended: all but for one
// that JSON has no form for.
func appendFloat32s(dst, data []byte) ([]byte, int) {
	var block [decimalBlock]decimal32
	for done := 0; 4*done < len(data); done += decimalBlock {
		part := data[4*done : min(len(data), 4*(done+decimalBlock))]
		decimals(&block, part)
		for i := 0; i < len(part); i += 4 {
			raw := binary.LittleEndian.Uint32(part[i:])
			if raw&infinity32 == infinity32 {
				return dst, done + i/4
			}
			if cap(dst)-len(dst) <= floatRoom {
				dst = slices.Grow(dst, floatRoom+1)
			}
			end := len(dst)
			room := dst[end : end+1+floatRoom]
			room[0] = ','
			comma := int(b2u(i+done > 0))
			dst = dst[:end+comma+block[i/4].put((*[floatRoom]byte)(room[comma:]), raw)]
		}
	}
	return dst, len(data) / 4
}

// decimal32 is the shortest decimal of a float32 but for its sign, as nine digits of which the last
// may be zeros.
type decimal32 struct {
	eight uint64 // the digits behind the first, each in a byte, the first of them in the lowest
	first uint32
	point int32 // how many digits stand before the decimal point
}

// decimalBlock is how many decimals are made at a time.
const decimalBlock = 64

// decimals sets block to the decimals of data; those of zero, NaN and infinities are something.
func decimals(block *[decimalBlock]decimal32, data []byte) {
	i := 0
	if hasAVX2 {
		i = len(data) &^ 15
		decimals4(&block[0], unsafe.SliceData(data), i/4, &tens[0])
	}
	for ; i+4 <= len(data); i += 4 {
		if raw := binary.LittleEndian.Uint32(data[i:]); raw<<1 != 0 && raw&infinity32 != infinity32 {
			block[i/4] = decimalOf(raw)
		}
	}
}

func decimalOf(raw uint32) decimal32 {
	digits, power := shortest(int(raw>>23&0xff), raw&(1<<23-1))
	count := countDigits(digits)
	nine := uint64(digits) * uintTens[(9-count)&15]
	return decimal32{eightBytes(nine % 1e8), uint32(nine / 1e8), int32(count + power)}
}

const infinity32 = 0xff << 23

// floatRoom is how many bytes put may write, though the longest decimal takes 22.
const floatRoom = 32

// put writes d with the sign of raw, or a zero if raw is one, and returns how many bytes it takes; it
// may write something behind them. How many digits there are is as good as random: they are written
// eight at a time, and those that do not count left behind.
func (d *decimal32) put(to *[floatRoom]byte, raw uint32) int {
	to[0] = '-'
	sign := int(raw >> 31)
	if raw<<1 == 0 {
		to[sign] = '0'
		return sign + 1
	}
	count := 9 - bits.LeadingZeros64(d.eight)/8
	first, word, point := byte('0'+d.first), d.eight|zeros, int(d.point)
	text := to[sign&1:]
	switch {
	case point > 21 || point < -5:
		return sign + putScientific(text, first, word, count, point-1)
	case point <= 0:
		binary.LittleEndian.PutUint64(text, '0'|'.'<<8|zeros&^0xffff)
		text[2-point] = first
		binary.LittleEndian.PutUint64(text[3-point:], word)
		return sign + 2 - point + count
	}
	text[0] = first
	binary.LittleEndian.PutUint64(text[1:], word)
	if count <= point {
		copy(text[9:], "000000000000")
		return sign + point
	}
	binary.LittleEndian.PutUint64(text[point+1:], binary.LittleEndian.Uint64(text[point:]))
	text[point] = '.'
	return sign + count + 1
}

// putScientific writes count digits, the first apart, with a point after the first and an exponent.
func putScientific(text []byte, first byte, word uint64, count, exponent int) int {
	text[0], text[1] = first, '.'
	binary.LittleEndian.PutUint64(text[2:], word)
	n := count + 1
	if count == 1 {
		n = 1
	}
	text[n] = 'e'
	return len(strconv.AppendInt(text[:n+1], int64(exponent), 10))
}

// eightBytes returns the eight digits of v, each in a byte, the first in the lowest: fours, then pairs,
// then digits are taken apart, by multiplications with what comes next to 1/100 and 1/10.
func eightBytes(v uint64) uint64 {
	v = v/10000 | v%10000<<32
	hundreds := v * 10486 >> 20 & (0x7f | 0x7f<<32)
	v = hundreds | (v-100*hundreds)<<16
	const each = 0x000f000f000f000f
	tens := v * 103 >> 10 & each
	return tens | (v-10*tens)<<8
}

// shortest returns digits·10^power, the decimal with the fewest digits (but for trailing
// zeros, of which there may be some) inside the rounding interval of the float32 with these fields, by the method of
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
	odd := c & 1 // loses a tie, so the ends are outside
	lower, upper = lower+odd, upper-odd
	// Of the multiples inside the interval, that with a digit less if there is just one, else the one
	// at v or the one above, if just one is inside, else the nearer. Which it is nobody can foresee, so
	// all are computed.
	few := v / 40
	down, up := b2u(lower <= 40*few), b2u(40*few+40 <= upper)
	short, digits := (few+up)*10, v/4
	useShort := (down ^ up) & b2u(few > 0)
	down, up = b2u(lower <= 4*digits), b2u(4*digits+4 <= upper)
	middle = 4*digits + 2
	nearer := b2u(v > middle) | b2u(v == middle)&digits&1
	if down != up {
		nearer = up
	}
	digits += nearer
	if useShort != 0 {
		digits = short
	}
	return digits, k
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

// countDigits returns the number of decimal digits of v, which is not 0.
func countDigits(v uint32) int {
	n := bits.Len32(v) * 1233 >> 12 // 1233/4096 is log10 of 2
	return n + int(b2u(uint64(v) >= uintTens[n&15]))
}

var uintTens = [16]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}
