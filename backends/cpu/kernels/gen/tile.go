package main

import "fmt"

// General registers of a tile kernel. Rows of A are reached from a base for every three rows.
const (
	regTile   = "DI"
	regB      = "DX"
	regOffset = "BX"
	regCount  = "CX"
	regTemp   = "AX"
	regBRow   = "R15" // the current row of B
	regARow   = "R12"
	regAStep  = "R13"
	regRow    = "SI" // walks over rows of C
	regStride = "R8"
	regPair   = "R9" // the distance of paired panels, reloaded after the product
)

var aBases = []string{"SI", "R8", "R9", "R10", "R11"}

// panelRegs hold the distance of panels and three times it. Tiles of more than two panels have at
// most four rows and so leave the last bases free.
const (
	regPanel  = "R14"
	regPanel3 = "R11"
)

// product is a way to multiply units. Units of a may be taken apart: then the parts, which stand
// one after the other in A, are multiplied one after the other.
type product struct {
	precision string // as in the names of kernels
	isa       isa
	level     string // that the kernels are for
	parts     int
	load      func(k tileKernel, part int, from, reg string) // a vector of units of B
	add       func(k tileKernel, b, a, acc string)           // the product to a sum; nil for stepHalves
}

var products = []product{
	{"", avx2, "AVX2", 1, loadUnits, multiplyAdd},
	{"", avx512, "AVX512", 1, loadUnits, multiplyAdd},
	{"BF16", avx2, "AVX2", 2, widen, multiplyAdd},
	{"BF16", avx512, "AVX512", 2, widen, multiplyAdd},
	{"Int8", avx2, "AVX2", 2, halves, nil},
	{"Int8", avx512, "AVX512", 2, halves, nil},
	{"Int8", avx512, "AVX512VNNI", 1, loadUnits, func(k tileKernel, b, a, acc string) { k.op("VPDPBUSD", a, b, acc) }},
	{"BF16", avx512, "AVX512BF16", 1, loadUnits, func(k tileKernel, b, a, acc string) { k.evex(vdpbf16ps, b, a, acc) }},
}

func loadUnits(k tileKernel, _ int, from, reg string) { k.op("VMOVUPS", from, reg) }

func multiplyAdd(k tileKernel, b, a, acc string) { k.op("VFMADD231PS", b, a, acc) }

// widen makes one half of pairs of bfloat16 float32.
func widen(k tileKernel, part int, from, reg string) {
	v := vector{k.file, k.isa}
	switch {
	case part == 1:
		k.op("VMOVUPS", from, reg)
		v.do("VANDPS", v.bits(upperHalf), reg, reg)
	case k.isa == avx512:
		k.op("VPSLLD", 16, from, reg)
	default:
		k.op("VMOVUPS", from, reg)
		k.op("VPSLLD", 16, reg, reg)
	}
}

// upperHalf is the bits of a bfloat16 in a float32.
const upperHalf = 0xffff0000

// tileKernel is one size of tile.
type tileKernel struct {
	*file
	product
	rows, panels int
}

// tiles describes the kernels of a precision.
func tiles(precision string) func(f *file) {
	return func(f *file) {
		f.maskTable("tileMask")
		for _, p := range products {
			if p.precision != precision {
				continue
			}
			sizes := tileSizes(p.isa)
			for _, size := range sizes {
				tileKernel{f, p, size[0], size[1]}.write()
			}
			p.tileSwitch(f, sizes)
		}
	}
}

// tileSizes returns the rows and panels of the tiles that fit into an instruction set's registers.
func tileSizes(i isa) [][2]int {
	if i == avx512 {
		sizes := [][2]int{{1, 4}, {2, 4}, {3, 4}, {4, 4}}
		for rows := range 14 {
			sizes = append(sizes, [2]int{rows + 1, 1}, [2]int{rows + 1, 2})
		}
		return sizes
	}
	sizes := [][2]int{{1, 4}, {1, 2}, {2, 2}, {3, 2}}
	for rows := range 6 {
		sizes = append(sizes, [2]int{rows + 1, 1})
	}
	return sizes
}

