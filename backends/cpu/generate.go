package cpu

import (
	"math"

	"github.com/thrumserve/thrum/backends"
)

// buildConstant builds Constant. A file's own constants are folded before; this serves
// graphs that are built by hand.
func buildConstant(n *node) (kernel, error) {
	value := n.tensor("value")
	if value == nil {
		return nil, n.unsupported("a value that is no tensor")
	}
	t, err := n.engine.copied(value)
	if err != nil {
		return nil, err
	}
	return func(_ *run, _, out []*tensor) error {
		out[0].share(t, t.shape)
		return nil
	}, nil
}

// buildConstantOfShape builds a tensor of equal elements.
func buildConstantOfShape(n *node) (kernel, error) {
	value := &tensor{dtype: backends.FP32, raw: make([]byte, 4)}
	if v := n.tensor("value"); v != nil {
		var err error
		if value, err = n.engine.copied(v); err != nil {
			return nil, err
		}
	}
	if value.len() != 1 {
		return nil, backends.Errorf(backends.ErrInvalid, "a value of shape %v, not of one element", value.shape)
	}
	dims := n.list("", 0)
	return func(r *run, in, out []*tensor) error {
		shape, err := dims(in)
		if err != nil {
			return err
		}
		return r.rearrange(out[0], value, shape, make([]int, len(shape)), 0)
	}, nil
}

