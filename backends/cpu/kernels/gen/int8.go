package main

import "fmt"

// byteKernels are what products of bytes need beside their tiles. Whatever they go through comes in
// groups of 16: the values past the last group are done in Go.
func byteKernels(f *file) {
	sumBytes(vector{f, avx2})
	moveBytes(vector{f, avx2})
	interleave4(vector{f, avx2})
	splitBytes(vector{f, avx2})
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.quantize("quantize", "sets dst[i] = zero + src[i]/scale, rounded to even and bounded, the lowest for NaN.", "VDIVPS")
		v.quantize("quantizeBy", "is quantize with the inverse of the scale.", "VMULPS")
		v.dequantize()
		v.correct()
		v.wholeSums()
		v.scaleSums()
		v.requantize()
	}
}

// sixteens writes body for every 16 of CX values. Offset is how many of the 16 are done; body gets
// them in as many vectors as 16 values of 4 bytes take.
func (v vector) sixteens(body func(offset int), steps map[string]any) {
	loop := v.label("loop")
	v.place(loop)
	for offset := 0; offset < 16; offset += v.isa.width {
		body(offset)
	}
	for _, reg := range []string{"DI", "SI", "DX", "BX"} {
		if by, ok := steps[reg]; ok {
			v.op("ADDQ", by, reg)
		}
	}
	v.op("SUBQ", 16, "CX")
	v.op("JG", loop)
}

// spreadInt fills a register with the low half of an argument.
func (v vector) spreadInt(arg, reg string) {
	v.op("MOVQ", arg, "AX")
	v.op("VMOVQ", "AX", "X0")
	v.op("VPBROADCASTD", "X0", reg)
}

// flips fills X8 with the low byte of an argument.
func (v vector) flips(arg string) {
	v.op("MOVQ", arg, "AX")
	v.op("VMOVQ", "AX", "X0")
	v.op("VPBROADCASTB", "X0", "X8")
}

// storeBytes stores the low bytes of the lanes of register 0 and uses register 1.
func (v vector) storeBytes(to string) {
	if v.isa == avx512 {
		v.op("VPMOVDB", v.r(0), to)
		return
	}
	v.op("VPSHUFB", v.bits(0x0c080400), v.r(0), v.r(0))
	v.op("VEXTRACTI128", 1, "Y0", "X1")
	v.op("VPUNPCKLDQ", "X1", "X0", "X0")
	v.op("VMOVQ", "X0", to)
}

// roundToByte makes integers of the values in register 0: bounds in registers 9 and 10, zero in 11.
// A NaN becomes the lower bound.
func (v vector) roundToByte() {
	v.op("VMAXPS", v.r(9), v.r(0), v.r(0))
	v.op("VMINPS", v.r(10), v.r(0), v.r(0))
	v.op("VCVTPS2DQ", v.r(0), v.r(0))
	v.op("VPADDD", v.r(11), v.r(0), v.r(0))
}

func (v vector) quantize(name, doc, instruction string) {
	v.function(name+v.isa.name, doc, "dst *byte", "src *float32", "n int", "zero int", "scale float32", "low float32", "high float32")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.spreadInt("zero+24(FP)", v.r(11))
	v.op("VBROADCASTSS", "scale+32(FP)", v.r(8))
	v.op("VBROADCASTSS", "low+36(FP)", v.r(9))
	v.op("VBROADCASTSS", "high+40(FP)", v.r(10))
	v.sixteens(func(offset int) {
		v.op("VMOVUPS", at(4*offset, "SI"), v.r(0))
		v.op(instruction, v.r(8), v.r(0), v.r(0))
		v.roundToByte()
		v.storeBytes(at(offset, "DI"))
	}, map[string]any{"DI": 16, "SI": 64})
	v.ret()
}

