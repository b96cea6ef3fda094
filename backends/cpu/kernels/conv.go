package kernels

import "fmt"

// Conv is a convolution. Filters and channels are divided into Groups (0 stands for 1) that have
// nothing to do with each other. One-dimensional convolutions have a kernel of height 1.
type Conv struct {
	Channels, Filters, Groups int
	Window
}

// PackedConv is a convolution with its weights, laid out for reading. It is never written after
// PackConv and may be shared.
type PackedConv struct {
	conv    Conv
	depth   int       // weights of a filter
	row     int       // distance of filters in weights
	weights []float32 // filter by filter
}

// PackConv packs weights of Filters x Channels/Groups x kernel height x kernel width.
func PackConv(c Conv, weights []float32) *PackedConv {
	c.Groups = max(c.Groups, 1)
	c.Window = c.normal()
	c.check("PackConv")
	if c.Channels%c.Groups != 0 || c.Filters%c.Groups != 0 {
		panic(fmt.Sprintf("kernels: PackConv: %d channels and %d filters in %d groups", c.Channels, c.Filters, c.Groups))
	}
	depth := c.Channels / c.Groups * c.Kernel[0] * c.Kernel[1]
	if len(weights) != c.Filters*depth {
		panic(fmt.Sprintf("kernels: PackConv: %d weights, want %d", len(weights), c.Filters*depth))
	}
	p := &PackedConv{conv: c, depth: depth, row: spread(depth)}
	p.weights = make([]float32, c.Filters*p.row)
	for f := range c.Filters {
		copy(p.weights[f*p.row:], weights[f*depth:][:depth])
	}
	return p
}

// spread returns a row length of at least depth at which the same columns of neighbouring rows do
// not compete for a place in the first-level cache: an odd number of cache lines.
func spread(depth int) int {
	const line = 16
	if depth <= line {
		return depth
	}
	return ((depth+line-1)/line | 1) * line
}

// Conv returns the convolution that was packed.
func (c *PackedConv) Conv() Conv { return c.conv }

// Conv2D computes y = act(conv(x) + RowBias + Residual): ep.RowBias has one value per filter,
// ep.Bias is not used. The size of y decides how many positions are computed.
func Conv2D(p *Pool, c *PackedConv, x, y Images, ep Epilogue) {
	c.check(x, y, ep)
	if len(y.Data) == 0 || y.N*y.C*y.H*y.W == 0 {
		return
	}
	run := convolution{pool: p, conv: c, x: x, y: y, ep: ep}
	run.choose()
	items := x.N * c.conv.Groups
	if c.conv.Channels == c.conv.Groups {
		run.sweepAll()
		return
	}
	p.For(items, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			run.group(i/c.conv.Groups, i%c.conv.Groups)
		}
	})
}

func (c *PackedConv) check(x, y Images, ep Epilogue) {
	x.check("Conv2D: x")
	y.check("Conv2D: y")
	if x.C != c.conv.Channels || y.C != c.conv.Filters || x.N != y.N {
		panic(fmt.Sprintf("kernels: Conv2D: x is %d x %d, y %d x %d planes, want n x %d and n x %d",
			x.N, x.C, y.N, y.C, c.conv.Channels, c.conv.Filters))
	}
	if ep.RowBias != nil && len(ep.RowBias) < y.C {
		panic("kernels: Conv2D: fewer biases than filters")
	}
	if ep.Residual != nil && len(ep.Residual) < y.N*y.C*y.H*y.W {
		panic("kernels: Conv2D: residual is smaller than y")
	}
}

// convolution is one run of Conv2D.
type convolution struct {
	pool    *Pool
	conv    *PackedConv
	x, y    Images
	ep      Epilogue
	lattice *lattice // nil where x is read in place
	offsets []int    // in a group's lattices, one per weight of a filter
	gather  bool     // positions are collected to panels first
}

// choose decides how x is read. A 1x1 kernel that neither pads nor skips reads it in place. Else
// the planes are copied to lattices, whose rows are read in place where they fill most of a panel.
func (r *convolution) choose() {
	w := r.conv.conv.Window
	pointwise := w.Kernel == [2]int{1, 1} && w.Pads == [4]int{}
	if pointwise && w.Stride == [2]int{1, 1} {
		return
	}
	r.lattice = newLattice(w, [2]int{r.x.H, r.x.W}, [2]int{r.y.H, r.y.W})
	r.gather = !pointwise && 10*r.y.W < 7*panels(r.y.W)*panelWidth
	if r.conv.conv.Channels != r.conv.conv.Groups {
		for channel := range r.conv.conv.Channels / r.conv.conv.Groups {
			for _, o := range r.lattice.offsets {
				r.offsets = append(r.offsets, channel*r.lattice.size+o)
			}
		}
	}
}

// product returns the product of one group's filters, with B yet to be set.
func (r *convolution) product(image, group int) product {
	filters := r.conv.conv.Filters / r.conv.conv.Groups
	first := (image*r.conv.conv.Filters + group*filters) * r.y.H * r.y.W
	g := product{
		a: r.conv.weights[group*filters*r.conv.row:], aRow: r.conv.row, aStep: 1,
		c: r.y.Data[first:], cRow: r.y.H * r.y.W, residualRow: r.y.H * r.y.W,
		alpha: 1, ep: Epilogue{Activation: r.ep.Activation},
	}
	if r.ep.RowBias != nil {
		g.ep.RowBias = r.ep.RowBias[group*filters:]
	}
	if r.ep.Residual != nil {
		g.ep.Residual = r.ep.Residual[first:]
	}
	return g
}

