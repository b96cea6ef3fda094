package kernels

import "sync"

// Winograd's method computes a convolution by a kernel of 3x3 with fewer multiplications. m x m results
// ("tile") come from m+2 x m+2 values; both these and the weights are transformed, multiplied place by
// place, added up over the channels, and transformed back, all but the middle by additions and small
// factors. With m = 2 that takes 16 multiplications where 36 did, with m = 4 36 where 144 did. So each
// place is a product of matrices: tiles by channels, channels by filters.
//
//	results = A (sum over channels of (G weights Gᵀ) * (B values Bᵀ)) Aᵀ
//
// A value that is not finite spoils its whole tile.

// The rows of B, A and G for tiles of 2 and of 4. The assembly has those of B and A as instructions.
var (
	winogradB2 = []float32{
		1, 0, -1, 0,
		0, 1, 1, 0,
		0, -1, 1, 0,
		0, 1, 0, -1,
	}
	winogradB4 = []float32{
		4, 0, -5, 0, 1, 0,
		0, -4, -4, 1, 1, 0,
		0, 4, -4, -1, 1, 0,
		0, -2, -1, 2, 1, 0,
		0, 2, -1, -2, 1, 0,
		0, 4, 0, -5, 0, 1,
	}
	winogradA2 = []float32{
		1, 1, 1, 0,
		0, 1, -1, -1,
	}
	winogradA4 = []float32{
		1, 1, 1, 1, 1, 0,
		0, 1, -1, 2, -2, 0,
		0, 1, 1, 4, 4, 0,
		0, 1, -1, 8, -8, 1,
	}
	winogradG2 = []float64{
		1, 0, 0,
		1. / 2, 1. / 2, 1. / 2,
		1. / 2, -1. / 2, 1. / 2,
		0, 0, 1,
	}
	winogradG4 = []float64{
		1. / 4, 0, 0,
		-1. / 6, -1. / 6, -1. / 6,
		-1. / 6, 1. / 6, -1. / 6,
		1. / 24, 1. / 12, 1. / 6,
		1. / 24, -1. / 12, 1. / 6,
		0, 0, 1,
	}
)

// forTiles returns the rows for tiles of m.
func forTiles[F float32 | float64](m int, two, four []F) []F {
	if m == 2 {
		return two
	}
	return four
}

// transform sets dst to rows * x * rowsᵀ, where x is side x side values and rows has as many columns.
func transform[F float32 | float64](dst, rows, x []F, side int) {
	n := len(rows) / side
	for i := range n {
		for j := range n {
			var sum F
			for k := range side {
				var inner F
				for l := range side {
					inner += rows[j*side+l] * x[k*side+l]
				}
				sum += rows[i*side+k] * inner
			}
			dst[i*n+j] = sum
		}
	}
}

// tile returns the size of the tiles of a method, 0 for others than Winograd's.
func (m Method) tile() int {
	switch m {
	case Winograd2:
		return 2
	case Winograd4:
		return 4
	}
	return 0
}

// winograd returns the method for a convolution of 3x3 whose results are planes of a size.
func winograd(size [2]int) Method {
	// What is multiplied becomes less and the weights become more. One costs as much as so many multiplications
	// by it, half for being read and half for the memory that it takes, and the transformations a fifth of
	// what there was to multiply.
	const weight = 70
	best, least := AnySize, 9*(size[0]*size[1]+weight)*4/5
	for _, method := range []Method{Winograd2, Winograd4} {
		m := method.tile()
		tiles := ((size[0] + m - 1) / m) * ((size[1] + m - 1) / m)
		if cost := (m + 2) * (m + 2) * (tiles + weight); tiles > 0 && cost < least {
			best, least = method, cost
		}
	}
	return best
}

