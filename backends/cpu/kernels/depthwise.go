package kernels

import "sync"

// depthwise reports whether each filter reads a channel of its own. Filters that share their only
// channel are better multiplied together.
func (c *PackedConv) depthwise() bool {
	return !c.quads && c.conv.Channels == c.conv.Groups && (c.conv.Groups > 1 || c.conv.Filters == 1)
}

// depth is a filter of 3 x 3 or 5 x 5 that moves over one plane, which is read in place. The assembly
// reads its fields.
//
//	for r in rows, j in cols:
//		x = start; for each tap (p, q) over the plane: x += weights[p,q] * src[r*stride-top+p, j*stride-left+q]
//		dst[r*cols+j] = x, clamped
//
// Columns are computed in blocks of 16, or of 8 with a stride of 2. Each has masks: for each column
// of the filter which of 16 values, from the first that is read, are in the plane, and which values
// of the result there are.
type depth struct {
	src, dst      []float32
	weights       []float32
	masks         []uint16
	even          []int32 // 0, 2 … 14
	height, width int
	top, left     int
	rows, cols    int
	stride        int
	blocks        int
	start         float32
	lo, hi        float32
}

// newDepth returns what all planes of these sizes have in common, or nil where there is no such kernel.
func newDepth(w Window, in, out [2]int) *depth {
	k, stride := w.Kernel[0], w.Stride[0]
	known := (k == 3 || k == 5) && (stride == 1 || stride == 2)
	if CurrentLevel() < AVX512 || !known || w.Kernel[1] != k || w.Stride[1] != stride || w.Dilation != [2]int{1, 1} || w.Pads[0] >= k {
		return nil
	}
	d := &depth{
		height: in[0], width: in[1], top: w.Pads[0], left: w.Pads[1], rows: out[0], cols: out[1],
		stride: stride,
		even:   []int32{0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0},
	}
	lanes := panelWidth / stride
	for col := 0; col < out[1]; col += lanes {
		d.blocks++
		written := uint16(1<<min(lanes, out[1]-col) - 1)
		for q := range k {
			var read uint16
			for i := range panelWidth {
				if at := col*stride - w.Pads[1] + q + i; at >= 0 && at < in[1] {
					read |= 1 << i
				}
			}
			d.masks = append(d.masks, read)
		}
		d.masks = append(d.masks, written)
	}
	return d
}

// depthLoop is the loop over planes that are read in place.
type depthLoop convolution

// activateTogether is from how many values on an activation is applied to what has been computed.
const activateTogether = 2048

// Do computes some planes, counted through all images.
func (l *depthLoop) Do(lo, hi int) {
	r := (*convolution)(l)
	d := depthScratch.Get().(*depth)
	*d = *r.depth
	fused := false
	if d.lo, d.hi, fused = r.ep.Activation.clamp(); !fused || r.ep.Residual != nil {
		d.lo, d.hi, _ = Activation{}.clamp()
		fused = false
	}
	size, from := r.y.H*r.y.W, lo
	for i := lo; i < hi; i++ {
		image, filter := i/r.y.C, i%r.y.C
		d.dst, d.src = r.y.plane(i), r.x.plane(image*r.x.C+filter/(r.Filters/r.Groups))
		d.weights = r.packed.weights[filter*r.packed.row:][:r.packed.depth]
		if r.ep.RowBias != nil {
			d.start = r.ep.RowBias[filter]
		}
		d.run()
		if !fused && (i+1 == hi || (i+1-from)*size >= activateTogether) {
			r.finishPlanes(span{from, i + 1})
			from = i + 1
		}
	}
	*d = depth{}
	depthScratch.Put(d)
}

var depthScratch = sync.Pool{New: func() any { return new(depth) }}

// finishPlanes adds the residual to planes and applies the activation.
func (r *convolution) finishPlanes(planes span) {
	size := r.y.H * r.y.W
	dst := r.y.Data[planes.lo*size : planes.hi*size]
	if r.ep.Residual != nil {
		Combine(Add, dst, dst, r.ep.Residual[planes.lo*size:][:len(dst)])
	}
	Apply(dst, dst, r.ep.Activation)
}

// sweepLoop is the loop over the planes of y where each filter reads a channel of its own.
type sweepLoop convolution

// sweepAll computes filters that read one channel each.
func (r *convolution) sweepAll() {
	work := r.y.H * r.y.W * (r.packed.depth + 2)
	var loop Task = (*sweepLoop)(r)
	if r.depth != nil {
		loop = (*depthLoop)(r)
	}
	r.pool.Do(r.y.N*r.y.C, 1+taskSize/(4*work), loop)
}

// Do computes some planes, counted through all images.
func (l *sweepLoop) Do(lo, hi int) {
	w := newSweeper(l.lattice, 0)
	defer w.scratch.giveBack()
	for i := lo; i < hi; i++ {
		(*convolution)(l).sweepPlane(i, w)
	}
}

// sweepPlane computes a plane of y, counted through all images.
func (r *convolution) sweepPlane(plane int, w sweeper) {
	image, filter := plane/r.y.C, plane%r.y.C
	channel := filter / (r.Filters / r.Groups)
	dst := r.y.plane(plane)
	s := sweep{dst: dst, rows: r.y.H, cols: r.y.W, weights: r.packed.weights[filter*r.packed.row:][:r.packed.depth]}
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
	if !fused {
		r.finishPlanes(span{plane, plane + 1})
	}
}
