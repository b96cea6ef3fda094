package main

import "fmt"

// depths write the convolutions of one plane by one filter whose weights stay in registers, read in
// place: what a tap has no value for is masked.
func depths(f *file) {
	for _, kernel := range []int{3, 5} {
		for _, stride := range []int{1, 2} {
			if kernel == 3 || stride == 2 {
				depth{f, kernel, stride}.write()
			}
		}
	}
	depth{f, 5, 1}.rolling()
}

// depth is a size of filter and the step that it moves by. Registers: R8 is the row of the first taps,
// which R9 and the next ones point to, R14 a row of zeros; CX counts blocks, DX walks through their masks,
// BX through the columns of the plane and AX through those of the result, which SI walks through; R15
// counts its rows.
type depth struct {
	*file
	kernel, stride int
}

var depthRows = []string{"R9", "R10", "R11", "R12", "R13"}

// depthAhead is from what is read of the last row to what is fetched meanwhile, in bytes.
const depthAhead = 3072

const (
	depthSum = "Z0"
	depthBox = "Z1" // values of a tap
	depthAll = "Z2" // even places
	depthLow = "Z3"
	depthTop = "Z4"
)

func (d depth) weight(tap int) string { return avx512.reg(7 + tap) }

// lanes is how many values a block computes.
func (d depth) lanes() int { return 16 / d.stride }

func (d depth) write() {
	d.function(fmt.Sprintf("depth%dx%dAVX512", d.kernel, d.stride),
		fmt.Sprintf("moves a filter of %d x %d in steps of %d.", d.kernel, d.kernel, d.stride), "d *depth")
	d.op("MOVQ", "d+0(FP)", "DI")
	d.op("MOVQ", at("depth_weights", "DI"), "AX")
	for tap := range d.kernel * d.kernel {
		d.op("VBROADCASTSS", at(4*tap, "AX"), d.weight(tap))
	}
	d.op("VBROADCASTSS", at("depth_lo", "DI"), depthLow)
	d.op("VBROADCASTSS", at("depth_hi", "DI"), depthTop)
	if d.stride == 2 {
		d.op("MOVQ", at("depth_even", "DI"), "AX")
		d.op("VMOVUPS", "(AX)", depthAll)
	}
	d.op("MOVQ", at("depth_zeros", "DI"), "R14")
	d.op("MOVQ", at("depth_dst", "DI"), "SI")
	d.op("MOVQ", at("depth_rows", "DI"), "R15")
	d.op("XORQ", "R8", "R8")
	d.op("SUBQ", at("depth_top", "DI"), "R8")
	row, block := d.label("row"), d.label("block")
	d.place(row)
	d.findRows()
	d.op("MOVQ", at("depth_blocks", "DI"), "CX")
	d.op("MOVQ", at("depth_masks", "DI"), "DX")
	d.op("MOVQ", at("depth_left", "DI"), "BX")
	d.op("NEGQ", "BX")
	d.op("SHLQ", 2, "BX")
	d.op("XORQ", "AX", "AX")
	d.place(block)
	d.block()
	d.op("ADDQ", 2*(d.kernel+1), "DX")
	d.op("ADDQ", 64, "BX")
	d.op("ADDQ", 4*d.lanes(), "AX")
	d.op("DECQ", "CX")
	d.op("JNZ", block)
	d.op("MOVQ", at("depth_cols", "DI"), "AX")
	d.op("LEAQ", "(SI)(AX*4)", "SI")
	d.op("ADDQ", d.stride, "R8")
	d.op("DECQ", "R15")
	d.op("JNZ", row)
	d.ret()
}

// findRows points to the rows of the plane, or to zeros beyond them.
func (d depth) findRows() {
	d.op("MOVQ", at("depth_src", "DI"), "DX")
	for i := range d.kernel {
		d.op("LEAQ", at(i, "R8"), "AX")
		d.op("MOVQ", "AX", "BX")
		d.op("IMULQ", at("depth_width", "DI"), "BX")
		d.op("LEAQ", "(DX)(BX*4)", depthRows[i])
		d.op("CMPQ", "AX", at("depth_height", "DI"))
		d.op("CMOVQCC", "R14", depthRows[i]) // also where it is negative
	}
}

// block computes some columns of a row.
func (d depth) block() {
	mask := func(j int) string { return fmt.Sprintf("K%d", j+1) }
	for j := range d.kernel + 1 {
		d.op("KMOVW", at(2*j, "DX"), mask(j))
	}
	d.op("VBROADCASTSS", at("depth_start", "DI"), depthSum)
	d.op("PREFETCHT0", indexed(depthAhead, depthRows[d.kernel-1], "BX", 1))
	for i := range d.kernel {
		for j := range d.kernel {
			from := indexed(4*j, depthRows[i], "BX", 1)
			w := d.weight(i*d.kernel + j)
			if d.stride == 1 {
				d.op("VFMADD231PS", from, w, mask(j), depthSum)
				continue
			}
			d.op("VMOVUPS.Z", from, mask(j), depthBox)
			d.op("VPERMPS", depthBox, depthAll, depthBox)
			d.op("VFMADD231PS", depthBox, w, depthSum)
		}
	}
	// The sum comes second, so that a NaN in it stays.
	d.op("VMAXPS", depthSum, depthLow, depthSum)
	d.op("VMINPS", depthSum, depthTop, depthSum)
	d.op("VMOVUPS", depthSum, mask(d.kernel), "(SI)(AX*1)")
}

