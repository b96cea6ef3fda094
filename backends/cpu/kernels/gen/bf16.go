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
		v.roundRow()
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
	v.function("pairRows"+level, "sets dst[i/16*step/4 + i%16] to the pair of even[i] and odd[i], for n i.",
		"dst *float32", "even *float32", "odd *float32", "n int", "step int")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "even+8(FP)", "SI")
	v.op("MOVQ", "odd+16(FP)", "DX")
	v.op("MOVQ", "n+24(FP)", "CX")
	v.op("MOVQ", "step+32(FP)", "R8")
	if v.isa == avx2 {
		// A vector is half a row of a panel: the steps after the halves take turns.
		v.op("LEAQ", "-32(R8)", "R9")
		v.op("MOVQ", 32, "R8")
	} else {
		v.op("VMOVDQU64", "pairOrder<>(SB)", "Z6")
	}
	v.loop("bf16Mask", func(l lanes) {
		l.load("SI", v.r(1))
		l.load("DX", v.r(2))
		body()
		l.store(v.r(1), "DI")
		if l.masked {
			return
		}
		l.advance("SI", "DX")
		l.op("ADDQ", "R8", "DI")
		if v.isa == avx2 {
			l.op("XCHGQ", "R8", "R9")
		}
	})
	v.ret()
}

// roundRow writes rounded values that stay float32.
func (v vector) roundRow() {
	v.function("roundRow"+v.isa.name, "sets dst[i] to src[i] rounded to bfloat16, for n i.", "dst *float32", "src *float32", "n int")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.loop("bf16Mask", func(l lanes) {
		l.load("SI", v.r(1))
		v.roundBits(v.r(1), v.r(3), v.r(4), v.r(5))
		l.store(v.r(1), "DI")
		l.advance("DI", "SI")
	})
	v.ret()
}

// pairUp writes a row of bfloat16. The body makes the lower half of R1 what R1 is and may use R3
// to R5.
func (v vector) pairUp(level string, body func()) {
	v.function("pairUp"+level, "rounds n values, a multiple of 16, to bfloat16 one after the other.", "dst *float32", "src *float32", "n int")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	loop, done := v.label("loop"), v.label("done")
	v.op("TESTQ", "CX", "CX")
	v.op("JLE", done)
	v.place(loop)
	v.op("VMOVUPS", "(SI)", v.r(1))
	body()
	half := "X1"
	if v.isa == avx512 {
		half = "Y1"
	}
	v.op("VMOVUPS", half, "(DI)")
	v.op("ADDQ", 4*v.isa.width, "SI")
	v.op("ADDQ", 2*v.isa.width, "DI")
	v.op("SUBQ", v.isa.width, "CX")
	v.op("JG", loop)
	v.place(done)
	v.ret()
}
