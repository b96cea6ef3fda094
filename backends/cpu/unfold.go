package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// buildCol2Im builds the sum of overlapping blocks into images.
func buildCol2Im(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("an input of %v", n.input(0))
	}
	image, block := n.list("", 1), n.list("", 2)
	strides, dilations, given := n.ints("strides"), n.ints("dilations"), n.ints("pads")
	return func(r *run, in, out []*tensor) error {
		size, err := image(in)
		if err != nil {
			return err
		}
		kernel, err := block(in)
		if err != nil {
			return err
		}
		dims := len(size)
		w := window{kernel: kernel, strides: orOnes(strides, dims), dilations: orOnes(dilations, dims), pads: given, auto: "NOTSET"}
		if given == nil {
			w.pads = make([]int, 2*dims)
		}
		return w.col2im(r, out[0], in[0], size)
	}, nil
}

func (w window) col2im(r *run, y, x *tensor, size []int) error {
	sizes := slices.Concat(w.kernel, w.strides, w.dilations)
	bad := func(v int) bool { return v < 1 || v > maxWindow }
	if len(sizes) != 3*len(size) || len(w.pads) != 2*len(size) || slices.ContainsFunc(sizes, bad) || slices.ContainsFunc(w.pads, func(v int) bool { return v < 0 || v > maxWindow }) ||
		len(size) == 0 || slices.ContainsFunc(size, bad) || x.rank() != 3 || product(w.kernel) < 1 || x.shape[1]%product(w.kernel) != 0 {
		return backends.Errorf(backends.ErrInvalid, "columns of shape %v in blocks of %v for images of %v", x.shape, w.kernel, size)
	}
	taps := product(w.kernel)
	shape := append([]int{x.shape[0], x.shape[1] / taps}, size...)
	pads, blocks, err := w.fit(r, shape)
	if err != nil {
		return err
	}
	if product(blocks) != x.shape[2] {
		return backends.Errorf(backends.ErrInvalid, "%d columns, images of %v have %d blocks", x.shape[2], size, product(blocks))
	}
	if err := r.makeTensor(y, x.dtype, shape); err != nil {
		return err
	}
	clear(y.raw)
	l := w.lattice(pads, size, blocks)
	src, dst, plane, count := view[float32](x), view[float32](y), product(size), product(blocks)
	r.forRows(shape[0]*shape[1], plane*taps, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for b := range count {
				l.each(b, func(tap, at int) { dst[i*plane+at] += src[(i*taps+tap)*count+b] })
			}
		}
	})
	return nil
}

// buildCenterCropPad builds the cutting or padding of dimensions around their middle.
func buildCenterCropPad(n *node) (kernel, error) {
	target, given := n.list("", 1), n.ints("axes")
	put := byWidth(n.input(0), padded[uint8], padded[uint16], padded[uint32], padded[uint64], padded[string])
	zero := &tensor{dtype: n.input(0), raw: make([]byte, 8), strings: []string{""}}
	return func(r *run, in, out []*tensor) error {
		sizes, err := target(in)
		if err != nil {
			return err
		}
		axes := given
		if axes == nil {
			for d := range in[0].shape {
				axes = append(axes, d)
			}
		}
		if len(sizes) != len(axes) || slices.ContainsFunc(sizes, negative) {
			return backends.Errorf(backends.ErrInvalid, "sizes %v for axes %v", sizes, axes)
		}
		shape, pads := slices.Clone(in[0].shape), make([]int, in[0].rank())
		for i, at := range axes {
			a, err := axis(at, len(shape))
			if err != nil {
				return err
			}
			pads[a] = (sizes[i] - shape[a]) / 2 // towards zero, for cuts as for pads
			shape[a] = sizes[i]
		}
		if err := r.makeTensor(out[0], in[0].dtype, shape); err != nil {
			return err
		}
		put(out[0], in[0], zero, sources(in[0].shape, shape, pads, "constant"))
		return nil
	}, nil
}

