package kernels

import "sync"

// Operand is a batch of matrices in one slice. Matrix (i, j) of a BatchGemm starts at
// i*Batch[0] + j*Batch[1], its rows are Stride apart. A batch distance of 0 uses one matrix for all.
type Operand struct {
	Data       []float32
	Stride     int
	Batch      [2]int
	Transposed bool // stored with rows and columns exchanged
}

// BatchGemm is C = act(Alpha*A*B + Added) for Batch[0] x Batch[1] matrices where B is no constant.
// The two batch dimensions are, say, examples and heads: heads need not be moved next to each
// other first.
type BatchGemm struct {
	Batch      [2]int
	M, N, K    int
	A, B       Operand // M x K, K x N
	C          Operand // M x N, not transposed
	Added      Operand // M x N, not transposed; no Data: nothing; Stride 0: one row for all rows
	Alpha      float32 // 0 stands for 1
	Activation Activation
	Precision  Precision // BF16 is FP32 where rounding both matrices costs more than it saves
}

// dynamicPrecision returns the precision of a product whose matrices are both rounded each time.
// Where pairs are taken apart to be multiplied, that takes 1.1 times as long as float32 with 64
// values a head; where they are multiplied at once, 0.65 times.
func dynamicPrecision(p Precision) Precision {
	if p == BF16 && CurrentLevel() < AVX512BF16 {
		return FP32
	}
	return p
}

// Run computes all products.
func (g BatchGemm) Run(p *Pool) {
	g.check()
	if g.Alpha == 0 {
		g.Alpha = 1
	}
	g.Precision = dynamicPrecision(g.Precision)
	items := g.Batch[0] * g.Batch[1]
	t := batchGemms.Get().(*batchGemm)
	t.BatchGemm, t.grid = g, newGrid(p, g.M, g.N, g.Precision.units(g.K))
	if items >= tasksPerThread*p.Threads() {
		t.grid = wholeGrid(g.M, g.N)
	}
	p.Do(items*t.grid.tasks(), 1+taskSize/(1+t.grid.rows*t.grid.cols*g.K), t)
	*t = batchGemm{}
	batchGemms.Put(t)
}

// batchGemm is a BatchGemm under way.
type batchGemm struct {
	BatchGemm
	grid grid // of each matrix
}

var batchGemms = sync.Pool{New: func() any { return new(batchGemm) }}

// Do computes some tasks of all matrices.
func (t *batchGemm) Do(lo, hi int) {
	tasks := t.grid.tasks()
	for i := lo; i < hi; i++ {
		item := i / tasks
		d := t.item(item/t.Batch[1], item%t.Batch[1])
		d.run(t.grid.task(i % tasks))
	}
}

func (g *BatchGemm) check() {
	if g.Batch[0]*g.Batch[1] == 0 || g.M == 0 || g.N == 0 {
		return
	}
	g.checkOperand("BatchGemm: A", g.A, g.M, g.K)
	g.checkOperand("BatchGemm: B", g.B, g.K, g.N)
	g.checkOperand("BatchGemm: C", g.C, g.M, g.N)
	g.checkAdded("BatchGemm: Added")
}

func (g *BatchGemm) checkAdded(name string) {
	if g.Added.Data == nil {
		return
	}
	rows := g.M
	if g.Added.Stride == 0 {
		rows = 1
	}
	g.checkOperand(name, g.Added, rows, g.N)
}

func (g *BatchGemm) checkOperand(name string, o Operand, rows, cols int) {
	if o.Transposed {
		rows, cols = cols, rows
	}
	last := max(0, g.Batch[0]-1)*o.Batch[0] + max(0, g.Batch[1]-1)*o.Batch[1]
	checkMatrix(name, o.Data[min(last, len(o.Data)):], shape{rows, cols, o.Stride})
}

func (g *BatchGemm) item(i, j int) dynamic {
	at := func(o Operand) []float32 { return o.Data[min(i*o.Batch[0]+j*o.Batch[1], len(o.Data)):] }
	d := dynamic{
		product: product{
			precision: g.Precision, a: at(g.A), aRow: g.A.Stride, aStep: 1,
			c: at(g.C), cRow: g.C.Stride,
			alpha: g.Alpha, ep: Epilogue{Activation: g.Activation},
		},
		right: Matrix{at(g.B), g.K, g.N, g.B.Stride, g.B.Transposed},
	}
	if g.A.Transposed {
		d.aRow, d.aStep = 1, g.A.Stride
	}
	if g.Added.Data != nil {
		d.ep.Residual, d.residualRow = at(g.Added), g.Added.Stride
	}
	return d
}

