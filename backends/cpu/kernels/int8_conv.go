package kernels

import "fmt"

// PackedByteConv is a convolution of bytes with its weights, laid out for reading at the level of
// this process. It may be shared.
type PackedByteConv struct {
	conv   Conv
	source Bytes       // of the weights, without data
	quads  *PackedConv // whose channels are units of four; nil if planes is not
	planes *PackedConv // of filters with a channel of their own
	sums   []int32     // of the weights of each filter, as signed bytes
	ones   []float32   // a filter of ones
}

// Conv returns the convolution that was packed.
func (c *PackedByteConv) Conv() Conv { return c.conv }

// PackByteConv packs weights of Filters x Channels/Groups x kernel height x kernel width. Their
// zero points are one or one per filter.
func PackByteConv(c Conv, weights Bytes) *PackedByteConv {
	return Memory(nil).PackByteConv(c, weights)
}

// PackByteConv is the function PackByteConv with a place for the result.
func (m Memory) PackByteConv(c Conv, weights Bytes) *PackedByteConv {
	p := newPackedByteConv(c, weights)
	if p.planes != nil {
		p.planes.weights = m.make(p.conv.Filters*p.planes.row, func(dst []float32) { p.fillPlanes(dst, weights) })
		return p
	}
	data := p.parts(m.make(p.size(), func(dst []float32) { p.fill(p.parts(dst), weights) }))
	p.quads.weights, p.ones, p.sums = data.filters, data.ones, data.sums
	return p
}

// newPackedByteConv returns a convolution that has no weights yet.
func newPackedByteConv(c Conv, weights Bytes) *PackedByteConv {
	whole := newPackedConv(c, len(weights.Data), FP32)
	p := &PackedByteConv{conv: whole.conv, source: Bytes{Signed: weights.Signed, Zero: weights.Zero}}
	if n := len(weights.Zero); n > 1 && n != c.Filters {
		panic(fmt.Sprintf("kernels: PackByteConv: %d zero points for %d filters", n, c.Filters))
	}
	taps := c.Kernel[0] * c.Kernel[1]
	const exact = 1 << 24 // float32 has all integers up to it
	if whole.depthwise() && 255*255*taps < exact {
		p.planes = whole
		return p
	}
	units := whole.conv
	quads := Int8.units(units.Channels / units.Groups)
	units.Channels = quads * units.Groups
	p.quads = &PackedConv{conv: units, depth: quads * taps, units: quads * taps, step: leftStep(Int8, CurrentLevel()), quads: true}
	p.quads.row = spread(p.quads.units * p.quads.step)
	return p
}

// size returns how many values of 4 bytes the weights, the filter of ones and the sums take.
func (c *PackedByteConv) size() int { return (c.conv.Filters+1)*c.quads.row + c.conv.Filters }

// byteFilters are the parts of a convolution's memory.
type byteFilters struct {
	filters, ones []float32
	sums          []int32
}

func (c *PackedByteConv) parts(data []float32) byteFilters {
	n := c.conv.Filters * c.quads.row
	return byteFilters{data[:n], data[n:][:c.quads.row], intsOf(data[n+c.quads.row:])[:c.conv.Filters]}
}

// fill packs the weights.
func (c *PackedByteConv) fill(to byteFilters, weights Bytes) {
	depth, flip := c.depth(), weights.flip(true)
	one := make([]byte, depth)
	for i := range one {
		one[i] = 1
	}
	c.packFilter(to.ones, one, 0)
	for f := range c.conv.Filters {
		filter := weights.Data[f*depth:][:depth]
		c.packFilter(to.filters[f*c.quads.row:][:c.quads.row], filter, flip)
		to.sums[f] = sumSigned(filter, flip)
	}
}

// depth returns how many weights a filter has.
func (c *PackedByteConv) depth() int {
	return c.conv.Channels / c.conv.Groups * c.conv.Kernel[0] * c.conv.Kernel[1]
}

// packFilter writes the weights of a filter, by channel and tap, as quads of channels.
func (c *PackedByteConv) packFilter(dst []float32, weights []byte, flip byte) {
	taps := c.conv.Kernel[0] * c.conv.Kernel[1]
	bytes := make([]byte, 4*c.quads.units)
	for i, w := range weights {
		channel, tap := i/taps, i%taps
		bytes[channel/4*4*taps+4*tap+channel%4] = w ^ flip
	}
	clear(dst)
	leftBytes(dst[:c.quads.units*c.quads.step], bytes, 0)
}