// transformWeights returns the transformed weights: for each block of filters, for each place in a tile, two
// panels.
func (m Memory) transformWeights(c *PackedConv, weights []float32) []float32 {
	side, channels := c.method.tile()+2, c.conv.Channels
	places, block := side*side, channels*spotCols
	blocks := (c.conv.Filters + spotCols - 1) / spotCols
	return m.make(blocks*places*block, func(dst []float32) {
		clear(dst)
		g := forTiles(c.method.tile(), winogradG2, winogradG4)
		var w [9]float64
		turned := make([]float64, places)
		for i := range c.conv.Filters * channels {
			for j, v := range weights[9*i:][:9] {
				w[j] = float64(v)
			}
			transform(turned, g, w[:], 3)
			f, channel := i/channels, i%channels
			at := f/spotCols*places*block + (f%spotCols/panelWidth*channels+channel)*panelWidth + f%panelWidth
			for place, v := range turned {
				dst[at+place*block] = float32(v)
			}
		}
	})
}

// winogradTiling is the tiles of a plane of y, in runs.
type winogradTiling struct {
	m    int
	runs []winogradRun
}

// winogradRun is up to twice 7 tiles that are computed together. The assembly reads at and masks.
type winogradRun struct {
	at    [2]int       // where in a plane of x the first tile of each half starts, if that is in it
	masks [6][2]uint32 // which values of the rows from there on are in the plane
	top   [2]int       // where in a plane of y the halves are
	left  [2]int
	tiles [2]int // of each half: those of the second are as many, or none
	rows  int    // of the product
}

// newWinogradTiling cuts the rows of tiles into pieces, and puts two of them together.
func newWinogradTiling(m int, w Window, in, out [2]int) *winogradTiling {
	t := &winogradTiling{m: m}
	cols := (out[1] + m - 1) / m
	n := (cols + maxSpots/2 - 1) / (maxSpots / 2)
	half := 0
	for top := 0; top < out[0]; top += m {
		for j := range n {
			if half == 0 {
				t.runs = append(t.runs, winogradRun{})
			}
			first, last := cols*j/n, cols*(j+1)/n
			t.runs[len(t.runs)-1].place(half, span{first, last}, top, m, w, in)
			half = 1 - half
		}
	}
	return t
}

// place sets a half to some tiles.
func (r *winogradRun) place(half int, tiles span, top, m int, w Window, in [2]int) {
	r.top[half], r.left[half], r.tiles[half] = top, tiles.lo*m, tiles.hi-tiles.lo
	r.rows = max(r.tiles[0], (half+1)*r.tiles[half])
	if half == 1 {
		r.rows = 2 * max(r.tiles[0], r.tiles[1])
	}
	y, x := top-w.Pads[0], tiles.lo*m-w.Pads[1]
	r.at[half] = y*in[1] + x
	for i := range m + 2 {
		for j := range 8 * m {
			if y+i >= 0 && y+i < in[0] && x+j >= 0 && x+j < in[1] {
				r.masks[i][half] |= 1 << j
			}
		}
	}
}

// winogradIn transforms the values of the tiles of a run. The assembly reads its fields.
//
//	for c in planes, t in 7 tiles of each half:
//		dst[place*step+c*16+half*8+t] = (B values Bᵀ)[place]
type winogradIn struct {
	run          *winogradRun
	src          []float32 // planes of x
	width, plane int       // of x
	planes       int
	dst          []float32
	step         int
	rows         []float32 // for those that are half done
}

func (w *winogradIn) portable(m int) {
	side, b := m+2, forTiles(m, winogradB2, winogradB4)
	var values, transformed [winogradPlace]float32
	x, y := values[:side*side], transformed[:side*side]
	for lane := range w.planes * panelWidth {
		plane, half, tile := lane/panelWidth, lane/8%2, lane%8
		if tile >= w.run.tiles[half] {
			continue
		}
		for i := range x {
			x[i] = 0
			if row, col := i/side, tile*m+i%side; w.run.masks[row][half]>>col&1 != 0 {
				x[i] = w.src[plane*w.plane+w.run.at[half]+row*w.width+col]
			}
		}
		transform(y, b, x, side)
		for place, v := range y {
			w.dst[place*w.step+lane] = v
		}
	}
}

