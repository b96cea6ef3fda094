package kernels

import "sync"

// Gemm computes C = act(A*B + bias + residual). A has m rows of B.K() values lda apart, C m rows
// of B.N() values ldc apart; the residual is laid out as C, ldc included.
func Gemm(p *Pool, m int, a []float32, lda int, b *Packed, c []float32, ldc int, ep Epilogue) {
	checkMatrix("Gemm: A", a, shape{m, b.k, lda})
	checkMatrix("Gemm: C", c, shape{m, b.n, ldc})
	ep.check(shape{m, b.n, ldc})
	if b.precision == Int8 {
		b.asBytes.gemm(p, m, a, lda, c, ldc, ep)
		return
	}
	g := gemms.Get().(*gemm)
	g.product = product{
		precision: b.precision, b: b.data, offsets: b.offsets, panel: b.units * panelWidth,
		c: c, cRow: ldc, residualRow: ldc,
		alpha: 1, ep: ep,
	}
	s := g.setA(p, a, shape{m, b.k, lda})
	g.grid, g.strip = newGrid(p, m, b.n, b.units), blockCols
	if m <= fewRows {
		g.strip = g.stream(m)
	}
	p.Do(g.grid.tasks(), 1, g)
	s.giveBack()
	*g = gemm{}
	gemms.Put(g)
}

// gemm is a Gemm under way.
type gemm struct {
	product
	grid  grid
	strip int // how many columns are multiplied at a time
}

var gemms = sync.Pool{New: func() any { return new(gemm) }}

// Do computes some tasks of the grid.
func (g *gemm) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		rows, cols := g.grid.task(i)
		for j := cols.lo; j < cols.hi; j += g.strip {
			g.multiply(rows, []segment{{b: j * len(g.offsets), c: j, cols: min(g.strip, cols.hi-j)}})
		}
	}
}

const (
	fewRows     = 64       // rows of A for which a strip of B is not read again from where it is
	streamDepth = 1024     // units along K that such rows are multiplied with at a time
	streamAhead = 4 * 1024 // bytes of B that are fetched ahead, of all panels together
)

// stream makes the product one of few rows, which reads B only once, and returns how many columns
// to multiply at a time: all rows of A are multiplied with a strip of B before the next.
func (g *product) stream(m int) int {
	level := CurrentLevel()
	g.few = true
	tiles := (m + maxRows(level) - 1) / maxRows(level)
	if tiles < 2 {
		return blockCols
	}
	return maxPanels(level, (m+tiles-1)/tiles) * panelWidth
}

// setA makes the rows of a the left operand, rounded to the precision of the product. It returns
// the memory to give back after the product, which may be nil.
func (g *product) setA(p *Pool, a []float32, s shape) *scratch {
	if g.precision == FP32 && !(s.compete() && s.rows > fewRows) {
		g.a, g.aRow, g.aStep = a, s.stride, 1
		return nil
	}
	step := leftStep(g.precision, CurrentLevel())
	row := spread(g.precision.units(s.cols) * step)
	rounded := borrow(s.rows*row, 0)
	rounded.rounding = rounding{g.precision, a, s, rounded.data, row}
	p.Do(s.rows, 1+taskSize/(1+s.cols), &rounded.rounding)
	rounded.rounding = rounding{}
	g.a, g.aRow, g.aStep = rounded.data, row, step
	return rounded
}

// compete says that the same columns of neighbouring rows have one place in the first-level cache.
func (s shape) compete() bool {
	const page = 4096
	return s.stride%(page/4) == 0
}

// rounding makes rows of A units.
type rounding struct {
	precision Precision
	a         []float32
	shape     shape
	dst       []float32
	row       int // distance of rows in dst
}

// Do makes some of the rows.
func (r *rounding) Do(lo, hi int) {
	s := r.shape
	s.rows = hi - lo
	r.precision.left(r.dst[lo*r.row:], r.row, r.a[min(lo*s.stride, len(r.a)):], s)
}

func (ep *Epilogue) check(s shape) {
	if ep.Bias != nil && len(ep.Bias) < s.cols {
		panic("kernels: Gemm: bias is shorter than a row")
	}
	if ep.RowBias != nil && len(ep.RowBias) < s.rows {
		panic("kernels: Gemm: row bias is shorter than a column")
	}
	if ep.Residual != nil {
		checkMatrix("Gemm: residual", ep.Residual, s)
	}
}

