package oip

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"
)

// plainText is how much text plainNumbers divides at commas before it reads what is between them.
const plainText = 512

// plainMargin is how many bytes around a number are looked at.
const plainMargin = 24

// readPlain reads numbers with a comma after each into out, four bytes each. It returns how many bytes
// of out it has filled, and where it stopped in text: before a number that is malformed or out of
// range, near the end of out or of text.
func readPlain(out, text []byte, i int) (filled, next int) {
	for {
		if n := min(len(text)-i, plainBytes); hasAVX2 && i >= plainMargin && n >= 64 {
			var part int
			part, i = plainRun(unsafe.SliceData(out[filled:]), len(out)-filled, unsafe.SliceData(text), i, n)
			filled += part
		}
		part, next := plainNumbers(out[filled:], text, i)
		if filled, i = filled+part, next; part == 0 || !hasAVX2 {
			return filled, i
		}
	}
}

// plainNumbers is readPlain without assembly. With it, it reads the numbers up to the next comma but
// some, which plainRun left to it.
//
// Where numbers end is found first, as words of bytes can be searched for commas much faster than
// numbers can be read one after the other: numbers whose ends are known do not wait for each other.
func plainNumbers(out, text []byte, i int) (filled, next int) {
	var ends [plainText]uint16
	for {
		length := min(plainText, len(text)-plainMargin-i) &^ 63
		if length <= 0 {
			return filled, i
		}
		if hasAVX2 {
			length = 64
		}
		base := i
		n := commas(&ends, text[i:i+length])
		for _, at := range ends[:n] {
			if filled+4 > len(out) {
				return filled, i
			}
			end := base + int(at)
			v, ok := plainNumber(text, i, end)
			if !ok {
				start := skipSpace(text, i)
				var number [4]byte
				_, after, err := appendFP32(number[:0], text, start)
				if err != nil || after != end {
					return filled, i
				}
				v = binary.LittleEndian.Uint32(number[:])
			}
			binary.LittleEndian.PutUint32(out[filled:], v)
			filled += 4
			i = end + 1
		}
		if n == 0 || hasAVX2 {
			return filled, i
		}
	}
}

// commas sets ends to where commas are in text, whose length is a multiple of 64, and returns how many.
func commas(ends *[plainText]uint16, text []byte) int {
	n := 0
	for base := 0; base+64 <= len(text); base += 64 {
		block := (*[64]byte)(text[base:])
		found := uint64(0)
		for k := 0; k < 64; k += 8 {
			found |= commaBits(binary.LittleEndian.Uint64(block[k:])) << k
		}
		for ; found != 0; found &= found - 1 {
			ends[n&(plainText-1)] = uint16(base + bits.TrailingZeros64(found))
			n++
		}
	}
	return n
}

// commaBits returns a bit for each byte of chunk, set if it is a comma.
func commaBits(chunk uint64) uint64 {
	chunk ^= 0x2c2c2c2c2c2c2c2c
	others := (chunk&^highBits + ^uint64(highBits)) | chunk
	return (^others & highBits) >> 7 * 0x0102040810204080 >> 56
}

// plainNumber returns the bits of the float32 that text[i:end] spells, which may have space before it:
// a sign or none, up to seven digits, a point, more digits, eighteen of them altogether. It leaves to
// appendFP32 what is of another form, malformed, or so close to the middle between two float32 that it
// takes more than one operation.
//
// How many digits a number has is as good as random, and so is its sign: what depends on them is
// computed without branches.
func plainNumber(text []byte, i, end int) (v uint32, ok bool) {
	if text[i] <= ' ' {
		i = skipSpace(text, i)
	}
	sign := b2u(text[i] == '-')
	i += int(sign)
	n, mantissa := 1, uint64(text[i]-'0') // of the digits before the point
	if text[i+1] != '.' {
		first := binary.LittleEndian.Uint64(text[i:]) ^ zeros
		if n = bits.TrailingZeros64(nonDigits(first)) / 8; n > 7 || mantissa == 0 || text[i+n] != '.' {
			return 0, false
		}
		mantissa = eight(first << (64 - 8*n))
	}
	digits := uint(end - i - n - 1) // after the point
	if digits-1 >= uint(maxDigits-1-n) || !isDigit(text[i]) || end < plainMargin {
		return 0, false
	}
	before := (*[plainMargin]byte)(text[end-plainMargin:])
	low := (binary.LittleEndian.Uint64(before[16:]) ^ zeros) & lastBytes[digits+16]
	mid := (binary.LittleEndian.Uint64(before[8:]) ^ zeros) & lastBytes[digits+8]
	odd := nonDigits(low) | nonDigits(mid)
	fraction := eight(mid)*1e8 + eight(low)
	if digits > 16 {
		high := (binary.LittleEndian.Uint64(before[:]) ^ zeros) & lastBytes[digits]
		odd |= nonDigits(high)
		fraction += eight(high) * 1e16
	}
	f := float64(int64(mantissa*uintPow10[digits]+fraction)) / pow10[digits]
	if odd != 0 || math.Float64bits(f)&(1<<29-1)-(1<<28-2) <= 4 {
		return 0, false
	}
	return math.Float32bits(float32(f)) | sign<<31, true
}

// lastBytes are masks for the digits of a number in the eight bytes that end 16 bytes before its end,
// by their number; for those nearer to its end, by their number and 8 or 16.
var lastBytes = func() (masks [maxDigits + 16]uint64) {
	for i := range masks {
		if digits := min(max(i-16, 0), 8); digits > 0 {
			masks[i] = ^uint64(0) << (64 - 8*digits)
		}
	}
	return masks
}()

const (
	zeros    = 0x3030303030303030 // eight times the digit 0
	highBits = 0x8080808080808080
)

// nonDigits returns the highest bit of each byte of chunk that is not 0 to 9.
func nonDigits(chunk uint64) uint64 {
	return (chunk&^highBits + 0x7676767676767676 | chunk) & highBits
}

// eight returns the number that eight bytes from 0 to 9 are the digits of, the first in the lowest
// byte: pairs, then fours, then the eight are put together by one multiplication each.
func eight(chunk uint64) uint64 {
	chunk = chunk*10 + chunk>>8
	const mask = 0x000000ff000000ff
	return ((chunk&mask)*(100+1000000<<32) + (chunk>>16&mask)*(1+10000<<32)) >> 32
}

// uintPow10 holds powers of ten.
var uintPow10 = [maxDigits]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}
