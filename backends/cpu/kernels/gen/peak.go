package main

import "fmt"

// peaks write loops of multiplications that read no memory and hardly wait for each other.
func peaks(f *file) {
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.peak("fma"+i.name, 12, func(b, a, acc string) { v.op("VFMADD231PS", b, a, acc) })
		v.reads()
	}
	v := vector{f, avx512}
	v.peak("pairsAVX512BF16", 24, func(b, a, acc string) { v.evex(vdpbf16ps, b, a, acc) })
	v.peak("bytesAVX512VNNI", 24, func(b, a, acc string) { v.op("VPDPBUSD", b, a, acc) })
	f.tilePeak("pairsAMX", tdpbf16ps)
	f.tilePeak("bytesAMX", tdpbsud)
}

// peak writes a loop of one instruction on some sums.
func (v vector) peak(name string, sums int, multiply func(b, a, acc string)) {
	v.function(name, fmt.Sprintf("multiplies and adds in %d registers n times.", sums), "n int")
	v.op("MOVQ", "n+0(FP)", "CX")
	for r := range sums + 2 {
		v.zeroReg(v.r(r))
	}
	loop := v.label("loop")
	v.place(loop)
	for r := range sums {
		multiply(v.r(sums), v.r(sums+1), v.r(r))
	}
	v.op("DECQ", "CX")
	v.op("JNZ", loop)
	v.ret()
}

// reads writes a loop that reads rows of whole lines, four at a time, and does nothing with them.
func (v vector) reads() {
	v.function("rows"+v.isa.name, "reads n rows of some times 256 bytes at the offsets, in bytes, and asks for those ahead bytes later in offsets.",
		"table *byte", "offsets *int", "n int", "times int", "ahead int")
	v.op("MOVQ", "table+0(FP)", "DX")
	v.op("MOVQ", "offsets+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.op("MOVQ", "times+24(FP)", "R9")
	v.op("MOVQ", "ahead+32(FP)", "R13")
	row, part, done := v.label("row"), v.label("part"), v.label("read")
	v.op("TESTQ", "CX", "CX")
	v.op("JLE", done)
	v.place(row)
	v.op("MOVQ", "(SI)(R13*1)", "BX")
	v.op("ADDQ", "DX", "BX")
	v.op("MOVQ", "(SI)", "AX")
	v.op("ADDQ", "DX", "AX")
	v.op("MOVQ", "R9", "R8")
	v.place(part)
	for i := range 4 {
		v.op("PREFETCHT0", at(64*i, "BX"))
	}
	for i := range 4 * 16 / v.isa.width {
		v.op("VMOVUPS", at(4*i*v.isa.width, "AX"), v.r(i))
	}
	v.op("ADDQ", 256, "BX")
	v.op("ADDQ", 256, "AX")
	v.op("DECQ", "R8")
	v.op("JNZ", part)
	v.op("ADDQ", 8, "SI")
	v.op("DECQ", "CX")
	v.op("JNZ", row)
	v.place(done)
	v.ret()
}

// tilePeak writes a loop of products of whole tiles: as many sums as products overlap.
func (f *file) tilePeak(name string, d dot) {
	const sums = 4
	f.function(name, fmt.Sprintf("multiplies tiles of the given sizes and adds to %d of them n times.", sums), "sizes *[64]byte", "n int")
	f.op("MOVQ", "sizes+0(FP)", "AX")
	f.op("MOVQ", "n+8(FP)", "CX")
	f.amx(ldtilecfg("AX"))
	for tile := range 8 {
		f.amx(tilezero(tile))
	}
	loop := f.label("loop")
	f.place(loop)
	for i := range sums {
		f.amx(d.of(i, sums+i/2, sums+2+i%2))
	}
	f.op("DECQ", "CX")
	f.op("JNZ", loop)
	f.amx(tilerelease())
	f.op("RET")
}
