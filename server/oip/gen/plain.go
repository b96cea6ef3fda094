package main

import "math"

// Registers of plainRun.
const (
	dst      = "DI"
	dstEnd   = "R8"
	begin    = "SI" // of the number
	block    = "R9" // the 64 bytes that the mask is of
	textEnd  = "R11"
	mask     = "R10" // of the commas in the block that are left
	end      = "DX"  // of the number: its comma
	text     = "BX"  // the number without space and sign
	sign     = "CX"  // 1 if it is negative
	length   = "R12" // of the number without sign, then the digits left of the last 16
	behind   = "R15" // how many digits stand behind the point
	mantissa = "AX"
	leading  = "R14" // the digits before the last 16, as a number
	digits   = "X0"  // the last 16 bytes of the number, then its digits
)

// Registers of plainRun that hold what they are named after.
const (
	allCommas    = "Y8"
	allZeros     = "X9"
	point        = "X10" // without the digit 0
	nine         = "X11"
	tens         = "X12" // factors of neighbouring digits
	hundreds     = "X13"
	tenThousands = "X14"
	tables       = "R13"
)

// maxBehind is how many digits behind the point a number may have.
const maxBehind = 17

// plainTables are where in the table what depends on the number lies.
type plainTables struct {
	lastBytes  int // masks for the last n of 16 bytes, at n
	closeGap   int // orders of 16 bytes that move those before the n-th to its place, at 16n
	powers     int // of ten, as float64
	uintPowers int // and as integers
}

// plainRun writes the reading of numbers that are digits, a point and digits.
//
// Numbers end at commas, of which a mask is made for 64 bytes at a time. The sixteen bytes before a
// comma are digits and a point, or with more digits than that all digits: the point is moved out, what
// lies before the number is zeroed, and neighbouring digits, pairs and fours are put together.
func plainRun(f *file) {
	f.function("plainRun", `
plainRun reads numbers as plainNumbers does, into room bytes at out, up to length bytes of text from
i on, before which there are at least plainMargin. It returns how many bytes of out it has filled,
and where it stopped: before a number that is not of the usual form, or near the end.
`, []string{"out *byte", "room int", "text *byte", "i int", "length int"}, []string{"filled int", "next int"})
	f.op("MOVQ", "out+0(FP)", dst)
	f.op("MOVQ", "room+8(FP)", dstEnd)
	f.op("ADDQ", dst, dstEnd)
	f.op("MOVQ", "text+16(FP)", begin)
	f.op("MOVQ", "length+32(FP)", textEnd)
	f.op("ADDQ", "i+24(FP)", begin)
	f.op("ADDQ", begin, textEnd)
	f.op("MOVQ", begin, block)
	t := f.plainConstants()
	f.findCommas()
	f.place("number")
	f.op("CMPQ", dst, dstEnd)
	f.op("JAE", "done")
	f.startNumber()
	f.readShort(t)
	f.place("scale")
	f.scale(t)
	f.op("LEAQ", at(1, end), begin)
	f.op("BLSRQ", mask, mask)
	f.op("JNZ", "number")
	f.place("empty")
	f.op("ADDQ", 64, block)
	f.op("JMP", "block")
	f.place("long")
	f.readLong(t)
	f.op("JMP", "scale")
	f.place("done")
	f.op("SUBQ", "out+0(FP)", dst)
	f.op("MOVQ", dst, "filled+40(FP)")
	f.op("SUBQ", "text+16(FP)", begin)
	f.op("MOVQ", begin, "next+48(FP)")
	f.ret()
}

// plainConstants writes the tables, and fills the registers that hold constants.
func (f *file) plainConstants() (t plainTables) {
	t.lastBytes = f.words(0, 0, math.MaxUint64, math.MaxUint64)
	for at := range 16 {
		order := [16]byte{0: 0x80} // a zero
		for i := 1; i < 16; i++ {
			order[i] = byte(i)
			if i <= at {
				order[i]--
			}
		}
		if first := f.bytes(order); at == 0 {
			t.closeGap = first
		}
	}
	float, power := 1.0, uint64(1)
	for n := range maxBehind + 1 {
		first := f.words(math.Float64bits(float))
		if float *= 10; n == 0 {
			t.powers = first
		}
	}
	for n := range maxBehind {
		first := f.words(power)
		if power *= 10; n == 0 {
			t.uintPowers = first
		}
	}
	f.tableIn(tables)
	f.op("VMOVDQU", f.eachByte(','), allCommas)
	f.op("VMOVDQU", f.eachByte('0'), allZeros)
	f.op("VMOVDQU", f.eachByte(256+'.'-'0'), point)
	f.op("VMOVDQU", f.eachByte(9), nine)
	f.op("VMOVDQU", f.each16(10|1<<8), tens)
	f.op("VMOVDQU", f.each32(100|1<<16), hundreds)
	f.op("VMOVDQU", f.each32(10000|1<<16), tenThousands)
	return t
}

// findCommas sets the mask of the next block, and leaves where there is none.
func (f *file) findCommas() {
	f.place("block")
	f.op("LEAQ", at(64, block), "AX")
	f.op("CMPQ", "AX", textEnd)
	f.op("JA", "done")
	f.op("VPCMPEQB", at(0, block), allCommas, "Y0")
	f.op("VPCMPEQB", at(32, block), allCommas, "Y1")
	f.op("VPMOVMSKB", "Y0", mask)
	f.op("VPMOVMSKB", "Y1", "AX")
	f.op("SHLQ", 32, "AX")
	f.op("ORQ", "AX", mask)
	f.op("JZ", "empty")
}

