package kernels

// depthwise reports whether each filter reads a channel of its own. Filters that share their only
// channel are better multiplied together.
func (c *PackedConv) depthwise() bool {
	return !c.quads && c.conv.Channels == c.conv.Groups && (c.conv.Groups > 1 || c.conv.Filters == 1)
}

// sweepLoop is the loop over the planes of y where each filter reads a channel of its own.
type sweepLoop convolution

// sweepAll computes filters that read one channel each.
func (r *convolution) sweepAll() {
	work := r.y.H * r.y.W * (r.packed.depth + 2)
	r.pool.Do(r.y.N*r.y.C, 1+taskSize/(4*work), (*sweepLoop)(r))
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
	if fused {
		return
	}
	if r.ep.Residual != nil {
		Combine(Add, dst, dst, r.ep.Residual[plane*r.y.H*r.y.W:][:len(dst)])
	}
	Apply(dst, dst, r.ep.Activation)
}
