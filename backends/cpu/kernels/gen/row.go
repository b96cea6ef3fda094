package main

import "fmt"

// rowKernels are the parts that functions of whole rows are made of.
func rowKernels(f *file) {
	f.maskTable("rowMask")
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.reduction("sum", "returns the sum of n values.", nil, func(l lanes, acc string) {
			l.load("SI", v.r(8))
			v.op("VADDPS", v.r(8), acc, acc)
		})
		v.reduction("sumSquares", "returns the sum of (src[i]-center)^2.", []string{"center float32"}, func(l lanes, acc string) {
			l.load("SI", v.r(8))
			v.op("VSUBPS", v.r(10), v.r(8), v.r(8))
			l.drop(v.r(8))
			v.op("VFMADD231PS", v.r(8), v.r(8), acc)
		})
		v.extreme("largest", "VMAXPS", 0xff800000)
		v.extreme("smallest", "VMINPS", 0x7f800000)
		v.expSum()
		v.normalize()
	}
}

// drop zeroes the lanes that do not count.
func (l lanes) drop(reg string) {
	if !l.masked {
		return
	}
	if l.isa == avx512 {
		l.op("VMOVAPS.Z", reg, "K1", reg)
		return
	}
	l.op("VANDPS", l.r(15), reg, reg)
}

// sums is how many partial sums a reduction keeps, so that additions need not wait for each other.
const sums = 4

// reduction writes a sum over src.
func (v vector) reduction(name, doc string, extra []string, body func(l lanes, acc string)) {
	args := append([]string{"src *float32", "n int"}, extra...)
	v.function(name+v.isa.name, doc, append(args, "ret float32")...)
	v.op("MOVQ", "src+0(FP)", "SI")
	v.op("MOVQ", "n+8(FP)", "CX")
	if extra != nil {
		v.op("VBROADCASTSS", "center+16(FP)", v.r(10))
	}
	for i := range sums {
		v.zeroReg(v.r(i))
	}
	v.unrolled(func() {
		for i := range sums {
			body(lanes{v, false}, v.r(i))
			v.op("ADDQ", 4*v.isa.width, "SI")
		}
	})
	v.loop("rowMask", func(l lanes) {
		body(l, v.r(0))
		l.advance("SI")
	})
	for _, pair := range [][2]int{{0, 1}, {2, 3}, {0, 2}} {
		v.op("VADDPS", v.r(pair[1]), v.r(pair[0]), v.r(pair[0]))
	}
	v.fold("VADDPS", "VADDPS")
	v.op("VMOVSS", "X0", fmt.Sprintf("ret+%d(FP)", 16+8*len(extra)))
	v.ret()
}

// unrolled writes body for every four whole vectors of CX values.
func (v vector) unrolled(body func()) {
	loop, done := v.label("unrolled"), v.label("rolled")
	v.op("SUBQ", sums*v.isa.width, "CX")
	v.op("JLT", done)
	v.place(loop)
	body()
	v.op("SUBQ", sums*v.isa.width, "CX")
	v.op("JGE", loop)
	v.place(done)
	v.op("ADDQ", sums*v.isa.width, "CX")
}

// fold reduces register 0 to its first lane.
func (v vector) fold(wide, narrow string) {
	if v.isa == avx512 {
		v.op("VEXTRACTF64X4", 1, "Z0", "Y1")
		v.op(wide, "Y1", "Y0", "Y0")
	}
	v.op("VEXTRACTF128", 1, "Y0", "X1")
	v.op(narrow, "X1", "X0", "X0")
	v.op("VPERMILPS", 0x4e, "X0", "X1")
	v.op(narrow, "X1", "X0", "X0")
	v.op("VPERMILPS", 0xb1, "X0", "X1")
	v.op(narrow, "X1", "X0", "X0")
}