// dynamic is a product whose B has not been packed.
type dynamic struct {
	product
	right Matrix // B as stored
	stays bool   // B is read in place however often, if it can be
}

// run computes a block of the result from an A of float32.
func (d dynamic) run(rows, cols span) {
	if d.precision == FP32 {
		d.multiply(rows, cols)
		return
	}
	s := d.round(rows)
	defer s.giveBack()
	d.multiply(span{0, rows.hi - rows.lo}, cols)
}

// round makes the given rows the only ones and their A one of units, in memory to be given back.
func (d *dynamic) round(rows span) *scratch {
	k, n := d.right.K, rows.hi-rows.lo
	step := leftStep(d.precision, CurrentLevel())
	row := spread(d.precision.units(k) * step)
	s := borrow(n*row, 0)
	if d.aStep != 1 {
		turned := d.turned(rows)
		defer turned.giveBack()
		d.precision.left(s.data, row, turned.data, shape{n, k, k})
	} else {
		d.precision.left(s.data, row, d.a[min(rows.lo*d.aRow, len(d.a)):], shape{n, k, d.aRow})
	}
	d.a, d.aRow, d.aStep = s.data, row, step
	d.c = d.c[min(rows.lo*d.cRow, len(d.c)):]
	if d.ep.Residual != nil {
		d.ep.Residual = d.ep.Residual[rows.lo*d.residualRow:]
	}
	return s
}

// turned returns rows of A whose values stand apart, one after the other.
func (d *dynamic) turned(rows span) *scratch {
	k := d.right.K
	s := borrow((rows.hi-rows.lo)*k, 0)
	for i := range s.data {
		s.data[i] = d.a[(rows.lo+i/k)*d.aRow+i%k*d.aStep]
	}
	return s
}

// multiply computes a block of the result from an A of units. Where B is read once it is read in
// place, if it has units; where it is read often a packed copy pays; the last columns are copied
// in any case, as tiles read whole panels.
func (d *dynamic) multiply(rows, cols span) {
	whole := 0
	level := CurrentLevel()
	tiles := d.bytes != nil && tiled(Int8, level) // they want rows of units that follow each other
	inPlace := d.precision == FP32 && !tiles && !d.right.Transposed && d.right.K > 0
	if inPlace && (d.stays || rows.hi-rows.lo <= maxRows(level)) {
		whole = (cols.hi - cols.lo) / panelWidth * panelWidth
		d.inPlace(rows, span{cols.lo, cols.lo + whole})
	}
	if cols.lo+whole < cols.hi {
		d.copied(rows, span{cols.lo + whole, cols.hi})
	}
}

func (d *dynamic) inPlace(rows, cols span) {
	if cols.lo == cols.hi {
		return
	}
	s := borrow(0, d.right.K)
	defer s.giveBack()
	g := d.product
	g.expects = d.stays
	g.b, g.panel, g.offsets = d.right.Data, panelWidth, strided(s.offsets, d.right.Stride)
	g.multiply(rows, []segment{{b: cols.lo, c: cols.lo, cols: cols.hi - cols.lo}})
}

func (d *dynamic) copied(rows, cols span) {
	n, units := cols.hi-cols.lo, d.precision.units(d.right.K)
	s := borrow(panels(n)*panelWidth*units, units)
	defer s.giveBack()
	packPanels(s.data, d.right.columns(cols.lo, cols.hi), d.precision)
	g := d.product
	g.b, g.panel, g.offsets = s.data, units*panelWidth, strided(s.offsets, panelWidth)
	g.multiply(rows, []segment{{c: cols.lo, cols: n}})
}

// scratch is memory that a kernel works in.
type scratch struct {
	data     []float32
	offsets  []int
	rounding rounding // into data
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// borrow returns scratch memory of the given lengths with any content.
func borrow(data, offsets int) *scratch {
	s := scratches.Get().(*scratch)
	if cap(s.data) < data {
		s.data = aligned(data)
	}
	if cap(s.offsets) < offsets {
		s.offsets = make([]int, offsets)
	}
	s.data, s.offsets = s.data[:data], s.offsets[:offsets]
	return s
}

// giveBack ends the use of s, which may be nil.
func (s *scratch) giveBack() {
	if s != nil {
		scratches.Put(s)
	}
}
