package main

import "fmt"

// conversions round values to bfloat16.
func conversions(f *file) {
	f.maskTable("bf16Mask")
	// Words of a register of 16 even values and then 16 odd ones, in the order of pairs.
	f.asm.WriteString("\n")
	for i := range 16 {
		fmt.Fprintf(&f.asm, "DATA pairOrder<>+%d(SB)/4, $0x%08x\n", 4*i, (16+i)<<16|i)
	}
	f.asm.WriteString("GLOBL pairOrder<>(SB), RODATA|NOPTR, $64\n")
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.pairRows(i.name, func() {
			v.roundBits(v.r(1), v.r(3), v.r(4), v.r(5))
			v.roundBits(v.r(2), v.r(3), v.r(4), v.r(5))
			v.op("VPSRLD", 16, v.r(1), v.r(1))
			v.op("VPOR"+v.suffix("D"), v.r(1), v.r(2), v.r(1))
		})
		v.round()
		v.pairUp(i.name, func() {
			v.roundBits(v.r(1), v.r(3), v.r(4), v.r(5))
			v.op("VPSRLD", 16, v.r(1), v.r(1))
			if i == avx512 {
				v.op("VPMOVDW", "Z1", "Y1")
				return
			}
			v.op("VPACKUSDW", "Y1", "Y1", "Y1")
			v.op("VPERMQ", 0x08, "Y1", "Y1")
		})
	}
	v := vector{f, avx512}
	v.pairRows("AVX512BF16", func() {
		v.evex(vcvtne2ps2bf16, "Z1", "Z2", "Z1")
		v.op("VPERMW", "Z1", "Z6", "Z1")
	})
	v.pairUp("AVX512BF16", func() { v.evex(vcvtneps2bf16, "Z1", "Z1") })
}

// suffix is what AVX-512 adds to the name of an instruction.
func (v vector) suffix(s string) string {
	if v.isa == avx512 {
		return s
	}
	return ""
}

// roundBits rounds the values of x to bfloat16, which leaves the lower halves zero, and uses a to c.
func (v vector) roundBits(x, a, b, c string) {
	const exponent, quiet = 0x7f800000, 0x00400000
	v.op("VPSRLD", 16, x, a)
	v.do("VPAND"+v.suffix("D"), v.bits(1), a, a)
	v.do("VPADDD", v.bits(0x7fff), a, a)
	v.op("VPADDD", x, a, a)
	if v.isa == avx512 {
		v.compare(unordered, x, x, "K2")
		v.op("VPORD.BCST", v.bits(quiet), x, "K2", a)
		v.op("VPTESTNMD.BCST", v.bits(exponent), x, "K2")
		v.op("VPANDD.BCST", v.bits(signBit), x, "K2", a)
	} else {
		v.compare(unordered, x, x, b)
		v.op("VPOR", v.bits(quiet), x, c)
		v.op("VBLENDVPS", b, c, a, a)
		v.op("VPAND", v.bits(exponent), x, b)
		v.zeroReg(c)
		v.op("VPCMPEQD", b, c, b)
		v.op("VPAND", v.bits(signBit), x, c)
		v.op("VBLENDVPS", b, c, a, a)
	}
	v.do("VPAND"+v.suffix("D"), v.bits(upperHalf), a, x)
}

// pairRows writes pairs of two rows. The body makes R1 the pairs of R1 and R2 and may use R3 to R5
// and the order of pairs in R6.
func (v vector) pairRows(level string, body func()) {
	v.conversion("pairRows"+level, "makes pairs of the values of two rows.", func() {
		v.op("MOVQ", "BX", "DX")
		v.loop("bf16Mask", func(l lanes) {
			l.load("SI", v.r(1))
			l.load("DX", v.r(2))
			body()
			l.store(v.r(1), "DI")
			if l.masked {
				return
			}
			l.advance("SI", "DX")
			l.op("ADDQ", "R14", "DI")
			if v.isa == avx2 {
				l.op("XCHGQ", "R14", "R15")
			}
		})
	})
}

// conversion writes a function that does something for each row of a conversion: DI, SI and BX are
// where it starts in dst, src and odd, CX is the number of columns. R14, which in AVX2 takes turns
// with R15, is how far dst moves after a vector if the rows of dst are those of panels.
func (v vector) conversion(name, doc string, row func()) {
	v.function(name, doc, "c *conversion")
	v.op("MOVQ", "c+0(FP)", "R11")
	v.op("MOVQ", at("conversion_dst", "R11"), "R8")
	v.op("MOVQ", at("conversion_src", "R11"), "R9")
	v.op("MOVQ", at("conversion_odd", "R11"), "BX")
	v.op("MOVQ", at("conversion_rows", "R11"), "R10")
	v.op("MOVQ", at("conversion_dstRow", "R11"), "R12")
	v.op("MOVQ", at("conversion_srcRow", "R11"), "R13")
	v.op("SHLQ", 2, "R12")
	v.op("SHLQ", 2, "R13")
	if v.isa == avx512 {
		v.op("VMOVDQU64", "pairOrder<>(SB)", "Z6")
	}
	loop, done := v.label("row"), v.label("rows")
	v.op("TESTQ", "R10", "R10")
	v.op("JLE", done)
	v.place(loop)
	v.op("MOVQ", "R8", "DI")
	v.op("MOVQ", "R9", "SI")
	v.op("MOVQ", at("conversion_cols", "R11"), "CX")
	v.op("MOVQ", at("conversion_panel", "R11"), "R14")
	v.op("SHLQ", 2, "R14")
	if v.isa == avx2 {
		// A vector is half a row of a panel.
		v.op("LEAQ", "-32(R14)", "R15")
		v.op("MOVQ", 32, "R14")
	}
	row()
	v.op("ADDQ", "R12", "R8")
	v.op("ADDQ", "R13", "R9")
	v.op("ADDQ", "R13", "BX")
	v.op("DECQ", "R10")
	v.op("JNZ", loop)
	v.place(done)
	v.ret()
}

// round writes rounded values that stay float32.
func (v vector) round() {
	v.conversion("round"+v.isa.name, "rounds values that stay float32.", func() {
		v.loop("bf16Mask", func(l lanes) {
			l.load("SI", v.r(1))
			v.roundBits(v.r(1), v.r(3), v.r(4), v.r(5))
			l.store(v.r(1), "DI")
			l.advance("DI", "SI")
		})
	})
}

// pairUp writes rows of bfloat16, of a multiple of 16 columns. The body makes the lower half of R1
// what R1 is and may use R3 to R5.
func (v vector) pairUp(level string, body func()) {
	v.conversion("pairUp"+level, "makes pairs of the values of a row, a multiple of 16.", func() {
		half := "X1"
		if v.isa == avx512 {
			half = "Y1"
		}
		loop := v.label("loop")
		v.place(loop)
		v.op("VMOVUPS", "(SI)", v.r(1))
		body()
		v.op("VMOVUPS", half, "(DI)")
		v.op("ADDQ", 4*v.isa.width, "SI")
		v.op("ADDQ", 2*v.isa.width, "DI")
		v.op("SUBQ", v.isa.width, "CX")
		v.op("JG", loop)
	})
}