// winogradOut makes the results of some tiles for 32 filters. The assembly reads its fields.
//
//	for t in tiles, f in filters:
//		dst[((i*14+t)*m+j)*32+f] = (A products Aᵀ)[i, j], where products[place] = src[(place*14+t)*32+f]
type winogradOut struct {
	src, dst []float32
	tiles    int
}

func (w *winogradOut) portable(m int) {
	side, a := m+2, forTiles(m, winogradA2, winogradA4)
	var products, results [winogradPlace]float32
	x, y := products[:side*side], results[:m*m]
	for t := range w.tiles {
		for f := range spotCols {
			for place := range x {
				x[place] = w.src[(place*maxSpots+t)*spotCols+f]
			}
			transform(y, a, x, side)
			for i, v := range y {
				w.dst[((i/m*maxSpots+t)*m+i%m)*spotCols+f] = v
			}
		}
	}
}

// The loops over the transformation of values and over the products.
type (
	winogradInLoop convGroup
	winogradLoop   convGroup
)

const (
	transformed   = 512 * 1024 // values that are kept between the loops, if some runs have no more
	tilePlanes    = 64         // that a task transforms for a run
	runsPerTask   = 2          // for which weights are read once
	winogradPlace = 36         // places in a tile at most
)

func (c *convGroup) places() int { return (c.tiles.m + 2) * (c.tiles.m + 2) }

// placeStep is from a place to the next of a run in what has been transformed: not a power of two, or
// the places would compete in the caches.
func (c *convGroup) placeStep() int { return (c.Channels + 1) * panelWidth }

// multiplyTiles computes a group by Winograd's method.
func (c *convGroup) multiplyTiles() {
	step := c.places() * c.placeStep() // from a run to the next
	together := max(runsPerTask, min(len(c.tiles.runs), transformed/step))
	s := borrow(together*step, 0)
	defer s.giveBack()
	c.b = s.data
	for lo := 0; lo < len(c.tiles.runs); lo += together {
		c.part = span{lo, min(lo+together, len(c.tiles.runs))}
		c.pool.Do((c.part.hi-lo)*((c.Channels+tilePlanes-1)/tilePlanes), 1+tilePlanes/c.Channels, (*winogradInLoop)(c))
		c.grid = grid{m: c.part.hi - lo, n: (c.Filters + spotCols - 1) / spotCols, rows: runsPerTask, cols: 1}.normal()
		c.pool.Do(c.grid.tasks(), 1, (*winogradLoop)(c))
	}
}

// Do transforms some planes for some runs.
func (l *winogradInLoop) Do(lo, hi int) {
	c := (*convGroup)(l)
	w := winogradWorks.Get().(*winogradWork)
	blocks := (c.Channels + tilePlanes - 1) / tilePlanes
	for i := lo; i < hi; i++ {
		r, first := i/blocks, i%blocks*tilePlanes
		w.in = winogradIn{
			run: &c.tiles.runs[c.part.lo+r], rows: w.rows,
			src: c.x.Data[(c.planes+first)*c.x.H*c.x.W:], width: c.x.W, plane: c.x.H * c.x.W,
			planes: min(tilePlanes, c.Channels-first),
			dst:    c.b[r*c.places()*c.placeStep()+first*panelWidth:], step: c.placeStep(),
		}
		w.in.transform(CurrentLevel(), c.tiles.m)
	}
	w.giveBack()
}

// winogradWork is what one thread works with.
type winogradWork struct {
	spots
	in       winogradIn
	out      winogradOut
	rows     []float32
	products []float32 // of the runs of a task
	results  []float32 // of a run
}

var winogradWorks = sync.Pool{New: func() any {
	return &winogradWork{
		rows:     aligned(winogradPlace * panelWidth),
		products: aligned(runsPerTask * winogradPlace * maxSpots * spotCols),
		results:  aligned((16*maxSpots + turnRows) * spotCols),
	}
}}

func (w *winogradWork) giveBack() {
	w.spots, w.in, w.out = spots{}, winogradIn{}, winogradOut{}
	winogradWorks.Put(w)
}

