package kernels

import "fmt"

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
	checkRows("ByteGemm: C", len(c), shape{g.M, g.B.n, ldc})
	g.run(p, func(row, col int, sums []int32) { copy(c[row*ldc+col:], sums) })
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
	checkRows("ByteGemm: C", len(c), shape{g.M, g.B.n, ldc})
	checkScales(len(r.Scale), g.B.n)
	g.run(p, func(row, col int, sums []int32) {
		r.round(c[row*ldc+col:][:len(sums)], sums, r.scales(col))
	})
}

// Scaling is how sums become float32: sum * (RowScale*Scale), and what follows is the epilogue.
type Scaling struct {
	RowScale []float32 // one, or one per row
	Scale    []float32 // one, or one per column
	Epilogue
}

// Floats writes the sums as float32 to c, rows ldc apart. The residual is laid out as c.
func (g ByteGemm) Floats(p *Pool, c []float32, ldc int, s Scaling) {
	out := shape{g.M, g.B.n, ldc}
	checkRows("ByteGemm: C", len(c), out)
	checkScales(len(s.RowScale), g.M)
	checkScales(len(s.Scale), g.B.n)
	s.Epilogue.check(out)
	g.run(p, s.store(c, ldc))
}

// store returns what writes float32 sums to c.
func (s Scaling) store(c []float32, ldc int) sums32 {
	return func(row, col int, sums []int32) {
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
}

// sums32 takes the sums of a row from a column on. It may use their memory.
type sums32 func(row, col int, sums []int32)

// run computes the sums and hands them to store.
func (g ByteGemm) run(p *Pool, store sums32) {
	if g.M == 0 || g.B.n == 0 {
		return
	}
	checkBytes("ByteGemm: A", g.A, shape{g.M, g.B.k, g.A.Stride})
	if g.Bias != nil && len(g.Bias) < g.B.n {
		panic("kernels: ByteGemm: bias is shorter than a row")
	}
	left := g.left(p)
	defer left.giveBack()
	g.multiply(p, left, store)
}

// byteRows are the rows of A as units of signed bytes.
type byteRows struct {
	*scratch
	words   int     // of a row
	row     int     // distance of rows
	sums    []int32 // of each row
	factors []int32 // of each row: its zero point
}

// newByteRows borrows memory for m rows of so many units.
func newByteRows(m, units int) byteRows {
	words := units * leftStep(Int8, CurrentLevel())
	row := spread(words)
	s := borrow(m*(row+2), 0)
	return byteRows{s, words, row, intsOf(s.data[m*row:][:m]), intsOf(s.data[m*(row+1):][:m])}
}

// left makes units of A.
func (g ByteGemm) left(p *Pool) byteRows {
	if n := len(g.A.Zero); n > 1 && n != g.M {
		panic(fmt.Sprintf("kernels: ByteGemm: %d zero points for %d rows", n, g.M))
	}
	left := newByteRows(g.M, g.B.units)
	flip := g.A.flip(true)
	p.For(g.M, 1+taskSize/(1+g.B.k), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := g.A.Data[i*g.A.Stride:][:g.B.k]
			leftBytes(left.data[i*left.row:][:left.words], row, flip)
			left.sums[i] = sumSigned(row, flip)
			left.factors[i] = g.A.zero(i, true)
		}
	})
	return left
}

// multiply computes the sums of A's rows.
func (g ByteGemm) multiply(p *Pool, left byteRows, store sums32) {
	b := g.B
	s := borrow(2*panels(b.n)*panelWidth, 0)
	defer s.giveBack()
	cols, zeroCols := intsOf(s.data[:len(s.data)/2]), []int32(nil)
	for j := range cols {
		cols[j] = -b.sums[j]
	}
	if len(b.source.Zero) > 1 {
		zeroCols = intsOf(s.data[len(s.data)/2:])
	}
	for j := range b.n {
		zero := b.source.zero(j, false)
		cols[j] += int32(b.k) * zero
		if zeroCols != nil {
			zeroCols[j] = -zero
		}
	}
	zero := int32(0)
	if zeroCols == nil && b.n > 0 {
		zero = b.source.zero(0, false)
	}
	whole := product{
		a: left.data, aRow: left.row, aStep: leftStep(Int8, CurrentLevel()),
		b: b.data, offsets: b.offsets, panel: b.units * panelWidth,
	}
	whole.bytes = &byteSums{store: func(row, col int, sums []int32) {
		correct(sums, cols[col:], -zero*left.sums[row], left.factors[row])
		if zeroCols != nil {
			correct(sums, zeroCols[col:], 0, left.sums[row])
		}
		if g.Bias != nil {
			addInts(sums, g.Bias[col:])
		}
		store(row, col, sums)
	}}
	grid := newGrid(p, g.M, b.n, b.units)
	p.For(grid.tasks(), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			rows, cols := grid.task(i)
			whole.multiplyBytes(rows, []segment{{b: cols.lo * b.units, c: cols.lo, cols: cols.hi - cols.lo}})
		}
	})
}

// byteSums makes a product one of bytes, A signed and B unsigned, and says what becomes of the sums.
type byteSums struct {
	store   sums32
	ones    []float32 // nil, or a row of A whose sums are added to those of each row, times its factor
	factors []int32
}

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
	sums.precision, sums.c, sums.cRow = Int8, s.data[room:], room
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
			g.bytes.store(part.lo+r, first, x)
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
