package kernels

import "sync"

// Attention is Y = softmax(Alpha*Q*K + Added) * V for Batch[0] x Batch[1] heads, a head at a time,
// so that its weights stay in the cache. Rows of Q and Y are Queries, columns of K and rows of V
// are Keys.
type Attention struct {
	Batch             [2]int
	Queries, Keys     int
	Width, ValueWidth int     // of a row of Q, and of V
	Q, K, V           Operand // Queries x Width, Width x Keys, Keys x ValueWidth
	Y                 Operand // Queries x ValueWidth, not transposed
	Added             Operand // Queries x Keys, as in a BatchGemm
	Alpha             float32 // 0 stands for 1
	ZeroHidden        bool    // a query whose weights are NaN, such as one that sees no key, gets zeros
	Precision         Precision
}

// scoreBlock is how many weights are computed before they are used.
const scoreBlock = 32 * 1024

// Run computes all heads.
func (a Attention) Run(p *Pool) {
	heads := a.Batch[0] * a.Batch[1]
	if heads == 0 || a.Queries == 0 || a.ValueWidth == 0 {
		return
	}
	a.Precision = dynamicPrecision(a.Precision)
	t := attentions.Get().(*attention)
	defer attentions.Put(t)
	t.scores = BatchGemm{
		Batch: a.Batch, M: a.Queries, N: a.Keys, K: a.Width, A: a.Q, B: a.K, Added: a.Added, Alpha: a.Alpha, Precision: a.Precision,
	}
	t.means = BatchGemm{
		Batch: a.Batch, M: a.Queries, N: a.ValueWidth, K: a.Keys, B: a.V, C: a.Y, Alpha: 1, Precision: a.Precision,
	}
	if t.scores.Alpha == 0 {
		t.scores.Alpha = 1
	}
	t.scores.checkOperand("Attention: Q", a.Q, a.Queries, a.Width)
	t.scores.checkOperand("Attention: K", a.K, a.Width, a.Keys)
	t.scores.checkAdded("Attention: Added")
	t.means.checkOperand("Attention: V", a.V, a.Keys, a.ValueWidth)
	t.means.checkOperand("Attention: Y", a.Y, a.Queries, a.ValueWidth)
	t.zero = a.ZeroHidden
	t.rows = min(a.Queries, max(maxRows(CurrentLevel()), scoreBlock/max(a.Keys, 1)))
	if heads < tasksPerThread*p.Threads() {
		// Few heads: their rows are shared out, though each part brings the keys in order anew.
		parts := (tasksPerThread*p.Threads() + heads - 1) / heads
		t.rows = min(t.rows, max(2*maxRows(CurrentLevel()), (a.Queries+parts-1)/parts))
	}
	t.blocks = (a.Queries + t.rows - 1) / t.rows
	work := t.rows * a.Keys * (a.Width + a.ValueWidth)
	p.Do(heads*t.blocks, 1+taskSize/(1+work), t)
	t.scores, t.means = BatchGemm{}, BatchGemm{}
}

// attention is an Attention under way.
type attention struct {
	scores, means BatchGemm
	rows, blocks  int // of queries in a block, of blocks in a head
	zero          bool
}

var attentions = sync.Pool{New: func() any { return new(attention) }}

// Do computes some of the blocks of all heads. What it multiplies with is brought in order once for
// the blocks of a head.
func (t *attention) Do(lo, hi int) {
	s := borrow(t.rows*t.scores.N, 0)
	defer s.giveBack()
	var q, y dynamic
	keys, values := t.scores.panels(), t.means.panels()
	defer keys.giveBack()
	defer values.giveBack()
	for i := lo; i < hi; i++ {
		head, block := i/t.blocks, i%t.blocks
		if i == lo || block == 0 {
			q, y = t.scores.item(head/t.scores.Batch[1], head%t.scores.Batch[1]), t.means.item(head/t.scores.Batch[1], head%t.scores.Batch[1])
			q.pack(keys)
			y.pack(values)
		}
		t.block(q, y, span{block * t.rows, min((block+1)*t.rows, t.scores.M)}, s.data)
	}
}

// block computes some rows of a head.
func (t *attention) block(q, y dynamic, rows span, weights []float32) {
	n, keys := rows.hi-rows.lo, t.scores.N
	weights = weights[:n*keys]
	q.skipRows(rows.lo)
	q.c, q.cRow = weights, keys
	y.skipRows(rows.lo)
	y.a, y.aRow, y.aStep = weights, keys, 1
	q.runPacked(n)
	if keys > 0 {
		Softmax(weights, weights, keys)
	}
	if t.zero {
		clearHidden(weights, keys)
	}
	y.runPacked(n)
}

// panels borrows memory for one B of g as panels.
func (g *BatchGemm) panels() *scratch {
	units := g.Precision.units(g.K)
	return borrow(panels(g.N)*panelWidth*units, units)
}

// pack makes B the panels that s has room for.
func (d *dynamic) pack(s *scratch) {
	packPanels(s.data, d.right, d.precision)
	d.b, d.panel, d.offsets = s.data, len(s.offsets)*panelWidth, strided(s.offsets, panelWidth)
}

// runPacked computes the first rows of the product with the panels.
func (d *dynamic) runPacked(rows int) {
	if d.precision != FP32 {
		s := d.round(span{0, rows})
		defer s.giveBack()
	}
	for col := 0; col < d.right.N; col += blockCols {
		d.product.multiply(span{0, rows}, []segment{{b: col / panelWidth * d.panel, c: col, cols: min(blockCols, d.right.N-col)}})
	}
}

// skipRows makes the row of that number the first one.
func (d *dynamic) skipRows(n int) {
	d.a = d.a[min(n*d.aRow, len(d.a)):]
	d.c = d.c[min(n*d.cRow, len(d.c)):]
	if d.ep.Residual != nil {
		d.ep.Residual = d.ep.Residual[n*d.residualRow:]
	}
}

// clearHidden sets rows that begin with a NaN, as all of a row's weights are NaN if one is, to
// zeros.
func clearHidden(weights []float32, keys int) {
	for ; len(weights) > 0; weights = weights[keys:] {
		if weights[0] != weights[0] {
			clear(weights[:keys])
		}
	}
}
