package kernels

// AMX multiplies tiles: up to 16 rows of A, each of up to 16 units, by as many rows of a panel.
// Sums stand in tiles as well while products along K are added, then in memory, and what comes
// after the product starts from there. A product of tiles takes the same time whether it has one row
// or 16.
//
// A sum of BF16 is made of sums over 16 units, in which even and odd values of K are added up
// apart, and values too small for a normal float32 count as zero. Kernels of other levels do not sum
// like that, so at this level all products of BF16 are made by tiles, those of a single row too: a
// row must not depend on how many there are. Sums of bytes are exact, whatever makes them.
const (
	tileHeight   = 16
	tileUnits    = 16
	maxTileRows  = 2 * tileHeight
	tilesPerCall = 512 // of B: some microseconds, some tens of them if they come from main memory
	fewByteRows  = 4   // of bytes, that dot products take less to multiply than tiles
)

// tileProduct is sums of up to 32 rows in some panels. The assembly reads its fields; distances are
// in bytes.
//
//	for r in rows, j in columns of panels:
//		x = add ? sums[r, j] : 0
//		for u in units * steps: x += a[r, u] * b[j/16*panel + u*16 + j%16]
//		sums[r, j] = x
type tileProduct struct {
	tiles                tileSizes // say how many rows and units there are
	a, b, sums           *float32
	aRow, panel, sumsRow int
	rowTiles             int // 1 or 2
	panels, steps        int
	add                  int
}

// tileSizes is what the processor is told about its tiles.
type tileSizes struct {
	layout, start uint8
	_             [14]uint8
	rowBytes      [16]uint16
	rows          [16]uint8
}

// sizes returns the tiles for so many rows of A, up to 32, and units of a row, up to 16. Tiles 0 to
// 3 are sums. Tile 4 is A and the rest is B, but where there are more than 16 rows 5 is A as well and
// 2 and 3 are the sums of its rows.
func sizes(rows, units int) tileSizes {
	t := tileSizes{layout: 1}
	set := func(tile, rows, units int) { t.rows[tile], t.rowBytes[tile] = uint8(rows), uint16(4*units) }
	first, second := min(rows, tileHeight), rows-tileHeight
	for tile := range 4 {
		set(tile, first, panelWidth)
		set(4+tile, units, panelWidth)
	}
	set(4, first, units)
	if second > 0 {
		set(2, second, panelWidth)
		set(3, second, panelWidth)
		set(5, second, units)
	}
	return t
}

// tiled reports whether tiles multiply at this precision and level.
func tiled(p Precision, l Level) bool { return l >= AMX && p != FP32 }

// sumTiles writes the sums of up to 32 rows in a segment to dst, rows room apart, as whole panels.
func (g *product) sumTiles(dst []float32, room int, rows span, s segment) {
	if len(g.offsets) == 0 {
		clear(dst[:(rows.hi-rows.lo)*room])
		return
	}
	for parts := g.tileParts(dst, room, rows, s); parts.next(); {
		parts.run(g.precision)
	}
}

// tileParts is products of tiles that, computed one after the other, give the sums of some rows.
type tileParts struct {
	tileProduct
	g        *product
	rows     span
	segment  int // where it begins in B
	done     int // units along K
	maxSteps int
}

func (g *product) tileParts(dst []float32, room int, rows span, s segment) tileParts {
	if g.aStep != 1 || len(g.offsets) > 1 && g.offsets[1] != panelWidth {
		panic("kernels: tiles read units that follow each other")
	}
	height := rows.hi - rows.lo
	t := tileParts{g: g, rows: rows, segment: s.b, tileProduct: tileProduct{
		aRow: 4 * g.aRow, panel: 4 * g.panel, sumsRow: 4 * room,
		rowTiles: (height + tileHeight - 1) / tileHeight, panels: panels(s.cols),
	}}
	t.sums = &dst[:(height-1)*room+t.panels*panelWidth][0]
	whole, most := len(g.offsets)/tileUnits, max(1, tilesPerCall/t.panels)
	calls := max(1, (whole+most-1)/most)
	t.maxSteps = max(1, (whole+calls-1)/calls)
	return t
}

// next makes t the next product, if there is one.
func (t *tileParts) next() bool {
	g, from := t.g, t.done
	units := min(len(g.offsets)-from, tileUnits)
	if units == 0 {
		return false
	}
	t.steps = max(1, min((len(g.offsets)-from)/tileUnits, t.maxSteps))
	t.tiles = sizes(t.rows.hi-t.rows.lo, units)
	t.done += t.steps * units
	t.a = &g.a[t.rows.lo*g.aRow+from : (t.rows.hi-1)*g.aRow+t.done][0]
	t.b = &g.b[t.segment+from*panelWidth : t.segment+(t.panels-1)*g.panel+t.done*panelWidth][0]
	t.add = min(from, 1)
	return true
}

// multiplyTiles computes the given rows of the columns of the segments by tiles.
func (g *product) multiplyTiles(rows span, segments []segment) {
	t := tile{precision: g.precision, cRow: g.cRow, residualRow: g.residualRow, alpha: g.alpha, flags: g.finishing()}
	var fused bool
	t.lo, t.hi, fused = g.ep.Activation.clamp()
	for _, s := range segments {
		t.cols, t.aRow = s.cols, panels(s.cols)*panelWidth
		sums := borrow(min(rows.hi-rows.lo, maxTileRows)*t.aRow, 0)
		t.a = sums.data
		for row := rows.lo; row < rows.hi; row += maxTileRows {
			part := span{row, min(row+maxTileRows, rows.hi)}
			g.sumTiles(t.a, t.aRow, part, s)
			t.rows, t.c = part.hi-part.lo, g.c[row*g.cRow+s.c:]
			t.aim(&g.ep, row, s.c)
			t.finishSums(CurrentLevel())
		}
		sums.giveBack()
	}
	if !fused {
		g.activate(rows, segments)
	}
}

// finishSumsPortable sets c to the finished sums in a.
func (t *tile) finishSumsPortable() {
	for r := range t.rows {
		x := t.a[r*t.aRow:][:t.cols]
		t.finish(x, r, 0)
		copy(t.c[r*t.cRow:], x)
	}
}
