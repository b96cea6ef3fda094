package main

// Registers of decimals4. Numbers are one to a word, four abreast.
const (
	values   = "Y0" // as they are
	fraction = "Y1" // then the digits
	exponent = "Y2"
	closer   = "Y3" // all ones where the neighbour below is half as far as the one above
	power    = "Y4" // of ten, then how many digits stand before the decimal point; in the lower halves
	shift    = "Y5" // in the lower halves
	ten      = "Y6" // the scaled power of ten
	tenUpper = "Y7" // its upper half
	lower    = "Y8" // end of the interval, times four
	middle   = "Y9" // the value, times four
	upper    = "Y10"
	short    = "Y11" // the multiple of ten inside of the interval
	useShort = "Y12" // all ones where there is one
	zero     = "Y15"
)

// decimals writes decimalOf for four values at a time: see there, and shortest, which it follows line by
// line.
func decimals(f *file) {
	f.function("decimals4", `
decimals4 sets out to the decimals of n float32 in data, a multiple of four, as decimalOf does. tens are
the powers of ten that shortest uses.
`, []string{"out *decimal32", "data *byte", "n int", "tens *uint64"}, nil)
	const out, data, n, tens = "DI", "SI", "CX", "R8"
	f.op("MOVQ", "out+0(FP)", out)
	f.op("MOVQ", "data+8(FP)", data)
	f.op("MOVQ", "n+16(FP)", n)
	f.op("MOVQ", "tens+24(FP)", tens)
	f.tableIn("R13")
	f.place("loop")
	f.op("SUBQ", 4, n)
	f.op("JLT", "done")
	f.op("VPMOVZXDQ", at(0, data), values)
	f.fields()
	f.powers(tens)
	f.interval()
	f.chooseShort()
	f.chooseDigits()
	f.nineDigits()
	f.takeApart()
	f.storeDecimals(out)
	f.op("ADDQ", 16, data)
	f.op("JMP", "loop")
	f.place("done")
	f.ret()
}

// fields sets fraction and exponent, so that the value is fraction<<exponent, and closer.
func (f *file) fields() {
	one := f.each(1)
	f.op("VPSRLQ", 23, values, exponent)
	f.op("VPAND", f.each(0xff), exponent, exponent)
	f.op("VPAND", f.each(1<<23-1), values, fraction)
	f.op("VPXOR", zero, zero, zero)
	f.op("VPCMPEQQ", zero, fraction, closer)
	f.op("VPCMPGTQ", one, exponent, "Y4")
	f.op("VPAND", "Y4", closer, closer)
	f.op("VPCMPGTQ", zero, exponent, "Y4") // a normal number has one bit more
	f.op("VPAND", f.each(1<<23), "Y4", "Y4")
	f.op("VPOR", "Y4", fraction, fraction)
	f.op("VPMAXSD", one, exponent, exponent)
	f.op("VPSUBD", f.each(150), exponent, exponent)
}

// powers sets power, shift and ten. The factors are those of floorLog10Pow2, floorLog10ThreeQuartersPow2
// and floorLog2Pow10.
func (f *file) powers(tens string) {
	const minTen = -31
	f.op("VPMULLD", f.each(1262611), exponent, power)
	f.op("VPAND", f.each(524031), closer, "Y5")
	f.op("VPSUBD", "Y5", power, power)
	f.op("VPSRAD", 22, power, power)
	f.op("VPSUBD", power, zero, ten)
	f.op("VPMULLD", f.each(1741647), ten, shift)
	f.op("VPSRAD", 19, shift, shift)
	f.op("VPADDD", exponent, shift, shift)
	f.op("VPADDD", f.each(1), shift, shift)
	f.op("VPAND", f.lowerHalf(), shift, shift)
	f.op("VPADDD", f.each(-minTen), ten, ten)
	f.op("VPAND", f.lowerHalf(), ten, ten)
	f.op("VPCMPEQD", "Y8", "Y8", "Y8")
	f.op("VPXOR", "Y7", "Y7", "Y7")
	f.op("VGATHERQPD", "Y8", "("+tens+")("+ten+"*8)", "Y7")
	f.op("VMOVDQA", "Y7", ten)
	f.op("VPSRLQ", 32, "Y7", tenUpper)
}

func (f *file) lowerHalf() string { return f.each(1<<32 - 1) }

// interval sets its ends and its middle. A fraction that is odd loses a tie, so the ends are outside then.
func (f *file) interval() {
	f.op("VPSLLQ", 2, fraction, middle)
	f.op("VPSUBQ", f.each(2), middle, lower)
	f.op("VPSUBQ", closer, lower, lower)
	f.op("VPADDQ", f.each(2), middle, upper)
	for _, x := range []string{lower, middle, upper} {
		f.mulOdd(x, "Y11")
	}
	f.op("VPAND", f.each(1), fraction, fraction)
	f.op("VPADDQ", fraction, lower, lower)
	f.op("VPSUBQ", fraction, upper, upper)
}

// mulOdd sets x to ten·(x<<shift) / 2^64, rounded down, with the lowest bit set if anything was cut off.
// It uses t.
func (f *file) mulOdd(x, t string) {
	f.op("VPSLLVQ", shift, x, x)
	f.op("VPMULUDQ", ten, x, t)
	f.op("VPSRLQ", 32, t, t)
	f.op("VPMULUDQ", tenUpper, x, x)
	f.op("VPADDQ", t, x, x)
	f.op("VPAND", f.lowerHalf(), x, t)
	f.op("VPCMPGTQ", f.each(1), t, t)
	f.op("VPSRLQ", 63, t, t)
	f.op("VPSRLQ", 32, x, x)
	f.op("VPOR", t, x, x)
}

