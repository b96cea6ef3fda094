package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// indices returns the elements of an index tensor as positions in a dimension of size n. A
// negative one counts from the end; one outside is refused.
func (r *run) indices(t *tensor, n int) ([]int, error) {
	all, err := t.ints()
	if err != nil {
		return nil, err
	}
	for i, v := range all {
		if v < -n || v >= n {
			return nil, outside(int64(v), i, n)
		}
		if v < 0 {
			all[i] = v + n
		}
	}
	return all, nil
}

// buildGather builds the lookup of slices by index, such as rows of an embedding table.
func buildGather(n *node) (kernel, error) {
	at := n.int("axis", 0)
	name := n.Inputs[1].Name
	if at == 0 || at == -2 {
		if table := n.table(0); table != nil {
			return takingRounded(table, name), nil
		}
	}
	take := byWidth(n.input(0), take[uint8], take[uint16], take[uint32], take[uint64], take[string])
	return func(r *run, in, out []*tensor) error {
		t := in[0]
		a, err := axis(at, t.rank())
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], t.dtype, r.joined(r.joined(t.shape[:a], in[1].shape), t.shape[a+1:])); err != nil {
			return err
		}
		if err := takeAlong(r, out[0], t, in[1], a, take); err != nil {
			return backends.Errorf(backends.ErrInvalid, "indices %q: %w", name, err)
		}
		return nil
	}, nil
}

// takeAlong copies the slices of dimension a that index says.
func takeAlong(r *run, dst, src, index *tensor, a int, take func(dst, src *tensor, index []int, n, width int)) error {
	n, width := src.shape[a], product(src.shape[a+1:])
	if bytes := width * src.dtype.Size(); product(src.shape[:a]) == 1 && src.dtype != backends.Bytes && bytes%4 == 0 {
		return takeRows(r, dst, src, index, a, bytes/4)
	}
	all, err := r.indices(index, n)
	if err == nil {
		take(dst, src, all, n, width)
	}
	return err
}

// take copies the slices of width elements at the indices of a dimension of size n, for each
// of the dimensions before it.
func take[T element](dst, src *tensor, index []int, n, width int) {
	to, from := view[T](dst), view[T](src)
	for ; len(to) > 0; from = from[n*width:] {
		for _, i := range index {
			copy(to[:width], from[i*width:])
			to = to[width:]
		}
	}
}

// buildGatherElements builds the lookup of single elements.
func buildGatherElements(n *node) (kernel, error) {
	at := n.int("axis", 0)
	name := n.Inputs[1].Name
	take := byWidth(n.input(0), takeElements[uint8], takeElements[uint16], takeElements[uint32], takeElements[uint64], takeElements[string])
	return func(r *run, in, out []*tensor) error {
		index, a, err := r.elementIndices(in[0], in[1], at)
		if err != nil {
			return backends.Errorf(backends.ErrInvalid, "indices %q: %w", name, err)
		}
		if err := r.makeTensor(out[0], in[0].dtype, in[1].shape); err != nil {
			return err
		}
		take(out[0], in[0], places(in[0].shape, in[1].shape, index, a))
		return nil
	}, nil
}

func takeElements[T element](dst, src *tensor, places []int) {
	to, from := view[T](dst), view[T](src)
	for i, p := range places {
		to[i] = from[p]
	}
}

// elementIndices checks what GatherElements and ScatterElements share: indices of data along
// axis at, in a tensor that is no larger than data in the other dimensions.
func (r *run) elementIndices(data, indices *tensor, at int) (index []int, a int, err error) {
	if a, err = axis(at, data.rank()); err != nil {
		return nil, 0, err
	}
	if indices.rank() != data.rank() {
		return nil, 0, backends.Errorf(backends.ErrInvalid, "indices of shape %v into a tensor of shape %v", indices.shape, data.shape)
	}
	for d, n := range indices.shape {
		if d != a && n > data.shape[d] {
			return nil, 0, backends.Errorf(backends.ErrInvalid, "indices of shape %v into a tensor of shape %v", indices.shape, data.shape)
		}
	}
	index, err = r.indices(indices, data.shape[a])
	return index, a, err
}

// places returns for each index where its element lies in a tensor of the shape data: at the
// index's own place, but in dimension a where the index says.
func places(data, indices, index []int, a int) []int {
	steps := strides(data)
	along := steps[a]
	steps[a] = 0
	o := newOdometer(indices, strides(indices), steps)
	all := make([]int, len(index))
	n, s := o.run(), o.step(1)
	o.each(func(at []int) {
		for i := range n {
			all[at[0]+i] = at[1] + i*s + index[at[0]+i]*along
		}
	})
	return all
}

// tuples returns where the slices that index tuples point to start, in elements of data, and
// how many elements one has. The last dimension of indices holds tuples that index the
// dimensions of data after the first skip, which both share.
func tuples(data, indices *tensor, skip int) (starts []int, width int, err error) {
	bad := func() error {
		return backends.Errorf(backends.ErrInvalid, "index tuples of shape %v into a tensor of shape %v with %d batch dimensions", indices.shape, data.shape, skip)
	}
	if indices.rank() == 0 || skip < 0 || skip >= indices.rank() || skip >= data.rank() || !slices.Equal(data.shape[:skip], indices.shape[:skip]) {
		return nil, 0, bad()
	}
	size := indices.shape[indices.rank()-1]
	if size > data.rank()-skip {
		return nil, 0, bad()
	}
	all, err := indices.ints()
	if err != nil {
		return nil, 0, err
	}
	steps := strides(data.shape)
	width = product(data.shape[skip+size:])
	count := product(indices.shape[:indices.rank()-1])
	perBatch := max(1, count/max(1, product(data.shape[:skip])))
	for i := range count {
		start := 0
		if skip > 0 {
			start = i / perBatch * steps[skip-1]
		}
		for j, v := range all[i*size : (i+1)*size] {
			n := data.shape[skip+j]
			if v < -n || v >= n {
				return nil, 0, backends.Errorf(backends.ErrInvalid, "index %d, in tuple %d, is outside of [%d, %d)", v, i, -n, n)
			}
			if v < 0 {
				v += n
			}
			start += v * steps[skip+j]
		}
		starts = append(starts, start)
	}
	return starts, width, nil
}

func buildGatherND(n *node) (kernel, error) {
	skip := n.int("batch_dims", 0)
	name := n.Inputs[1].Name
	take := byWidth(n.input(0), takeSlices[uint8], takeSlices[uint16], takeSlices[uint32], takeSlices[uint64], takeSlices[string])
	return func(r *run, in, out []*tensor) error {
		starts, width, err := tuples(in[0], in[1], skip)
		if err != nil {
			return backends.Errorf(backends.ErrInvalid, "indices %q: %w", name, err)
		}
		last := in[1].rank() - 1
		shape := slices.Concat(in[1].shape[:last], in[0].shape[skip+in[1].shape[last]:])
		if err := r.makeTensor(out[0], in[0].dtype, shape); err != nil {
			return err
		}
		take(out[0], in[0], starts, width)
		return nil
	}, nil
}

func takeSlices[T element](dst, src *tensor, starts []int, width int) {
	to, from := view[T](dst), view[T](src)
	for i, s := range starts {
		copy(to[i*width:(i+1)*width], from[s:])
	}
}