// span is the indices lo <= i < hi.
type span struct{ lo, hi int }

// grid cuts a result into tasks: blocks of rows and columns.
type grid struct {
	m, n       int
	rows, cols int // of a block
	rowBlocks  int
}

const (
	blockCols      = 256       // of B that are multiplied with all rows before the next: they stay in the second-level cache
	taskSize       = 64 * 1024 // multiplications that are worth handing to another thread
	tasksPerThread = 8         // so that a thread that got the processor late can take fewer
)

// wholeGrid does not cut rows.
func wholeGrid(m, n int) grid {
	return grid{m: m, n: n, rows: m, cols: min(n, blockCols)}.normal()
}

// newGrid cuts a product with so many units along K.
func newGrid(p *Pool, m, n, k int) grid {
	g := wholeGrid(m, n)
	if p.Threads() == 1 || m*n*k < 2*taskSize {
		return g
	}
	want := min(tasksPerThread*p.Threads(), m*n*k/taskSize)
	// Few rows: B is what costs, so it is cut and each part read once. Whole groups of panels keep
	// the widest tiles busy.
	const group = 8 * panelWidth
	if g.tasks() < want && n > group {
		g.cols = min(g.cols, max(group, n/want/group*group))
		g = g.normal()
	}
	height := maxRows(CurrentLevel())
	if tasks := g.tasks(); tasks < want && m > 2*height {
		blocks := min((want+tasks-1)/tasks, m/height)
		g.rows = (m + blocks - 1) / blocks
		if CurrentLevel() >= AMX {
			g.rows = (g.rows + tileHeight - 1) / tileHeight * tileHeight
		}
	}
	return g.normal()
}

func (g grid) normal() grid {
	g.rows, g.cols = max(g.rows, 1), max(g.cols, 1)
	g.rowBlocks = (g.m + g.rows - 1) / g.rows
	return g
}

func (g grid) tasks() int { return g.rowBlocks * ((g.n + g.cols - 1) / g.cols) }

func (g grid) task(i int) (rows, cols span) {
	row, col := i%g.rowBlocks*g.rows, i/g.rowBlocks*g.cols
	return span{row, min(row+g.rows, g.m)}, span{col, min(col+g.cols, g.n)}
}

// product is a matrix product whose operands stand anywhere: see tile for where.
type product struct {
	precision   Precision
	a           []float32
	aRow, aStep int
	b           []float32
	offsets     []int
	panel       int
	few         bool // rows: B may come from memory
	expects     bool // C is far away
	c           []float32
	cRow        int
	residualRow int
	alpha       float32
	ep          Epilogue
	bytes       *byteSums // of a product of bytes whose sums are taken by rows
	terms       *sumTerms // of a product of bytes whose sums stand in c
}

// segment is columns that stand together: from b[b:] into c[c:], which is also where they stand in
// the bias and the residual. A paired segment is two rows of an image, one panel of cols values
// each: in b they are as far apart as panels, in c they follow each other.
type segment struct {
	b, c, cols int
	paired     bool
}

// blockDepth is how many units along K are multiplied before the next rows: so much of A stays in the
// first-level cache.
const blockDepth = 384

// multiply computes the given rows of the columns of the segments.
func (g *product) multiply(rows span, segments []segment) {
	if g.bytes != nil {
		g.multiplyBytes(rows, segments)
		return
	}
	if tiled(g.precision, CurrentLevel()) {
		g.multiplyTiles(rows, segments)
		return
	}
	t := tile{
		precision: g.precision, aRow: g.aRow, aStep: g.aStep, panel: g.panel, cRow: g.cRow, residualRow: g.residualRow, alpha: g.alpha,
	}
	t.lo, t.hi, _ = g.ep.Activation.clamp()
	blocks := g.blocks()
	for block := range blocks {
		from, to := len(g.offsets)*block/blocks, len(g.offsets)*(block+1)/blocks
		t.offsets = g.offsets[from:to]
		t.flags = 0
		if g.expects {
			t.flags = tileExpect
		}
		if block > 0 {
			t.flags |= tileAdd
		}
		if block == blocks-1 {
			t.flags |= g.finishing()
		}
		g.pass(&t, from, rows, segments)
	}
}