// fillPlanes makes float32 of weights that are swept over planes: their sums are exact.
func (c *PackedByteConv) fillPlanes(dst []float32, weights Bytes) {
	clear(dst)
	depth := c.depth()
	for f := range c.conv.Filters {
		for i, w := range weights.Data[f*depth:][:depth] {
			v := int32(w)
			if weights.Signed {
				v = int32(int8(w))
			}
			dst[f*c.planes.row+i] = float32(v - (Bytes{Signed: true, Zero: weights.Zero}).zero(f, true))
		}
	}
}

// ByteImages are Images of bytes.
type ByteImages struct {
	Data       []byte
	N, C, H, W int
	Signed     bool
	Zero       []int32 // the zero point, which is also what the padding holds: nil for 0, one, or one per image
}

// ByteConv is a convolution of bytes whose sums are exact, modulo 2^32. It is run by one of its
// methods, which say what becomes of the sums.
type ByteConv struct {
	X    ByteImages
	W    *PackedByteConv
	Size [2]int  // of a plane of the result
	Bias []int32 // one per filter, added to the sums, or nil
}

// Int32 writes the sums to y.
func (c ByteConv) Int32(p *Pool, y []int32) {
	c.check(len(y))
	area := c.Size[0] * c.Size[1]
	c.run(p, func(image int) sums32 {
		return func(filter, col int, sums []int32) {
			copy(y[(image*c.W.conv.Filters+filter)*area+col:], sums)
		}
	})
}

// Bytes writes the sums, rounded to bytes, to y.
func (c ByteConv) Bytes(p *Pool, y []byte, r Rounding) {
	c.check(len(y))
	checkScales(len(r.Scale), c.W.conv.Filters)
	area := c.Size[0] * c.Size[1]
	c.run(p, func(image int) sums32 {
		return func(filter, col int, sums []int32) {
			i := min(filter, len(r.Scale)-1)
			r.round(y[(image*c.W.conv.Filters+filter)*area+col:][:len(sums)], sums, r.Scale[i:i+1])
		}
	})
}

// Floats writes the sums as float32 to y: RowScale is one for all or one per image, Scale is one
// for all or one per filter, and in the epilogue RowBias is one per filter. Bias is not used.
func (c ByteConv) Floats(p *Pool, y []float32, s Scaling) {
	c.check(len(y))
	checkScales(len(s.RowScale), c.X.N)
	checkScales(len(s.Scale), c.W.conv.Filters)
	if s.RowBias != nil && len(s.RowBias) < c.W.conv.Filters || s.Residual != nil && len(s.Residual) < len(y) {
		panic("kernels: ByteConv: the epilogue is smaller than the result")
	}
	area := c.Size[0] * c.Size[1]
	size := c.W.conv.Filters * area
	scales := s.Scale
	c.run(p, func(image int) sums32 {
		part := s
		part.Bias, part.Scale = nil, ones
		if s.Residual != nil {
			part.Residual = s.Residual[image*size:][:size]
		}
		part.RowScale = make([]float32, c.W.conv.Filters)
		for f := range part.RowScale {
			part.RowScale[f] = s.RowScale[min(image, len(s.RowScale)-1)] * scales[min(f, len(scales)-1)]
		}
		return func(filter, col int, sums []int32) { part.write(y[image*size:][:size], area, filter, col, sums) }
	})
}

// ones is a scale that changes nothing.
var ones = []float32{1}

func (c ByteConv) check(n int) {
	x, conv := c.X, c.W.conv
	area := c.Size[0] * c.Size[1]
	if x.N < 0 || x.H < 0 || x.W < 0 || x.C != conv.Channels || len(x.Data) < x.N*x.C*x.H*x.W || area < 0 || n < x.N*conv.Filters*area {
		panic(fmt.Sprintf("kernels: ByteConv: x is %d x %d x %d x %d in %d bytes, y of %d values, for %d channels and %d filters",
			x.N, x.C, x.H, x.W, len(x.Data), n, conv.Channels, conv.Filters))
	}
	if len(x.Zero) > 1 && len(x.Zero) != x.N {
		panic(fmt.Sprintf("kernels: ByteConv: %d zero points for %d images", len(x.Zero), x.N))
	}
	if c.Bias != nil && len(c.Bias) < conv.Filters {
		panic("kernels: ByteConv: fewer biases than filters")
	}
}

// run computes the sums and hands them to the stores of the images.
func (c ByteConv) run(p *Pool, store func(image int) sums32) {
	if c.X.N*c.W.conv.Filters*c.Size[0]*c.Size[1] == 0 {
		return
	}
	if c.W.planes != nil {
		c.sweep(p, store)
		return
	}
	groups := c.W.conv.Groups
	plan := c.W.quads.planFor([2]int{c.X.H, c.X.W}, c.Size)
	p.For(c.X.N*groups, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			c.group(p, plan, [2]int{i / groups, i % groups}, store(i/groups))
		}
	})
}

