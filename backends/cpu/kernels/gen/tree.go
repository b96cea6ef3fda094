package main

import "fmt"

// trees write what decision trees are made of. A block of codes has 64 bytes of masks to a branch
// and 512 bytes to a column.
func trees(f *file) {
	f.byteTables()
	for _, i := range []isa{avx2, avx512} {
		v := vector{f, i}
		v.branches()
		v.exits()
		v.addAt()
		v.narrow()
	}
	v := vector{f, avx512}
	v.ranks()
	v.rowExits("rowExits", "compares one row with the branches of eight trees at a time.", false)
	v.rowExits("rowExitsMissing", "is rowExits for a row with NaN.", true)
}

// byteTables write which byte of four, and which bit of it, belongs to a row of 32.
func (f *file) byteTables() {
	f.asm.WriteString("\n")
	for i := range 4 {
		fmt.Fprintf(&f.asm, "DATA treeByte<>+%d(SB)/8, $0x%016x\n", 8*i, uint64(i)*0x0101010101010101)
		fmt.Fprintf(&f.asm, "DATA treeBit<>+%d(SB)/8, $0x8040201008040201\n", 8*i)
	}
	f.asm.WriteString("GLOBL treeByte<>(SB), RODATA|NOPTR, $32\nGLOBL treeBit<>(SB), RODATA|NOPTR, $32\n")
	for i := range 16 {
		fmt.Fprintf(&f.asm, "DATA treeLane<>+%d(SB)/4, $%d\n", 4*i, i)
	}
	f.asm.WriteString("GLOBL treeLane<>(SB), RODATA|NOPTR, $64\n")
}

// wholeBlock is how many masks of 64 rows a whole block has.
const wholeBlock = 8

