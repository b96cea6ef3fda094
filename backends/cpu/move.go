package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// rearrange makes out a tensor of the given shape from elements of src: the one at index 0 is
// src's element from, and a step in dimension d moves on by steps[d].
func (r *run) rearrange(out, src *tensor, shape, steps []int, from int) error {
	if err := r.makeTensor(out, src.dtype, shape); err != nil || out.len() == 0 {
		return err
	}
	o := r.odometer(shape, r.strides(shape), steps)
	copyRuns := byWidth(src.dtype, copyRuns[uint8], copyRuns[uint16], copyRuns[uint32], copyRuns[uint64], copyRuns[string])
	copyRuns(r, &o, out, src, from)
	return nil
}

// copyRuns copies src, from the given element on, along an odometer whose operands are dst and
// src, in that order.
func copyRuns[T element](r *run, o *odometer, dst, src *tensor, from int) {
	d, s, n := view[T](dst), view[T](src), o.run()
	step := o.step(1)
	if last := len(o.dims) - 1; last > 0 && step > 1 && o.steps[1][last-1] == 1 {
		copyTurned(r, o, d, s, from)
		return
	}
	spread(r, o, runCopy[T]{d, s, from, n, step})
}

// runCopy is what copyRuns works on: runs of n elements, step apart in src.
type runCopy[T element] struct {
	dst, src      []T
	from, n, step int
}

func (c *runCopy[T]) visit(at []int) {
	to, b := c.dst[at[0]:at[0]+c.n], c.from+at[1]
	if c.step == 1 {
		copy(to, c.src[b:b+c.n])
		return
	}
	for i := range to {
		to[i] = c.src[b]
		b += c.step
	}
}

// copyTurned is copyRuns where the last two dimensions are a matrix to transpose: its rows
// lie side by side in the source.
func copyTurned[T element](r *run, o *odometer, d, s []T, from int) {
	last := len(o.dims) - 1
	m := turning{rows: o.dims[last-1], cols: o.dims[last], step: o.step(1)}
	matrices := odometer{dims: append(slices.Clone(o.dims[:last-1]), 1)}
	for _, steps := range o.steps {
		matrices.steps = append(matrices.steps, append(slices.Clone(steps[:last-1]), 0))
	}
	matrices.each(func(at []int) {
		to, source := d[at[0]:], s[from+at[1]:]
		blocks := (m.rows + turnedRows - 1) / turnedRows
		r.engine.pool.For(blocks, 1+elementGrain/(turnedRows*m.cols), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				turn(to, source, m, i*turnedRows)
			}
		})
	})
}

// turning is a transposition to rows×cols; columns are step apart in the source.
type turning struct{ rows, cols, step int }

// turnedRows are copied together, so that what a load brings into the first-level cache is
// used before it leaves it.
const turnedRows = 16

// turn copies turnedRows rows, from the given one on.
func turn[T element](dst, src []T, m turning, row int) {
	end := min(row+turnedRows, m.rows)
	for col := 0; col < m.cols; col += turnedRows {
		width := min(turnedRows, m.cols-col)
		for i := row; i < end; i++ {
			to, from := dst[i*m.cols+col:][:width], i+col*m.step
			for j := range to {
				to[j] = src[from]
				from += m.step
			}
		}
	}
}

func buildTranspose(n *node) (kernel, error) {
	perm := n.ints("perm")
	return func(r *run, in, out []*tensor) error {
		p, t := perm, in[0]
		if p == nil {
			p = reversed(t.rank())
		}
		if err := checkPermutation(p, t.rank()); err != nil {
			return err
		}
		return r.transpose(out[0], t, p)
	}, nil
}

// transpose makes out from the dimensions of src in the order of perm.
func (r *run) transpose(out, src *tensor, perm []int) error {
	shape, steps := r.ints(len(perm)), r.ints(len(perm))
	all := r.strides(src.shape)
	for i, p := range perm {
		shape[i], steps[i] = src.shape[p], all[p]
	}
	if unmoved(shape, perm) {
		out.share(src, shape)
		return nil
	}
	return r.rearrange(out, src, shape, steps, 0)
}

// unmoved says that perm moves nothing but dimensions of size 1.
func unmoved(shape, perm []int) bool {
	last := -1
	for i, p := range perm {
		if shape[i] == 1 {
			continue
		}
		if p < last {
			return false
		}
		last = p
	}
	return true
}

func reversed(rank int) []int {
	p := make([]int, rank)
	for i := range p {
		p[i] = rank - 1 - i
	}
	return p
}

func buildExpand(n *node) (kernel, error) {
	target := n.list("", 1)
	return func(r *run, in, out []*tensor) error {
		t, err := target(in)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(t, negative) {
			return backends.Errorf(backends.ErrInvalid, "shape %v has negative dimensions", t)
		}
		shape, err := r.broadcast(in[0].shape, t)
		if err != nil {
			return err
		}
		if slices.Equal(shape, in[0].shape) {
			out[0].share(in[0], shape)
			return nil
		}
		return r.rearrange(out[0], in[0], shape, r.stretched(in[0].shape, shape), 0)
	}, nil
}

func buildTile(n *node) (kernel, error) {
	repeats := n.list("", 1)
	return func(r *run, in, out []*tensor) error {
		t := in[0]
		times, err := repeats(in)
		if err != nil {
			return err
		}
		if len(times) != t.rank() || slices.ContainsFunc(times, negative) {
			return backends.Errorf(backends.ErrInvalid, "repeats %v of a tensor of rank %d", times, t.rank())
		}
		// Each dimension becomes two: how often, of which the source does not move, and where.
		var shape, steps []int
		for i, s := range strides(t.shape) {
			shape = append(shape, times[i], t.shape[i])
			steps = append(steps, 0, s)
		}
		if err := r.rearrange(out[0], t, shape, steps, 0); err != nil {
			return err
		}
		out[0].shape = out[0].shape[:0]
		for i, d := range t.shape {
			out[0].shape = append(out[0].shape, d*times[i])
		}
		return nil
	}, nil
}

func buildConcat(n *node) (kernel, error) {
	at := n.int("axis", 1)
	return func(r *run, in, out []*tensor) error {
		a, err := axis(at, in[0].rank())
		if err != nil {
			return err
		}
		shape := r.list(in[0].shape...)
		for _, t := range in[1:] {
			if t.rank() != len(shape) || !slices.Equal(t.shape[:a], shape[:a]) || !slices.Equal(t.shape[a+1:], shape[a+1:]) {
				return backends.Errorf(backends.ErrInvalid, "shapes %v and %v do not join along axis %d", in[0].shape, t.shape, a)
			}
			shape[a] += t.shape[a]
		}
		if err := r.makeTensor(out[0], in[0].dtype, shape); err != nil {
			return err
		}
		join := byWidth(out[0].dtype, join[uint8], join[uint16], join[uint32], join[uint64], join[string])
		join(out[0], in, product(shape[:a]))
		return nil
	}, nil
}

// join lays the tensors beside each other in dst, which has the given number of rows.
func join[T element](dst *tensor, parts []*tensor, rows int) {
	to := view[T](dst)
	if len(to) == 0 {
		return
	}
	width := len(to) / rows
	at := 0
	for _, p := range parts {
		from := view[T](p)
		n := len(from) / rows
		for row := range rows {
			copy(to[row*width+at:], from[row*n:(row+1)*n])
		}
		at += n
	}
}
