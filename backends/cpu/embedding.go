package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// outside refuses an index into n elements.
func outside(index int64, place, n int) error {
	return backends.Errorf(backends.ErrInvalid, "index %d, element %d, is outside of [%d, %d)", index, place, -n, n)
}

// takeRows copies slices of dimension a of src, the first of a size above 1, to dst. A slice has width
// words of four bytes.
func takeRows(r *run, dst, src, index *tensor, a, width int) error {
	if len(src.raw) == 0 || len(dst.raw) == 0 {
		_, err := r.indices(index, src.shape[a])
		return err
	}
	table := kernels.NewTable(view[float32](src), width)
	if index.dtype == backends.Int32 {
		return takeWords(r, dst, table, view[int32](index))
	}
	return takeWords(r, dst, table, view[int64](index))
}

func takeWords[I kernels.Index](r *run, dst *tensor, table *kernels.Table, index []I) error {
	if bad := kernels.Take(r.engine.pool, view[float32](dst), table, index); bad >= 0 {
		return outside(int64(index[bad]), bad, table.Rows())
	}
	return nil
}

// The inputs of an EmbeddingBag. Where it has starts, bag i is what lies from starts[i] up to ends[i] in
// the indices, for each i below the count; else a bag is a row of the last dimension of the indices.
const (
	bagTable = iota
	bagIndices
	bagWeights // of the shape of the indices, or left out
	bagStarts
	bagEnds
	bagCount
	bagInputs
)

// Attributes of an EmbeddingBag.
const (
	bagMean = "thrum.mean" // there if sums are divided by how many rows they have
	bagKeep = "thrum.keep" // there if the dimension that is summed stays with size 1
)

// buildEmbeddingBag builds the sums of rows of a table, by their numbers.
func buildEmbeddingBag(n *node) (kernel, error) {
	op := embeddingBag{name: n.Inputs[bagIndices].Name, mean: n.Attrs[bagMean] != nil, keep: n.Attrs[bagKeep] != nil}
	if n.input(bagIndices) == backends.Int32 {
		return op.run32, nil
	}
	return op.run64, nil
}

type embeddingBag struct {
	name       string // of the indices
	mean, keep bool
}

func (op embeddingBag) run32(r *run, in, out []*tensor) error {
	return sumBags[int32](r, op, in, out[0])
}
func (op embeddingBag) run64(r *run, in, out []*tensor) error {
	return sumBags[int64](r, op, in, out[0])
}

func sumBags[I interface{ int32 | int64 }](r *run, op embeddingBag, in []*tensor, out *tensor) error {
	b := kernels.Bags[I]{Index: view[I](in[bagIndices]), Mean: op.mean}
	if in[bagWeights] != nil {
		b.Weights = view[float32](in[bagWeights])
	}
	table := in[bagTable]
	if table.rank() != 2 || b.Weights != nil && len(b.Weights) != len(b.Index) {
		return backends.Errorf(backends.ErrInvalid, "%d indices into a table of shape %v with %d weights", len(b.Index), table.shape, len(b.Weights))
	}
	shape, err := bagsOf(&b, op, in)
	if err != nil {
		return err
	}
	if err := r.makeTensor(out, backends.FP32, shape); err != nil {
		return err
	}
	if table.shape[1] == 0 {
		_, err := r.indices(in[bagIndices], table.shape[0])
		return err
	}
	if bad := b.Sum(r.engine.pool, view[float32](out), kernels.NewTable(view[float32](table), table.shape[1])); bad >= 0 {
		return backends.Errorf(backends.ErrInvalid, "indices %q: %w", op.name, outside(int64(b.Index[bad]), bad, table.shape[0]))
	}
	return nil
}

// bagsOf says which indices are in which bag, and returns the shape of the result.
func bagsOf[I interface{ int32 | int64 }](b *kernels.Bags[I], op embeddingBag, in []*tensor) ([]int, error) {
	index, width := in[bagIndices], in[bagTable].shape[1:]
	if in[bagStarts] == nil {
		last := index.rank() - 1
		b.Size = index.shape[last]
		if op.keep {
			return slices.Concat(index.shape[:last], []int{1}, width), nil
		}
		return slices.Concat(index.shape[:last], width), nil
	}
	count, err := in[bagCount].ints()
	if err != nil || len(count) != 1 {
		return nil, backends.Errorf(backends.ErrInvalid, "a trip count of shape %v, not of one element", in[bagCount].shape)
	}
	n := max(0, count[0])
	b.Starts, b.Ends = view[I](in[bagStarts]), view[I](in[bagEnds])
	if n > len(b.Starts) || n > len(b.Ends) {
		return nil, backends.Errorf(backends.ErrInvalid, "%d bags of %d starts and %d ends", n, len(b.Starts), len(b.Ends))
	}
	b.Starts, b.Ends = b.Starts[:n:n], b.Ends[:n:n]
	if b.Starts == nil {
		b.Starts, b.Ends = []I{}, []I{}
	}
	return slices.Concat([]int{n}, width), nil
}
