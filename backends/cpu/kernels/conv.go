package kernels

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Conv is a convolution. Filters and channels are divided into Groups (0 stands for 1) that have
// nothing to do with each other. One-dimensional convolutions have a kernel of height 1.
type Conv struct {
	Channels, Filters, Groups int
	Window
}

// Method is how a convolution is computed, of which the layout of the weights is a part.
type Method uint8

// The methods. All can compute planes of all sizes.
const (
	AnySize   Method = iota // as fast as any where the size is not known
	InPlace                 // planes are matrices, multiplied where they are
	Winograd2               // Winograd's, with tiles of 2x2 results
	Winograd4               // the same, 4x4
)

// Method returns the fastest method for a convolution of a precision whose results are planes of a size,
// zeros where that is not known.
func (c Conv) Method(size [2]int, p Precision) Method {
	c.Window, c.Groups = c.normal(), max(c.Groups, 1)
	packed := PackedConv{conv: c, precision: p}
	const rows = 400 // from which on no method for short ones is needed
	switch {
	case p != FP32 || !packed.beside():
		return AnySize
	case packed.pointwise() && size[0]*size[1] >= rows:
		return InPlace
	case min(c.Channels, c.Filters) >= panelWidth && c.Kernel == [2]int{3, 3} && c.Stride == [2]int{1, 1} && c.Dilation == [2]int{1, 1}:
		return winograd(size)
	}
	return AnySize
}

// pointwise reports whether each result comes from one position.
func (c *PackedConv) pointwise() bool {
	return c.conv.Kernel == [2]int{1, 1} && c.conv.Pads == [4]int{}
}

// PackedConv is a convolution with its weights, laid out for reading. It may be shared.
type PackedConv struct {
	precision Precision
	quads     bool // channels are four together, of bytes
	method    Method
	panels    bool // the weights are panels of filters that stand beside each other
	conv      Conv
	depth     int         // weights of a filter
	units     int         // of a filter: those of the first channels at all taps, then of the next
	step      int         // words of a unit in weights
	row       int         // distance of filters in weights
	weights   []float32   // filter by filter
	matrix    *Packed     // the weights of a kernel of 1x1, where they are panels
	bytes     convAsBytes // for Int8, instead of weights
	plan      atomic.Pointer[convPlan]
}

// convPlan is what follows from the sizes of x and y. The last one is kept.
type convPlan struct {
	in, out   [2]int
	lattice   *lattice        // nil where x is read in place
	offsets   []int           // in a group's lattices, one per unit of a filter
	positions []int32         // of all values of a plane of y, up to a whole panel; nil where rows are read in place
	segments  []segment       // the rows of y where those of lattices are read in place
	panel     int             // distance of their panels
	runs      []spotRun       // the positions, where filters stand beside each other
	tiles     *winogradTiling // of y, for Winograd's method
	depth     *depth          // where each filter reads a channel of its own, in place
}

// PackConv packs weights of Filters x Channels/Groups x kernel height x kernel width, for products
// of a precision and for the level of this process. Units are made of channels: where a group has
// only one its products are FP32.
func PackConv(c Conv, weights []float32, p Precision) *PackedConv {
	return Memory(nil).PackConv(c, weights, p)
}

// newPackedConv returns a convolution of so many weights that has none yet.
func newPackedConv(c Conv, weights int, p Precision) *PackedConv {
	c.Groups = max(c.Groups, 1)
	c.Window = c.normal()
	c.check("PackConv")
	if c.Channels%c.Groups != 0 || c.Filters%c.Groups != 0 {
		panic(fmt.Sprintf("kernels: PackConv: %d channels and %d filters in %d groups", c.Channels, c.Filters, c.Groups))
	}
	channels, taps := c.Channels/c.Groups, c.Kernel[0]*c.Kernel[1]
	if weights != c.Filters*channels*taps {
		panic(fmt.Sprintf("kernels: PackConv: %d weights, want %d", weights, c.Filters*channels*taps))
	}
	if channels == 1 {
		p = FP32
	}
	packed := &PackedConv{precision: p, conv: c, depth: channels * taps, units: p.units(channels) * taps}
	packed.step = leftStep(p, CurrentLevel())
	packed.row = spread(packed.units * packed.step)
	return packed
}

