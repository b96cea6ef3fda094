package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// viewing returns a kernel whose output is its first input in another shape.
func viewing(shape func(r *run, in []*tensor) ([]int, error)) kernel {
	return func(r *run, in, out []*tensor) error {
		s, err := shape(r, in)
		if err != nil {
			return err
		}
		if product(s) != in[0].len() {
			return backends.Errorf(backends.ErrInvalid, "shape %v does not hold the %d elements of shape %v", s, in[0].len(), in[0].shape)
		}
		out[0].share(in[0], s)
		return nil
	}
}

// buildIdentity builds the operators that give their input back.
func buildIdentity(*node) (kernel, error) {
	return viewing(func(_ *run, in []*tensor) ([]int, error) { return in[0].shape, nil }), nil
}

// buildDropout builds Dropout as inference means it: nothing is dropped.
func buildDropout(n *node) (kernel, error) {
	if n.given(2) {
		training := n.constant(2)
		if training == nil || training.len() != 1 || view[bool](training)[0] {
			return nil, n.unsupported("training_mode")
		}
	}
	mask := n.output(1)
	return func(r *run, in, out []*tensor) error {
		out[0].share(in[0], in[0].shape)
		if len(out) < 2 || out[1] == nil {
			return nil
		}
		if err := r.makeTensor(out[1], mask, in[0].shape); err != nil {
			return err
		}
		if mask == backends.Bool {
			fill(view[bool](out[1]), true)
			return nil
		}
		fill(view[float32](out[1]), 1)
		return nil
	}, nil
}

func fill[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

func buildReshape(n *node) (kernel, error) {
	zeros := n.int("allowzero", 0) != 0
	target := n.list("shape", 1)
	return viewing(func(r *run, in []*tensor) ([]int, error) {
		t, err := target(in)
		if err != nil {
			return nil, err
		}
		return reshaped(r.list(t...), in[0], t, zeros)
	}), nil
}

// reshaped returns shape, a copy of target, as it means for t: 0 copies a dimension of t unless zeros
// are themselves, -1 is what is left.
func reshaped(shape []int, t *tensor, target []int, zeros bool) ([]int, error) {
	open := -1
	for i, d := range target {
		switch {
		case d == -1 && open < 0:
			open, shape[i] = i, 1
		case d == 0 && !zeros:
			if i >= t.rank() {
				return nil, backends.Errorf(backends.ErrInvalid, "shape %v copies dimension %d of shape %v", target, i, t.shape)
			}
			shape[i] = t.shape[i]
		case d < 0:
			return nil, backends.Errorf(backends.ErrInvalid, "shape %v has negative dimensions", target)
		}
	}
	if open < 0 {
		return shape, nil
	}
	if rest := product(shape); rest > 0 && t.len()%rest == 0 {
		shape[open] = t.len() / rest
		return shape, nil
	}
	return nil, backends.Errorf(backends.ErrInvalid, "shape %v does not hold the %d elements of shape %v", target, t.len(), t.shape)
}

func buildFlatten(n *node) (kernel, error) {
	at := n.int("axis", 1)
	return viewing(func(r *run, in []*tensor) ([]int, error) {
		t := in[0]
		a := at
		if a < 0 {
			a += t.rank()
		}
		if a < 0 || a > t.rank() {
			return nil, backends.Errorf(backends.ErrInvalid, "axis %d of a tensor of rank %d", at, t.rank())
		}
		return r.list(product(t.shape[:a]), product(t.shape[a:])), nil
	}), nil
}

func buildSqueeze(n *node) (kernel, error) {
	axes := n.list("axes", 1)
	return viewing(func(r *run, in []*tensor) ([]int, error) {
		list, err := axes(in)
		if err != nil {
			return nil, err
		}
		return squeezed(in[0].shape, list)
	}), nil
}

// squeezed returns shape without the dimensions at axes, or without all of size 1 if axes is nil.
func squeezed(shape, axes []int) ([]int, error) {
	if axes == nil {
		return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 }), nil
	}
	axes, err := axesOf(axes, len(shape))
	if err != nil {
		return nil, err
	}
	rest := slices.Clone(shape)
	for _, a := range slices.Backward(axes) {
		if shape[a] != 1 {
			return nil, backends.Errorf(backends.ErrInvalid, "dimension %d of shape %v is not 1", a, shape)
		}
		rest = slices.Delete(rest, a, a+1)
	}
	return rest, nil
}

func buildUnsqueeze(n *node) (kernel, error) {
	axes := n.list("axes", 1)
	return viewing(func(r *run, in []*tensor) ([]int, error) {
		list, err := axes(in)
		if err != nil {
			return nil, err
		}
		list, err = axesOf(list, in[0].rank()+len(list))
		if err != nil {
			return nil, err
		}
		shape := slices.Clone(in[0].shape)
		for _, a := range list {
			shape = slices.Insert(shape, a, 1)
		}
		return shape, nil
	}), nil
}

func buildShape(n *node) (kernel, error) {
	start, end := n.int("start", 0), n.int("end", 1<<30)
	return func(r *run, in, out []*tensor) error {
		rank := in[0].rank()
		lo, hi := clampIndex(start, rank), clampIndex(end, rank)
		dims := in[0].shape[lo:max(lo, hi)]
		if err := r.makeTensor(out[0], backends.Int64, []int{len(dims)}); err != nil {
			return err
		}
		for i, d := range dims {
			view[int64](out[0])[i] = int64(d)
		}
		return nil
	}, nil
}

// clampIndex returns i, counted from the end where it is negative, within [0, n].
func clampIndex(i, n int) int {
	if i < 0 {
		i += n
	}
	return min(max(i, 0), n)
}

func buildSize(*node) (kernel, error) {
	return func(r *run, in, out []*tensor) error {
		if err := r.makeTensor(out[0], backends.Int64, nil); err != nil {
			return err
		}
		view[int64](out[0])[0] = int64(in[0].len())
		return nil
	}, nil
}
