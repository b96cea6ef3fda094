package cpu

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
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
	return takeNumbered(r, dst, r.tableOf(view[float32](src), width), index)
}

// tableOf returns a table over rows of values, the one of the last execution if they are where they were.
func (r *run) tableOf(values []float32, width int) *kernels.Table {
	t := remember[rememberedTable](r)
	if t.Table == nil || t.first != &values[0] || t.n != len(values) || t.width != width {
		*t = rememberedTable{kernels.NewTable(values, width), &values[0], len(values), width}
	}
	return t.Table
}

type rememberedTable struct {
	*kernels.Table
	first    *float32
	n, width int
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
	bagRows = "thrum.rows" // there if the indices are one to a bag
)

// buildEmbeddingBag builds the sums of rows of a table, by their numbers.
func buildEmbeddingBag(n *node) (kernel, error) {
	op := n.embeddingBag(0, n.Attrs)
	if n.input(bagIndices) == backends.Int32 {
		return op.run32, nil
	}
	return op.run64, nil
}

// embeddingBag returns the EmbeddingBag of attributes and of inputs from the given one on.
func (n *node) embeddingBag(first int, attrs onnx.Attrs) embeddingBag {
	return embeddingBag{
		name: n.Inputs[first+bagIndices].Name, table: n.table(first + bagTable),
		mean: attrs[bagMean] != nil, keep: attrs[bagKeep] != nil, rows: attrs[bagRows] != nil,
	}
}

type embeddingBag struct {
	name             string         // of the indices
	table            *kernels.Table // nil where it is an input
	mean, keep, rows bool
}

func (op embeddingBag) run32(r *run, in, out []*tensor) error {
	return sumBags[int32](r, op, in, out[0])
}
func (op embeddingBag) run64(r *run, in, out []*tensor) error {
	return sumBags[int64](r, op, in, out[0])
}

func sumBags[I kernels.Index](r *run, op embeddingBag, in []*tensor, out *tensor) error {
	var l kernels.Lookup[I]
	shape, err := fillLookup(&l, op, in)
	if err != nil {
		return err
	}
	if err := r.makeTensor(out, backends.FP32, shape); err != nil {
		return err
	}
	if bad := l.Sum(r.engine.pool, view[float32](out), l.Table); bad >= 0 {
		return op.outside(in, bad, l.Table)
	}
	return nil
}

// outside names an index that is not in the table.
func (op embeddingBag) outside(in []*tensor, place int, table *kernels.Table) error {
	index := in[bagIndices]
	value := int64(0)
	if index.dtype == backends.Int32 {
		value = int64(view[int32](index)[place])
	} else {
		value = view[int64](index)[place]
	}
	return backends.Errorf(backends.ErrInvalid, "indices %q: %w", op.name, outside(value, place, table.Rows()))
}

// fillLookup says what is to be added up, and returns the shape of the result.
func fillLookup[I kernels.Index](l *kernels.Lookup[I], op embeddingBag, in []*tensor) ([]int, error) {
	l.Index, l.Mean, l.Table = view[I](in[bagIndices]), op.mean, op.table
	if in[bagWeights] != nil {
		l.Weights = view[float32](in[bagWeights])
		if len(l.Weights) != len(l.Index) {
			return nil, backends.Errorf(backends.ErrInvalid, "%d weights for %d indices", len(l.Weights), len(l.Index))
		}
	}
	if l.Table == nil {
		t := in[bagTable]
		if t.rank() != 2 || t.shape[1] == 0 {
			return nil, backends.Errorf(backends.ErrInvalid, "a table of shape %v, not of rows", t.shape)
		}
		l.Table = kernels.NewTable(view[float32](t), t.shape[1])
	}
	return bagsOf(&l.Bags, op, in, l.Table.Width())
}

// bagsOf says which indices are in which bag, and returns the shape of the result.
func bagsOf[I kernels.Index](b *kernels.Bags[I], op embeddingBag, in []*tensor, width int) ([]int, error) {
	index := in[bagIndices]
	if op.rows {
		b.Size = 1
		return []int{len(b.Index), width}, nil
	}
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