// pass adds the products of the tile's part of K, which starts at from.
func (g *product) pass(t *tile, from int, rows span, segments []segment) {
	level := CurrentLevel()
	_, _, fused := g.ep.Activation.clamp()
	n := rows.hi - rows.lo
	tiles := (n + maxRows(level) - 1) / maxRows(level)
	for i := range tiles {
		// Equal heights: a last tile of one row would cost as much as one of four.
		part := span{rows.lo + n*i/tiles, rows.lo + n*(i+1)/tiles}
		t.rows = part.hi - part.lo
		t.a = g.a[min(part.lo*g.aRow+from*g.aStep, len(g.a)):]
		if t.fetch = 0; g.few || i == 0 {
			t.fetch = streamAhead
		}
		for _, s := range segments {
			g.strip(level, t, part.lo, s)
		}
		if t.flags&tileFinish != 0 && !fused {
			g.activate(part, segments)
		}
	}
}

// blocks returns how many parts K is cut into. A residual that is C itself must not be overwritten
// by the sums of a first part.
func (g *product) blocks() int {
	if len(g.c) > 0 && len(g.ep.Residual) > 0 && &g.c[0] == &g.ep.Residual[0] {
		return 1
	}
	depth := blockDepth
	if g.few {
		depth = streamDepth
	}
	return max(1, (len(g.offsets)+depth-1)/depth)
}

// finishing returns the flags of the last block of K.
func (g *product) finishing() int {
	if g.terms != nil && g.terms.scales == nil {
		return 0
	}
	flags := tileFinish
	if g.alpha != 1 {
		flags |= tileScale
	}
	if f := g.ep.Activation.Function; f == Relu || f == Clip {
		flags |= tileClamp
	}
	return flags
}

// strip computes the rows of t from row on in all columns of s.
func (g *product) strip(level Level, t *tile, row int, s segment) {
	if s.paired {
		g.strip(level, t.paired(s.cols), row, segment{b: s.b, c: s.c, cols: panelWidth + s.cols})
		return
	}
	width := maxPanels(level, t.rows)
	for j := 0; j < s.cols; {
		left := panels(s.cols - j)
		for width > left {
			width /= 2
		}
		t.cols = min(width*panelWidth, s.cols-j)
		t.ahead = t.fetch / width
		t.b = g.b[s.b+j/panelWidth*g.panel:]
		t.c = g.c[row*g.cRow+s.c+j:]
		if t.flags&tileFinish != 0 {
			t.aim(&g.ep, row, s.c+j)
		}
		if g.terms != nil {
			t.aimTerms(g.terms, row, s.c+j)
		}
		t.times, t.passed, t.passedB = t.repeats(s.cols-j), 0, 0
		cols := t.times * t.cols
		t.run(level)
		j += cols
	}
}

// productsPerCall bounds the products of units that tiles side by side have: assembly is not interrupted.
const productsPerCall = 1 << 20

// repeats returns how many tiles of whole panels to compute side by side in so many columns.
func (t *tile) repeats(cols int) int {
	if t.flags&tilePaired != 0 || t.cols%panelWidth != 0 {
		return 1
	}
	return max(1, min(cols/t.cols, productsPerCall/(1+t.rows*t.cols*len(t.offsets))))
}

// paired returns the tile for two panels of cols values each.
func (t *tile) paired(cols int) *tile {
	p := *t
	p.flags |= tilePaired
	p.pair = cols
	return &p
}

// aim points the tile at what is added to row and column j and onwards.
func (t *tile) aim(ep *Epilogue, row, j int) {
	if ep.Bias != nil {
		t.bias = ep.Bias[j:]
	}
	if ep.RowBias != nil {
		t.rowBias = ep.RowBias[row:]
	}
	if ep.Residual != nil {
		t.residual = ep.Residual[row*t.residualRow+j:]
	}
}

func (g *product) activate(rows span, segments []segment) {
	for r := rows.lo; r < rows.hi; r++ {
		for _, s := range segments {
			cols := s.cols
			if s.paired {
				cols *= 2
			}
			c := g.c[r*g.cRow+s.c:][:cols]
			Apply(c, c, g.ep.Activation)
		}
	}
}