// group computes one group of one image.
func (r *convolution) group(image, group int) {
	channels := r.conv.conv.Channels / r.conv.conv.Groups
	planes := image*r.conv.conv.Channels + group*channels
	g := r.product(image, group)
	if r.lattice == nil {
		r.pointwise(g, r.x.Data[planes*r.x.H*r.x.W:])
		return
	}
	s := borrow(channels*r.lattice.size+slack, 0)
	defer s.giveBack()
	r.pool.For(channels, 1+taskSize/(8*(r.lattice.size+1)), func(lo, hi int) {
		for c := lo; c < hi; c++ {
			lattice := s.data[c*r.lattice.size:][:r.lattice.size]
			clear(lattice)
			r.lattice.fill(lattice, r.x.plane(planes+c))
		}
	})
	switch {
	case r.conv.conv.Kernel == [2]int{1, 1}:
		r.pointwise(g, s.data)
	case r.gather:
		r.gathered(g, s.data)
	default:
		r.direct(g, s.data)
	}
}

// pointwise multiplies with planes that are a matrix already.
func (r *convolution) pointwise(g product, planes []float32) {
	n := r.y.H * r.y.W
	d := dynamic{product: g, k: r.conv.depth, matrix: planes, row: n}
	grid := r.grid(n)
	r.pool.For(grid.tasks(), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			rows, cols := grid.task(i)
			d := d
			d.multiply(rows, cols)
		}
	})
}

func (r *convolution) grid(n int) grid {
	return newGrid(r.pool, r.conv.conv.Filters/r.conv.conv.Groups, n, r.conv.depth)
}

// direct reads the rows of the lattices in place: each row of y is a segment, or two where both
// fit into a tile.
func (r *convolution) direct(g product, lattices []float32) {
	g.b, g.offsets, g.panel = lattices, r.offsets, panelWidth
	level := CurrentLevel()
	pair := r.y.W <= panelWidth && maxPanels(level, maxRows(level)) > 1
	step := 1
	if pair {
		g.panel, step = r.lattice.cols, 2
	}
	var segments []segment
	for i := 0; i < r.y.H; i += step {
		segments = append(segments, segment{b: i * r.lattice.cols, c: i * r.y.W, cols: r.y.W, paired: pair && i+1 < r.y.H})
	}
	// A task is whole segments, of as many columns together as usual.
	grid := r.grid(r.y.H * r.y.W)
	grid.cols = max(1, grid.cols/(step*r.y.W))
	grid.n = len(segments)
	grid = grid.normal()
	r.pool.For(grid.tasks(), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			rows, part := grid.task(i)
			g.multiply(rows, segments[part.lo:part.hi])
		}
	})
}

// gathered collects the values under 16 positions at a time to panels, wherever they stand.
func (r *convolution) gathered(g product, lattices []float32) {
	n := r.y.H * r.y.W
	positions := make([]int32, panels(n)*panelWidth)
	for i := range n {
		positions[i] = int32(i/r.y.W*r.lattice.cols + i%r.y.W)
	}
	grid := r.grid(n)
	grid.rows = grid.m // so that each panel is collected once
	grid = grid.normal()
	r.pool.For(grid.tasks(), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			rows, cols := grid.task(i)
			r.gatherBlock(g, lattices, positions, rows, cols)
		}
	})
}

func (r *convolution) gatherBlock(g product, lattices []float32, positions []int32, rows, cols span) {
	n := cols.hi - cols.lo
	s := borrow(panels(n)*panelWidth*r.conv.depth, r.conv.depth)
	defer s.giveBack()
	g.b, g.panel, g.offsets = s.data, r.conv.depth*panelWidth, strided(s.offsets, panelWidth)
	for j := 0; j < n; j += panelWidth {
		gatherPanel(s.data[j*r.conv.depth:], lattices, r.offsets, positions[cols.lo+j:][:panelWidth])
	}
	g.multiply(rows, []segment{{c: cols.lo, cols: n}})
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

// sweepAll computes filters that read one channel each.
func (r *convolution) sweepAll() {
	if r.lattice == nil {
		r.lattice = newLattice(r.conv.conv.Window, [2]int{r.x.H, r.x.W}, [2]int{r.y.H, r.y.W})
	}
	planes := r.y.N * r.y.C
	work := r.y.H * r.y.W * (r.conv.depth + 2)
	r.pool.For(planes, 1+taskSize/(4*work), func(lo, hi int) {
		w := newSweeper(r.lattice, 0)
		defer w.scratch.giveBack()
		for i := lo; i < hi; i++ {
			r.sweepPlane(i, w)
		}
	})
}

func (r *convolution) sweepPlane(plane int, w sweeper) {
	image, filter := plane/r.y.C, plane%r.y.C
	channel := filter / (r.conv.conv.Filters / r.conv.conv.Groups)
	dst := r.y.plane(plane)
	s := sweep{dst: dst, rows: r.y.H, cols: r.y.W, weights: r.conv.weights[filter*r.conv.row:][:r.conv.depth]}
	if r.ep.RowBias != nil {
		s.start = r.ep.RowBias[filter]
	}
	lo, hi, fused := r.ep.Activation.clamp()
	fused = fused && r.ep.Residual == nil
	if !fused {
		lo, hi, _ = Activation{}.clamp()
	}
	s.lo, s.hi = lo, hi
	w.run(s, r.x.plane(image*r.x.C+channel))
	if fused {
		return
	}
	if r.ep.Residual != nil {
		Combine(Add, dst, dst, r.ep.Residual[plane*r.y.H*r.y.W:][:len(dst)])
	}
	Apply(dst, dst, r.ep.Activation)
}
