package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildPool builds MaxPool and AveragePool.
func buildPool(n *node) (kernel, error) {
	w, err := windowOf(n, nil)
	if err != nil {
		return nil, err
	}
	if len(w.kernel) > 2 {
		return deepPool(n, w)
	}
	if n.input(0) == backends.FP32 && n.output(1) == backends.Invalid {
		return pooling(n, w), nil
	}
	if n.Op == "MaxPool" && isByte(n.input(0)) && n.output(1) == backends.Invalid {
		return w.bytePool(), nil
	}
	columns := n.int("storage_order", 0) != 0
	if n.Op == "MaxPool" {
		switch n.input(0) {
		case backends.FP32:
			return w.placed(columns, largest[float32]), nil
		case backends.FP64:
			return w.placed(columns, largest[float64]), nil
		case backends.Int8:
			return w.placed(columns, largest[int8]), nil
		case backends.Uint8:
			return w.placed(columns, largest[uint8]), nil
		}
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

// deepPool builds poolings over more than two dimensions.
func deepPool(n *node, w window) (kernel, error) {
	if n.input(0) != backends.FP32 || n.output(1) != backends.Invalid {
		return nil, n.unsupported("an input of %v with %d dimensions and places as an output", n.input(0), len(w.kernel)+2)
	}
	if n.Op == "MaxPool" {
		return w.latticePool(largestOf), nil
	}
	return w.latticePool(averageOf(n.int("count_include_pad", 0) != 0)), nil
}

func pooling(n *node, w window) kernel {
	countPads := n.int("count_include_pad", 0) != 0
	average, largest := n.Op == "AveragePool", new(kernels.Pooling)
	return func(r *run, in, out []*tensor) error {
		pads, err := w.makeOutput(r, in[0], out[0])
		if err != nil {
			return err
		}
		plane, x, y := w.plane(pads), images(in[0]), images(out[0])
		if average {
			kernels.AveragePool2D(r.engine.pool, plane, countPads, x, y)
		} else {
			largest.Max(r.engine.pool, plane, x, y)
		}
		return nil
	}
}

// bytePool builds the MaxPool of bytes by way of FP32, which has all of them.
func (w window) bytePool() kernel {
	return func(r *run, in, out []*tensor) error {
		x, y := r.scratch(), r.scratch()
		of := kernels.ByteType{Signed: in[0].dtype == backends.Int8}
		if err := r.makeTensor(x, backends.FP32, in[0].shape); err != nil {
			return err
		}
		floats := view[float32](x)
		r.engine.pool.For(len(floats), elementGrain, func(lo, hi int) { of.Dequantize(floats[lo:hi], in[0].raw[lo:hi], 1) })
		pads, err := w.makeOutput(r, x, y)
		if err != nil {
			return err
		}
		kernels.MaxPool2D(r.engine.pool, w.plane(pads), images(x), images(y))
		if err := r.makeTensor(out[0], in[0].dtype, y.shape); err != nil {
			return err
		}
		floats = view[float32](y)
		r.engine.pool.For(len(floats), elementGrain, func(lo, hi int) { of.Quantize(out[0].raw[lo:hi], floats[lo:hi], 1) })
		return nil
	}
}

func (w window) makeOutput(r *run, x, y *tensor) (pads []int, err error) {
	if x.rank() != len(w.kernel)+2 {
		return nil, backends.Errorf(backends.ErrInvalid, "a kernel of shape %v on an input of shape %v", w.kernel, x.shape)
	}
	pads, size, err := w.fit(r, x.shape)
	if err != nil {
		return nil, err
	}
	return pads, r.makeTensor(y, x.dtype, r.joined(x.shape[:2], size))
}

// grid is a window on planes that no kernel is for: sizes with heights first.
type grid struct {
	window  kernels.Window
	in, out [2]int
	columns bool // places count down the columns
}

// placed returns the kernel that also says where the largest elements are.
func (w window) placed(columns bool, f func(g grid, values, places, x *tensor)) kernel {
	return func(r *run, in, out []*tensor) error {
		pads, err := w.makeOutput(r, in[0], out[0])
		if err != nil {
			return err
		}
		places := orScratch(r, out, 1)
		if err := r.makeTensor(places, backends.Int64, out[0].shape); err != nil {
			return err
		}
		f(grid{w.plane(pads), planeSize(in[0]), planeSize(out[0]), columns}, out[0], places, in[0])
		return nil
	}
}

// planeSize returns the dimensions after the first two, of which one stands for a row.
func planeSize(t *tensor) [2]int {
	if t.rank() == 3 {
		return [2]int{1, t.shape[2]}
	}
	return [2]int{t.shape[2], t.shape[3]}
}

func largest[T number](g grid, values, places, x *tensor) {
	src, dst, at := view[T](x), view[T](values), view[int64](places)
	plane, area := g.in[0]*g.in[1], g.out[0]*g.out[1]
	for i := range dst {
		p, row, col := i/area, i%area/g.out[1], i%g.out[1]
		best := -1
		g.eachTap(row, col, func(_, at int) {
			if best < 0 || src[p*plane+at] > src[p*plane+best] {
				best = at
			}
		})
		if best < 0 {
			dst[i], at[i] = 0, -1
			continue
		}
		dst[i] = src[p*plane+best]
		if g.columns {
			best = best%g.in[1]*g.in[0] + best/g.in[1]
		}
		at[i] = int64(p*plane + best)
	}
}

// eachTap calls f for each element of the window at a position that is over the plane, not the
// padding, with its number in the window and where in the plane it is.
func (g grid) eachTap(row, col int, f func(tap, at int)) {
	w := g.window
	for i := range w.Kernel[0] {
		y := row*w.Stride[0] + i*w.Dilation[0] - w.Pads[0]
		if y < 0 || y >= g.in[0] {
			continue
		}
		for j := range w.Kernel[1] {
			if x := col*w.Stride[1] + j*w.Dilation[1] - w.Pads[1]; x >= 0 && x < g.in[1] {
				f(i*w.Kernel[1]+j, y*g.in[1]+x)
			}
		}
	}
}

// buildGlobalPool builds GlobalAveragePool, GlobalLpPool and GlobalMaxPool.
func buildGlobalPool(n *node) (kernel, error) {
	op := map[string]string{"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[n.Op]
	switch n.input(0) {
	case backends.FP32:
		if n.Op == "GlobalLpPool" {
			return globalNorm(n)
		}
		return pooledRows(fastReductions[op]), nil
	case backends.FP64:
		if op != "" {
			return pooledRows(floatReduction[float64](op)), nil
		}
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func globalNorm(n *node) (kernel, error) {
	p := float64(n.int("p", 2))
	if p < 1 {
		return nil, backends.Errorf(backends.ErrInvalid, "p is %v, it must be at least 1", p)
	}
	return pooledRows(accumulateReal[float32](
		func(v float64) float64 { return math.Pow(math.Abs(v), p) },
		func(sum float64) float64 { return math.Pow(sum, 1/p) },
	)), nil
}

func pooledRows[T number](f rowReduction[T]) kernel {
	return func(r *run, in, out []*tensor) error {
		x := in[0]
		if x.rank() < 2 {
			return backends.Errorf(backends.ErrInvalid, "an input of shape %v has no planes", x.shape)
		}
		shape := slices.Clone(x.shape)
		fill(shape[2:], 1)
		if err := r.makeTensor(out[0], x.dtype, shape); err != nil {
			return err
		}
		reduceRows(r, out[0], x, product(x.shape[2:]), f)
		return nil
	}
}
