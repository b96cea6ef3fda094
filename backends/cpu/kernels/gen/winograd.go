package main

import "fmt"

// winograds write how tiles of planes become what is multiplied, and how results become of products.
func winograds(f *file) {
	var even, odd, next [16]int
	var first, third [16]int
	for i := range 16 {
		even[i], odd[i], next[i] = 2*i, 2*i+1, i/8*8+min(i%8+1, 7)
		first[i], third[i] = i%8*4+i/8, i%8*4+i/8+2
	}
	f.words("winogradEven", even)
	f.words("winogradOdd", odd)
	f.words("winogradFirst", first)
	f.words("winogradThird", third)
	f.words("winogradNext", next)
	for _, m := range []int{2, 4} {
		w := winograd{f, m}
		w.in()
		w.out()
	}
}

// winograd is the kernels for tiles of m x m results, which come from tiles of m+2 x m+2 values. Vectors
// 14 to 17 take what is written, 18 to 23 what it is made of, and those before 14 what goes between.
type winograd struct {
	*file
	m int
}

func (w winograd) side() int { return w.m + 2 }

// values returns the registers of the values of a row or column, for results as many as a tile is wide.
func (w winograd) values() []string {
	var d []string
	for i := range w.side() {
		d = append(d, avx512.reg(18+i))
	}
	return d
}

// in writes the transformation of values. Registers: R8 and R9 walk through the rows of the two halves of
// a run, R10 apart, and then to the next plane, R11 further; SI is where rows are kept that are done, DX
// walks through the results, of which those of a row are R14 apart and the rows R12, BX is the run and CX counts planes.
func (w winograd) in() {
	w.function(fmt.Sprintf("winogradIn%dAVX512", w.m),
		fmt.Sprintf("transforms the values of a run of tiles of %d x %d results.", w.m, w.m), "w *winogradIn")
	w.op("MOVQ", "w+0(FP)", "DI")
	w.op("MOVQ", at("winogradIn_run", "DI"), "BX")
	for i, reg := range []string{"R8", "R9"} {
		w.op("MOVQ", at(fmt.Sprintf("winogradRun_at+%d", 8*i), "BX"), reg)
		w.op("SHLQ", 2, reg)
		w.op("ADDQ", at("winogradIn_src", "DI"), reg)
	}
	w.op("MOVQ", at("winogradIn_width", "DI"), "R10")
	w.op("SHLQ", 2, "R10")
	w.op("MOVQ", at("winogradIn_plane", "DI"), "R11")
	w.op("SHLQ", 2, "R11")
	w.op("IMUL3Q", w.side(), "R10", "AX")
	w.op("SUBQ", "AX", "R11")
	w.op("MOVQ", at("winogradIn_rows", "DI"), "SI")
	w.op("MOVQ", at("winogradIn_dst", "DI"), "DX")
	w.op("MOVQ", at("winogradIn_step", "DI"), "R14")
	w.op("SHLQ", 2, "R14")
	w.op("IMUL3Q", w.side(), "R14", "R12")
	w.op("MOVQ", at("winogradIn_planes", "DI"), "CX")
	w.op("VMOVUPS", "winogradNext<>(SB)", "Z28")
	if w.m == 2 {
		w.op("VMOVUPS", "winogradEven<>(SB)", "Z26")
		w.op("VMOVUPS", "winogradOdd<>(SB)", "Z27")
	} else {
		w.op("VMOVUPS", "winogradFirst<>(SB)", "Z26")
		w.op("VMOVUPS", "winogradThird<>(SB)", "Z27")
		w.op("VBROADCASTSS", w.constant(4), "Z30")
		w.op("VBROADCASTSS", w.constant(5), "Z31")
	}
	loop := w.label("loop")
	w.place(loop)
	for i := range w.side() {
		w.deal(i)
		w.eachIn(func(j int, reg string) { w.op("VMOVUPS", reg, at(64*(i*w.side()+j), "SI")) })
	}
	w.op("ADDQ", "R11", "R8")
	w.op("ADDQ", "R11", "R9")
	w.op("MOVQ", "DX", "R13")
	for j := range w.side() {
		for i, d := range w.values() {
			w.op("VMOVUPS", at(64*(i*w.side()+j), "SI"), d)
		}
		w.op("MOVQ", "R13", "AX")
		w.eachIn(func(i int, reg string) {
			w.op("VMOVUPS", reg, "(AX)")
			w.op("ADDQ", "R12", "AX")
		})
		w.op("ADDQ", "R14", "R13")
	}
	w.op("ADDQ", 64, "DX")
	w.op("DECQ", "CX")
	w.op("JNZ", loop)
	w.ret()
}

// deal reads a row of the tiles of both halves and deals its values out: a register gets those at one
// place in all tiles, 8 of each half, of which the last lacks what the tile after it begins with.
func (w winograd) deal(row int) {
	d := w.values()
	vectors := w.m / 2 // of a half
	for half, from := range []string{"R8", "R9"} {
		for v := range vectors {
			w.op("KMOVW", at(fmt.Sprintf("winogradRun_masks+%d", 8*row+4*half+2*v), "BX"), "K1")
			w.op("VMOVUPS.Z", at(64*v, from), "K1", avx512.reg(half*vectors+v))
		}
		w.op("ADDQ", "R10", from)
	}
	if w.m == 2 {
		w.op("VMOVAPS", "Z0", d[0])
		w.op("VPERMT2PS", "Z1", "Z26", d[0])
		w.op("VMOVAPS", "Z0", d[1])
		w.op("VPERMT2PS", "Z1", "Z27", d[1])
	} else {
		for half := range 2 {
			a, b := avx512.reg(2*half), avx512.reg(2*half+1)
			w.op("VMOVAPS", a, avx512.reg(4+half))
			w.op("VPERMT2PS", b, "Z26", avx512.reg(4+half))
			w.op("VPERMT2PS", b, "Z27", a)
		}
		w.op("VSHUFF64X2", 0x44, "Z5", "Z4", d[0])
		w.op("VSHUFF64X2", 0xee, "Z5", "Z4", d[1])
		w.op("VSHUFF64X2", 0x44, "Z2", "Z0", d[2])
		w.op("VSHUFF64X2", 0xee, "Z2", "Z0", d[3])
	}
	w.op("VPERMPS", d[0], "Z28", d[w.m])
	w.op("VPERMPS", d[1], "Z28", d[w.m+1])
}

