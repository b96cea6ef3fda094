package kernels

import (
	"math"
	"sync"
)

// spots is a block of a convolution whose rows are positions ("spots") and whose columns are filters
// that stand beside each other: no lane is lost where a plane's rows do not fill vectors. The
// assembly reads its fields.
//
//	for r in rows, j in cols:
//		x = 0; at = r < rows/2 ? r : half + r-rows/2
//		for u, o in offsets: x += a[o+at] * b[u*16 + j/16*panel + j%16]
//		sums[r*32+j] = x + bias[j]
//
// To turn it, with up to 16 rows, is to write it to planes:
//
//	dst[j*plane+r] = sums[r*32+j] + residual[j*plane+r], clamped
//
// The values of a and b are units, and multiplications and additions are fused in assembly.
type spots struct {
	a, b       []float32
	offsets    []int
	panel      int       // distance of panels in b
	next       []float32 // of b, to fetch while this is computed: nextStep bytes for each unit
	nextStep   int
	ahead      int       // from what is read of a to what to fetch meanwhile
	half       int       // from the first half of the rows in a to the second
	bias       []float32 // nil or one per column
	sums       []float32 // 16 rows to turn
	dst        []float32
	residual   []float32 // nil or as dst
	plane      int
	rows, cols int
	precision  Precision
	lo, hi     float32
}

const (
	maxSpots  = 14             // rows of a block
	spotCols  = 2 * panelWidth // columns of a block
	turnRows  = 16             // rows that are turned together
	groupRuns = 8              // blocks that are turned together: whole cache lines of the planes
)

func (s *spots) portable() {
	for r := range s.rows {
		a := s.a[r:]
		if r >= s.rows/2 {
			a = s.a[s.half+r-s.rows/2:]
		}
		for j := range s.cols {
			var x float32
			b := s.b[j/panelWidth*s.panel+j%panelWidth:]
			for u, o := range s.offsets {
				x = s.precision.multiplyAdd(x, a[o], b[u*panelWidth])
			}
			if s.bias != nil {
				x += s.bias[j]
			}
			s.sums[r*spotCols+j] = x
		}
	}
}

// multiplyAdd adds the product of two units to x.
func (p Precision) multiplyAdd(x, a, b float32) float32 {
	if p == FP32 {
		return x + float32(a*b)
	}
	u, v := math.Float32bits(a), math.Float32bits(b)
	x += math.Float32frombits(u<<16) * math.Float32frombits(v<<16)
	return x + math.Float32frombits(u&0xffff0000)*math.Float32frombits(v&0xffff0000)
}

func (s *spots) turnPortable() {
	for j := range s.cols {
		dst := s.dst[j*s.plane:][:s.rows]
		for r := range dst {
			x := s.sums[r*spotCols+j]
			if s.residual != nil {
				x += s.residual[j*s.plane+r]
			}
			dst[r] = clamp(x, s.lo, s.hi)
		}
	}
}

// beside reports whether filters are packed to stand beside each other. AVX2 has too few registers
// for that, and tiles of units want rows of them.
func (c *PackedConv) beside() bool {
	level := CurrentLevel()
	if c.depthwise() || c.quads || c.conv.Groups != 1 || level == AVX2 || tiled(c.precision, level) {
		return false
	}
	return level == Portable || leftStep(c.precision, level) == 1
}

// packBeside returns the weights as panels of filters.
func (m Memory) packBeside(c *PackedConv, weights []float32) []float32 {
	return m.make(panels(c.conv.Filters)*c.units*panelWidth, func(dst []float32) {
		rows := Matrix{Data: make([]float32, c.conv.Filters*c.units), K: c.units, N: c.conv.Filters, Stride: c.units, Transposed: true}
		for f := range c.conv.Filters {
			c.unitsOf(rows.Data[f*c.units:][:c.units], weights[f*c.depth:][:c.depth])
		}
		rows.pack(dst)
	})
}