// tileSwitch writes the Go function that finds the kernel for a tile.
func (p product) tileSwitch(f *file, sizes [][2]int) {
	fmt.Fprintf(&f.stubs, "\n// %s computes a tile of one of the sizes that there are.\nfunc %[1]s(t *tile) {\n", p.name())
	f.stubs.WriteString("\tswitch [2]int{t.rows, panels(t.cols)} {\n")
	for _, size := range sizes {
		k := tileKernel{f, p, size[0], size[1]}
		fmt.Fprintf(&f.stubs, "\tcase [2]int{%d, %d}:\n\t\t%s(t)\n", size[0], size[1], k.name())
	}
	f.stubs.WriteString("\tdefault:\n\t\tpanic(\"kernels: no tile of this size\")\n\t}\n}\n")
}

func (p product) name() string { return "tile" + p.precision + p.level }

func (k tileKernel) name() string {
	return fmt.Sprintf("%s_%dx%d", k.product.name(), k.rows, 16*k.panels)
}

// vectors is how many vectors make a row of the tile.
func (k tileKernel) vectors() int { return k.panels * 16 / k.isa.width }

// acc is the register of a row's v-th vector.
func (k tileKernel) acc(row, v int) string { return k.isa.reg(row*k.vectors() + v) }

// free is the n-th register that holds no sum.
func (k tileKernel) free(n int) string { return k.isa.reg(k.rows*k.vectors() + n) }

func (k tileKernel) write() {
	k.function(k.name(), fmt.Sprintf("computes a tile of %d rows and %d panels.", k.rows, k.panels), "t *tile")
	next, last := k.label("next"), k.label("last")
	k.op("MOVQ", "t+0(FP)", regTile)
	k.place(next)
	k.loadMasks()
	k.expect()
	k.start()
	k.multiply()
	k.finish()
	k.store()
	k.op("DECQ", at("tile_times", regTile))
	k.op("JLE", last)
	k.op("ADDQ", 64*k.panels, at("tile_passed", regTile))
	k.op("MOVQ", at("tile_panel", regTile), "AX")
	k.op("IMULQ", 4*k.panels, "AX")
	k.op("ADDQ", "AX", at("tile_passedB", regTile))
	k.op("JMP", next)
	k.place(last)
	k.ret()
}

// pass moves the start of something that has a value per column to the tile that is computed.
func (k tileKernel) pass(reg string) { k.op("ADDQ", at("tile_passed", regTile), reg) }

// loadMasks prepares the mask of the last panel, the only one that may be short.
func (k tileKernel) loadMasks() {
	k.op("MOVQ", at("tile_cols", regTile), "CX")
	k.op("SUBQ", 16*(k.panels-1), "CX")
	if k.isa == avx512 {
		k.op("MOVL", 1, "AX")
		k.op("SHLL", "CX", "AX")
		k.op("DECL", "AX")
		k.op("KMOVW", "AX", "K1")
		k.loadPair()
		return
	}
	k.op("LEAQ", "tileMask<>+64(SB)", "AX")
	k.op("SHLQ", 2, "CX")
	k.op("SUBQ", "CX", "AX")
	k.op("VMOVUPS", "(AX)", k.mask(0))
	k.op("VMOVUPS", "32(AX)", k.mask(1))
}

// paired reports whether the kernel knows paired panels.
func (k tileKernel) paired() bool { return k.isa == avx512 && k.panels == 2 }

// loadPair prepares what paired panels need: the mask of the first one in K2 and the distance of
// the second one.
func (k tileKernel) loadPair() {
	if !k.paired() {
		return
	}
	side := k.label("side")
	k.op("KXNORW", "K2", "K2", "K2")
	k.op("MOVQ", 64, regPair)
	k.op("TESTQ", "$const_tilePaired", at("tile_flags", regTile))
	k.op("JZ", side)
	k.op("KMOVW", "K1", "K2")
	k.op("MOVQ", at("tile_pair", regTile), regPair)
	k.op("SHLQ", 2, regPair)
	k.place(side)
}

