package kernels

import (
	"fmt"
	"sync"
)

// ByteGemm is a product of matrices of bytes whose sums are exact, modulo 2^32. It is run by one of
// its methods, which say what becomes of the sums.
type ByteGemm struct {
	M    int
	A    Bytes // M x B.K()
	B    *PackedBytes
	Bias []int32 // one per column, added to the sums, or nil
}

// Int32 writes the sums to c, rows ldc apart.
func (g ByteGemm) Int32(p *Pool, c []int32, ldc int) {
	g.check()
	checkRows("ByteGemm: C", len(c), shape{g.M, g.B.n, ldc})
	t := g.begin()
	t.c, t.cRow = floatsOf(c), ldc
	t.run(p)
}

// Rounding is how sums become bytes: Zero + sum*Scale, rounded to even and bounded.
type Rounding struct {
	Scale  []float32 // one, or one per column of a product or filter of a convolution
	Zero   int32
	Signed bool
	Relu   bool // what is below zero becomes Zero
}

// bounds returns the smallest and the largest byte.
func (r Rounding) bounds() (low, high int32) {
	if r.Signed {
		return -128, 127
	}
	return 0, 255
}

// scales returns the factors of columns from col on.
func (r Rounding) scales(col int) []float32 {
	if len(r.Scale) == 1 {
		return r.Scale
	}
	return r.Scale[col:]
}

// Bytes writes the sums, rounded to bytes, to c, rows ldc apart.
func (g ByteGemm) Bytes(p *Pool, c []byte, ldc int, r Rounding) {
	g.check()
	checkRows("ByteGemm: C", len(c), shape{g.M, g.B.n, ldc})
	checkScales(len(r.Scale), g.B.n)
	t := g.begin()
	t.rounded, t.cRow, t.rounding = c, ldc, r
	t.run(p)
}

// Scaling is how sums become float32: sum * (RowScale*Scale), and what follows is the epilogue.
type Scaling struct {
	RowScale []float32 // one, or one per row
	Scale    []float32 // one, or one per column
	Epilogue
}

// Floats writes the sums as float32 to c, rows ldc apart. The residual is laid out as c.
func (g ByteGemm) Floats(p *Pool, c []float32, ldc int, s Scaling) {
	g.check()
	out := shape{g.M, g.B.n, ldc}
	checkRows("ByteGemm: C", len(c), out)
	checkScales(len(s.RowScale), g.M)
	checkScales(len(s.Scale), g.B.n)
	s.Epilogue.check(out)
	t := g.begin()
	t.c, t.cRow, t.residualRow, t.ep = c, ldc, ldc, s.Epilogue
	t.floats(s.RowScale, s.Scale)
	t.run(p)
}

func (g ByteGemm) check() {
	checkBytes("ByteGemm: A", g.A, shape{g.M, g.B.k, g.A.Stride})
	if g.Bias != nil && len(g.Bias) < g.B.n {
		panic("kernels: ByteGemm: bias is shorter than a row")
	}
	if n := len(g.A.Zero); n > 1 && n != g.M {
		panic(fmt.Sprintf("kernels: ByteGemm: %d zero points for %d rows", n, g.M))
	}
}

// byteGemm is a ByteGemm under way.
type byteGemm struct {
	gemm
	ByteGemm
	values   []float32 // A where it is to be quantised, rows stride apart
	stride   int
	left     byteRows
	sumTerms sumTerms
	rounded  []byte // C of rounded sums, instead of c
	rounding Rounding
	taken    byteSums
}

var byteGemms = sync.Pool{New: func() any { return new(byteGemm) }}

// byteRows are the rows of A as units of signed bytes.
type byteRows struct {
	units []float32
	words int // of a row
	row   int // distance of rows
}

// sumTerms is what sums of bytes start with and how they become float32: see tile.
type sumTerms struct {
	terms, zeros, bias []int32
	factors, rowTerms  []int32
	rowScales, scales  []float32 // nil where sums stay integers
}

// begin makes the product one that knows its operands but for A's units.
func (g ByteGemm) begin() *byteGemm {
	t := byteGemms.Get().(*byteGemm)
	b := g.B
	t.ByteGemm = g
	t.product = product{precision: Int8, b: b.data, offsets: b.offsets, panel: b.units * panelWidth, alpha: 1, terms: &t.sumTerms}
	t.sumTerms = sumTerms{terms: b.terms, zeros: b.zeros, bias: g.Bias}
	return t
}

// floats makes the sums float32. The scales of the rows are nil where A is quantised.
func (t *byteGemm) floats(rows, cols []float32) { t.sumTerms.rowScales, t.sumTerms.scales = rows, cols }

