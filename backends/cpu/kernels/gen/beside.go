package main

import "fmt"

// spotRows is how many positions a block may have: with two vectors of filters each, and what is
// multiplied, they fill the registers.
const spotRows = 14

// besides write the products of positions with filters that stand beside each other, and what turns
// the result round.
func besides(f *file) {
	for _, p := range []product{
		{"", avx512, "AVX512", 1, loadUnits, multiplyAdd},
		{"BF16", avx512, "AVX512BF16", 1, loadUnits, func(k tileKernel, b, a, acc string) { k.evex(vdpbf16ps, b, a, acc) }},
	} {
		name := "spots" + p.precision + p.level
		for rows := 1; rows <= spotRows; rows++ {
			for panels := 1; panels <= 2; panels++ {
				spots{tileKernel{f, p, rows, panels}, name}.write()
			}
		}
		fmt.Fprintf(&f.stubs, "\n// %s computes a block of one of the sizes that there are.\nfunc %[1]s(s *spots) {\n", name)
		f.stubs.WriteString("\tswitch 2*s.rows + panels(s.cols) {\n")
		for rows := 1; rows <= spotRows; rows++ {
			for panels := 1; panels <= 2; panels++ {
				fmt.Fprintf(&f.stubs, "\tcase %d:\n\t\t%s_%dx%d(s)\n", 2*rows+panels, name, rows, 16*panels)
			}
		}
		f.stubs.WriteString("\tdefault:\n\t\tpanic(\"kernels: no block of this size\")\n\t}\n}\n")
	}
	turnSpots(f)
}

// spots is one size of block. Registers: DX is where A starts, R8 how far its second half is from the
// first, R15 walks through B, whose second panel is R14 further, BX through the
// offsets, and R10 through what is fetched for later, R11 bytes at a time; R12 is how far ahead A is fetched.
type spots struct {
	tileKernel
	family string
}

func (k spots) write() {
	k.function(fmt.Sprintf("%s_%dx%d", k.family, k.rows, 16*k.panels),
		fmt.Sprintf("computes a block of %d positions and %d panels.", k.rows, k.panels), "s *spots")
	k.op("MOVQ", "s+0(FP)", "DI")
	k.expect()
	for row := range k.rows {
		k.eachVector(func(v int) { k.isa.zero(k.file, k.acc(row, v)) })
	}
	k.products()
	k.addBias()
	k.op("MOVQ", at("spots_sums", "DI"), "SI")
	for row := range k.rows {
		k.eachVector(func(v int) { k.op("VMOVUPS", k.acc(row, v), at(128*row+64*v, "SI")) })
	}
	k.ret()
}

// expect fetches the lines of the result, and of what is added to it, for when the product is done.
func (k spots) expect() {
	k.op("MOVQ", at("spots_plane", "DI"), "R8")
	k.op("SHLQ", 2, "R8")
	for _, slice := range []string{"spots_dst", "spots_residual"} {
		loop, done := k.label("expect"), k.label("expected")
		k.op("MOVQ", at(slice, "DI"), "SI")
		k.op("TESTQ", "SI", "SI")
		k.op("JZ", done)
		k.op("MOVQ", at("spots_cols", "DI"), "CX")
		k.place(loop)
		if slice == "spots_dst" {
			fmt.Fprintf(&k.asm, "\tBYTE $0x0f; BYTE $0x0d; BYTE $0x0e // PREFETCHW (SI)\n")
		} else {
			k.op("PREFETCHT0", "(SI)")
		}
		k.op("ADDQ", "R8", "SI")
		k.op("DECQ", "CX")
		k.op("JNZ", loop)
		k.place(done)
	}
}

func (k spots) products() {
	loop, done := k.label("loop"), k.label("done")
	k.op("MOVQ", at("spots_offsets+8", "DI"), "CX")
	k.op("TESTQ", "CX", "CX")
	k.op("JZ", done)
	k.op("MOVQ", at("spots_offsets", "DI"), "BX")
	k.op("MOVQ", at("spots_a", "DI"), "DX")
	k.op("MOVQ", at("spots_b", "DI"), "R15")
	k.op("MOVQ", at("spots_panel", "DI"), "R14")
	k.op("SHLQ", 2, "R14")
	k.op("MOVQ", at("spots_half", "DI"), "R8")
	k.op("SHLQ", 2, "R8")
	k.op("MOVQ", at("spots_next", "DI"), "R10")
	k.op("MOVQ", at("spots_nextStep", "DI"), "R11")
	k.op("MOVQ", at("spots_ahead", "DI"), "R12")
	k.op("SHLQ", 2, "R12")
	k.place(loop)
	k.op("MOVQ", "(BX)", "AX")
	k.op("LEAQ", "(DX)(AX*4)", "SI")
	k.op("LEAQ", "(SI)(R8*1)", "R9")
	k.eachVector(func(v int) {
		k.op("VMOVUPS", []string{"(R15)", "(R15)(R14*1)"}[v], k.free(v))
	})
	k.op("PREFETCHT1", "(SI)(R12*1)")
	k.op("PREFETCHT1", "(R10)")
	k.op("ADDQ", "R11", "R10")
	half := k.rows / 2
	for row := range k.rows {
		from := at(4*row, "SI")
		if row >= half {
			from = at(4*(row-half), "R9")
		}
		a := k.free(2 + row%2)
		k.op("VBROADCASTSS", from, a)
		k.eachVector(func(v int) { k.add(k.tileKernel, k.free(v), a, k.acc(row, v)) })
	}
	k.op("ADDQ", 64, "R15")
	k.op("ADDQ", 8, "BX")
	k.op("DECQ", "CX")
	k.op("JNZ", loop)
	k.place(done)
}

