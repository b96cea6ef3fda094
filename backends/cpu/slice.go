package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

func buildSplit(n *node) (kernel, error) {
	at := n.int("axis", 0)
	if count := n.int("num_outputs", len(n.Outputs)); count != len(n.Outputs) {
		return nil, backends.Errorf(backends.ErrInvalid, "num_outputs %d with %d outputs", count, len(n.Outputs))
	}
	sizes := n.list("split", 1)
	return func(r *run, in, out []*tensor) error {
		t := in[0]
		a, err := axis(at, t.rank())
		if err != nil {
			return err
		}
		parts, err := sizes(in)
		if err != nil {
			return err
		}
		if parts == nil {
			parts = evenParts(t.shape[a], len(out))
		}
		if len(parts) != len(out) || slices.ContainsFunc(parts, negative) || total(parts) != t.shape[a] {
			return backends.Errorf(backends.ErrInvalid, "parts %v of dimension %d of shape %v for %d outputs", parts, a, t.shape, len(out))
		}
		from := 0
		for i := range out {
			if out[i] != nil {
				if err := r.slice(out[i], t, a, from, parts[i]); err != nil {
					return err
				}
			}
			from += parts[i]
		}
		return nil
	}, nil
}

// evenParts splits n into count parts, all of one size but the last, which may be smaller.
func evenParts(n, count int) []int {
	parts := make([]int, count)
	size := (n + count - 1) / count
	for i := range parts {
		parts[i] = min(size, max(n-i*size, 0))
	}
	return parts
}

func negative(n int) bool { return n < 0 }

func total(all []int) int {
	n := 0
	for _, v := range all {
		n += v
	}
	return n
}

// slice makes out the n elements of dimension a that start at from.
func (r *run) slice(out, src *tensor, a, from, n int) error {
	shape := slices.Clone(src.shape)
	shape[a] = n
	steps := strides(src.shape)
	if product(src.shape[:a]) == 1 {
		out.part(src, shape, from*steps[a])
		return nil
	}
	return r.rearrange(out, src, shape, steps, from*steps[a])
}

func buildSlice(n *node) (kernel, error) {
	starts, ends := n.list("starts", 1), n.list("ends", 2)
	axes, steps := n.list("axes", 3), n.list("", 4)
	return func(r *run, in, out []*tensor) error {
		var c cut
		for _, l := range []struct {
			read list
			to   *[]int
		}{{starts, &c.starts}, {ends, &c.ends}, {axes, &c.axes}, {steps, &c.steps}} {
			var err error
			if *l.to, err = l.read(in); err != nil {
				return err
			}
		}
		return c.apply(r, out[0], in[0])
	}, nil
}

// cut is what a Slice takes from a tensor.
type cut struct{ starts, ends, axes, steps []int }

func (c cut) apply(r *run, out, src *tensor) error {
	if c.axes == nil {
		for i := range c.starts {
			c.axes = append(c.axes, i)
		}
	}
	if len(c.ends) != len(c.starts) || len(c.axes) != len(c.starts) || c.steps != nil && len(c.steps) != len(c.starts) {
		return backends.Errorf(backends.ErrInvalid, "starts %v, ends %v, axes %v and steps %v have different lengths", c.starts, c.ends, c.axes, c.steps)
	}
	shape, moves, from := slices.Clone(src.shape), strides(src.shape), 0
	whole := true // the elements are one piece of src
	for i, at := range c.axes {
		a, err := axis(at, src.rank())
		if err != nil {
			return err
		}
		step := 1
		if c.steps != nil {
			step = c.steps[i]
		}
		first, n, err := sliced(src.shape[a], c.starts[i], c.ends[i], step)
		if err != nil {
			return err
		}
		whole = whole && step == 1 && (n == src.shape[a] || product(src.shape[:a]) == 1)
		from += first * moves[a]
		shape[a], moves[a] = n, moves[a]*step
	}
	if product(shape) == 0 {
		return r.makeTensor(out, src.dtype, shape)
	}
	if whole {
		out.part(src, shape, from)
		return nil
	}
	return r.rearrange(out, src, shape, moves, from)
}

// sliced returns the first index and the number of indices of start:end:step in a dimension
// of size n, as Python means it.
func sliced(n, start, end, step int) (first, count int, err error) {
	step = min(max(step, -n-1), n+1) // a longer step leaves the dimension all the same
	switch {
	case step > 0:
		first, end = clampIndex(start, n), clampIndex(end, n)
		return first, max(0, (end-first+step-1)/step), nil
	case step < 0:
		if start < 0 {
			start += n
		}
		if end < 0 {
			end = max(end+n, -1)
		}
		first = min(max(start, -1), n-1)
		return first, max(0, (first-end-step-1)/-step), nil
	}
	return 0, 0, backends.Errorf(backends.ErrInvalid, "a step of 0")
}
