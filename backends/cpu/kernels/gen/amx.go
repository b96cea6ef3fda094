package main

// Registers of a product of AMX tiles.
const (
	regA0          = "SI"  // the first tile of rows
	regA1          = "R11" // the second one
	regAStride     = "R8"  // the distance of rows of A
	regBStride     = "R9"  // that of rows of units in a panel: 64
	regPanelStride = "R14" // the distance of panels
	regSums        = "AX"
	regSumStride   = "R10"
	regLeft        = "R15" // panels to be done
)

// regB4 walk through panels.
var regB4 = []string{"DX", "R12", "R13", "BX"}

// tileProducts write the products of AMX and what comes after them.
func tileProducts(f *file) {
	for _, p := range []struct {
		name string
		dot  dot
	}{{"BF16", tdpbf16ps}, {"Int8", tdpbsud}} {
		f.tileProduct("product"+p.name+"AMX", p.dot)
	}
	vector{f, avx512}.finishSums()
	f.enabledStates()
}

// enabledStates writes the function that reads which registers the system saves.
func (f *file) enabledStates() {
	f.function("enabledStates", "returns the lower half of XCR0. The processor must have XSAVE.", "ret uint32")
	f.op("XORL", "CX", "CX")
	f.op("XGETBV")
	f.op("MOVL", "AX", "ret+0(FP)")
	f.op("RET")
}

// tileProduct writes a function that multiplies one or two tiles of rows with panels: four
// products of tiles at a time, which is how many it takes until the first can be added to.
func (f *file) tileProduct(name string, d dot) {
	f.function(name, "computes the sums of p. Tiles are in use from its first instruction to its last only.", "p *tileProduct")
	f.op("MOVQ", "p+0(FP)", regTile)
	f.amx(ldtilecfg(regTile))
	for _, field := range [][2]string{
		{"aRow", regAStride}, {"panel", regPanelStride}, {"sums", regSums}, {"sumsRow", regSumStride}, {"panels", regLeft}, {"b", regB4[0]},
	} {
		f.op("MOVQ", at("tileProduct_"+field[0], regTile), field[1])
	}
	f.op("MOVQ", 64, regBStride)
	low, done := f.label("low"), f.label("done")
	f.op("CMPQ", at("tileProduct_rowTiles", regTile), 1)
	f.op("JEQ", low)
	f.tileStrip(d, 2, []int{2, 1})
	f.op("JMP", done)
	f.place(low)
	f.tileStrip(d, 1, []int{4, 2, 1})
	f.place(done)
	f.amx(tilerelease())
	f.op("RET")
}

// tileStrip takes all panels, as many at a time as the widths allow.
func (f *file) tileStrip(d dot, rows int, widths []int) {
	for _, width := range widths {
		next, narrower := f.label("next"), f.label("narrower")
		f.place(next)
		f.op("CMPQ", regLeft, width)
		f.op("JLT", narrower)
		tileGroup{f, d, rows, width}.write()
		f.op("SUBQ", width, regLeft)
		f.op("JMP", next)
		f.place(narrower)
	}
}

// tileGroup is up to two tiles of rows and four panels: tiles 0 to 3 are sums. With one tile of
// rows, tile 4 is A and 5 to 7 are B, with two 4 and 5 are A and 6 and 7 are B.
type tileGroup struct {
	*file
	dot
	rows, panels int
}

func (g tileGroup) write() {
	g.op("MOVQ", at("tileProduct_a", regTile), regA0)
	for p := 1; p < g.panels; p++ {
		g.op("LEAQ", indexed(0, regB4[p-1], regPanelStride, 1), regB4[p])
	}
	g.start()
	if g.rows == 2 {
		g.secondTile(regAStride, regA0, regA1)
	}
	loop := g.label("step")
	g.op("MOVQ", at("tileProduct_steps", regTile), regCount)
	g.place(loop)
	g.step()
	g.op("ADDQ", 64, regA0)
	if g.rows == 2 {
		g.op("ADDQ", 64, regA1)
	}
	for _, b := range regB4[:g.panels] {
		g.op("ADDQ", 1024, b)
	}
	g.op("DECQ", regCount)
	g.op("JNZ", loop)
	g.eachSum(func(tile int, at rowsAt) { g.amx(tilestored(at, tile)) })
	g.op("ADDQ", 64*g.panels, regSums)
	g.op("MOVQ", at("tileProduct_steps", regTile), regCount)
	g.op("SHLQ", 10, regCount)
	last := regB4[g.panels-1]
	g.op("SUBQ", regCount, last)
	g.op("LEAQ", indexed(0, last, regPanelStride, 1), regB4[0])
}

// secondTile sets second to where 16 rows after first stand.
func (g tileGroup) secondTile(stride, first, second string) {
	g.op("MOVQ", stride, second)
	g.op("SHLQ", 4, second)
	g.op("ADDQ", first, second)
}

