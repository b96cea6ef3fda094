package main

// sweeps write the window functions over a lattice. Registers: R8 counts rows, R9
// walks over those of src; CX counts columns, SI walks over them; DI walks through dst.
func sweeps(f *file) {
	f.maskTable("sweepMask")
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.sweep("sweep", "sums products with the weights over a window.", true)
		v.sweep("sweepMax", "takes the largest value of a window.", false)
	}
}

// abreast is how many vectors of a row are computed together.
const abreast = 4

func (v vector) sweep(name, doc string, weighted bool) {
	v.function(name+v.isa.name, doc, "s *sweep")
	v.op("MOVQ", "s+0(FP)", "R11")
	v.op("MOVQ", at("sweep_src", "R11"), "R9")
	v.op("MOVQ", at("sweep_dst", "R11"), "DI")
	v.op("MOVQ", at("sweep_offsets", "R11"), "R12")
	v.op("MOVQ", at("sweep_offsets+8", "R11"), "R13")
	v.op("MOVQ", at("sweep_weights", "R11"), "R15")
	v.op("MOVQ", at("sweep_rows", "R11"), "R8")
	row, done := v.label("row"), v.label("swept")
	v.op("TESTQ", "R8", "R8")
	v.op("JLE", done)
	v.place(row)
	v.op("MOVQ", at("sweep_cols", "R11"), "CX")
	v.op("MOVQ", "R9", "SI")
	v.unrolled(func() {
		v.window(abreast, weighted)
		for i := range abreast {
			v.op("VMOVUPS", v.r(i), at(4*i*v.isa.width, "DI"))
		}
		v.op("ADDQ", 4*abreast*v.isa.width, "SI")
		v.op("ADDQ", 4*abreast*v.isa.width, "DI")
	})
	v.loop("sweepMask", func(l lanes) {
		v.window(1, weighted)
		l.store(v.r(0), "DI")
		l.advance("SI", "DI")
		if l.masked {
			l.skipRest()
		}
	})
	v.op("MOVQ", at("sweep_srcRow", "R11"), "AX")
	v.op("LEAQ", indexed(0, "R9", "AX", 4), "R9")
	v.op("DECQ", "R8")
	v.op("JNZ", row)
	v.place(done)
	v.ret()
}

// skipRest moves DI past the last columns, which tailMask left in CX: values, or bytes in AVX2.
func (l lanes) skipRest() {
	if l.isa == avx512 {
		l.op("SHLQ", 2, "CX")
	}
	l.op("ADDQ", "CX", "DI")
}

// window computes some vectors abreast.
func (v vector) window(vectors int, weighted bool) {
	for i := range vectors {
		v.op("VBROADCASTSS", at("sweep_start", "R11"), v.r(i))
	}
	tap := v.label("tap")
	v.op("XORQ", "BX", "BX")
	v.place(tap)
	v.op("MOVQ", indexed(0, "R12", "BX", 8), "DX")
	if weighted {
		v.op("VBROADCASTSS", indexed(0, "R15", "BX", 4), v.r(8))
	}
	for i := range vectors {
		from := indexed(4*i*v.isa.width, "SI", "DX", 4)
		if weighted {
			v.op("VFMADD231PS", from, v.r(8), v.r(i))
			continue
		}
		v.op("VMOVUPS", from, v.r(9))
		keepingNaN("VMAXPS")(v, v.r(i), v.r(i), v.r(9))
	}
	v.op("INCQ", "BX")
	v.op("CMPQ", "BX", "R13")
	v.op("JLT", tap)
	if !weighted {
		return
	}
	v.op("VBROADCASTSS", at("sweep_lo", "R11"), v.r(8))
	v.op("VBROADCASTSS", at("sweep_hi", "R11"), v.r(9))
	for i := range vectors {
		v.op("VMAXPS", v.r(i), v.r(8), v.r(i))
		v.op("VMINPS", v.r(i), v.r(9), v.r(i))
	}
}