// run computes the product and ends its use.
func (t *byteGemm) run(p *Pool) {
	if t.M > 0 && t.B.n > 0 {
		s := t.room()
		p.Do(t.M, 1+taskSize/(1+t.B.k), (*leftRows)(t))
		t.grid, t.strip = newGrid(p, t.M, t.B.n, t.B.units), blockCols
		if t.rounded != nil || tiled(Int8, CurrentLevel()) {
			t.taken.store = (*takenSums)(t)
			t.bytes = &t.taken
		} else if t.M <= fewRows {
			t.strip = t.stream(t.M)
		}
		p.Do(t.grid.tasks(), 1, &t.gemm)
		s.giveBack()
	}
	*t = byteGemm{}
	byteGemms.Put(t)
}

// room borrows memory for A's units, for what belongs to its rows, and for scales that are one for all.
func (t *byteGemm) room() *scratch {
	words := t.B.units * leftStep(Int8, CurrentLevel())
	row, m, terms := spread(words), t.M, &t.sumTerms
	cols := 0
	if len(terms.scales) == 1 {
		cols = t.B.n
	}
	s := borrow(m*(row+3)+cols, 0)
	rest := s.data
	part := func(n int) []float32 {
		x := rest[:n:n]
		rest = rest[n:]
		return x
	}
	t.left = byteRows{part(m * row), words, row}
	t.a, t.aRow, t.aStep = t.left.units, row, leftStep(Int8, CurrentLevel())
	terms.factors, terms.rowTerms = intsOf(part(m)), intsOf(part(m))
	if terms.scales == nil {
		return s
	}
	if one := terms.scales; cols > 0 {
		terms.scales = part(cols)
		fill(terms.scales, one[0])
	}
	if one := terms.rowScales; len(one) != m {
		terms.rowScales = part(m)
		if one != nil {
			fill(terms.rowScales, one[0])
		}
	}
	return s
}

// leftRows makes the rows of A units.
type leftRows byteGemm

// Do makes some of the rows.
func (t *leftRows) Do(lo, hi int) {
	k, terms := t.B.k, &t.sumTerms
	flip := t.A.flip(true)
	for i := lo; i < hi; i++ {
		var zero, sum int32
		if t.values != nil {
			terms.rowScales[i], zero, sum = t.left.quantize(i, t.values[i*t.stride:][:k])
		} else {
			row := t.A.Data[i*t.A.Stride:][:k]
			zero, sum = t.A.zero(i, true), leftBytes(t.left.units[i*t.left.row:][:t.left.words], row, flip)
		}
		terms.factors[i], terms.rowTerms[i] = zero, sum
		if terms.zeros == nil {
			terms.rowTerms[i] = -t.B.zero * sum
		}
	}
}

// takenSums is a product that computes sums without terms and adds them row by row.
type takenSums byteGemm

// take adds the terms of the sums and writes what they become.
func (t *takenSums) take(row, col int, sums []int32) {
	terms := &t.sumTerms
	if terms.zeros == nil {
		correct(sums, terms.terms[col:], terms.rowTerms[row], terms.factors[row])
	} else {
		correct(sums, terms.terms[col:], 0, terms.factors[row])
		correct(sums, terms.zeros[col:], 0, terms.rowTerms[row])
	}
	if terms.bias != nil {
		addInts(sums, terms.bias[col:])
	}
	at := row*t.cRow + col
	switch {
	case t.rounded != nil:
		t.rounding.round(t.rounded[at:][:len(sums)], sums, t.rounding.scales(col))
	case terms.scales != nil:
		s := Scaling{terms.rowScales, terms.scales, t.ep}
		s.write(t.c, t.cRow, row, col, sums)
	default:
		copy(intsOf(t.c[at:][:len(sums)]), sums)
	}
}

// write writes sums of a row from a column on as float32 to c. It uses their memory.
func (s *Scaling) write(c []float32, ldc, row, col int, sums []int32) {
	dst := c[row*ldc+col:][:len(sums)]
	scale, cols := s.RowScale[min(row, len(s.RowScale)-1)], s.Scale
	if len(cols) > 1 {
		cols = cols[col:]
	}
	bias := zeros[:1]
	if s.Bias != nil {
		bias = s.Bias[col:]
	}
	to := dst
	if s.Residual != nil {
		to = floatsOf(sums) // the residual may be c
	}
	scaleSums(to, sums, scale, cols, bias)
	if s.RowBias != nil {
		Combine(Add, to, to, s.RowBias[row:row+1])
	}
	if s.Residual != nil {
		Combine(Add, dst, to, s.Residual[row*ldc+col:][:len(dst)])
	}
	if s.Activation.Function != None {
		Apply(dst, dst, s.Activation)
	}
}