// rolling writes a kernel that reads each row of the plane once, and adds it to all rows of the result
// that it is under: as many as the filter has, whose sums take turns in the registers. Registers: R9
// walks through the rows of the plane, R10 apart, and R11 through those of the result, R12 apart;
// R13 counts rows of the plane, R15 those of the result, and R8 the rows before the first result.
func (d depth) rolling() {
	d.function(fmt.Sprintf("depth%dx%dAVX512", d.kernel, d.stride),
		fmt.Sprintf("moves a filter of %d x %d in steps of %d.", d.kernel, d.kernel, d.stride), "d *depth")
	d.op("MOVQ", "d+0(FP)", "DI")
	d.op("MOVQ", at("depth_weights", "DI"), "AX")
	for tap := range d.kernel * d.kernel {
		d.op("VBROADCASTSS", at(4*tap, "AX"), d.weight(tap))
	}
	d.op("MOVQ", at("depth_width", "DI"), "R10")
	d.op("SHLQ", 2, "R10")
	d.op("MOVQ", at("depth_cols", "DI"), "R12")
	d.op("SHLQ", 2, "R12")
	d.op("MOVQ", at("depth_blocks", "DI"), "CX")
	d.op("MOVQ", at("depth_masks", "DI"), "DX")
	d.op("MOVQ", at("depth_left", "DI"), "BX")
	d.op("NEGQ", "BX")
	d.op("SHLQ", 2, "BX")
	d.op("XORQ", "AX", "AX")
	block, done := d.label("block"), d.label("done")
	d.place(block)
	for j := range d.kernel + 1 {
		d.op("KMOVW", at(2*j, "DX"), fmt.Sprintf("K%d", j+1))
	}
	d.op("MOVQ", at("depth_src", "DI"), "R9")
	d.op("ADDQ", "BX", "R9")
	d.op("MOVQ", at("depth_dst", "DI"), "R11")
	d.op("ADDQ", "AX", "R11")
	d.op("MOVQ", at("depth_height", "DI"), "R13")
	d.op("MOVQ", at("depth_rows", "DI"), "R15")
	d.op("MOVQ", d.kernel-1, "R8")
	d.op("SUBQ", at("depth_top", "DI"), "R8")
	for i := range d.kernel {
		d.op("VBROADCASTSS", at("depth_start", "DI"), avx512.reg(i))
	}
	first := d.label("first")
	d.place(first)
	for turn := range d.kernel {
		d.roll(turn, done)
	}
	d.op("JMP", first)
	d.place(done)
	d.op("ADDQ", 2*(d.kernel+1), "DX")
	d.op("ADDQ", 64, "BX")
	d.op("ADDQ", 64, "AX")
	d.op("DECQ", "CX")
	d.op("JNZ", block)
	d.ret()
}

// roll adds a row of the plane and finishes the row of the result that it is the last one of.
func (d depth) roll(turn int, done string) {
	sum := func(row int) string { return avx512.reg((turn + d.kernel - 1 - row) % d.kernel) }
	beyond, next := d.label("beyond"), d.label("next")
	d.op("VBROADCASTSS", at("depth_start", "DI"), sum(0))
	d.op("DECQ", "R13")
	d.op("JLT", beyond)
	d.op("PREFETCHT0", at(depthAhead, "R9"))
	for j := range d.kernel {
		box := avx512.reg(d.kernel + j%2)
		d.op("VMOVUPS.Z", at(4*j, "R9"), fmt.Sprintf("K%d", j+1), box)
		for i := range d.kernel {
			d.op("VFMADD231PS", box, d.weight(i*d.kernel+j), sum(i))
		}
	}
	d.op("ADDQ", "R10", "R9")
	d.place(beyond)
	d.op("DECQ", "R8")
	d.op("JGE", next)
	last, bound := sum(d.kernel-1), avx512.reg(d.kernel)
	// The sum comes second, so that a NaN in it stays.
	d.op("VBROADCASTSS", at("depth_lo", "DI"), bound)
	d.op("VMAXPS", last, bound, last)
	d.op("VBROADCASTSS", at("depth_hi", "DI"), bound)
	d.op("VMINPS", last, bound, last)
	d.op("VMOVUPS", last, fmt.Sprintf("K%d", d.kernel+1), "(R11)")
	d.op("ADDQ", "R12", "R11")
	d.op("DECQ", "R15")
	d.op("JZ", done)
	d.place(next)
}