// mask is the register of a half panel's mask in AVX2. The product overwrites it.
func (k tileKernel) mask(half int) string { return k.isa.reg(12 + half) }

// tail reports whether a vector stands in the last panel.
func (k tileKernel) tail(v int) bool { return v*k.isa.width >= 16*(k.panels-1) }

// read reads the v-th vector from an operand as far as the columns reach, zeros beyond.
func (k tileKernel) read(from string, v int, reg string) {
	switch {
	case k.paired() && v == 0:
		k.op("VMOVUPS.Z", from, "K2", reg)
	case !k.tail(v):
		k.op("VMOVUPS", from, reg)
	case k.isa == avx512:
		k.op("VMOVUPS.Z", from, "K1", reg)
	default:
		k.op("VMASKMOVPS", from, k.mask(v-(k.vectors()-2)), reg)
	}
}

// inRow is the operand of the v-th vector of the row that walk stands at.
func (k tileKernel) inRow(v int) string {
	if k.paired() && v == 1 {
		return indexed(0, regRow, regPair, 1)
	}
	return k.inPanels(regRow, v)
}

// inPanels is the operand of the v-th vector where panels stand side by side.
func (k tileKernel) inPanels(base string, v int) string { return at(v*k.isa.width*4, base) }

// walk does something for each row of a matrix.
func (k tileKernel) walk(data, stride string, do func(row int)) {
	k.op("MOVQ", at(data, regTile), regRow)
	k.pass(regRow)
	k.op("MOVQ", at(stride, regTile), regStride)
	for row := range k.rows {
		do(row)
		if row < k.rows-1 {
			k.op("LEAQ", indexed(0, regRow, regStride, 4), regRow)
		}
	}
}

func (k tileKernel) eachVector(do func(v int)) {
	for v := range k.vectors() {
		do(v)
	}
}

// when writes what is skipped where the flag is not set.
func (k tileKernel) when(flag string, then func()) {
	skip := k.label("skip")
	k.op("TESTQ", flag, at("tile_flags", regTile))
	k.op("JZ", skip)
	then()
	k.place(skip)
}

// start sets the sums to zero or to what C holds.
func (k tileKernel) start() {
	fresh, started := k.label("fresh"), k.label("started")
	k.op("TESTQ", "$const_tileAdd", at("tile_flags", regTile))
	k.op("JZ", fresh)
	k.walk("tile_c", "tile_cRow", func(row int) {
		k.eachVector(func(v int) { k.read(k.inRow(v), v, k.acc(row, v)) })
	})
	k.op("JMP", started)
	k.place(fresh)
	if k.precision == "Int8" {
		k.startTerms(started)
	}
	for row := range k.rows {
		k.eachVector(func(v int) { k.isa.zero(k.file, k.acc(row, v)) })
	}
	k.place(started)
}

// expect fetches the lines of C that are going to be written. Walking through its rows takes SI.
func (k tileKernel) expect() {
	if k.isa != avx512 || k.precision != "" || k.panels > 2 {
		return
	}
	k.when("$const_tileExpect", func() {
		k.walk("tile_c", "tile_cRow", func(int) {
			fmt.Fprintf(&k.asm, "\tBYTE $0x0f; BYTE $0x0d; BYTE $0x0e // PREFETCHW (SI)\n")
			if k.panels > 1 {
				fmt.Fprintf(&k.asm, "\tBYTE $0x0f; BYTE $0x0d; BYTE $0x4e; BYTE $0x40 // PREFETCHW 64(SI)\n")
			}
		})
	})
}