// branches writes a mask of rows for each branch.
func (v vector) branches() {
	v.function("branches"+v.isa.name, "sets masks[branch.Slot] to the rows of vectors*64 whose code in branch.Column is above branch.Limit.",
		"masks *Masks", "list *Branch", "n int", "codes *int8", "vectors int")
	v.op("MOVQ", "masks+0(FP)", "DI")
	v.op("MOVQ", "list+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.op("MOVQ", "codes+24(FP)", "DX")
	v.op("MOVQ", "vectors+32(FP)", "R8")
	done := v.label("compared")
	v.op("TESTQ", "CX", "CX")
	v.op("JLE", done)
	part := v.label("part")
	v.op("CMPQ", "R8", wholeBlock)
	v.op("JNE", part)
	v.eachBranch(func() {
		for i := range wholeBlock {
			v.compare64("R10", "R11", 64*i, 8*i)
		}
	})
	v.op("JMP", done)
	v.place(part)
	v.eachBranch(func() {
		next := v.label("vector")
		v.op("MOVQ", "R8", "R9")
		v.place(next)
		v.compare64("R10", "R11", 0, 0)
		v.op("ADDQ", 64, "R10")
		v.op("ADDQ", 8, "R11")
		v.op("DECQ", "R9")
		v.op("JNZ", next)
	})
	v.place(done)
	v.ret()
}

// eachBranch writes body for CX branches at SI, with R10 at the column, R11 at the masks and the
// limit in all bytes of register 0.
func (v vector) eachBranch(body func()) {
	loop := v.label("branch")
	v.place(loop)
	v.op("MOVWLZX", at("Branch_Column", "SI"), "R10")
	v.op("SHLQ", 9, "R10")
	v.op("ADDQ", "DX", "R10")
	v.op("MOVBLZX", at("Branch_Slot", "SI"), "R11")
	v.op("SHLQ", 6, "R11")
	v.op("ADDQ", "DI", "R11")
	v.op("VPBROADCASTB", at("Branch_Limit", "SI"), v.r(0))
	body()
	v.op("ADDQ", "$Branch__size", "SI")
	v.op("DECQ", "CX")
	v.op("JNZ", loop)
}

// compare64 writes 64 bits that say which codes are above register 0.
func (v vector) compare64(codes, masks string, from, to int) {
	if v.isa == avx512 {
		v.op("VPCMPB", 1, at(from, codes), v.r(0), "K1")
		v.op("KMOVQ", "K1", at(to, masks))
		return
	}
	for i := range 2 {
		v.op("VMOVDQU", at(from+32*i, codes), v.r(1+i))
		v.op("VPCMPGTB", v.r(0), v.r(1+i), v.r(1+i))
		v.op("VPMOVMSKB", v.r(1+i), "AX")
		v.op("MOVL", "AX", at(to+4*i, masks))
	}
}

// maxDepth is how many levels of branches have room in masks.
const maxDepth = 8

// exits follows the masks down a tree. The bit of a level, which says where each row goes there, is
// chosen from the masks of its branches by the bits of the levels above.
func (v vector) exits() {
	v.function("exits"+v.isa.name, "writes the exit of each of 512 rows from a tree of that depth. It overwrites masks.",
		"exits *Exits", "masks *Masks", "depth int")
	v.op("MOVQ", "exits+0(FP)", "DI")
	v.op("MOVQ", "masks+8(FP)", "SI")
	v.op("MOVQ", "depth+16(FP)", "CX")
	if v.isa == avx512 {
		v.levels("SI")
		v.spread512()
	} else {
		half := v.label("half")
		v.op("MOVQ", "SI", "R8")
		v.op("MOVQ", 2, "R9")
		v.place(half)
		v.levels("R8")
		v.op("ADDQ", 32, "R8")
		v.op("DECQ", "R9")
		v.op("JNZ", half)
		v.spread256()
	}
	v.ret()
}

// selector returns the register of a level's bits.
func (v vector) selector(level int) string { return v.r(8 + level) }

// levels leaves the bits of level d in the masks of slot 2^d, for every level up to the depth in CX.
func (v vector) levels(masks string) {
	done := v.label("levels")
	v.op("VMOVUPS", at(64, masks), v.selector(0))
	for level := 1; level < maxDepth; level++ {
		v.op("CMPQ", "CX", level)
		v.op("JLE", done)
		v.choice(masks, level, 0, 0, 0)
		v.op("VMOVUPS", v.r(0), at(64<<level, masks))
		if level < maxDepth-1 {
			v.op("VMOVUPS", v.r(0), v.selector(level))
		}
	}
	v.place(done)
}

// choice sets a register to the bits of those branches of a level that lie under branch i of level
// top, chosen by the levels from top on.
func (v vector) choice(masks string, level, top, i, reg int) {
	if top == level {
		v.op("VMOVUPS", at(64*(1<<level+i), masks), v.r(reg))
		return
	}
	v.choice(masks, level, top+1, 2*i, reg)
	other, changed := v.r(reg+1), v.r(reg+1)
	if top+1 == level {
		other, changed = at(64*(1<<level+2*i+1), masks), v.r(15)
	} else {
		v.choice(masks, level, top+1, 2*i+1, reg+1)
	}
	if v.isa == avx512 {
		v.op("VPTERNLOGQ", 0xb8, other, v.selector(top), v.r(reg))
		return
	}
	v.op("VPXOR", other, v.r(reg), changed)
	v.op("VPAND", v.selector(top), changed, changed)
	v.op("VPXOR", changed, v.r(reg), v.r(reg))
}

// spread512 makes bytes of the bits of all levels, that of the root first.
func (v vector) spread512() {
	for i := range wholeBlock {
		v.zeroReg(v.r(i))
	}
	v.op("VPTERNLOGD", 0xff, v.r(8), v.r(8), v.r(8))
	loop := v.label("level")
	v.op("ADDQ", 64, "SI")
	v.op("MOVQ", 64, "BX")
	v.place(loop)
	for i := range wholeBlock {
		v.op("KMOVQ", at(8*i, "SI"), "K1")
		v.op("VPADDB", v.r(i), v.r(i), v.r(i))
		v.op("VPSUBB", v.r(8), v.r(i), "K1", v.r(i))
	}
	v.op("ADDQ", "BX", "SI")
	v.op("ADDQ", "BX", "BX")
	v.op("DECQ", "CX")
	v.op("JNZ", loop)
	for i := range wholeBlock {
		v.op("VMOVDQU64", v.r(i), at(64*i, "DI"))
	}
}

// spread256 is spread512 for 32 rows at a time.
func (v vector) spread256() {
	rows, level := v.label("rows"), v.label("level")
	v.op("VMOVDQU", "treeByte<>(SB)", v.r(8))
	v.op("VMOVDQU", "treeBit<>(SB)", v.r(9))
	v.op("ADDQ", 64, "SI")
	v.op("MOVQ", 2*wholeBlock, "DX")
	v.place(rows)
	v.zeroReg(v.r(0))
	v.op("MOVQ", "SI", "R8")
	v.op("MOVQ", 64, "BX")
	v.op("MOVQ", "CX", "R9")
	v.place(level)
	v.op("VPBROADCASTD", at(0, "R8"), v.r(1))
	v.op("VPSHUFB", v.r(8), v.r(1), v.r(1))
	v.op("VPAND", v.r(9), v.r(1), v.r(1))
	v.op("VPCMPEQB", v.r(9), v.r(1), v.r(1))
	v.op("VPADDB", v.r(0), v.r(0), v.r(0))
	v.op("VPSUBB", v.r(1), v.r(0), v.r(0))
	v.op("ADDQ", "BX", "R8")
	v.op("ADDQ", "BX", "BX")
	v.op("DECQ", "R9")
	v.op("JNZ", level)
	v.op("VMOVDQU", v.r(0), at(0, "DI"))
	v.op("ADDQ", 32, "DI")
	v.op("ADDQ", 4, "SI")
	v.op("DECQ", "DX")
	v.op("JNZ", rows)
}

// addAt adds what a table holds for each row. With AVX-512 a table of 64 lies in four registers.
func (v vector) addAt() {
	names := []string{"addAt256"}
	if v.isa == avx512 {
		names = append(names, "addAt64")
	}
	for _, name := range names {
		small := name == "addAt64"
		v.function(name+v.isa.name, "adds table[exits[i]] to sums[i] for n values, a multiple of 16.",
			"sums *float32", "table *float32", "exits *Exits", "n int")
		v.op("MOVQ", "sums+0(FP)", "DI")
		v.op("MOVQ", "table+8(FP)", "SI")
		v.op("MOVQ", "exits+16(FP)", "DX")
		v.op("MOVQ", "n+24(FP)", "CX")
		if small {
			for i := range 4 {
				v.op("VMOVUPS", at(64*i, "SI"), v.r(8+i))
			}
			v.op("VPBROADCASTD", v.bits(32), v.r(12))
		}
		loop, done := v.label("rows"), v.label("added")
		v.op("SUBQ", v.isa.width, "CX")
		v.op("JLT", done)
		v.place(loop)
		v.op("VPMOVZXBD", at(0, "DX"), v.r(0))
		if small {
			v.op("VPTESTMD", v.r(12), v.r(0), "K1")
			v.op("VMOVDQA64", v.r(0), v.r(1))
			v.op("VPERMI2PS", v.r(9), v.r(8), v.r(0))
			v.op("VPERMI2PS", v.r(11), v.r(10), v.r(1))
			v.op("VBLENDMPS", v.r(1), v.r(0), "K1", v.r(1))
		} else {
			v.gather("SI", v.r(0), v.r(1))
		}
		v.op("VADDPS", at(0, "DI"), v.r(1), v.r(1))
		v.op("VMOVUPS", v.r(1), at(0, "DI"))
		v.op("ADDQ", v.isa.width, "DX")
		v.op("ADDQ", 4*v.isa.width, "DI")
		v.op("SUBQ", v.isa.width, "CX")
		v.op("JGE", loop)
		v.place(done)
		v.ret()
	}
}

// gather sets all of dst to the values at the indices. It uses K1 or register 15.
func (v vector) gather(base, indices, dst string) {
	v.zeroReg(dst)
	from := fmt.Sprintf("(%s)(%s*4)", base, indices)
	if v.isa == avx512 {
		v.op("KXNORW", "K1", "K1", "K1")
		v.op("VGATHERDPS", from, "K1", dst)
		return
	}
	v.op("VPCMPEQD", v.r(15), v.r(15), v.r(15))
	v.op("VGATHERDPS", v.r(15), from, dst)
}

// narrow makes codes of ranks.
func (v vector) narrow() {
	v.function("narrow"+v.isa.name, "sets codes[i] to ranks[i]-base, or what of an int8 is nearest, for n values, a multiple of 64.",
		"codes *int8", "ranks *int32", "n int", "base int")
	v.op("MOVQ", "codes+0(FP)", "DI")
	v.op("MOVQ", "ranks+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "CX")
	v.op("VPBROADCASTD", "base+24(FP)", v.r(8))
	loop, done := v.label("codes"), v.label("narrowed")
	v.op("SUBQ", 64, "CX")
	v.op("JLT", done)
	if v.isa == avx2 {
		v.op("VMOVDQU", "treeOrder<>(SB)", v.r(9))
	}
	v.place(loop)
	for i := range 4 {
		if v.isa == avx512 {
			v.op("VMOVDQU64", at(64*i, "SI"), v.r(i))
			v.op("VPSUBD", v.r(8), v.r(i), v.r(i))
			v.op("VPMOVSDB", v.r(i), at(16*i, "DI"))
			continue
		}
		if i >= 2 {
			continue
		}
		for k := range 4 {
			v.op("VMOVDQU", at(128*i+32*k, "SI"), v.r(k))
			v.op("VPSUBD", v.r(8), v.r(k), v.r(k))
		}
		v.op("VPACKSSDW", v.r(1), v.r(0), v.r(0))
		v.op("VPACKSSDW", v.r(3), v.r(2), v.r(2))
		v.op("VPACKSSWB", v.r(2), v.r(0), v.r(0))
		v.op("VPERMD", v.r(0), v.r(9), v.r(0))
		v.op("VMOVDQU", v.r(0), at(32*i, "DI"))
	}
	v.op("ADDQ", 256, "SI")
	v.op("ADDQ", 64, "DI")
	v.op("SUBQ", 64, "CX")
	v.op("JGE", loop)
	v.place(done)
	v.ret()
	if v.isa == avx2 {
		// Packing works within halves of a register: this puts the pieces in order.
		for i, lane := range []int{0, 4, 1, 5, 2, 6, 3, 7} {
			fmt.Fprintf(&v.asm, "DATA treeOrder<>+%d(SB)/4, $%d\n", 4*i, lane)
		}
		v.asm.WriteString("GLOBL treeOrder<>(SB), RODATA|NOPTR, $32\n")
	}
}

// ranks searches 16 values at a time: the first four steps among fifteen limits in a register,
// the others by gathers.
func (v vector) ranks() {
	v.function("ranks"+v.isa.name, "sets ranks[i] to how many of the 2^steps-1 limits, steps at least 4, are below x[i*stride], or to missing for NaN.",
		"ranks *int32", "x *float32", "n int", "stride int", "limits *float32", "steps int", "missing int")
	v.op("MOVQ", "ranks+0(FP)", "DI")
	v.op("MOVQ", "x+8(FP)", "SI")
	v.op("MOVQ", "n+16(FP)", "DX")
	v.op("MOVQ", "limits+32(FP)", "R8")
	v.op("MOVQ", "steps+40(FP)", "CX")
	v.op("SUBQ", 4, "CX")
	v.op("VPBROADCASTD", "missing+48(FP)", v.r(20))
	v.op("VMOVDQU64", "treeLane<>(SB)", v.r(21))
	v.op("VPBROADCASTD", "stride+24(FP)", v.r(22))
	v.op("VPMULLD", v.r(21), v.r(22), v.r(22))
	v.op("MOVQ", "stride+24(FP)", "R9")
	v.op("SHLQ", 6, "R9")
	// Register 23 gets the limits that the first four steps ask for: (j+1)<<CX - 1.
	v.op("VPBROADCASTD", v.bits(1), v.r(24))
	v.op("VPADDD", v.r(24), v.r(21), v.r(0))
	v.op("MOVQ", "CX", "X1")
	v.op("VPSLLD", "X1", v.r(0), v.r(0))
	v.op("VPSUBD", v.r(24), v.r(0), v.r(0))
	v.op("MOVL", 0x7fff, "AX")
	v.op("KMOVW", "AX", "K1")
	v.zeroReg(v.r(23))
	v.op("VGATHERDPS", "(R8)(Z0*4)", "K1", v.r(23))
	for i, n := range []uint32{8, 4, 2, 1} {
		v.op("VPBROADCASTD", v.bits(n), v.r(25+i))
		v.op("VPBROADCASTD", v.bits(n-1), v.r(16+i))
	}
	loop, rest, step, searched, done := v.label("values"), v.label("rest"), v.label("step"), v.label("searched"), v.label("ranked")
	v.place(loop)
	v.op("TESTQ", "DX", "DX")
	v.op("JLE", done)
	v.op("MOVL", 0xffff, "AX")
	v.op("CMPQ", "DX", 16)
	v.op("JGE", rest)
	v.op("BZHIL", "DX", "AX", "AX")
	v.place(rest)
	v.op("KMOVW", "AX", "K3")
	v.op("KMOVW", "K3", "K1")
	v.zeroReg(v.r(0))
	v.op("VGATHERDPS", "(SI)(Z22*4)", "K1", v.r(0))
	v.zeroReg(v.r(1))
	for i := range 4 {
		v.op("VPADDD", v.r(16+i), v.r(1), v.r(2))
		v.op("VPERMPS", v.r(23), v.r(2), v.r(2))
		v.op("VCMPPS", less, v.r(0), v.r(2), "K2")
		v.op("VPADDD", v.r(25+i), v.r(1), "K2", v.r(1))
	}
	v.op("MOVQ", "CX", "X3")
	v.op("VPSLLD", "X3", v.r(1), v.r(1))
	v.op("MOVQ", 1, "BX")
	v.op("SHLQ", "CX", "BX")
	v.place(step)
	v.op("SHRQ", 1, "BX")
	v.op("JZ", searched)
	v.op("LEAQ", "-4(R8)(BX*4)", "R10")
	v.op("KXNORW", "K1", "K1", "K1")
	v.zeroReg(v.r(2))
	v.op("VGATHERDPS", "(R10)(Z1*4)", "K1", v.r(2))
	v.op("VPBROADCASTD", "BX", v.r(4))
	v.op("VCMPPS", less, v.r(0), v.r(2), "K2")
	v.op("VPADDD", v.r(4), v.r(1), "K2", v.r(1))
	v.op("JMP", step)
	v.place(searched)
	v.op("VCMPPS", unordered, v.r(0), v.r(0), "K2")
	v.op("VMOVDQU32", v.r(20), "K2", v.r(1))
	v.op("VMOVDQU32", v.r(1), "K3", at(0, "DI"))
	v.op("ADDQ", 64, "DI")
	v.op("ADDQ", "R9", "SI")
	v.op("SUBQ", 16, "DX")
	v.op("JMP", loop)
	v.place(done)
	v.ret()
}

// rowExits sends one row of up to 64 values, which lie in four registers, down many trees: all
// branches of a tree are compared, which makes a mask, and eight masks are followed at a time.
func (v vector) rowExits(name, doc string, missing bool) {
	v.function(name+v.isa.name, doc, "exits *uint8", "row *float32", "tops *RowTrees", "masks *uint64", "from int", "groups int")
	v.op("MOVQ", "exits+0(FP)", "DI")
	v.op("MOVQ", "row+8(FP)", "SI")
	v.op("MOVQ", "tops+16(FP)", "R8")
	v.op("MOVQ", "masks+24(FP)", "DX")
	v.op("MOVQ", "from+32(FP)", "R9")
	v.op("MOVQ", "groups+40(FP)", "CX")
	for i := range 4 {
		v.op("VMOVUPS", at(64*i, "SI"), v.r(16+i))
	}
	v.op("VPBROADCASTD", v.bits(32), v.r(20))
	v.op("MOVL", 1, "AX")
	v.op("VPBROADCASTQ", "AX", v.r(21))
	v.op("MOVQ", at("RowTrees_limits", "R8"), "R10")
	v.op("MOVQ", at("RowTrees_columns", "R8"), "R11")
	v.op("MOVQ", at("RowTrees_toYes", "R8"), "R12")
	v.op("MOVQ", at("RowTrees_sixteens", "R8"), "R13")
	v.op("MOVQ", "R9", "AX")
	v.op("IMULQ", "R13", "AX")
	v.op("SHLQ", 4, "AX")
	v.op("ADDQ", "AX", "R11")
	v.op("SHLQ", 2, "AX")
	v.op("ADDQ", "AX", "R10")
	v.op("SHLQ", 3, "R9")
	v.op("ADDQ", "R9", "R12")
	group, done := v.label("group"), v.label("left")
	v.place(group)
	v.op("TESTQ", "CX", "CX")
	v.op("JLE", done)
	tree, sixteen := v.label("tree"), v.label("sixteen")
	v.op("MOVQ", 8, "BX")
	v.place(tree)
	v.op("XORL", "R9", "R9")
	v.place(sixteen)
	v.compareRow(missing)
	v.op("ADDQ", 64, "R10")
	v.op("ADDQ", 16, "R11")
	v.op("INCQ", "R9")
	v.op("CMPQ", "R9", "R13")
	v.op("JLT", sixteen)
	v.op("ADDQ", 8, "DX")
	v.op("ADDQ", 8, "R12")
	v.op("DECQ", "BX")
	v.op("JNZ", tree)
	v.op("SUBQ", 64, "DX")
	v.follow()
	v.op("DECQ", "CX")
	v.op("JMP", group)
	v.place(done)
	v.ret()
}

// compareRow writes for 16 branches whether the row's value is not at most the limit.
func (v vector) compareRow(missing bool) {
	v.op("VPMOVZXBD", at(0, "R11"), v.r(0))
	v.op("VPTESTMD", v.r(20), v.r(0), "K1")
	v.op("VMOVDQA64", v.r(0), v.r(1))
	v.op("VPERMI2PS", v.r(17), v.r(16), v.r(0))
	v.op("VPERMI2PS", v.r(19), v.r(18), v.r(1))
	v.op("VBLENDMPS", v.r(1), v.r(0), "K1", v.r(0))
	v.op("VCMPPS", notAtMost, at(0, "R10"), v.r(0), "K1")
	if missing {
		v.op("VCMPPS", unordered, v.r(0), v.r(0), "K2")
		v.op("KMOVW", "(R12)(R9*2)", "K3")
		v.op("KANDW", "K3", "K2", "K2")
		v.op("KANDNW", "K1", "K2", "K1")
	}
	v.op("KMOVW", "K1", "(DX)(R9*2)")
}

// notAtMost is true for NaN.
const notAtMost = 6

// follow writes where the masks of eight trees lead.
func (v vector) follow() {
	loop := v.label("follow")
	v.op("VMOVDQU64", at(0, "DX"), v.r(0))
	v.op("VMOVDQA64", v.r(21), v.r(1))
	v.op("MOVQ", at("RowTrees_depth", "R8"), "BX")
	v.place(loop)
	v.op("VPSRLVQ", v.r(1), v.r(0), v.r(2))
	v.op("VPANDQ", v.r(21), v.r(2), v.r(2))
	v.op("VPADDQ", v.r(1), v.r(1), v.r(1))
	v.op("VPADDQ", v.r(2), v.r(1), v.r(1))
	v.op("DECQ", "BX")
	v.op("JNZ", loop)
	v.op("VPMOVQB", v.r(1), at(0, "DI"))
	v.op("ADDQ", 8, "DI")
}