// asMatrix returns the panels as a matrix, by which planes of one position are multiplied together, or
// nil where the kernel is larger.
func (c *PackedConv) asMatrix() *Packed {
	if !c.pointwise() {
		return nil
	}
	return &Packed{precision: c.precision, k: c.conv.Channels, n: c.conv.Filters, units: c.units, data: c.weights, offsets: panelOffsets(c.units)}
}

// unitsOf writes the weights of a filter as units.
func (c *PackedConv) unitsOf(dst, weights []float32) {
	if c.precision == FP32 {
		copy(dst, weights)
		return
	}
	taps := c.conv.Kernel[0] * c.conv.Kernel[1]
	for u := range dst {
		even, odd := u/taps*2*taps+u%taps, float32(0)
		if even+taps < len(weights) {
			odd = weights[even+taps]
		}
		dst[u] = pair(weights[even], odd)
	}
}

// spotRun is positions that are computed together: rows of them, the first at place at of a lattice or a
// plane, the second half of them half further, and at place to of a plane of y.
type spotRun struct{ at, half, to, rows int32 }

// spotRuns divides the positions of y, which in a lattice stand in rows that are pitch apart.
func spotRuns(out [2]int, pitch int) (runs []spotRun) {
	height, width := out[0], out[1]
	if width == pitch {
		height, width = 1, height*width
	}
	if 2*width <= maxSpots {
		for i := 0; i < height; i += 2 {
			r := spotRun{at: int32(i * pitch), half: int32(pitch), to: int32(i * width), rows: int32(2 * width)}
			if i+1 == height {
				r.rows, r.half = r.rows/2, r.rows/4
			}
			runs = append(runs, r)
		}
		return runs
	}
	n := (width + maxSpots - 1) / maxSpots
	for i := range height {
		for j := range n {
			lo, hi := width*j/n, width*(j+1)/n
			runs = append(runs, spotRun{int32(i*pitch + lo), int32((hi - lo) / 2), int32(i*width + lo), int32(hi - lo)})
		}
	}
	return runs
}

// planBeside decides how x is read where filters stand beside each other: in place, or from lattices.
func (p *convPlan) planBeside(c *PackedConv) {
	inPlace := c.pointwise() && c.conv.Stride == [2]int{1, 1}
	if inPlace && c.precision == FP32 {
		p.offsets = c.offsetsIn(p.in[0]*p.in[1], []int{0})
		p.runs = spotRuns(p.out, p.in[1])
		return
	}
	p.lattice = newLattice(c.conv.Window, p.in, p.out)
	p.offsets = c.offsetsIn(p.lattice.size, p.lattice.offsets)
	p.runs = spotRuns(p.out, p.lattice.cols)
}

// besideLoop is the loop over blocks of positions and filters.
type besideLoop convGroup

// filtersInCache is how many bytes of weights are used for all positions before the next.
const filtersInCache = 512 * 1024

// multiplyBeside computes a group whose filters stand beside each other.
func (c *convGroup) multiplyBeside() {
	units, filters, positions := len(c.offsets), c.Filters, len(c.runs)
	g := grid{m: positions, n: filters, rows: positions}
	g.cols = min(blockCols, max(1, filtersInCache/4/spotCols/max(1, units))*spotCols)
	g = g.normal()
	work := c.y.H * c.y.W * filters * units
	if threads := c.pool.Threads(); threads > 1 && work >= 2*taskSize {
		want := min(tasksPerThread*threads, work/taskSize)
		if tasks := g.tasks(); tasks < want {
			blocks := min((want+tasks-1)/tasks, positions)
			g.rows = (positions + blocks - 1) / blocks
			if g.rows > groupRuns {
				g.rows = (g.rows + groupRuns - 1) / groupRuns * groupRuns
			}
			g = g.normal()
		}
	}
	c.grid = g
	c.pool.Do(g.tasks(), 1, (*besideLoop)(c))
}