func (v vector) dequantize() {
	v.function("dequantize"+v.isa.name, "sets dst[i] = ((src[i]^flip) - zero) * scale.",
		"dst *float32", "src *byte", "n int", "flip int", "zero int", "scale float32")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.spreadInt("flip+24(FP)", v.r(8))
	v.spreadInt("zero+32(FP)", v.r(9))
	v.op("VBROADCASTSS", "scale+40(FP)", v.r(10))
	v.sixteens(func(offset int) {
		v.op("VPMOVZXBD", at(offset, "SI"), v.r(0))
		v.op(v.xor(), v.r(8), v.r(0), v.r(0))
		v.op("VPSUBD", v.r(9), v.r(0), v.r(0))
		v.op("VCVTDQ2PS", v.r(0), v.r(0))
		v.op("VMULPS", v.r(10), v.r(0), v.r(0))
		v.op("VMOVUPS", v.r(0), at(4*offset, "DI"))
	}, map[string]any{"DI": 64, "SI": 16})
	v.ret()
}

// xor is the instruction for integers.
func (v vector) xor() string {
	if v.isa == avx512 {
		return "VPXORD"
	}
	return "VPXOR"
}

// splitBytes takes quads of bytes apart for processors that multiply pairs of 16 bits.
func splitBytes(v vector) {
	v.function("splitBytes", "writes for every four bytes a, b, c and d the 16-bit integers a, c, b and d, as signed bytes with the bits of flip turned.",
		"dst *float32", "src *byte", "n int", "flip int")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.flips("flip+24(FP)")
	loop := v.label("loop")
	v.place(loop)
	v.op("VPXOR", "(SI)", "X8", "X0")
	v.op("VPSRAW", 8, "X0", "X1")
	v.op("VPSLLW", 8, "X0", "X0")
	v.op("VPSRAW", 8, "X0", "X0")
	v.op("VPUNPCKLDQ", "X1", "X0", "X2")
	v.op("VPUNPCKHDQ", "X1", "X0", "X3")
	v.op("VMOVDQU", "X2", "(DI)")
	v.op("VMOVDQU", "X3", "16(DI)")
	v.op("ADDQ", 32, "DI")
	v.op("ADDQ", 16, "SI")
	v.op("SUBQ", 16, "CX")
	v.op("JG", loop)
	v.ret()
}