// addBias adds what each filter has, which is as long as the columns.
func (k spots) addBias() {
	none := k.label("none")
	k.op("MOVQ", at("spots_bias", "DI"), "AX")
	k.op("TESTQ", "AX", "AX")
	k.op("JZ", none)
	k.op("MOVQ", at("spots_cols", "DI"), "CX")
	k.op("SUBQ", 16*(k.panels-1), "CX")
	k.op("MOVL", 1, "R9")
	k.op("SHLL", "CX", "R9")
	k.op("DECL", "R9")
	k.op("KMOVW", "R9", "K1")
	k.eachVector(func(v int) {
		if v == k.panels-1 {
			k.op("VMOVUPS.Z", at(64*v, "AX"), "K1", k.free(v))
		} else {
			k.op("VMOVUPS", at(64*v, "AX"), k.free(v))
		}
		for row := range k.rows {
			k.op("VADDPS", k.free(v), k.acc(row, v), k.acc(row, v))
		}
	})
	k.place(none)
}

// turnSpots writes the kernel that makes planes of the sums of a block. Registers: SI walks through the
// sums, DX through the planes and R9 through those of the residual, R8 apart; CX counts filters.
func turnSpots(f *file) {
	f.function("turnSpotsAVX512", "adds the residual to the sums of a block, clamps them and writes them to the planes of the filters.", "s *spots")
	f.op("MOVQ", "s+0(FP)", "DI")
	f.op("MOVQ", at("spots_rows", "DI"), "CX")
	f.op("MOVL", 1, "AX")
	f.op("SHLL", "CX", "AX")
	f.op("DECL", "AX")
	f.op("KMOVW", "AX", "K1")
	f.op("MOVQ", at("spots_sums", "DI"), "SI")
	f.op("MOVQ", at("spots_dst", "DI"), "DX")
	f.op("MOVQ", at("spots_residual", "DI"), "R9")
	f.op("MOVQ", at("spots_plane", "DI"), "R8")
	f.op("SHLQ", 2, "R8")
	f.op("MOVQ", at("spots_cols", "DI"), "CX")
	panel, done := f.label("panel"), f.label("done")
	f.place(panel)
	turn16(f)
	f.op("VBROADCASTSS", at("spots_lo", "DI"), "Z16")
	f.op("VBROADCASTSS", at("spots_hi", "DI"), "Z17")
	bare := f.label("bare")
	f.op("TESTQ", "R9", "R9")
	f.op("JZ", bare)
	for i := range 16 {
		f.op("VMOVUPS.Z", "(R9)", "K1", "Z18")
		f.op("VADDPS", "Z18", avx512.reg(i), avx512.reg(i))
		f.op("ADDQ", "R8", "R9")
		if i < 15 {
			f.op("CMPQ", "CX", i+2)
			f.op("JLT", bare)
		}
	}
	f.place(bare)
	for i := range 16 {
		r := avx512.reg(i)
		// The sum comes second, so that a NaN in it stays.
		f.op("VMAXPS", r, "Z16", r)
		f.op("VMINPS", r, "Z17", r)
		f.op("VMOVUPS", r, "K1", "(DX)")
		f.op("ADDQ", "R8", "DX")
		f.op("DECQ", "CX")
		f.op("JZ", done)
	}
	f.op("ADDQ", 64, "SI")
	f.op("JMP", panel)
	f.place(done)
	f.ret()
}

// turn16 reads 16 rows of 16 sums, the rows of two panels, and exchanges rows and columns: register i
// gets column i.
func turn16(f *file) {
	reg := avx512.reg
	for i := range 16 {
		f.op("VMOVUPS", at(128*i, "SI"), reg(i))
	}
	for i := range 8 {
		f.op("VUNPCKLPS", reg(2*i+1), reg(2*i), reg(16+2*i))
		f.op("VUNPCKHPS", reg(2*i+1), reg(2*i), reg(17+2*i))
	}
	for i := range 4 {
		for j := range 2 {
			low, high := reg(16+4*i+j), reg(18+4*i+j)
			f.op("VUNPCKLPD", high, low, reg(4*i+2*j))
			f.op("VUNPCKHPD", high, low, reg(4*i+2*j+1))
		}
	}
	// Now register 4*i+k has, in its four lanes, columns k, 4+k, 8+k and 12+k of rows 4*i to 4*i+3.
	for k := range 4 {
		for i := range 2 {
			f.op("VSHUFF32X4", 0x44, reg(8*i+4+k), reg(8*i+k), reg(16+4*k+2*i))
			f.op("VSHUFF32X4", 0xee, reg(8*i+4+k), reg(8*i+k), reg(17+4*k+2*i))
		}
	}
	for k := range 4 {
		for i := range 2 {
			first, second := reg(16+4*k+i), reg(18+4*k+i)
			f.op("VSHUFF32X4", 0x88, second, first, reg(8*i+k))
			f.op("VSHUFF32X4", 0xdd, second, first, reg(8*i+4+k))
		}
	}
}