// startNumber finds where the number ends, and where it begins behind a space and a sign.
func (f *file) startNumber() {
	f.op("TZCNTQ", mask, end)
	f.op("ADDQ", block, end)
	f.op("XORL", "AX", "AX")
	f.op("CMPB", at(0, begin), int(' '))
	f.op("SETEQ", "AX")
	f.op("LEAQ", indexed(0, begin, "AX", 1), text)
	f.op("XORL", sign, sign)
	f.op("CMPB", at(0, text), int('-'))
	f.op("SETEQ", sign)
	f.op("ADDQ", sign, text)
	f.op("MOVQ", end, length)
	f.op("SUBQ", text, length)
	f.op("VMOVDQU", at(-16, end), digits)
	f.op("VPSUBB", allZeros, digits, digits)
}

// readShort reads a number of up to 16 bytes into mantissa. The point's place is found in them, and what
// lies before it moved up.
func (f *file) readShort(t plainTables) {
	f.op("CMPQ", length, 16)
	f.op("JA", "long")
	f.op("VPAND", indexed(t.lastBytes, tables, length, 1), digits, digits)
	f.op("VPCMPEQB", point, digits, "X1")
	f.op("VPMOVMSKB", "X1", "AX")
	f.op("TESTL", "AX", "AX")
	f.op("JZ", "done")
	f.op("TZCNTL", "AX", "AX")
	f.op("MOVQ", 15, behind)
	f.op("SUBQ", "AX", behind)
	f.op("JZ", "done")
	f.op("SHLQ", 4, "AX")
	f.op("VPSHUFB", indexed(t.closeGap, tables, "AX", 1), digits, digits)
	// One less than length-behind stand before the point: at least one, and more only if the first is
	// not 0.
	f.op("SUBQ", behind, length)
	f.op("CMPQ", length, 2)
	f.op("JLT", "done")
	f.op("JEQ", "digits")
	f.op("CMPB", at(0, text), int('0'))
	f.op("JEQ", "done")
	f.place("digits")
	f.number()
}

// number sets mantissa to the number whose 16 digits are in digits, and leaves where some are none.
func (f *file) number() {
	f.op("VPSUBUSB", nine, digits, "X1")
	f.op("VPTEST", "X1", "X1")
	f.op("JNZ", "done")
	f.op("VPMADDUBSW", tens, digits, digits)
	f.op("VPMADDWD", hundreds, digits, digits)
	f.op("VPACKUSDW", digits, digits, digits)
	f.op("VPMADDWD", tenThousands, digits, digits)
	f.op("VMOVQ", digits, mantissa)
	f.op("MOVL", mantissa, "BX")
	f.op("SHRQ", 32, mantissa)
	f.op("IMULQ", 100_000_000, "BX")
	f.op("ADDQ", "BX", mantissa)
}

// scale writes the float32 that is mantissa without the digits behind the point. A quotient that lies
// next to the middle between two float32 could round the wrong way.
func (f *file) scale(t plainTables) {
	const half = 1 << 28 // of the last place of a float32, in those of a float64
	f.op("VXORPS", "X1", "X1", "X1")
	f.op("VCVTSI2SDQ", mantissa, "X1", "X1")
	f.op("VDIVSD", indexed(t.powers, tables, behind, 8), "X1", "X1")
	f.op("VMOVQ", "X1", "AX")
	f.op("ANDL", 2*half-1, "AX")
	f.op("SUBL", half-2, "AX")
	f.op("CMPL", "AX", 4)
	f.op("JBE", "done")
	f.op("VCVTSD2SS", "X1", "X1", "X1")
	f.op("VMOVD", "X1", "AX")
	f.op("SHLL", 31, sign)
	f.op("ORL", sign, "AX")
	f.op("MOVL", "AX", at(0, dst))
	f.op("ADDQ", 4, dst)
}

// readLong reads a number of one digit, the point, and 15 to 17 digits: those after the point but for
// the last 16 alone, with the one before it, into leading.
func (f *file) readLong(t plainTables) {
	f.op("CMPB", at(1, text), int('.'))
	f.op("JNE", "done")
	f.op("SUBQ", 2, length)
	f.op("CMPQ", length, maxBehind)
	f.op("JA", "done")
	f.op("MOVQ", length, behind)
	f.digit(0, leading)
	f.op("CMPQ", length, 16)
	f.op("JBE", "last16")
	f.digit(2, "AX")
	f.op("LEAQ", indexed(0, leading, leading, 4), leading)
	f.op("LEAQ", indexed(0, "AX", leading, 2), leading)
	f.op("MOVQ", 16, length)
	f.place("last16")
	f.op("VPAND", indexed(t.lastBytes, tables, length, 1), digits, digits)
	f.number()
	f.op("IMULQ", indexed(t.uintPowers, tables, length, 8), leading)
	f.op("ADDQ", leading, mantissa)
}

// digit reads a digit of the number, and leaves where it is none.
func (f *file) digit(at0 int, to string) {
	f.op("MOVBLZX", at(at0, text), to)
	f.op("SUBL", int('0'), to)
	f.op("CMPL", to, 9)
	f.op("JA", "done")
}