// divide sets quotient to x/by for an x of 32 bits: it multiplies with inverse and shifts.
func (f *file) divide(inverse uint64, shift int, x, quotient string) {
	f.op("VPMULUDQ", f.each(inverse), x, quotient)
	f.op("VPSRLQ", shift, quotient, quotient)
}

// outside sets below where the interval begins behind multiple, and above where next is behind its end.
func (f *file) outside(multiple, next, below, above string) {
	f.op("VPCMPGTQ", multiple, lower, below)
	f.op("VPCMPGTQ", upper, next, above)
}

// chooseShort looks for a multiple of forty inside of the interval. Where there is just one, above or
// below the middle, useShort is set.
func (f *file) chooseShort() {
	f.op("VPSRLQ", 3, middle, short)
	f.divide(1<<34/5+1, 34, short, short)
	f.op("VPMULUDQ", f.each(40), short, "Y12")
	f.op("VPADDQ", f.each(40), "Y12", "Y13")
	f.outside("Y12", "Y13", "Y12", "Y13")
	f.op("VPXOR", "Y13", "Y12", useShort)
	f.op("VPCMPGTQ", zero, short, "Y14")
	f.op("VPAND", "Y14", useShort, useShort)
	f.op("VPADDQ", f.each(1), short, short) // the one above, unless that is outside
	f.op("VPADDQ", "Y13", short, short)
	f.op("VPMULUDQ", f.each(10), short, short)
}

// chooseDigits sets the digits: the short ones, or the multiple of four below or above, whichever is
// inside or, with both, nearer.
func (f *file) chooseDigits() {
	const digits, below, above, odd = fraction, "Y2", "Y3", "Y5"
	f.op("VPSRLQ", 2, middle, digits)
	f.op("VPSLLQ", 2, digits, below)
	f.op("VPADDQ", f.each(4), below, above)
	f.op("VPSUBQ", below, middle, middle)
	f.op("VPAND", f.each(1), digits, odd)
	f.op("VPADDQ", odd, middle, middle)
	f.op("VPCMPGTQ", f.each(2), middle, middle)
	f.outside(below, above, below, above)
	f.op("VPXOR", above, below, below)
	f.op("VPCMPEQQ", zero, above, above)
	f.op("VPBLENDVB", below, above, middle, middle)
	f.op("VPSUBQ", middle, digits, digits)
	f.op("VPBLENDVB", useShort, short, digits, digits)
}

// nineDigits multiplies digits until they are nine, and sets power to how many of them stand before the
// decimal point.
func (f *file) nineDigits() {
	f.op("VPADDD", f.each(9), power, power)
	for _, more := range []int{4, 2, 1, 1} {
		factor := uint64(1)
		for range more {
			factor *= 10
		}
		f.op("VMOVDQU", f.each(1e9/factor), "Y2")
		f.op("VPCMPGTQ", fraction, "Y2", "Y2")
		f.op("VPMULUDQ", f.each(factor), fraction, "Y3")
		f.op("VPBLENDVB", "Y2", "Y3", fraction, fraction)
		f.op("VPAND", f.each(uint64(more)), "Y2", "Y2")
		f.op("VPSUBD", "Y2", power, power)
	}
}

// takeApart leaves eight digits in the bytes of fraction, and the first one with the point above it in
// power: nine digits are one and eight, those are fours, then pairs, then digits.
func (f *file) takeApart() {
	const digits, first, quotient, product = fraction, "Y2", "Y3", "Y5"
	f.divide(1<<57/100_000_000+1, 57, digits, first)
	f.op("VPMULUDQ", f.each(1e8), first, quotient)
	f.op("VPSUBQ", quotient, digits, digits)
	f.divide(1<<45/10000+1, 45, digits, quotient)
	f.op("VPMULUDQ", f.each(10000), quotient, product)
	f.op("VPSUBQ", product, digits, digits)
	f.op("VPSLLQ", 32, digits, digits)
	f.op("VPOR", quotient, digits, digits)
	f.op("VPMULHUW", f.each32(1<<19/100+1), digits, quotient)
	f.op("VPSRLW", 3, quotient, quotient)
	f.op("VPMULLW", f.each32(100), quotient, product)
	f.op("VPSUBW", product, digits, digits)
	f.op("VPSLLD", 16, digits, digits)
	f.op("VPOR", quotient, digits, digits)
	f.op("VPMULLW", f.each16(1<<10/10+1), digits, quotient)
	f.op("VPSRLW", 10, quotient, quotient)
	f.op("VPMULLW", f.each16(10), quotient, product)
	f.op("VPSUBW", product, digits, digits)
	f.op("VPSLLW", 8, digits, digits)
	f.op("VPOR", quotient, digits, digits)
	f.op("VPSLLQ", 32, power, power)
	f.op("VPOR", first, power, power)
}

// storeDecimals writes four decimals of two words each: the eight digits, and the rest.
func (f *file) storeDecimals(out string) {
	f.op("VPUNPCKLQDQ", power, fraction, "Y2")
	f.op("VPUNPCKHQDQ", power, fraction, "Y3")
	f.op("VPERM2I128", 0x20, "Y3", "Y2", "Y0")
	f.op("VPERM2I128", 0x31, "Y3", "Y2", "Y5")
	f.op("VMOVDQU", "Y0", at(0, out))
	f.op("VMOVDQU", "Y5", at(32, out))
	f.op("ADDQ", 64, out)
}