// eachIn transforms values, and does something with each result.
func (w winograd) eachIn(do func(i int, reg string)) {
	d, to := w.values(), avx512.reg
	if w.m == 2 {
		w.op("VSUBPS", d[2], d[0], to(14))
		w.op("VADDPS", d[2], d[1], to(15))
		w.op("VSUBPS", d[1], d[2], to(16))
		w.op("VSUBPS", d[3], d[1], to(17))
		for i := range 4 {
			do(i, to(14+i))
		}
		return
	}
	const four, five = "Z30", "Z31"
	ends := func(i int) { // 0 and 5
		w.op("VMOVAPS", d[i/5+4], to(14))
		w.op("VFNMADD231PS", d[i/5+2], five, to(14))
		w.op("VFMADD231PS", d[i/5], four, to(14))
		do(i, to(14))
	}
	ends(0)
	w.op("VMOVAPS", d[4], to(6))
	w.op("VFNMADD231PS", d[2], four, to(6))
	w.op("VMOVAPS", d[3], to(7))
	w.op("VFNMADD231PS", d[1], four, to(7))
	w.op("VADDPS", to(7), to(6), to(15))
	do(1, to(15))
	w.op("VSUBPS", to(7), to(6), to(16))
	do(2, to(16))
	w.op("VSUBPS", d[2], d[4], to(8))
	w.op("VSUBPS", d[1], d[3], to(9))
	w.op("VADDPS", to(9), to(9), to(9))
	w.op("VADDPS", to(9), to(8), to(15))
	do(3, to(15))
	w.op("VSUBPS", to(9), to(8), to(16))
	do(4, to(16))
	ends(5)
}

// out writes how results become of products, 16 filters at a time. Registers: SI walks through the
// products and DX through the results; CX counts tiles.
func (w winograd) out() {
	w.function(fmt.Sprintf("winogradOut%dAVX512", w.m),
		fmt.Sprintf("makes the results of some tiles, %d x %d of each.", w.m, w.m), "w *winogradOut")
	w.op("MOVQ", "w+0(FP)", "DI")
	w.op("MOVQ", at("winogradOut_src", "DI"), "SI")
	w.op("MOVQ", at("winogradOut_dst", "DI"), "DX")
	w.op("MOVQ", at("winogradOut_tiles", "DI"), "CX")
	if w.m == 4 {
		w.op("VBROADCASTSS", w.constant(2), "Z29")
		w.op("VBROADCASTSS", w.constant(4), "Z30")
		w.op("VBROADCASTSS", w.constant(8), "Z31")
	}
	const spot = 128 // bytes of the filters of a block
	side, reg := w.side(), avx512.reg
	loop := w.label("loop")
	w.place(loop)
	for v := range 2 {
		for j := range side {
			in, to := make([]string, side), make([]string, w.m)
			for i := range in {
				in[i] = at(spot*spotRows*(i*side+j)+64*v, "SI")
			}
			for i := range to {
				to[i] = reg(i*side + j)
			}
			for i := 1; i < w.m; i += 2 {
				w.op("VMOVUPS", in[i], reg(23+i))
				in[i] = reg(23 + i)
			}
			w.combine(in, to)
		}
		for i := range w.m {
			row := make([]string, side)
			for j := range row {
				row[j] = reg(i*side + j)
			}
			w.combine(row, row)
			for j := range w.m {
				w.op("VMOVUPS", row[j], at(spot*(spotRows*w.m*i+j)+64*v, "DX"))
			}
		}
	}
	w.op("ADDQ", spot, "SI")
	w.op("ADDQ", spot*w.m, "DX")
	w.op("DECQ", "CX")
	w.op("JNZ", loop)
	w.ret()
}

// combine makes m values of in, which may be in the same registers. The second and the fourth of in, if
// that is not the last, are registers.
func (w winograd) combine(in, to []string) {
	w.op("VADDPS", in[2], in[1], "Z25")
	w.op("VSUBPS", in[2], in[1], "Z24")
	if w.m == 2 {
		w.op("VADDPS", in[0], "Z25", to[0])
		w.op("VSUBPS", in[3], "Z24", to[1])
		return
	}
	w.op("VADDPS", in[4], in[3], "Z27")
	w.op("VSUBPS", in[4], in[3], "Z26")
	w.op("VADDPS", in[0], "Z25", to[0])
	w.op("VADDPS", "Z27", to[0], to[0])
	w.op("VMOVAPS", "Z24", to[1])
	w.op("VFMADD231PS", "Z26", "Z29", to[1])
	w.op("VMOVAPS", "Z25", to[2])
	w.op("VFMADD231PS", "Z27", "Z30", to[2])
	w.op("VADDPS", in[5], "Z24", to[3])
	w.op("VFMADD231PS", "Z26", "Z31", to[3])
}