func buildRange(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return counting[float32], nil
	case backends.FP64:
		return counting[float64], nil
	case backends.Int16:
		return counting[int16], nil
	case backends.Int32:
		return counting[int32], nil
	case backends.Int64:
		return counting[int64], nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func counting[T number](r *run, in, out []*tensor) error {
	for _, t := range in {
		if t.len() != 1 {
			return backends.Errorf(backends.ErrInvalid, "a limit of shape %v, not a scalar", t.shape)
		}
	}
	start, limit, delta := view[T](in[0])[0], view[T](in[1])[0], view[T](in[2])[0]
	n := math.Ceil((float64(limit) - float64(start)) / float64(delta))
	if delta == 0 || !(n <= float64(r.limit)) {
		return backends.Errorf(backends.ErrInvalid, "a range from %v to %v by %v", start, limit, delta)
	}
	if err := r.makeTensor(out[0], in[0].dtype, []int{int(max(0, n))}); err != nil {
		return err
	}
	dst := view[T](out[0])
	for i := range dst {
		dst[i] = start + T(i)*delta
	}
	return nil
}

func buildEyeLike(n *node) (kernel, error) {
	k, d := n.int("k", 0), n.output(0)
	one, err := scalarOne(n, d)
	if err != nil {
		return nil, err
	}
	put := byWidth(d, put[uint8], put[uint16], put[uint32], put[uint64], put[string])
	return func(r *run, in, out []*tensor) error {
		if in[0].rank() != 2 {
			return backends.Errorf(backends.ErrInvalid, "a tensor of shape %v, not a matrix", in[0].shape)
		}
		if err := r.makeTensor(out[0], d, in[0].shape); err != nil {
			return err
		}
		clear(out[0].raw)
		for i := range in[0].shape[0] {
			if j := i + k; j >= 0 && j < in[0].shape[1] {
				put(out[0], one, []int{i*in[0].shape[1] + j}, 1)
			}
		}
		return nil
	}, nil
}

// scalarOne returns the number 1 as a tensor of type d.
func scalarOne(n *node, d backends.Datatype) (*tensor, error) {
	k, err := converter(n, backends.Uint8, d)
	if err != nil {
		return nil, err
	}
	one := &tensor{dtype: backends.Uint8, shape: []int{}, raw: []byte{1}}
	made := new(tensor)
	return made, k(&run{limit: 64}, []*tensor{one}, []*tensor{made})
}

func buildOneHot(n *node) (kernel, error) {
	at := n.int("axis", -1)
	cast, err := converter(n, n.input(0), backends.Int64)
	if err != nil {
		return nil, err
	}
	depthCast, err := converter(n, n.input(1), backends.Int64)
	if err != nil {
		return nil, err
	}
	mark := byWidth(n.input(2), markHot[uint8], markHot[uint16], markHot[uint32], markHot[uint64], markHot[string])
	return func(r *run, in, out []*tensor) error {
		index, depth := r.scratch(), r.scratch()
		if err := cast(r, in[:1], []*tensor{index}); err != nil {
			return err
		}
		if err := depthCast(r, in[1:2], []*tensor{depth}); err != nil {
			return err
		}
		a, err := axis(at, index.rank()+1)
		if err != nil {
			return err
		}
		if depth.len() != 1 || in[2].len() != 2 || view[int64](depth)[0] < 0 {
			return backends.Errorf(backends.ErrInvalid, "depth of shape %v and values of shape %v", depth.shape, in[2].shape)
		}
		n := int(view[int64](depth)[0])
		shape := append(append(append([]int{}, index.shape[:a]...), n), index.shape[a:]...)
		if err := r.makeTensor(out[0], in[2].dtype, shape); err != nil {
			return err
		}
		mark(out[0], in[2], view[int64](index), n, product(index.shape[a:]))
		return nil
	}, nil
}

// markHot fills dst, rows of depth times inner elements, with the first of two values, and
// with the second where an index points. An index outside of the depth marks nothing.
func markHot[T element](dst, values *tensor, index []int64, depth, inner int) {
	to, v := view[T](dst), view[T](values)
	fill(to, v[0])
	for i, at := range index {
		if at < 0 {
			at += int64(depth)
		}
		if at >= 0 && at < int64(depth) {
			to[i/inner*depth*inner+int(at)*inner+i%inner] = v[1]
		}
	}
}

func buildNonZero(n *node) (kernel, error) {
	cast, err := converter(n, n.input(0), backends.Bool)
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		marks := r.scratch()
		if err := cast(r, in, []*tensor{marks}); err != nil {
			return err
		}
		var found []int
		for i, v := range view[bool](marks) {
			if v {
				found = append(found, i)
			}
		}
		rank := in[0].rank()
		if err := r.makeTensor(out[0], backends.Int64, []int{rank, len(found)}); err != nil {
			return err
		}
		dst, steps := view[int64](out[0]), strides(in[0].shape)
		for j, at := range found {
			for d, s := range steps {
				dst[d*len(found)+j] = int64(at / s)
				at %= s
			}
		}
		return nil
	}, nil
}

func buildTrilu(n *node) (kernel, error) {
	upper, diagonal := n.int("upper", 1) != 0, n.list("", 1)
	keep := byWidth(n.input(0), keepTriangle[uint8], keepTriangle[uint16], keepTriangle[uint32], keepTriangle[uint64], keepTriangle[string])
	return func(r *run, in, out []*tensor) error {
		k, err := diagonal(in)
		if err != nil {
			return err
		}
		if in[0].rank() < 2 || len(k) > 1 {
			return backends.Errorf(backends.ErrInvalid, "a tensor of shape %v and diagonals %v", in[0].shape, k)
		}
		if err := r.makeTensor(out[0], in[0].dtype, in[0].shape); err != nil {
			return err
		}
		keep(out[0], in[0], total(k), upper)
		return nil
	}, nil
}

// keepTriangle copies the elements on and above diagonal k of each matrix, or on and below
// it; all others become zero.
func keepTriangle[T element](dst, src *tensor, k int, upper bool) {
	to, from := view[T](dst), view[T](src)
	rows, cols := src.shape[src.rank()-2], src.shape[src.rank()-1]
	for i := range to {
		row, col := i/cols%rows, i%cols
		if col-row == k || col-row > k == upper {
			to[i] = from[i]
		} else {
			var zero T
			to[i] = zero
		}
	}
}
