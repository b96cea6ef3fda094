package main

// packs move values without computing. Half a cache line at a time is enough for them, so that
// all but the gather are written for AVX2 alone.
func packs(f *file) {
	copyRows(f)
	transpose8(f)
	every2(f)
	for _, i := range []isa{avx2, avx512} {
		gather(vector{f, i})
	}
}

// copyRows copies rows of 16 values that are step bytes apart to a panel.
func copyRows(f *file) {
	f.function("copyRows", "copies n rows of 16 values, step bytes apart, one after the other.",
		"dst *float32", "src *float32", "step int", "n int")
	f.op("MOVQ", "dst+0(FP)", "DI")
	f.op("MOVQ", "src+8(FP)", "SI")
	f.op("MOVQ", "step+16(FP)", "DX")
	f.op("MOVQ", "n+24(FP)", "CX")
	loop, done := f.label("loop"), f.label("done")
	f.op("TESTQ", "CX", "CX")
	f.op("JLE", done)
	f.place(loop)
	f.op("VMOVUPS", "(SI)", "Y0")
	f.op("VMOVUPS", "32(SI)", "Y1")
	f.op("VMOVUPS", "Y0", "(DI)")
	f.op("VMOVUPS", "Y1", "32(DI)")
	f.op("ADDQ", "DX", "SI")
	f.op("ADDQ", 64, "DI")
	f.op("DECQ", "CX")
	f.op("JNZ", loop)
	f.place(done)
	f.ret()
}

// transpose8 writes 8 rows of 8*n values as columns of a panel.
func transpose8(f *file) {
	f.function("transpose8", "sets dst[k*16+r] = src[r*step/4+k] for 8 r and 8*n k.",
		"dst *float32", "src *float32", "step int", "n int")
	f.op("MOVQ", "dst+0(FP)", "DI")
	f.op("MOVQ", "src+8(FP)", "SI")
	f.op("MOVQ", "step+16(FP)", "DX")
	f.op("MOVQ", "n+24(FP)", "CX")
	f.op("LEAQ", "(DX)(DX*2)", "R9")
	loop, done := f.label("loop"), f.label("done")
	f.op("TESTQ", "CX", "CX")
	f.op("JLE", done)
	f.place(loop)
	f.op("LEAQ", "(SI)(DX*4)", "R8")
	for r := range 8 {
		base := []string{"SI", "R8"}[r/4]
		from := []string{"(" + base + ")", "(" + base + ")(DX*1)", "(" + base + ")(DX*2)", "(" + base + ")(R9*1)"}[r%4]
		f.op("VMOVUPS", from, avx2.reg(r))
	}
	// Pairs, then fours, then halves of the registers change places.
	for i := range 4 {
		f.op("VUNPCKLPS", avx2.reg(2*i+1), avx2.reg(2*i), avx2.reg(8+2*i))
		f.op("VUNPCKHPS", avx2.reg(2*i+1), avx2.reg(2*i), avx2.reg(9+2*i))
	}
	for i := range 2 {
		for j := range 2 {
			low, high := avx2.reg(8+4*i+j), avx2.reg(10+4*i+j)
			f.op("VSHUFPS", 0x44, high, low, avx2.reg(4*i+2*j))
			f.op("VSHUFPS", 0xee, high, low, avx2.reg(4*i+2*j+1))
		}
	}
	for i := range 4 {
		f.op("VPERM2F128", 0x20, avx2.reg(4+i), avx2.reg(i), avx2.reg(8+i))
		f.op("VPERM2F128", 0x31, avx2.reg(4+i), avx2.reg(i), avx2.reg(12+i))
	}
	for k := range 8 {
		f.op("VMOVUPS", avx2.reg(8+k), at(64*k, "DI"))
	}
	f.op("ADDQ", 32, "SI")
	f.op("ADDQ", 512, "DI")
	f.op("DECQ", "CX")
	f.op("JNZ", loop)
	f.place(done)
	f.ret()
}

// every2 takes every second value.
func every2(f *file) {
	f.function("every2", "sets dst[i] = src[2*i] for 8*n i; it reads 16*n values.", "dst *float32", "src *float32", "n int")
	f.op("MOVQ", "dst+0(FP)", "DI")
	f.op("MOVQ", "src+8(FP)", "SI")
	f.op("MOVQ", "n+16(FP)", "CX")
	loop, done := f.label("loop"), f.label("done")
	f.op("TESTQ", "CX", "CX")
	f.op("JLE", done)
	f.place(loop)
	f.op("VMOVUPS", "(SI)", "Y0")
	f.op("VSHUFPS", 0x88, "32(SI)", "Y0", "Y0")
	f.op("VPERMQ", 0xd8, "Y0", "Y0")
	f.op("VMOVUPS", "Y0", "(DI)")
	f.op("ADDQ", 64, "SI")
	f.op("ADDQ", 32, "DI")
	f.op("DECQ", "CX")
	f.op("JNZ", loop)
	f.place(done)
	f.ret()
}

// gather collects a panel.
func gather(v vector) {
	v.function("gather"+v.isa.name, "sets dst[k*16+i] = src[offsets[k]+positions[i]] for 16 i and n k.",
		"dst *float32", "src *float32", "offsets *int", "positions *int32", "n int")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "offsets+16(FP)", "DX")
	v.op("MOVQ", "positions+24(FP)", "BX")
	v.op("MOVQ", "n+32(FP)", "CX")
	halves := 16 / v.isa.width
	for i := range halves {
		v.op("VMOVUPS", at(4*i*v.isa.width, "BX"), v.r(i))
	}
	loop, done := v.label("loop"), v.label("done")
	v.op("TESTQ", "CX", "CX")
	v.op("JLE", done)
	v.place(loop)
	v.op("MOVQ", "(DX)", "AX")
	v.op("LEAQ", "(SI)(AX*4)", "R8")
	for i := range halves {
		v.zeroReg(v.r(4 + i)) // the old value must not be waited for
		from := "(R8)(" + v.r(i) + "*4)"
		if v.isa == avx512 {
			v.op("KXNORW", "K1", "K1", "K1")
			v.op("VGATHERDPS", from, "K1", v.r(4+i))
		} else {
			v.op("VPCMPEQD", v.r(6), v.r(6), v.r(6))
			v.op("VGATHERDPS", v.r(6), from, v.r(4+i))
		}
		v.op("VMOVUPS", v.r(4+i), at(4*i*v.isa.width, "DI"))
	}
	v.op("ADDQ", 8, "DX")
	v.op("ADDQ", 64, "DI")
	v.op("DECQ", "CX")
	v.op("JNZ", loop)
	v.place(done)
	v.ret()
}