// sumBytes adds up a row.
func sumBytes(v vector) {
	v.function("sumBytes", "sets *total to the sum of src[i]^flip, unsigned.", "total *int", "src *byte", "n int", "flip int")
	v.op("MOVQ", "total+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.flips("flip+24(FP)")
	v.op("VPXOR", "X0", "X0", "X0")
	v.op("VPXOR", "X2", "X2", "X2")
	loop := v.label("loop")
	v.place(loop)
	v.op("VPXOR", "(SI)", "X8", "X1")
	v.op("VPSADBW", "X2", "X1", "X1")
	v.op("VPADDQ", "X1", "X0", "X0")
	v.op("ADDQ", 16, "SI")
	v.op("SUBQ", 16, "CX")
	v.op("JG", loop)
	v.op("VPSRLDQ", 8, "X0", "X1")
	v.op("VPADDQ", "X1", "X0", "X0")
	v.op("VMOVQ", "X0", "(DI)")
	v.ret()
}

// moveBytes copies a row and adds it up.
func moveBytes(v vector) {
	v.function("moveBytes", "sets dst[i] = src[i]^flip and *total to the sum of dst[i]^0x80, unsigned.",
		"total *int", "dst *byte", "src *byte", "n int", "flip int")
	v.op("MOVQ", "total+0(FP)", "BX")
	v.op("MOVQ", "dst+8(FP)", "DI")
	v.op("MOVQ", "src+16(FP)", "SI")
	v.op("MOVQ", "n+24(FP)", "CX")
	v.flips("flip+32(FP)")
	v.op("VMOVDQU", v.bits(0x80808080), "X9")
	v.op("VPXOR", "X0", "X0", "X0")
	v.op("VPXOR", "X2", "X2", "X2")
	loop := v.label("loop")
	v.place(loop)
	v.op("VPXOR", "(SI)", "X8", "X1")
	v.op("VMOVDQU", "X1", "(DI)")
	v.op("VPXOR", "X9", "X1", "X1")
	v.op("VPSADBW", "X2", "X1", "X1")
	v.op("VPADDQ", "X1", "X0", "X0")
	v.op("ADDQ", 16, "SI")
	v.op("ADDQ", 16, "DI")
	v.op("SUBQ", 16, "CX")
	v.op("JG", loop)
	v.op("VPSRLDQ", 8, "X0", "X1")
	v.op("VPADDQ", "X1", "X0", "X0")
	v.op("VMOVQ", "X0", "(BX)")
	v.ret()
}

// interleave4 makes quads of the bytes of four rows.
func interleave4(v vector) {
	v.function("interleave4", "sets the bytes of dst[i] to a[i], b[i], c[i] and d[i], all with the bits of flip turned.",
		"dst *float32", "a *byte", "b *byte", "c *byte", "d *byte", "n int", "flip int")
	v.op("MOVQ", "dst+0(FP)", "DI")
	for i, reg := range []string{"SI", "DX", "BX", "R8"} {
		v.op("MOVQ", fmt.Sprintf("%c+%d(FP)", "abcd"[i], 8+8*i), reg)
	}
	v.op("MOVQ", "n+40(FP)", "CX")
	v.flips("flip+48(FP)")
	loop := v.label("loop")
	v.place(loop)
	for i, reg := range []string{"SI", "DX", "BX", "R8"} {
		v.op("VPXOR", at(0, reg), "X8", fmt.Sprintf("X%d", i))
		v.op("ADDQ", 16, reg)
	}
	v.op("VPUNPCKLBW", "X1", "X0", "X4")
	v.op("VPUNPCKHBW", "X1", "X0", "X5")
	v.op("VPUNPCKLBW", "X3", "X2", "X6")
	v.op("VPUNPCKHBW", "X3", "X2", "X7")
	v.op("VPUNPCKLWD", "X6", "X4", "X0")
	v.op("VPUNPCKHWD", "X6", "X4", "X1")
	v.op("VPUNPCKLWD", "X7", "X5", "X2")
	v.op("VPUNPCKHWD", "X7", "X5", "X3")
	for i := range 4 {
		v.op("VMOVDQU", fmt.Sprintf("X%d", i), at(16*i, "DI"))
	}
	v.op("ADDQ", 64, "DI")
	v.op("SUBQ", 16, "CX")
	v.op("JG", loop)
	v.ret()
}

// correct adds what zero points leave of a product.
func (v vector) correct() {
	v.function("correct"+v.isa.name, "adds term + factor*cols[i] to the sums.", "x *int32", "cols *int32", "n int", "term int", "factor int")
	v.op("MOVQ", "x+0(FP)", "DI")
	v.op("MOVQ", "cols+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.spreadInt("term+24(FP)", v.r(8))
	v.spreadInt("factor+32(FP)", v.r(9))
	v.sixteens(func(offset int) {
		v.op("VPMULLD", at(4*offset, "SI"), v.r(9), v.r(0))
		v.op("VPADDD", v.r(8), v.r(0), v.r(0))
		v.op("VPADDD", at(4*offset, "DI"), v.r(0), v.r(0))
		v.op("VMOVUPS", v.r(0), at(4*offset, "DI"))
	}, map[string]any{"DI": 64, "SI": 64})
	v.ret()
}

// wholeSums makes integers of sums that were added as float32.
func (v vector) wholeSums() {
	v.function("wholeSums"+v.isa.name, "sets x[i], which is a whole number of float32, to that of int32, plus a bias.", "x *int32", "n int", "bias int")
	v.op("MOVQ", "x+0(FP)", "DI")
	v.op("MOVQ", "n+8(FP)", "CX")
	v.spreadInt("bias+16(FP)", v.r(8))
	v.sixteens(func(offset int) {
		v.op("VCVTTPS2DQ", at(4*offset, "DI"), v.r(0))
		v.op("VPADDD", v.r(8), v.r(0), v.r(0))
		v.op("VMOVUPS", v.r(0), at(4*offset, "DI"))
	}, map[string]any{"DI": 64})
	v.ret()
}

// scaleSums makes floats of the sums.
func (v vector) scaleSums() {
	v.function("scaleSums"+v.isa.name, "sets dst[i] = src[i]*(scale*cols[i]) + bias[i]; each step is how many bytes 16 values take, 0 where they repeat.",
		"dst *float32", "src *int32", "cols *float32", "bias *float32", "n int", "colStep int", "biasStep int", "scale float32")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "cols+16(FP)", "DX")
	v.op("MOVQ", "bias+24(FP)", "BX")
	v.op("MOVQ", "n+32(FP)", "CX")
	v.op("MOVQ", "colStep+40(FP)", "R8")
	v.op("MOVQ", "biasStep+48(FP)", "R9")
	v.op("VBROADCASTSS", "scale+56(FP)", v.r(8))
	v.sixteens(func(offset int) {
		v.op("VCVTDQ2PS", at(4*offset, "SI"), v.r(0))
		v.op("VMULPS", at(4*offset, "DX"), v.r(8), v.r(1))
		v.op("VMULPS", v.r(1), v.r(0), v.r(0))
		v.op("VADDPS", at(4*offset, "BX"), v.r(0), v.r(0))
		v.op("VMOVUPS", v.r(0), at(4*offset, "DI"))
	}, map[string]any{"DI": 64, "SI": 64, "DX": "R8", "BX": "R9"})
	v.ret()
}

// requantize makes bytes of the sums.
func (v vector) requantize() {
	v.function("requantize"+v.isa.name, "sets dst[i] = zero + src[i]*cols[i], rounded to even and bounded; step is how many bytes 16 values take, 0 where they repeat.",
		"dst *byte", "src *int32", "cols *float32", "n int", "step int", "zero int", "low float32", "high float32")
	v.op("MOVQ", "dst+0(FP)", "DI")
	v.op("MOVQ", "src+8(FP)", "SI")
	v.op("MOVQ", "cols+16(FP)", "DX")
	v.op("MOVQ", "n+24(FP)", "CX")
	v.op("MOVQ", "step+32(FP)", "R8")
	v.spreadInt("zero+40(FP)", v.r(11))
	v.op("VBROADCASTSS", "low+48(FP)", v.r(9))
	v.op("VBROADCASTSS", "high+52(FP)", v.r(10))
	v.sixteens(func(offset int) {
		v.op("VCVTDQ2PS", at(4*offset, "SI"), v.r(0))
		v.op("VMULPS", at(4*offset, "DX"), v.r(0), v.r(0))
		v.roundToByte()
		v.storeBytes(at(offset, "DI"))
	}, map[string]any{"DI": 16, "SI": 64, "DX": "R8"})
	v.ret()
}

// halves makes one half of quads of unsigned bytes, the even or the odd ones, integers of 16 bits.
func halves(k tileKernel, part int, from, reg string) {
	v := vector{k.file, k.isa}
	switch {
	case part == 1 && k.isa == avx512:
		k.op("VPSRLW", 8, from, reg)
	case part == 1:
		k.op("VMOVUPS", from, reg)
		k.op("VPSRLW", 8, reg, reg)
	case k.isa == avx512:
		k.op("VMOVUPS", from, reg)
		v.do("VPANDD", v.bits(evenBytes), reg, reg)
	default:
		k.op("VMOVUPS", from, reg)
		k.op("VPAND", v.bits(evenBytes), reg, reg)
	}
}

const evenBytes = 0x00ff00ff

// stepHalves is stepPart for pairs of integers of 16 bits, whose products need a register before
// they are added.
func (k tileKernel) stepHalves(part int) {
	add := func(b, a, product, acc string) {
		k.op("VPMADDWD", b, a, product)
		k.op("VPADDD", product, acc, acc)
	}
	switch {
	case k.rows == 1:
		a := k.free(0)
		k.broadcast(0, part, a)
		k.eachVector(func(v int) {
			b := k.free(1 + v%4)
			k.load(k, part, k.bVector(v), b)
			add(b, a, b, k.acc(0, v))
		})
	case k.vectors() <= 2:
		a, product := k.free(2), k.free(3)
		k.eachVector(func(v int) { k.load(k, part, k.bVector(v), k.free(v)) })
		for row := range k.rows {
			k.broadcast(row, part, a)
			k.eachVector(func(v int) { add(k.free(v), a, product, k.acc(row, v)) })
		}
	default:
		b := k.free(0)
		k.eachVector(func(v int) {
			k.load(k, part, k.bVector(v), b)
			for row := range k.rows {
				a := k.free(1 + row%2)
				k.broadcast(row, part, a)
				add(b, a, a, k.acc(row, v))
			}
		})
	}
}

// startTerms starts sums of bytes with what zero points add to them and goes to a label, unless
// nothing is added.
func (k tileKernel) startTerms(started string) {
	k.claim()
	none, each, done := k.label("none"), k.label("each"), k.label("terms")
	k.op("MOVQ", at("tile_terms", regTile), "AX")
	k.op("TESTQ", "AX", "AX")
	k.op("JZ", none)
	k.pass("AX")
	k.op("MOVQ", at("tile_factors", regTile), "BX")
	k.op("MOVQ", at("tile_rowTerms", regTile), "DX")
	k.op("MOVQ", at("tile_zeros", regTile), "CX")
	k.op("TESTQ", "CX", "CX")
	k.op("JNZ", each)
	for row := range k.rows {
		k.startRow(row)
		k.op("VPBROADCASTD", at(4*row, "DX"), k.temp(0))
		k.eachVector(func(v int) { k.op("VPADDD", k.temp(0), k.acc(row, v), k.acc(row, v)) })
	}
	k.op("JMP", done)
	k.place(each)
	k.pass("CX")
	for row := range k.rows {
		k.startRow(row)
		k.op("VPBROADCASTD", at(4*row, "DX"), k.temp(0))
		k.eachVector(func(v int) {
			k.op("VPMULLD", k.inPanels("CX", v), k.temp(0), k.temp(1))
			k.op("VPADDD", k.temp(1), k.acc(row, v), k.acc(row, v))
		})
	}
	k.place(done)
	k.ifGiven("tile_sumBias", func() {
		k.pass("AX")
		k.eachVector(func(v int) {
			k.read(k.inPanels("AX", v), v, k.temp(0))
			for row := range k.rows {
				k.op("VPADDD", k.temp(0), k.acc(row, v), k.acc(row, v))
			}
		})
	})
	k.op("JMP", started)
	k.place(none)
}

// startRow starts a row of sums with the terms of the columns, AX, times the row's factor.
func (k tileKernel) startRow(row int) {
	k.op("VPBROADCASTD", at(4*row, "BX"), k.temp(0))
	k.eachVector(func(v int) { k.op("VPMULLD", k.inPanels("AX", v), k.temp(0), k.acc(row, v)) })
}

// scaleSums makes float32 of sums of bytes.
func (k tileKernel) scaleSums() {
	k.op("MOVQ", at("tile_rowScales", regTile), "AX")
	k.op("MOVQ", at("tile_scales", regTile), regRow)
	k.pass(regRow)
	for row := range k.rows {
		k.op("VBROADCASTSS", at(4*row, "AX"), k.temp(0))
		k.eachVector(func(v int) {
			k.read(k.inPanels(regRow, v), v, k.temp(1))
			k.op("VMULPS", k.temp(1), k.temp(0), k.temp(1))
			k.op("VCVTDQ2PS", k.acc(row, v), k.acc(row, v))
			k.op("VMULPS", k.temp(1), k.acc(row, v), k.acc(row, v))
		})
	}
}

// claim asks for the lines of C, which are written when the sums are complete.
func (k tileKernel) claim() {
	k.walk("tile_c", "tile_cRow", func(row int) {
		k.eachVector(func(v int) { k.op("PREFETCHT0", k.inRow(v)) })
	})
}