// extreme writes the largest or smallest of n values, NaN if one is NaN. NaNs are collected apart,
// as the instruction forgets those in its first operand.
func (v vector) extreme(name, instruction string, none uint32) {
	v.function(name+v.isa.name, "returns the "+name+" of n values, NaN if one is NaN.", "src *float32", "n int", "ret float32")
	v.op("MOVQ", "src+0(FP)", "SI")
	v.op("MOVQ", "n+8(FP)", "CX")
	for i := range sums {
		v.op("VBROADCASTSS", v.bits(none), v.r(i))
		v.zeroReg(v.r(4 + i))
	}
	// x*0 is NaN for infinities too, x-x as well: only the comparison tells NaN apart.
	each := func(l lanes, i int) {
		l.load("SI", v.r(8))
		if l.masked {
			l.keep(v.r(8), none)
		}
		if v.isa == avx512 {
			v.compare(unordered, v.r(8), v.r(8), "K2")
			v.op("VMOVAPS", v.r(8), "K2", v.r(4+i))
		} else {
			v.compare(unordered, v.r(8), v.r(8), v.r(9))
			v.op("VORPS", v.r(9), v.r(4+i), v.r(4+i))
		}
		v.op(instruction, v.r(i), v.r(8), v.r(i))
	}
	v.unrolled(func() {
		for i := range sums {
			each(lanes{v, false}, i)
			v.op("ADDQ", 4*v.isa.width, "SI")
		}
	})
	v.loop("rowMask", func(l lanes) {
		each(l, 0)
		l.advance("SI")
	})
	for _, pair := range [][2]int{{0, 1}, {2, 3}, {0, 2}} {
		v.op(instruction, v.r(pair[1]), v.r(pair[0]), v.r(pair[0]))
		v.op("VORPS", v.r(4+pair[1]), v.r(4+pair[0]), v.r(4+pair[0]))
	}
	v.fold(instruction, instruction)
	v.op("VMOVAPS", "X0", "X2")
	v.op("VMOVUPS", v.r(4), v.r(0))
	v.fold("VORPS", "VORPS")
	v.op("VUCOMISS", "X0", "X0")
	known := v.label("known")
	v.op("JPC", known)
	v.op("VMOVAPS", "X0", "X2")
	v.place(known)
	v.op("VMOVSS", "X2", "ret+16(FP)")
	v.ret()
}

// keep sets the lanes that do not count to a value.
func (l lanes) keep(reg string, bits uint32) {
	l.op("VBROADCASTSS", l.bits(bits), l.r(10))
	if l.isa == avx512 {
		l.op("VBLENDMPS", reg, l.r(10), "K1", reg)
		return
	}
	l.op("VBLENDVPS", l.r(15), reg, l.r(10), reg)
}

// expSum writes dst[i] = exp(src[i]-shift) and returns the sum.
func (v vector) expSum() {
	v.function("expSum"+v.isa.name, "sets dst[i] = exp(src[i]-shift) and returns the sum.",
		"dst *float32", "src *float32", "n int", "shift float32", "ret float32")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.op("VBROADCASTSS", "shift+24(FP)", v.r(9))
	v.zeroReg(v.r(10))
	v.loop("rowMask", func(l lanes) {
		l.load("SI", v.r(1))
		v.op("VSUBPS", v.r(9), v.r(1), v.r(1))
		v.exp(v.r(1), v.r(0), v.r(2), v.r(3), v.r(4))
		l.store(v.r(0), "DI")
		l.drop(v.r(0))
		v.op("VADDPS", v.r(0), v.r(10), v.r(10))
		l.advance("DI", "SI")
	})
	v.op("VMOVUPS", v.r(10), v.r(0))
	v.fold("VADDPS", "VADDPS")
	v.op("VMOVSS", "X0", "ret+32(FP)")
	v.ret()
}

// normalize writes dst[i] = (src[i]-center)*factor*scale[i] + bias[i].
func (v vector) normalize() {
	v.function("normalize"+v.isa.name, "sets dst[i] = (src[i]-center)*factor*scale[i] + bias[i]; without bias it is nil.",
		"dst *float32", "src *float32", "scale *float32", "bias *float32", "n int", "center float32", "factor float32")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "scale+16(FP)", "DX")
	v.op("MOVQ", "bias+24(FP)", "BX")
	v.op("MOVQ", "n+32(FP)", "CX")
	v.op("VBROADCASTSS", "center+40(FP)", v.r(8))
	v.op("VBROADCASTSS", "factor+44(FP)", v.r(9))
	plain, done := v.label("plain"), v.label("normalized")
	v.op("TESTQ", "BX", "BX")
	v.op("JZ", plain)
	body := func(bias bool) func(l lanes) {
		return func(l lanes) {
			l.load("SI", v.r(0))
			v.op("VSUBPS", v.r(8), v.r(0), v.r(0))
			v.op("VMULPS", v.r(9), v.r(0), v.r(0))
			l.load("DX", v.r(1))
			v.op("VMULPS", v.r(1), v.r(0), v.r(0))
			if bias {
				l.load("BX", v.r(1))
				v.op("VADDPS", v.r(1), v.r(0), v.r(0))
				l.advance("BX")
			}
			l.store(v.r(0), "DI")
			l.advance("DI", "SI", "DX")
		}
	}
	v.loop("rowMask", body(true))
	v.op("JMP", done)
	v.place(plain)
	v.loop("rowMask", body(false))
	v.place(done)
	v.ret()
}