// byteSums makes a product one of bytes, A signed and B unsigned, and says what becomes of the sums.
type byteSums struct {
	store   sumTaker
	ones    []float32 // nil, or a row of A whose sums are added to those of each row, times its factor
	factors []int32
}

// sumTaker takes the sums of a row from a column on. It may use their memory.
type sumTaker interface {
	take(row, col int, sums []int32)
}

// sums32 is a function that takes sums.
type sums32 func(row, col int, sums []int32)

func (f sums32) take(row, col int, sums []int32) { f(row, col, sums) }

// multiplyBytes computes the given rows of the columns of the segments, which follow each other,
// and hands each row to store.
func (g *product) multiplyBytes(rows span, segments []segment) {
	level := CurrentLevel()
	first, width := segments[0].c, 0
	for _, s := range segments {
		width += s.cols
		if s.paired {
			width += s.cols
		}
	}
	n, height, room := rows.hi-rows.lo, maxRows(level), panels(width)*panelWidth
	tiled := tiled(Int8, level)
	if tiled {
		height = maxTileRows
	}
	s := borrow((min(height, n)+1)*room, 0)
	defer s.giveBack()
	sums := *g
	sums.precision, sums.c, sums.cRow, sums.terms = Int8, s.data[room:], room, nil
	cols := intsOf(s.data[:room])
	if g.bytes.ones != nil {
		all := sums
		all.a, all.c = g.bytes.ones, s.data
		all.sums(level, span{0, 1}, segments)
	}
	tiles := (n + height - 1) / height
	for i := range tiles {
		part := span{rows.lo + n*i/tiles, rows.lo + n*(i+1)/tiles}
		if tiled {
			part = span{rows.lo + height*i, min(rows.lo+height*(i+1), rows.hi)}
		}
		sums.sums(level, part, segments)
		for r := range part.hi - part.lo {
			x := intsOf(sums.c[r*room:][:room])[:width]
			if g.bytes.ones != nil {
				correct(x, cols, 0, g.bytes.factors[part.lo+r])
			}
			g.bytes.store.take(part.lo+r, first, x)
		}
	}
}

// sums computes the sums of some rows, of which there are no more than a tile has, from the first
// row of c on.
func (g *product) sums(level Level, rows span, segments []segment) {
	if tiled(Int8, level) && rows.hi-rows.lo > fewByteRows {
		g.sumTiles(g.c, g.cRow, rows, segments[0])
		return
	}
	t := tile{precision: Int8, aRow: g.aRow, aStep: g.aStep, panel: g.panel, cRow: g.cRow, rows: rows.hi - rows.lo}
	blocks := max(1, (len(g.offsets)+blockDepth-1)/blockDepth)
	for block := range blocks {
		from, to := len(g.offsets)*block/blocks, len(g.offsets)*(block+1)/blocks
		t.offsets = g.offsets[from:to]
		t.flags = 0
		if block > 0 {
			t.flags = tileAdd
		}
		t.a = g.a[min(rows.lo*g.aRow+from*g.aStep, len(g.a)):]
		for _, s := range segments {
			s.c -= segments[0].c
			g.strip(level, &t, 0, s)
		}
	}
}

// aimTerms points the tile at what is added to the sums of row and column j and onwards, and at
// their scales.
func (t *tile) aimTerms(s *sumTerms, row, j int) {
	t.terms, t.factors, t.rowTerms = s.terms[j:], s.factors[row:], s.rowTerms[row:]
	if s.zeros != nil {
		t.zeros = s.zeros[j:]
	}
	if s.bias != nil {
		t.sumBias = s.bias[j:]
	}
	if s.scales != nil {
		t.rowScales, t.scales = s.rowScales[row:], s.scales[j:]
	}
}

// checkRows checks a matrix of n values.
func checkRows(name string, n int, s shape) {
	if s.rows < 0 || s.cols < 0 || s.rows > 1 && s.stride < s.cols || s.rows > 0 && n < (s.rows-1)*s.stride+s.cols {
		panic(fmt.Sprintf("kernels: %s has %d values for %d x %d with rows %d apart", name, n, s.rows, s.cols, s.stride))
	}
}

func checkScales(n, want int) {
	if n != 1 && n != want {
		panic(fmt.Sprintf("kernels: %d scales for %d sums of a row", n, want))
	}
}

// accumulateBytes adds the products of signed bytes of a and unsigned ones of b.
func (t *tile) accumulateBytes(x []int32, a, b []float32) {
	for u, o := range t.offsets {
		left := bytesOf(a[u*t.aStep:][:1])
		right := bytesOf(b[o:][:len(x)])
		for j := range x {
			for i, v := range left {
				x[j] += int32(int8(v)) * int32(right[4*j+i])
			}
		}
	}
}