// Do computes some blocks.
func (l *besideLoop) Do(lo, hi int) {
	c := (*convGroup)(l)
	w := spotWorks.Get().(*spotWork)
	for i := lo; i < hi; i++ {
		runs, filters := c.grid.task(i)
		for at := runs.lo; at < runs.hi; at += groupRuns {
			group := c.runs[at:min(at+groupRuns, runs.hi)]
			w.ahead = c.distance(at)
			for f := filters.lo; f < filters.hi; f += spotCols {
				c.computeSpots(w, group, span{f, min(f+spotCols, filters.hi)})
				w.ahead = 0
			}
		}
	}
	w.spots = spots{}
	spotWorks.Put(w)
}

// spotWork is what one thread computes blocks with.
type spotWork struct {
	spots
	sums []float32
}

var spotWorks = sync.Pool{New: func() any {
	return &spotWork{sums: aligned((groupRuns*maxSpots + turnRows) * spotCols)}
}}

// computeSpots computes some filters at the positions of the runs, which follow each other in y.
func (c *convGroup) computeSpots(w *spotWork, runs []spotRun, filters span) {
	p, level := &c.product, CurrentLevel()
	w.spots = spots{
		ahead: w.ahead, offsets: c.offsets, plane: p.cRow, precision: p.precision,
		b: c.packed.weights[filters.lo*len(c.offsets):], panel: panelWidth * len(c.offsets), cols: filters.hi - filters.lo,
	}
	if p.ep.RowBias != nil {
		w.bias = p.ep.RowBias[filters.lo:filters.hi]
	}
	n := 0
	for i, r := range runs {
		w.next, w.nextStep = c.upcoming(i, runs, filters)
		w.aim(p, filters.lo, int(r.to))
		w.a, w.half, w.rows = c.b[r.at:], int(r.half), int(r.rows)
		w.spots.sums = w.sums[n*spotCols:]
		w.run(level)
		n += w.rows
	}
	var clamped bool
	if w.lo, w.hi, clamped = p.ep.Activation.clamp(); !clamped {
		w.lo, w.hi, _ = Activation{}.clamp()
		if p.ep.Residual == nil {
			Apply(w.sums[:n*spotCols], w.sums[:n*spotCols], p.ep.Activation)
		}
	}
	for i := 0; i < n; i += turnRows {
		w.aim(p, filters.lo, int(runs[0].to)+i)
		w.spots.sums, w.rows = w.sums[i*spotCols:], min(turnRows, n-i)
		w.turn(level)
	}
	if !clamped && p.ep.Residual != nil {
		for f := filters.lo; f < filters.hi; f++ {
			dst := p.c[f*p.cRow+int(runs[0].to):][:n]
			Apply(dst, dst, p.ep.Activation)
		}
	}
}

// distance returns how far the run is in A that is computed with the next group when this one is with
// the i-th run.
func (c *convGroup) distance(i int) int {
	if i+groupRuns >= len(c.runs) {
		return 0
	}
	return int(c.runs[i+groupRuns].at - c.runs[i].at)
}

// upcoming returns which panel of the next filters to fetch during the i-th of the first runs.
func (c *convGroup) upcoming(i int, runs []spotRun, filters span) (panel []float32, step int) {
	panel = c.packed.weights[(filters.hi-1)/panelWidth*panelWidth*len(c.offsets):]
	next := (i + 1) * panelWidth * len(c.offsets)
	if runs[0].to > 0 || i > 1 || next >= len(panel) {
		return panel, 0
	}
	return panel[next:], 4 * panelWidth
}

// aim points the block at a filter and a position of y.
func (s *spots) aim(p *product, filter, position int) {
	at := filter*p.cRow + position
	s.dst = p.c[at:]
	if p.ep.Residual != nil {
		s.residual = p.ep.Residual[at:]
	}
}
