package cpu

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// outside refuses an index into n elements.
func outside(index int64, place, n int) error {
	return backends.Errorf(backends.ErrInvalid, "index %d, element %d, is outside of [%d, %d)", index, place, -n, n)
}

// leastRounded is the size in bytes of the smallest table that is rounded: smaller ones weigh little.
const leastRounded = 64 << 10

// table returns the constant matrix that input i is, rounded to bfloat16, if the model's precision is
// less than FP32 and the matrix large enough; the kernel does without the input then. Else it returns
// nil.
func (n *node) table(i int) *kernels.Table {
	if n.engine.precision.asked == kernels.FP32 || n.input(i) != backends.FP32 {
		return nil
	}
	if t := n.constant(i); t == nil || t.rank() != 2 || len(t.raw) < leastRounded {
		return nil
	}
	n.engine.precision.ofWeights()
	t := n.take(i)
	return n.engine.keep(fmt.Sprint("table", t.shape), t.raw).PackTable(view[float32](t), t.shape[1])
}

// takingRounded copies rows of a table.
func takingRounded(table *kernels.Table, name string) kernel {
	return func(r *run, in, out []*tensor) error {
		if err := r.makeTensor(out[0], backends.FP32, append(slices.Clone(in[1].shape), table.Width())); err != nil {
			return err
		}
		if err := takeNumbered(r, out[0], table, in[1]); err != nil {
			return backends.Errorf(backends.ErrInvalid, "indices %q: %w", name, err)
		}
		return nil
	}
}

// takeRows copies slices of dimension a of src, the first of a size above 1, to dst. A slice has width
// words of four bytes.
func takeRows(r *run, dst, src, index *tensor, a, width int) error {
	if len(src.raw) == 0 || len(dst.raw) == 0 {
		_, err := r.indices(index, src.shape[a])
		return err
	}
	return takeNumbered(r, dst, kernels.NewTable(view[float32](src), width), index)
}

// takeNumbered copies the rows of table that index numbers to dst.
func takeNumbered(r *run, dst *tensor, table *kernels.Table, index *tensor) error {
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
	op := embeddingBag{name: n.Inputs[bagIndices].Name, table: n.table(bagTable), mean: n.Attrs[bagMean] != nil, keep: n.Attrs[bagKeep] != nil}
	if n.input(bagIndices) == backends.Int32 {
		return op.run32, nil
	}
	return op.run64, nil
}

type embeddingBag struct {
	name       string         // of the indices
	table      *kernels.Table // nil where it is an input
	mean, keep bool
}

func (op embeddingBag) run32(r *run, in, out []*tensor) error {
	return sumBags[int32](r, op, in, out[0])
}
func (op embeddingBag) run64(r *run, in, out []*tensor) error {
	return sumBags[int64](r, op, in, out[0])
}

func sumBags[I kernels.Index](r *run, op embeddingBag, in []*tensor, out *tensor) error {
	b := kernels.Bags[I]{Index: view[I](in[bagIndices]), Mean: op.mean}
	if in[bagWeights] != nil {
		b.Weights = view[float32](in[bagWeights])
	}
	if b.Weights != nil && len(b.Weights) != len(b.Index) {
		return backends.Errorf(backends.ErrInvalid, "%d weights for %d indices", len(b.Weights), len(b.Index))
	}
	table := op.table
	if table == nil {
		t := in[bagTable]
		if t.rank() != 2 || t.shape[1] == 0 {
			return backends.Errorf(backends.ErrInvalid, "a table of shape %v, not of rows", t.shape)
		}
		table = kernels.NewTable(view[float32](t), t.shape[1])
	}
	shape, err := bagsOf(&b, op, in, table.Width())
	if err != nil {
		return err
	}
	if err := r.makeTensor(out, backends.FP32, shape); err != nil {
		return err
	}
	if bad := b.Sum(r.engine.pool, view[float32](out), table); bad >= 0 {
		return backends.Errorf(backends.ErrInvalid, "indices %q: %w", op.name, outside(int64(b.Index[bad]), bad, table.Rows()))
	}
	return nil
}

// bagsOf says which indices are in which bag, and returns the shape of the result.
func bagsOf[I kernels.Index](b *kernels.Bags[I], op embeddingBag, in []*tensor, width int) ([]int, error) {
	index := in[bagIndices]
	if in[bagStarts] == nil {
		last := index.rank() - 1
		b.Size = index.shape[last]
		if op.keep {
			return slices.Concat(index.shape[:last], []int{1, width}), nil
		}
		return slices.Concat(index.shape[:last], []int{width}), nil
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
	return []int{n, width}, nil
}
