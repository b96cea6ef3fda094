package main

import "fmt"

// depths write the convolutions of one plane by one filter whose weights stay in registers, read in
// place: what a tap has no value for is masked.
func depths(f *file) {
	for _, kernel := range []int{3, 5} {
		for _, stride := range []int{1, 2} {
			depth{f, kernel, stride}.write()
		}
	}
}

// depth is a size of filter and the step that it moves by. Registers: CX counts blocks of columns, DX
// walks through their masks, BX through the columns of the plane and AX through those of the result. R9
// walks through the rows of the plane, R10 apart, and R11 through those of the result, R12 apart; R13
// counts rows of the plane, R15 those of the result, and R8 those that would come before the first.
type depth struct {
	*file
	kernel, stride int
}

// depthAhead is from what is read of a row to what is fetched meanwhile, in bytes.
const depthAhead = 3072

func (d depth) weight(tap int) string { return avx512.reg(7 + tap) }

// lanes is how many values a block computes.
func (d depth) lanes() int { return 16 / d.stride }

// write writes a kernel that reads each row of the plane once, and adds it to all rows of the result
// that it is under, whose sums take turns in the registers.
func (d depth) write() {
	d.function(fmt.Sprintf("depth%dx%dAVX512", d.kernel, d.stride),
		fmt.Sprintf("moves a filter of %d x %d in steps of %d.", d.kernel, d.kernel, d.stride), "d *depth")
	d.op("MOVQ", "d+0(FP)", "DI")
	d.op("MOVQ", at("depth_weights", "DI"), "AX")
	for tap := range d.kernel * d.kernel {
		d.op("VBROADCASTSS", at(4*tap, "AX"), d.weight(tap))
	}
	if d.stride == 2 {
		d.op("MOVQ", at("depth_even", "DI"), "AX")
		d.op("VMOVUPS", "(AX)", d.even())
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
	d.startBlock()
	// A turn is a row of the plane or of the padding above it, from the first one of the padding.
	turns := make([]string, d.stride*d.sums())
	for i := range turns {
		turns[i] = d.label("turn")
	}
	d.op("MOVQ", at("depth_top", "DI"), "R14")
	for top := d.kernel - 1; top > 0; top-- {
		d.op("CMPQ", "R14", top)
		d.op("JEQ", turns[top%len(turns)])
	}
	for i := range turns {
		d.place(turns[i])
		d.roll(i, done)
	}
	d.op("JMP", turns[0])
	d.place(done)
	d.op("ADDQ", 2*(d.kernel+1), "DX")
	d.op("ADDQ", 64, "BX")
	d.op("ADDQ", 4*d.lanes(), "AX")
	d.op("DECQ", "CX")
	d.op("JNZ", block)
	d.ret()
}

// sums is how many rows of the result a row of the plane may be under, and registers from 0 on.
func (d depth) sums() int { return (d.kernel + d.stride - 1) / d.stride }

// even is the register of even places, where values are picked.
func (d depth) even() string { return avx512.reg(d.sums() + 2) }

func (d depth) startBlock() {
	for j := range d.kernel + 1 {
		d.op("KMOVW", at(2*j, "DX"), fmt.Sprintf("K%d", j+1))
	}
	d.op("MOVQ", at("depth_src", "DI"), "R9")
	d.op("ADDQ", "BX", "R9")
	d.op("MOVQ", at("depth_dst", "DI"), "R11")
	d.op("ADDQ", "AX", "R11")
	d.op("MOVQ", at("depth_height", "DI"), "R13")
	d.op("MOVQ", at("depth_rows", "DI"), "R15")
	// Rows that end before a whole filter does: one for every step from the first turn on.
	d.op("MOVQ", at("depth_top", "DI"), "R14")
	d.op("MOVQ", d.kernel-1, "R8")
	d.op("SUBQ", "R14", "R8")
	if d.stride == 2 {
		d.op("SHRQ", 1, "R8")
	}
	for i := range d.sums() {
		d.op("VBROADCASTSS", at("depth_start", "DI"), avx512.reg(i))
	}
}

// roll adds a row of the plane and finishes the row of the result that it is the last one of.
func (d depth) roll(turn int, done string) {
	n := d.sums()
	// The sum of the row whose filter has its i-th row here.
	sum := func(i int) string { return avx512.reg(((turn - i + d.stride*2*n) / d.stride) % n) }
	first := turn % d.stride // of the rows of filters that may be here
	beyond, next := d.label("beyond"), d.label("next")
	if first == 0 {
		d.op("VBROADCASTSS", at("depth_start", "DI"), sum(0))
	}
	d.op("DECQ", "R13")
	d.op("JLT", beyond)
	d.op("PREFETCHT0", at(depthAhead, "R9"))
	for j := range d.kernel {
		box := avx512.reg(n + j%2)
		d.op("VMOVUPS.Z", at(4*j, "R9"), fmt.Sprintf("K%d", j+1), box)
		if d.stride == 2 {
			d.op("VPERMPS", box, d.even(), box)
		}
		for i := first; i < d.kernel; i += d.stride {
			d.op("VFMADD231PS", box, d.weight(i*d.kernel+j), sum(i))
		}
	}
	d.op("ADDQ", "R10", "R9")
	d.place(beyond)
	if (d.kernel-1-first)%d.stride != 0 {
		return
	}
	d.op("DECQ", "R8")
	d.op("JGE", next)
	last, bound := sum(d.kernel-1), avx512.reg(n)
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