func (k tileKernel) multiply() {
	bases := aBases[:(k.rows+2)/3]
	loop, done := k.label("loop"), k.label("done")
	k.op("MOVQ", at("tile_offsets+8", regTile), regCount)
	k.op("TESTQ", regCount, regCount)
	k.op("JZ", done)
	k.op("MOVQ", at("tile_offsets", regTile), regOffset)
	k.op("MOVQ", at("tile_b", regTile), regB)
	k.op("ADDQ", at("tile_passedB", regTile), regB)
	k.op("MOVQ", at("tile_aRow", regTile), regARow)
	k.op("SHLQ", 2, regARow)
	k.op("MOVQ", at("tile_aStep", regTile), regAStep)
	k.op("SHLQ", 2, regAStep)
	k.op("MOVQ", at("tile_a", regTile), bases[0])
	for i := 1; i < len(bases); i++ {
		k.op("LEAQ", indexed(0, bases[i-1], regARow, 2), bases[i])
		k.op("ADDQ", regARow, bases[i])
	}
	if k.panels > 1 {
		k.op("MOVQ", at("tile_panel", regTile), regPanel)
		k.op("SHLQ", 2, regPanel)
	}
	if k.panels > 2 {
		k.op("LEAQ", indexed(0, regPanel, regPanel, 2), regPanel3)
	}
	k.place(loop)
	k.op("MOVQ", at(0, regOffset), regTemp)
	k.op("LEAQ", indexed(0, regB, regTemp, 4), regBRow)
	k.prefetch()
	k.step()
	for _, base := range bases {
		k.op("ADDQ", regAStep, base)
	}
	k.op("ADDQ", 8, regOffset)
	k.op("DECQ", regCount)
	k.op("JNZ", loop)
	k.place(done)
}

// prefetch fetches what is ahead of a row of B.
func (k tileKernel) prefetch() {
	k.op("MOVQ", regBRow, regTemp)
	k.op("ADDQ", at("tile_ahead", regTile), regTemp)
	for panel := range k.panels {
		k.op("PREFETCHT0", inPanel(panel, 0, regTemp))
	}
}

// inPanel is an operand in one of the panels that start at base.
func inPanel(panel, offset int, base string) string {
	switch panel {
	case 0:
		return at(offset, base)
	case 3:
		return indexed(offset, base, regPanel3, 1)
	}
	return indexed(offset, base, regPanel, panel)
}

// step multiplies one column of units of A with one row of B.
func (k tileKernel) step() {
	for part := range k.parts {
		k.stepPart(part)
	}
}

func (k tileKernel) stepPart(part int) {
	if k.add == nil {
		k.stepHalves(part)
		return
	}
	switch {
	case k.rows == 1:
		k.broadcast(0, part, k.free(0))
		k.eachVector(func(v int) {
			if k.precision == "" {
				k.add(k, k.bVector(v), k.free(0), k.acc(0, v))
				return
			}
			b := k.free(1 + v%4)
			k.load(k, part, k.bVector(v), b)
			k.add(k, b, k.free(0), k.acc(0, v))
		})
	case k.vectors() <= 2:
		k.eachVector(func(v int) { k.load(k, part, k.bVector(v), k.free(v)) })
		for row := range k.rows {
			a := k.free(2 + row%2)
			k.broadcast(row, part, a)
			k.eachVector(func(v int) { k.add(k, k.free(v), a, k.acc(row, v)) })
		}
	default:
		for row := range k.rows {
			k.broadcast(row, part, k.free(row))
		}
		k.eachVector(func(v int) {
			k.load(k, part, k.bVector(v), k.free(k.rows))
			for row := range k.rows {
				k.add(k, k.free(k.rows), k.free(row), k.acc(row, v))
			}
		})
	}
}

func (k tileKernel) broadcast(row, part int, reg string) {
	from := at(4*part, aBases[row/3])
	if row%3 > 0 {
		from = indexed(4*part, aBases[row/3], regARow, row%3)
	}
	k.op("VBROADCASTSS", from, reg)
}

// bVector is the operand of the v-th vector of the current row of B.
func (k tileKernel) bVector(v int) string {
	perPanel := 16 / k.isa.width
	return inPanel(v/perPanel, v%perPanel*k.isa.width*4, regBRow)
}