// buildMaxUnpool builds the return of the largest elements to where they were.
func buildMaxUnpool(n *node) (kernel, error) {
	w, err := windowOf(n, nil)
	if err != nil {
		return nil, err
	}
	target := n.list("", 2)
	put := byWidth(n.input(0), put[uint8], put[uint16], put[uint32], put[uint64], put[string])
	return func(r *run, in, out []*tensor) error {
		x, places := in[0], in[1]
		dims := len(w.kernel)
		if x.rank() != dims+2 || !slices.Equal(places.shape, x.shape) {
			return backends.Errorf(backends.ErrInvalid, "places of shape %v for an input of shape %v and a kernel of shape %v", places.shape, x.shape, w.kernel)
		}
		shape := slices.Clone(x.shape)
		for d := range dims {
			shape[2+d] = (x.shape[2+d]-1)*w.strides[d] + w.kernel[d] - w.pads[d] - w.pads[dims+d]
		}
		whole := slices.Clone(shape)
		if sizes, err := target(in); err != nil {
			return err
		} else if sizes != nil {
			whole = sizes
		}
		if len(whole) != len(shape) || slices.ContainsFunc(whole, negative) || slices.ContainsFunc(shape, negative) {
			return backends.Errorf(backends.ErrInvalid, "an output of shape %v for an input of shape %v", whole, x.shape)
		}
		if err := r.makeTensor(out[0], x.dtype, whole); err != nil {
			return err
		}
		clear(out[0].raw)
		starts, err := unpooled(view[int64](places), shape, whole)
		if err != nil {
			return err
		}
		put(out[0], x, starts, 1)
		return nil
	}, nil
}

// unpooled returns where elements go in a tensor of shape to that are counted in shape from.
func unpooled(places []int64, from, to []int) ([]int, error) {
	all, size := make([]int, len(places)), int64(product(from))
	into := strides(to)
	for i, p := range places {
		if p < 0 || p >= size {
			return nil, backends.Errorf(backends.ErrInvalid, "place %d, element %d, is outside of shape %v", p, i, from)
		}
		left := int(p)
		for d := len(from) - 1; d >= 0; d-- {
			at := left % from[d]
			left /= from[d]
			if at >= to[d] {
				return nil, backends.Errorf(backends.ErrInvalid, "place %d, element %d, is outside of shape %v", p, i, to)
			}
			all[i] += at * into[d]
		}
	}
	return all, nil
}

// buildDeformConv builds the convolution whose taps move by offsets.
func buildDeformConv(n *node) (kernel, error) {
	for i, v := range n.Inputs {
		if v != nil && v.Datatype != backends.FP32 {
			return nil, n.unsupported("an input of %v", n.input(i))
		}
	}
	c, err := convolutionOf(n)
	if err != nil {
		return nil, err
	}
	if len(c.shape) != 4 {
		return nil, n.unsupported("deformable convolutions of %d dimensions: it has those of 2", len(c.shape)-2)
	}
	d := deformed{convolution: c, offsetGroups: n.int("offset_group", 1)}
	return d.kernel, nil
}

type deformed struct {
	convolution
	offsetGroups int // channels whose taps move together
}

