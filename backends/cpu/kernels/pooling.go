package kernels

import (
	"math"
	"sync"
	"sync/atomic"
)

// MaxPool2D sets each value of y to the largest of x under the window. Padding does not count, nor
// do positions beyond it; a NaN under the window gives NaN. The size of y decides how many
// positions are computed, so that a last window may reach past the padding.
func MaxPool2D(p *Pool, w Window, x, y Images) { new(Pooling).Max(p, w, x, y) }

// Pooling keeps what follows from the sizes of the last planes that were pooled with it. It may be
// shared.
type Pooling struct{ last atomic.Pointer[poolPlan] }

// poolPlan is what follows from the window and the sizes of x and y.
type poolPlan struct {
	window  Window
	in, out [2]int
	lattice *lattice
}

// Max is MaxPool2D.
func (c *Pooling) Max(p *Pool, w Window, x, y Images) {
	none := float32(math.Inf(-1))
	c.planes(p, w, pooled{x: x, y: y, pad: none, setup: sweep{start: none, largest: true}})
}

// planFor returns the plan for planes of these sizes.
func (c *Pooling) planFor(w Window, in, out [2]int) *poolPlan {
	if plan := c.last.Load(); plan != nil && plan.window == w && plan.in == in && plan.out == out {
		return plan
	}
	w.check("pooling")
	plan := &poolPlan{w, in, out, newLattice(w, in, out)}
	c.last.Store(plan)
	return plan
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
	new(Pooling).planes(p, w, pooled{x: x, y: y, setup: sums, shares: shares})
}

// GlobalAveragePool sets means[i] to the mean of the i-th plane, counted through all images. The
// largest of a plane is found by MaxRows.
func GlobalAveragePool(means []float32, x Images) {
	x.check("GlobalAveragePool: x")
	SumRows(means, x.Data[:x.N*x.C*x.H*x.W], x.H*x.W)
	Combine(Div, means, means, []float32{float32(x.H * x.W)})
}

// pooled is a pooling under way: the sweep over every plane, whose results are divided by the shares,
// if there are any.
type pooled struct {
	x, y    Images
	pad     float32
	setup   sweep
	shares  []float32
	lattice *lattice
}

var pooleds = sync.Pool{New: func() any { return new(pooled) }}

func (c *Pooling) planes(p *Pool, w Window, setup pooled) {
	x, y := setup.x, setup.y
	x.check("pooling: x")
	y.check("pooling: y")
	if x.N != y.N || x.C != y.C {
		panic("kernels: pooling: x and y differ in planes")
	}
	if y.H*y.W == 0 {
		w.normal().check("pooling")
		return
	}
	setup.lattice = c.planFor(w.normal(), [2]int{x.H, x.W}, [2]int{y.H, y.W}).lattice
	t := pooleds.Get().(*pooled)
	*t = setup
	p.Do(x.N*x.C, 1+taskSize/(4*t.lattice.size), t)
	*t = pooled{}
	pooleds.Put(t)
}

// Do computes some of the planes.
func (t *pooled) Do(lo, hi int) {
	w := newSweeper(t.lattice, t.pad)
	defer w.scratch.giveBack()
	for i := lo; i < hi; i++ {
		s := t.setup
		s.dst, s.rows, s.cols = t.y.plane(i), t.y.H, t.y.W
		w.run(s, t.x.plane(i))
		if t.shares != nil {
			Combine(Div, s.dst, s.dst, t.shares)
		}
	}
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