// finish adds and applies what comes after the product.
func (k tileKernel) finish() {
	if k.isa == avx2 {
		k.loadMasks()
	}
	k.loadPair()
	k.when("$const_tileFinish", func() {
		if k.precision == "Int8" {
			k.scaleSums()
		} else {
			k.when("$const_tileScale", func() {
				k.op("VBROADCASTSS", at("tile_alpha", regTile), k.temp(0))
				k.eachSum(func(_ int, acc string) { k.op("VMULPS", k.temp(0), acc, acc) })
			})
		}
		k.ifGiven("tile_bias", func() {
			k.pass("AX")
			k.eachVector(func(v int) {
				k.read(k.inPanels("AX", v), v, k.temp(v%2))
				for row := range k.rows {
					k.op("VADDPS", k.temp(v%2), k.acc(row, v), k.acc(row, v))
				}
			})
		})
		k.ifGiven("tile_rowBias", func() {
			for row := range k.rows {
				k.op("VBROADCASTSS", at(4*row, "AX"), k.temp(row%2))
				k.eachVector(func(v int) { k.op("VADDPS", k.temp(row%2), k.acc(row, v), k.acc(row, v)) })
			}
		})
		k.ifGiven("tile_residual", func() {
			k.walk("tile_residual", "tile_residualRow", func(row int) {
				k.eachVector(func(v int) {
					k.read(k.inRow(v), v, k.temp(v%2))
					k.op("VADDPS", k.temp(v%2), k.acc(row, v), k.acc(row, v))
				})
			})
		})
		k.when("$const_tileClamp", func() {
			k.op("VBROADCASTSS", at("tile_lo", regTile), k.temp(0))
			k.op("VBROADCASTSS", at("tile_hi", regTile), k.temp(1))
			// The sum comes second, so that a NaN in it stays.
			k.eachSum(func(_ int, acc string) { k.op("VMAXPS", acc, k.temp(0), acc) })
			k.eachSum(func(_ int, acc string) { k.op("VMINPS", acc, k.temp(1), acc) })
		})
	})
}

// temp is a register that is free after the product: AVX2 keeps masks below it.
func (k tileKernel) temp(n int) string {
	if k.isa == avx2 {
		return k.isa.reg(14 + n)
	}
	return k.isa.reg(30 + n)
}

func (k tileKernel) eachSum(do func(row int, acc string)) {
	for row := range k.rows {
		k.eachVector(func(v int) { do(row, k.acc(row, v)) })
	}
}

// ifGiven writes what is done where the slice is not nil, its start in AX.
func (k tileKernel) ifGiven(slice string, then func()) {
	skip := k.label("skip")
	k.op("MOVQ", at(slice, regTile), "AX")
	k.op("TESTQ", "AX", "AX")
	k.op("JZ", skip)
	then()
	k.place(skip)
}

func (k tileKernel) store() {
	if k.isa == avx512 {
		k.storeRows("K1")
		return
	}
	short, stored := k.label("short"), k.label("stored")
	k.op("CMPQ", at("tile_cols", regTile), 16*k.panels)
	k.op("JLT", short)
	k.storeRows("")
	k.op("JMP", stored)
	k.place(short)
	k.storeRows("mask")
	k.place(stored)
}

func (k tileKernel) storeRows(mask string) {
	k.walk("tile_c", "tile_cRow", func(row int) {
		k.eachVector(func(v int) {
			to := k.inRow(v)
			switch {
			case k.paired() && v == 0:
				k.op("VMOVUPS", k.acc(row, v), "K2", to)
			case mask == "" || !k.tail(v):
				k.op("VMOVUPS", k.acc(row, v), to)
			case k.isa == avx512:
				k.op("VMOVUPS", k.acc(row, v), "K1", to)
			default:
				k.op("VMASKMOVPS", k.acc(row, v), k.mask(v-(k.vectors()-2)), to)
			}
		})
	})
}