// Do computes some blocks of filters for some runs.
func (l *winogradLoop) Do(lo, hi int) {
	c := (*convGroup)(l)
	w := winogradWorks.Get().(*winogradWork)
	for i := lo; i < hi; i++ {
		runs, block := c.grid.task(i)
		c.multiplyPlaces(w, runs, block.lo)
		for r := runs.lo; r < runs.hi; r++ {
			c.finishRun(w, &c.tiles.runs[c.part.lo+r], w.products[(r-runs.lo)*winogradPlace*maxSpots*spotCols:], block.lo*spotCols)
		}
	}
	w.giveBack()
}

// multiplyPlaces sets the products of some runs with a block of filters. A bias is added where a product
// goes into each result once.
func (c *convGroup) multiplyPlaces(w *winogradWork, runs span, block int) {
	level, size := CurrentLevel(), c.Channels*spotCols
	first := block * spotCols
	w.spots = spots{offsets: c.offsets, panel: c.Channels * panelWidth, cols: min(spotCols, c.Filters-first), half: 8}
	weights := c.packed.weights[block*c.places()*size:]
	for place := range c.places() {
		w.b, w.bias = weights[place*size:], nil
		if place == c.tiles.m+3 && c.product.ep.RowBias != nil {
			w.bias = c.product.ep.RowBias[first:][:w.cols]
		}
		for r := runs.lo; r < runs.hi; r++ {
			run := &c.tiles.runs[c.part.lo+r]
			// Meanwhile the weights of the next place are fetched: a panel by each run.
			w.next, w.nextStep = w.b, 0
			if next := size + (r-runs.lo)*w.panel; next+w.panel <= len(w.b) {
				w.next, w.nextStep = w.b[next:], 4*panelWidth
			}
			if w.half = 8; run.tiles[1] == 0 {
				w.half = run.rows / 2
			}
			w.a, w.spots.rows = c.b[(r*c.places()+place)*c.placeStep():], run.rows
			w.spots.sums = w.products[((r-runs.lo)*winogradPlace+place)*maxSpots*spotCols:]
			w.spots.run(level)
		}
	}
}

// finishRun makes the results of a run's products with filters from the first one on.
func (c *convGroup) finishRun(w *winogradWork, run *winogradRun, products []float32, first int) {
	m, ep := c.tiles.m, &c.product.ep
	w.out = winogradOut{src: products, dst: w.results, tiles: run.rows}
	w.out.run(CurrentLevel(), m)
	var clamped bool
	if w.lo, w.hi, clamped = ep.Activation.clamp(); !clamped {
		w.lo, w.hi, _ = Activation{}.clamp()
		if ep.Residual == nil {
			for i := range m {
				results := w.results[i*maxSpots*m*spotCols:][:run.rows*m*spotCols]
				Apply(results, results, ep.Activation)
			}
		}
	}
	w.plane = c.product.cRow
	for half, tiles := range run.tiles {
		top, left := run.top[half], run.left[half]
		width := min(tiles*m, c.y.W-left)
		for i := range min(m, c.y.H-top) {
			c.turnRow(w, w.results[(i*maxSpots+half*run.rows/2)*m*spotCols:], first, (top+i)*c.y.W+left, width)
			if !clamped && ep.Residual != nil {
				c.activateRow(first, w.cols, (top+i)*c.y.W+left, width)
			}
		}
	}
}

// turnRow writes so many results to a place in the planes of the filters.
func (c *convGroup) turnRow(w *winogradWork, results []float32, first, at, width int) {
	for j := 0; j < width; j += turnRows {
		w.aim(&c.product, first, at+j)
		w.spots.sums, w.spots.rows = results[j*spotCols:], min(turnRows, width-j)
		w.turn(CurrentLevel())
	}
}

// activateRow applies the activation to so many results in the planes of the filters.
func (c *convGroup) activateRow(first, filters, at, width int) {
	for f := first; f < first+filters; f++ {
		dst := c.product.c[f*c.product.cRow+at:][:width]
		Apply(dst, dst, c.product.ep.Activation)
	}
}