// group computes a group of an image.
func (c ByteConv) group(p *Pool, plan *convPlan, at [2]int, store sums32) {
	conv, quads, x := c.W.conv, c.W.quads, c.X
	image, group := at[0], at[1]
	channels, filters := conv.Channels/conv.Groups, conv.Filters/conv.Groups
	s := borrow(Int8.units(channels)*x.H*x.W+slack, 0)
	defer s.giveBack()
	c.interleave(p, s.data, image*x.C+group*channels)
	zero := c.zero(image, false)
	r := convolution{
		Conv: quads.conv, convPlan: plan, pool: p, packed: quads, pad: unit(byte(zero)),
		x: Images{Data: s.data, N: 1, C: quads.conv.Channels / conv.Groups, H: x.H, W: x.W},
		y: Images{N: 1, C: conv.Filters, H: c.Size[0], W: c.Size[1]},
	}
	sums := byteSums{factors: make([]int32, filters)}
	terms := make([]int32, filters)
	for i := range filters {
		filter := group*filters + i
		own := c.W.source.zero(filter, true)
		sums.factors[i] = -own
		if own != 0 {
			sums.ones = c.W.ones
		}
		terms[i] = int32(c.W.depth())*own*zero - zero*c.W.sums[filter]
		if c.Bias != nil {
			terms[i] += c.Bias[filter]
		}
	}
	sums.store = sums32(func(row, col int, x []int32) {
		correct(x, x, terms[row], 0)
		store(group*filters+row, col, x)
	})
	r.multiply(product{
		a: quads.weights[group*filters*quads.row:], aRow: quads.row, aStep: quads.step, bytes: &sums,
	}, 0)
}

// zero returns the zero point of an image after its bytes were made signed or unsigned.
func (c ByteConv) zero(image int, signed bool) int32 {
	return (Bytes{Signed: c.X.Signed, Zero: c.X.Zero}).zero(image, signed)
}

// interleave makes units of the planes of a group, which start with the given one. Where channels
// lack, others stand for them: their weights are zero.
func (c ByteConv) interleave(p *Pool, dst []float32, first int) {
	area := c.X.H * c.X.W
	channels := c.W.conv.Channels / c.W.conv.Groups
	flip := Bytes{Signed: c.X.Signed}.flip(false)
	p.For(Int8.units(channels), 1+elementGrain/(4*area+1), func(lo, hi int) {
		for q := lo; q < hi; q++ {
			var planes [4][]byte
			for i := range planes {
				planes[i] = c.X.Data[(first+min(4*q+i, channels-1))*area:][:area]
			}
			interleave(dst[q*area:][:area], planes, flip)
		}
	})
}

// elementGrain is how many bytes are worth handing to another thread.
const elementGrain = 64 * 1024

// sweep computes filters with a channel of their own in float32, which is exact.
func (c ByteConv) sweep(p *Pool, store func(image int) sums32) {
	conv, x := c.W.conv, c.X
	area, size := x.H*x.W, conv.Filters*c.Size[0]*c.Size[1]
	s := borrow(x.C*area+size, 0)
	defer s.giveBack()
	planes, out := s.data[:x.C*area], s.data[x.C*area:]
	for image := range x.N {
		t := ByteType{x.Signed, (Bytes{Signed: true, Zero: x.Zero}).zero(image, true)}
		p.For(x.C, 1+elementGrain/(area+1), func(lo, hi int) {
			t.Dequantize(planes[lo*area:hi*area], x.Data[(image*x.C+lo)*area:][:(hi-lo)*area], 1)
		})
		Conv2D(p, c.W.planes, Images{planes, 1, x.C, x.H, x.W}, Images{out, 1, conv.Filters, c.Size[0], c.Size[1]}, Epilogue{})
		take := store(image)
		p.For(conv.Filters, 1+elementGrain/(size/conv.Filters+1), func(lo, hi int) {
			for f := lo; f < hi; f++ {
				c.takeSums(f, out[f*size/conv.Filters:][:size/conv.Filters], take)
			}
		})
	}
}

// takeSums makes integers of a plane of sums and hands them to store.
func (c ByteConv) takeSums(filter int, plane []float32, store sums32) {
	bias := int32(0)
	if c.Bias != nil {
		bias = c.Bias[filter]
	}
	sums := intsOf(plane)
	for i := wholeSumsLevel(sums, bias); i < len(plane); i++ {
		sums[i] = int32(plane[i]) + bias
	}
	store(filter, 0, sums)
}
