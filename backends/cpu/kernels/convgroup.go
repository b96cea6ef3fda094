package kernels

import "sync"

// convGroup is the product of a group's filters with its planes, under way.
type convGroup struct {
	*convolution
	product product
	planes  int       // the first one
	b       []float32 // the planes, or lattices of them
	panels  []float32 // what has been gathered
	cols    span      // of it
	part    span      // of the runs of tiles
	grid    grid
}

var convGroups = sync.Pool{New: func() any { return new(convGroup) }}

// The loops over parts of a group.
type (
	latticeLoop   convGroup
	pointwiseLoop convGroup
	directLoop    convGroup
	gatherLoop    convGroup
	panelLoop     convGroup
)

// multiply computes a product with a group's planes, from the given one on.
func (r *convolution) multiply(g product, planes int) {
	c := convGroups.Get().(*convGroup)
	c.convolution, c.product, c.planes = r, g, planes
	c.run()
	*c = convGroup{}
	convGroups.Put(c)
}

func (c *convGroup) run() {
	if c.tiles != nil {
		c.multiplyTiles()
		return
	}
	if c.lattice == nil {
		c.b = c.x.Data[c.planes*c.x.H*c.x.W:]
		if c.runs != nil {
			c.multiplyBeside()
			return
		}
		c.pointwise()
		return
	}
	s := c.lattices()
	defer s.giveBack()
	c.b = s.data
	switch {
	case c.runs != nil:
		c.multiplyBeside()
	case c.offsets == nil:
		c.pointwise()
	case c.positions != nil:
		c.gathered()
	default:
		c.direct()
	}
}

// lanes returns how many planes a lattice holds: it has units, unless it is to be part of a matrix.
func (c *convGroup) lanes() int {
	if c.offsets == nil {
		return 1
	}
	return c.packed.precision.lanes()
}

// lattices copies the planes to lattices.
func (c *convGroup) lattices() *scratch {
	lanes := c.lanes()
	n := (c.Channels/c.Groups + lanes - 1) / lanes
	s := borrow(n*c.lattice.size+slack, 0)
	c.b = s.data
	c.pool.Do(n, 1+taskSize/(8*lanes*(c.lattice.size+1)), (*latticeLoop)(c))
	return s
}

// Do fills some lattices.
func (l *latticeLoop) Do(lo, hi int) {
	c := (*convGroup)(l)
	if c.lanes() == 2 {
		c.pairLattices(span{lo, hi})
		return
	}
	size := c.lattice.size
	for i := lo; i < hi; i++ {
		c.fill(c.b[i*size:][:size], c.planes+i)
	}
}

func (c *convGroup) fill(lattice []float32, plane int) {
	fill(lattice, c.pad)
	c.lattice.fill(lattice, c.x.plane(plane))
}

// pairLattices fills lattices with the pairs of two channels each.
func (c *convGroup) pairLattices(pairs span) {
	size := c.lattice.size
	s := borrow(2*size, 0)
	defer s.giveBack()
	even, odd := s.data[:size], s.data[size:]
	for i := pairs.lo; i < pairs.hi; i++ {
		c.fill(even, c.planes+2*i)
		if 2*i+1 < c.Channels/c.Groups {
			c.fill(odd, c.planes+2*i+1)
		} else {
			clear(odd)
		}
		p := conversion{dst: c.b[i*size:][:size], src: even, odd: odd, rows: 1, cols: size, panel: panelWidth}
		p.pairRows(CurrentLevel())
	}
}

// divide cuts the result into tasks, columns being those of n.
func (c *convGroup) divide(n int) {
	c.grid = newGrid(c.pool, c.Filters/c.Groups, n, c.packed.units)
}

// pointwise multiplies with planes that are a matrix already.
func (c *convGroup) pointwise() {
	c.divide(c.y.H * c.y.W)
	c.pool.Do(c.grid.tasks(), 1, (*pointwiseLoop)(c))
}

// Do computes some blocks.
func (l *pointwiseLoop) Do(lo, hi int) {
	n := l.y.H * l.y.W
	d := dynamic{product: l.product, right: Matrix{Data: l.b, K: l.packed.depth, N: n, Stride: n}, stays: true}
	for i := lo; i < hi; i++ {
		d.multiply(l.grid.task(i))
	}
}

// direct reads the rows of the lattices in place.
func (c *convGroup) direct() {
	c.product.b, c.product.offsets, c.product.panel = c.b, c.offsets, c.convPlan.panel
	// A task is whole segments, of as many columns together as usual.
	n := c.y.H * c.y.W
	c.divide(n)
	c.grid.cols = max(1, c.grid.cols*len(c.segments)/n)
	c.grid.n = len(c.segments)
	c.grid = c.grid.normal()
	c.pool.Do(c.grid.tasks(), 1, (*directLoop)(c))
}

// Do computes some segments.
func (l *directLoop) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		rows, part := l.grid.task(i)
		l.product.multiply(rows, l.segments[part.lo:part.hi])
	}
}

// gathered collects the values under 16 positions at a time to panels, wherever they stand.
func (c *convGroup) gathered() {
	n, depth := c.y.H*c.y.W, c.packed.units
	for lo := 0; lo < n; lo += blockCols {
		c.cols = span{lo, min(lo+blockCols, n)}
		c.gatherBlock(panels(c.cols.hi-lo), depth)
	}
}

func (c *convGroup) gatherBlock(n, depth int) {
	s := borrow(n*panelWidth*depth, depth)
	defer s.giveBack()
	c.panels = s.data
	c.product.b, c.product.panel, c.product.offsets = s.data, depth*panelWidth, strided(s.offsets, panelWidth)
	c.pool.Do(n, 1+taskSize/(16*panelWidth*depth), (*gatherLoop)(c))
	c.divide(c.cols.hi - c.cols.lo)
	c.pool.Do(c.grid.tasks(), 1, (*panelLoop)(c))
}

// Do gathers some panels.
func (l *gatherLoop) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		gatherPanel(l.panels[i*l.product.panel:], l.b, l.offsets, l.positions[l.cols.lo+i*panelWidth:][:panelWidth])
	}
}

// Do multiplies with some of what has been gathered.
func (l *panelLoop) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		rows, part := l.grid.task(i)
		l.product.multiply(rows, []segment{{b: part.lo * l.packed.units, c: l.cols.lo + part.lo, cols: part.hi - part.lo}})
	}
}

// gatherPortable sets dst[k*16+i] = src[offsets[k]+positions[i]].
func gatherPortable(dst, src []float32, offsets []int, positions []int32) {
	for k, o := range offsets {
		row := dst[k*panelWidth:][:panelWidth]
		for i, at := range positions {
			row[i] = src[o+int(at)]
		}
	}
}