// packFilter writes the weights of a filter as units to dst, which is zero.
func (c *PackedConv) packFilter(dst, weights []float32) {
	switch c.precision {
	case FP32:
		copy(dst, weights)
	case BF16:
		taps := c.conv.Kernel[0] * c.conv.Kernel[1]
		values := make([]float32, 2*c.units)
		for i, w := range weights {
			channel, tap := i/taps, i%taps
			values[channel/2*2*taps+2*tap+channel%2] = w
		}
		c.precision.left(dst, c.row, values, shape{1, len(values), len(values)})
	default:
		panic("kernels: no convolution of precision " + c.precision.String())
	}
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

// Precision returns the precision of the convolution's products.
func (c *PackedConv) Precision() Precision { return c.precision }

// Conv returns the convolution that was packed.
func (c *PackedConv) Conv() Conv { return c.conv }

// AddsInPlace reports whether the residual may lie where y does.
func (c *PackedConv) AddsInPlace() bool { return c.panels || c.method != AnySize && !c.depthwise() }

// Conv2D computes y = act(conv(x) + RowBias + Residual): ep.RowBias has one value per filter,
// ep.Bias is not used. The size of y decides how many positions are computed.
func Conv2D(p *Pool, c *PackedConv, x, y Images, ep Epilogue) {
	c.check(x, y, ep)
	if len(y.Data) == 0 || y.N*y.C*y.H*y.W == 0 {
		return
	}
	if c.precision == Int8 {
		c.bytes.conv2D(p, x, y, ep)
		return
	}
	if c.matrix != nil && x.H*x.W == 1 && y.H*y.W == 1 {
		ep.Bias, ep.RowBias = ep.RowBias, nil
		Gemm(p, x.N, x.Data, c.conv.Channels, c.matrix, y.Data, c.conv.Filters, ep)
		return
	}
	r := convolutions.Get().(*convolution)
	*r = convolution{Conv: c.conv, pool: p, packed: c, x: x, y: y, ep: ep}
	r.convPlan = c.planFor([2]int{x.H, x.W}, [2]int{y.H, y.W})
	if c.depthwise() {
		r.sweepAll()
	} else {
		p.Do(x.N*r.Groups, 1, r)
	}
	*r = convolution{}
	convolutions.Put(r)
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

// planFor decides how x is read. A 1x1 kernel that neither pads nor skips reads it in place. Else
// the planes are copied to lattices, whose rows are read in place where they fill most of a panel.
func (c *PackedConv) planFor(in, out [2]int) *convPlan {
	if p := c.plan.Load(); p != nil && p.in == in && p.out == out {
		return p
	}
	p := &convPlan{in: in, out: out}
	defer c.plan.Store(p)
	depthwise := c.depthwise()
	if m := c.method.tile(); m > 0 {
		p.tiles = newWinogradTiling(m, c.conv.Window, in, out)
		p.offsets = panelOffsets(c.conv.Channels)
		return p
	}
	if c.panels {
		p.planBeside(c)
		return p
	}
	if c.pointwise() && c.conv.Stride == [2]int{1, 1} && !depthwise {
		return p
	}
	if depthwise {
		if p.depth = newDepth(c.conv.Window, in, out); p.depth != nil {
			return p
		}
	}
	p.lattice = newLattice(c.conv.Window, in, out)
	if depthwise || c.pointwise() {
		return p
	}
	p.offsets = c.offsetsIn(p.lattice.size, p.lattice.offsets)
	if 10*out[1] < 7*panels(out[1])*panelWidth || c.tiled() {
		p.collect(out)
	} else {
		p.cut(out)
	}
	return p
}

// offsetsIn returns where the units of a filter stand in planes of a size, in each of which they stand at taps.
func (c *PackedConv) offsetsIn(size int, taps []int) []int {
	offsets := make([]int, 0, c.units)
	for i := range c.precision.units(c.conv.Channels / c.conv.Groups) {
		for _, o := range taps {
			offsets = append(offsets, i*size+o)
		}
	}
	return offsets
}

// tiled reports whether the products are made by tiles, which want rows of units that follow each
// other.
func (c *PackedConv) tiled() bool {
	return tiled(c.precision, CurrentLevel()) || c.quads && tiled(Int8, CurrentLevel())
}

// collect lists where in a lattice the values under the first tap stand.
func (p *convPlan) collect(out [2]int) {
	p.positions = make([]int32, panels(out[0]*out[1])*panelWidth)
	for i := range out[0] * out[1] {
		p.positions[i] = int32(i/out[1]*p.lattice.cols + i%out[1])
	}
}

// cut makes each row of y a segment, or two where both fit into a tile.
func (p *convPlan) cut(out [2]int) {
	level := CurrentLevel()
	pair := out[1] <= panelWidth && maxPanels(level, maxRows(level)) > 1
	step := 1
	p.panel = panelWidth
	if pair {
		p.panel, step = p.lattice.cols, 2
	}
	for i := 0; i < out[0]; i += step {
		p.segments = append(p.segments, segment{b: i * p.lattice.cols, c: i * out[1], cols: out[1], paired: pair && i+1 < out[0]})
	}
}

// convolution is one run of Conv2D.
type convolution struct {
	Conv
	*convPlan
	pool   *Pool
	packed *PackedConv
	x, y   Images
	ep     Epilogue
	pad    float32 // what padding holds
}

// product returns the product of one group's filters, with B yet to be set.
func (r *convolution) product(image, group int) product {
	filters := r.Filters / r.Groups
	first := (image*r.Filters + group*filters) * r.y.H * r.y.W
	g := product{
		precision: r.packed.precision,
		a:         r.packed.weights[group*filters*r.packed.row:], aRow: r.packed.row, aStep: r.packed.step,
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

// Do computes some groups, counted through all images.
func (r *convolution) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		image, group := i/r.Groups, i%r.Groups
		r.multiply(r.product(image, group), image*r.Channels+group*(r.Channels/r.Groups))
	}
}

var convolutions = sync.Pool{New: func() any { return new(convolution) }}