// eachSum does something for each tile of sums. It changes where the second tile of A stands.
func (g tileGroup) eachSum(do func(tile int, at rowsAt)) {
	if g.rows == 2 {
		g.secondTile(regSumStride, regSums, regA1)
	}
	for row, base := range []string{regSums, regA1}[:g.rows] {
		for p := range g.panels {
			do(2*row+p, rowsAt{base, regSumStride, 64 * p})
		}
	}
}

func (g tileGroup) start() {
	fresh, started := g.label("fresh"), g.label("started")
	g.op("CMPQ", at("tileProduct_add", regTile), 0)
	g.op("JEQ", fresh)
	g.eachSum(func(tile int, at rowsAt) { g.amx(tileloadd(tile, at)) })
	g.op("JMP", started)
	g.place(fresh)
	for row := range g.rows {
		for p := range g.panels {
			g.amx(tilezero(2*row + p))
		}
	}
	g.place(started)
}

// step multiplies a tile of units along K. Loads stand between products, which hide them.
func (g tileGroup) step() {
	firstB := 4 + g.rows
	b := func(p int) int { return firstB + p%(8-firstB) }
	for p, base := range regB4[:g.panels] {
		g.amx(tileloadd(b(p), rowsAt{base, regBStride, 0}))
		if p == 0 {
			g.amx(tileloadd(4, rowsAt{regA0, regAStride, 0}))
		}
		g.amx(g.of(p, 4, b(p)))
	}
	if g.rows == 1 {
		return
	}
	g.amx(tileloadd(5, rowsAt{regA1, regAStride, 0}))
	for p := range g.panels {
		g.amx(g.of(2+p, 5, b(p)))
	}
}

// finishSums writes the function that does what comes after a product.
func (v vector) finishSums() {
	const alpha, lo, hi, rowBias, sum = "Z1", "Z2", "Z3", "Z4", "Z0"
	v.function("finishSumsAVX512", "sets c to the finished sums in a.", "t *tile")
	v.op("MOVQ", "t+0(FP)", regTile)
	for _, field := range [][2]string{
		{"a", "SI"}, {"aRow", "R8"}, {"c", "DX"}, {"cRow", "R9"}, {"residual", "R10"}, {"residualRow", "R11"},
		{"bias", "R12"}, {"rowBias", "R13"}, {"rows", "BX"}, {"flags", "R14"},
	} {
		v.op("MOVQ", at("tile_"+field[0], regTile), field[1])
	}
	for _, stride := range []string{"R8", "R9", "R11"} {
		v.op("SHLQ", 2, stride)
	}
	v.op("VBROADCASTSS", at("tile_alpha", regTile), alpha)
	v.op("VBROADCASTSS", at("tile_lo", regTile), lo)
	v.op("VBROADCASTSS", at("tile_hi", regTile), hi)
	row, columns, whole := v.label("row"), v.label("columns"), v.label("whole")
	given := func(pointer string, then func()) {
		skip := v.label("skip")
		v.op("TESTQ", pointer, pointer)
		v.op("JZ", skip)
		then()
		v.place(skip)
	}
	flagged := func(flag string, then func()) {
		skip := v.label("skip")
		v.op("TESTQ", flag, "R14")
		v.op("JZ", skip)
		then()
		v.place(skip)
	}
	v.place(row)
	given("R13", func() {
		v.op("VBROADCASTSS", "(R13)", rowBias)
		v.op("ADDQ", 4, "R13")
	})
	v.op("KXNORW", "K1", "K1", "K1")
	v.op("XORQ", "AX", "AX")
	v.op("MOVQ", at("tile_cols", regTile), "CX")
	v.place(columns)
	v.op("CMPQ", "CX", 16)
	v.op("JGE", whole)
	v.op("MOVL", 1, "R15")
	v.op("SHLL", "CX", "R15")
	v.op("DECL", "R15")
	v.op("KMOVW", "R15", "K1")
	v.place(whole)
	v.op("VMOVUPS.Z", indexed(0, "SI", "AX", 1), "K1", sum)
	flagged("$const_tileScale", func() { v.op("VMULPS", alpha, sum, sum) })
	given("R12", func() { v.op("VADDPS", indexed(0, "R12", "AX", 1), sum, "K1", sum) })
	given("R13", func() { v.op("VADDPS", rowBias, sum, sum) })
	given("R10", func() { v.op("VADDPS", indexed(0, "R10", "AX", 1), sum, "K1", sum) })
	flagged("$const_tileClamp", func() {
		// The sum comes second, so that a NaN in it stays.
		v.op("VMAXPS", sum, lo, sum)
		v.op("VMINPS", sum, hi, sum)
	})
	v.op("VMOVUPS", sum, "K1", indexed(0, "DX", "AX", 1))
	v.op("ADDQ", 64, "AX")
	v.op("SUBQ", 16, "CX")
	v.op("JG", columns)
	v.op("ADDQ", "R8", "SI")
	v.op("ADDQ", "R9", "DX")
	given("R10", func() { v.op("ADDQ", "R11", "R10") })
	v.op("DECQ", "BX")
	v.op("JNZ", row)
	v.ret()
}