func (d deformed) kernel(r *run, in, out []*tensor) error {
	x, w, offset := in[0], in[1], in[2]
	if !slices.Equal(w.shape, d.shape) {
		return backends.Errorf(backends.ErrInvalid, "weights of shape %v where the model says %v", w.shape, d.shape)
	}
	pads, size, err := d.fit(r, []*tensor{x})
	if err != nil {
		return err
	}
	taps := d.shape[2] * d.shape[3]
	want := []int{x.shape[0], d.offsetGroups * taps * 2, size[0], size[1]}
	if d.offsetGroups < 1 || x.shape[1]%d.offsetGroups != 0 || !slices.Equal(offset.shape, want) {
		return backends.Errorf(backends.ErrInvalid, "offsets of shape %v where %v is needed", offset.shape, want)
	}
	m := moving{out: size, taps: taps, offsets: view[float32](offset), plane: [2]int{x.shape[2], x.shape[3]}}
	if want[1] /= 2; len(in) > 4 && in[4] != nil {
		if !slices.Equal(in[4].shape, want) {
			return backends.Errorf(backends.ErrInvalid, "a mask of shape %v where %v is needed", in[4].shape, want)
		}
		m.mask = view[float32](in[4])
	}
	bias := make([]float32, d.shape[0])
	if len(in) > 3 && in[3] != nil {
		if in[3].len() != len(bias) {
			return backends.Errorf(backends.ErrInvalid, "a bias of shape %v for %d filters", in[3].shape, len(bias))
		}
		copy(bias, view[float32](in[3]))
	}
	if err := r.makeTensor(out[0], x.dtype, []int{x.shape[0], d.shape[0], size[0], size[1]}); err != nil {
		return err
	}
	startWith(out[0], bias)
	for image := range x.shape[0] {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		d.image(r, m, pads, image, [3][]float32{view[float32](x), view[float32](w), view[float32](out[0])})
	}
	return nil
}

// moving is where the taps of a deformed convolution are.
type moving struct {
	out           []int
	taps          int
	offsets, mask []float32
	plane         [2]int
}

// image adds the products of one image; data are the input, the weights and the output.
func (d deformed) image(r *run, m moving, pads []int, image int, data [3][]float32) {
	area, plane := m.out[0]*m.out[1], m.plane[0]*m.plane[1]
	channels := d.shape[1] * d.groups
	perGroup, perOffset, filters := d.shape[1], channels/d.offsetGroups, d.shape[0]/d.groups
	r.engine.pool.For(area, 1+elementGrain/(1+channels*m.taps), func(lo, hi int) {
		for at := lo; at < hi; at++ {
			for c := range channels {
				from := data[0][(image*channels+c)*plane:][:plane]
				for tap := range m.taps {
					v := d.sample(m, pads, from, [4]int{image, c / perOffset, tap, at})
					for f := range filters {
						filter := c/perGroup*filters + f
						data[2][(image*d.shape[0]+filter)*area+at] += v * data[1][(filter*perGroup+c%perGroup)*m.taps+tap]
					}
				}
			}
		}
	})
}

// sample reads a plane at a tap, place being image, offset group, tap and output element.
func (d deformed) sample(m moving, pads []int, plane []float32, place [4]int) float32 {
	area := m.out[0] * m.out[1]
	group, tap, at := place[0]*d.offsetGroups+place[1], place[2], place[3]
	w := d.window
	k := group*m.taps + tap
	y := float64(at/m.out[1]*w.strides[0]+tap/d.shape[3]*w.dilations[0]-pads[0]) + float64(m.offsets[2*k*area+at])
	x := float64(at%m.out[1]*w.strides[1]+tap%d.shape[3]*w.dilations[1]-pads[1]) + float64(m.offsets[(2*k+1)*area+at])
	v := between(plane, m.plane, y, x)
	if m.mask != nil {
		v *= m.mask[k*area+at]
	}
	return v
}

// between returns the bilinear mean of the four elements around a place, of which those outside
// of the plane are 0.
func between(plane []float32, size [2]int, y, x float64) float32 {
	if !(y > -1 && y < float64(size[0]) && x > -1 && x < float64(size[1])) {
		return 0
	}
	top, left := int(math.Floor(y)), int(math.Floor(x))
	sum := 0.0
	for i := top; i <= top+1; i++ {
		for j := left; j <= left+1; j++ {
			if i >= 0 && i < size[0] && j >= 0 && j < size[1] {
				sum += tent(y-float64(i)) * tent(x-float64(j)) * float64(plane[i*size[1]+j])
			}
		}
	}
	return float32(sum)
}
