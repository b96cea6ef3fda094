package main

// packs move values without computing. Where half a cache line at a time is enough they are
// written for AVX2 alone.
func packs(f *file) {
	f.maskTable("packMask")
	copyRows(f)
	transpose8(f)
	everySecond(f)
	for _, i := range []isa{avx2, avx512} {
		gather(vector{f, i})
		copyBlock(vector{f, i})
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

// everySecond takes every second value of the rows of a block.
func everySecond(f *file) {
	v := vector{f, avx2}
	f.function("everySecond", "sets dst[r*dstRow+i] = src[r*srcRow+2*i] for cols i and some rows r; rows are that many bytes apart.",
		"dst *float32", "src *float32", "rows int", "cols int", "dstRow int", "srcRow int")
	v.blockRows(func() {
		// The 16th value after the 8 last ones of a row need not exist.
		loop, rest, done := f.label("loop"), f.label("rest"), f.label("done")
		f.op("SUBQ", 9, "CX")
		f.op("JLT", rest)
		f.place(loop)
		f.op("VMOVUPS", "(SI)", "Y0")
		f.op("VMOVUPS", "32(SI)", "Y1")
		pickSecond(f)
		f.op("VMOVUPS", "Y0", "(DI)")
		f.op("ADDQ", 64, "SI")
		f.op("ADDQ", 32, "DI")
		f.op("SUBQ", 8, "CX")
		f.op("JGE", loop)
		f.place(rest)
		f.op("ADDQ", 9, "CX")
		f.op("JLE", done)
		// n values more are every second of 2n-1: up to 8 in one register and those beyond in the other.
		f.op("LEAQ", "packMask<>+64(SB)", "AX")
		f.op("LEAQ", "-1(CX)(CX*1)", "DX")
		f.op("MOVQ", 8, "BX")
		f.op("CMPQ", "DX", "BX")
		f.op("CMOVQLT", "DX", "BX")
		f.op("SUBQ", "BX", "DX")
		for i, n := range []string{"BX", "DX"} {
			f.op("SHLQ", 2, n)
			f.op("NEGQ", n)
			f.op("VMOVUPS", "(AX)("+n+"*1)", avx2.reg(2))
			f.op("VMASKMOVPS", at(32*i, "SI"), avx2.reg(2), avx2.reg(i))
		}
		pickSecond(f)
		v.tailMask("packMask")
		f.op("VMASKMOVPS", "Y0", "Y15", "(DI)")
		f.place(done)
	})
	f.ret()
}

// pickSecond sets Y0 to every second value of Y0 and Y1.
func pickSecond(f *file) {
	f.op("VSHUFPS", 0x88, "Y1", "Y0", "Y0")
	f.op("VPERMQ", 0xd8, "Y0", "Y0")
}

// copyBlock copies the rows of a block.
func copyBlock(v vector) {
	v.function("copyBlock"+v.isa.name, "sets dst[r*dstRow+i] = src[r*srcRow+i] for cols i and some rows r; rows are that many bytes apart.",
		"dst *float32", "src *float32", "rows int", "cols int", "dstRow int", "srcRow int")
	v.blockRows(func() {
		v.loop("packMask", func(l lanes) {
			l.load("SI", v.r(0))
			l.store(v.r(0), "DI")
			l.advance("SI", "DI")
		})
	})
	v.ret()
}

// blockRows writes what is done for each row of a block: SI and DI are where it starts in src and
// dst, CX is the number of columns.
func (v vector) blockRows(row func()) {
	v.op("MOVQ", "dst+0(FP)", "R8")
	v.op("MOVQ", "src+8(FP)", "R9")
	v.op("MOVQ", "rows+16(FP)", "R10")
	v.op("MOVQ", "cols+24(FP)", "R11")
	v.op("MOVQ", "dstRow+32(FP)", "R12")
	v.op("MOVQ", "srcRow+40(FP)", "R13")
	loop, done := v.label("row"), v.label("rows")
	v.op("TESTQ", "R10", "R10")
	v.op("JLE", done)
	v.place(loop)
	v.op("MOVQ", "R8", "DI")
	v.op("MOVQ", "R9", "SI")
	v.op("MOVQ", "R11", "CX")
	row()
	v.op("ADDQ", "R12", "R8")
	v.op("ADDQ", "R13", "R9")
	v.op("DECQ", "R10")
	v.op("JNZ", loop)
	v.place(done)
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
