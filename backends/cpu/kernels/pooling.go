package kernels

import "math"

// MaxPool2D sets each value of y to the largest of x under the window. Padding does not count, nor
// do positions beyond it; a NaN under the window gives NaN. The size of y decides how many
// positions are computed, so that a last window may reach past the padding.
func MaxPool2D(p *Pool, w Window, x, y Images) {
	none := float32(math.Inf(-1))
	poolPlanes(p, w, poolImages{x, y, none}, sweep{start: none, largest: true}, nil)
}

// AveragePool2D sets each value of y to the mean of x under the window. Padding counts as zeros if
// countPadding, otherwise not at all; what lies beyond the padding never counts.
func AveragePool2D(p *Pool, w Window, countPadding bool, x, y Images) {
	w = w.normal()
	shares := w.shares(countPadding, [2]int{x.H, x.W}, [2]int{y.H, y.W})
	ones := make([]float32, w.Kernel[0]*w.Kernel[1])
	fill(ones, 1)
	lo, hi, _ := Activation{}.clamp()
	sums := sweep{weights: ones, lo: lo, hi: hi}
	poolPlanes(p, w, poolImages{x, y, 0}, sums, func(dst []float32) { Combine(Div, dst, dst, shares) })
}

// GlobalAveragePool sets means[i] to the mean of the i-th plane, counted through all images. The
// largest of a plane is found by MaxRows.
func GlobalAveragePool(means []float32, x Images) {
	x.check("GlobalAveragePool: x")
	SumRows(means, x.Data[:x.N*x.C*x.H*x.W], x.H*x.W)
	Combine(Div, means, means, []float32{float32(x.H * x.W)})
}

type poolImages struct {
	x, y Images
	pad  float32
}

// poolPlanes computes the sweep over every plane, then finish, if any, on the result.
func poolPlanes(p *Pool, w Window, io poolImages, setup sweep, finish func(dst []float32)) {
	w = w.normal()
	w.check("pooling")
	x, y := io.x, io.y
	x.check("pooling: x")
	y.check("pooling: y")
	if x.N != y.N || x.C != y.C {
		panic("kernels: pooling: x and y differ in planes")
	}
	if y.H*y.W == 0 {
		return
	}
	l := newLattice(w, [2]int{x.H, x.W}, [2]int{y.H, y.W})
	p.For(x.N*x.C, 1+taskSize/(4*l.size), func(lo, hi int) {
		w := newSweeper(l, io.pad)
		defer w.scratch.giveBack()
		for i := lo; i < hi; i++ {
			s := setup
			s.dst, s.rows, s.cols = y.plane(i), y.H, y.W
			w.run(s, x.plane(i))
			if finish != nil {
				finish(s.dst)
			}
		}
	})
}

// shares returns how many values each position's mean is made of.
func (w Window) shares(countPadding bool, in, out [2]int) []float32 {
	count := func(dim, at int) int {
		from, to := 0, in[dim]
		if countPadding {
			from, to = -w.Pads[dim], in[dim]+w.Pads[dim+2]
		}
		n := 0
		for i := range w.Kernel[dim] {
			if y := at*w.Stride[dim] + i*w.Dilation[dim] - w.Pads[dim]; y >= from && y < to {
				n++
			}
		}
		return n
	}
	shares := make([]float32, 0, out[0]*out[1])
	for i := range out[0] {
		for j := range out[1] {
			shares = append(shares, float32(count(0, i)*count(1, j)))
		}
	}
	return shares
}
