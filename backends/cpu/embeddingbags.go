package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// bagParts is the attribute of EmbeddingBags that says what stands in its columns, a []bagPart. No
// file can hold it.
const bagParts = "thrum.parts"

// bagPart is what stands in some columns of the result of EmbeddingBags: the inputs from the first
// on are those of an EmbeddingBag with the attributes or, if there are none, a matrix to be copied.
type bagPart struct {
	first int
	attrs onnx.Attrs
}

// buildEmbeddingBags builds the sums of rows of several tables, beside each other and beside what comes
// from elsewhere.
func buildEmbeddingBags(n *node) (kernel, error) {
	parts, _ := n.Attrs[bagParts].([]bagPart)
	k := embeddingBags{parts: parts, ops: make([]embeddingBag, len(parts))}
	for i, p := range parts {
		if p.attrs != nil {
			k.ops[i] = n.embeddingBag(p.first, p.attrs)
		}
	}
	return k.run, nil
}

type embeddingBags struct {
	parts []bagPart
	ops   []embeddingBag // by part
}

// column is a part of a run: where it stands and what is added up or copied there.
type column struct {
	part, first int
	lookup      kernels.Columns
	matrix      *tensor
}

func (k embeddingBags) run(r *run, in, out []*tensor) error {
	rows, width := -1, 0
	var sums []kernels.Part
	var columns, copied []column
	for i, p := range k.parts {
		c := column{part: i, first: width}
		shape, err := k.fill(&c, in[p.first:])
		if err != nil {
			return err
		}
		if rows < 0 {
			rows = shape[0]
		}
		if len(shape) != 2 || shape[0] != rows {
			return backends.Errorf(backends.ErrInvalid, "a part of shape %v beside parts of %d rows", shape, rows)
		}
		width += shape[1]
		if c.lookup == nil {
			copied = append(copied, c)
			continue
		}
		columns, sums = append(columns, c), append(sums, kernels.Part{Columns: c.lookup, First: c.first})
	}
	if err := r.makeTensor(out[0], backends.FP32, []int{rows, width}); err != nil {
		return err
	}
	dst := view[float32](out[0])
	if part, bad := kernels.SumColumns(r.engine.pool, dst, rows, sums); part >= 0 {
		i := columns[part].part
		return k.ops[i].outside(in[k.parts[i].first:], bad, tableOf(columns[part].lookup))
	}
	for _, c := range copied {
		copyColumns(dst, c.matrix, c.first, width)
	}
	return nil
}

// fill says what is done in the columns of c and returns the shape of what stands there.
func (k embeddingBags) fill(c *column, in []*tensor) ([]int, error) {
	switch {
	case k.parts[c.part].attrs == nil:
		c.matrix = in[0]
		return in[0].shape, nil
	case in[bagIndices].dtype == backends.Int32:
		l := new(kernels.Lookup[int32])
		c.lookup = l
		return fillLookup(l, k.ops[c.part], in)
	}
	l := new(kernels.Lookup[int64])
	c.lookup = l
	return fillLookup(l, k.ops[c.part], in)
}

func tableOf(c kernels.Columns) *kernels.Table {
	if l, ok := c.(*kernels.Lookup[int32]); ok {
		return l.Table
	}
	return c.(*kernels.Lookup[int64]).Table
}

// copyColumns copies a matrix to columns of a wider one.
func copyColumns(dst []float32, from *tensor, first, width int) {
	cols := from.shape[1]
	for row, values := 0, view[float32](from); len(values) > 0; row, values = row+1, values[cols:] {
		copy(dst[row*width+first:], values[:cols])
	}
}

// fuseEmbeddingBags lets the lookups in several tables be one, where their results are put beside each
// other.
func fuseEmbeddingBags(r *rewrite.Graph, n *onnx.Node) bool {
	if n.Domain != "" || n.Op != "Concat" || !rewrite.IsFP32(n.Outputs[0]) {
		return false
	}
	axis := (&node{Node: n}).int("axis", 0)
	var parts []bagPart
	var inputs []*onnx.Value
	lookups := 0
	for _, v := range n.Inputs {
		if !v.HasShape || len(v.Shape) != 2 || axis != 1 && axis != -1 {
			return false
		}
		part := bagPart{first: len(inputs)}
		from, attrs := inputsOfBag(r, v)
		if attrs != nil {
			lookups++
		}
		part.attrs = attrs
		parts, inputs = append(parts, part), append(inputs, from...)
	}
	if lookups < 2 {
		return false
	}
	rewrite.Become(n, "EmbeddingBags", onnx.Attrs{bagParts: parts}, inputs...)
	n.Domain, n.Opset = fusions, 1
	return true
}

// inputsOfBag returns the inputs and attributes of the EmbeddingBag that makes v for one reader, and for
// another value v and nil. To take rows is to sum bags of one.
func inputsOfBag(r *rewrite.Graph, v *onnx.Value) ([]*onnx.Value, onnx.Attrs) {
	other := []*onnx.Value{v}
	p := v.Producer
	if p == nil || !r.Private(v) {
		return other, nil
	}
	if p.Domain == fusions && p.Op == "EmbeddingBag" {
		return slices.Clone(p.Inputs), p.Attrs
	}
	if g := rowsOfTable(v); g != nil && len(g.Inputs[1].Shape) == 1 {
		inputs := make([]*onnx.Value, bagInputs)
		inputs[bagTable], inputs[bagIndices] = g.Inputs[0], g.Inputs[1]
		return inputs, onnx.Attrs{bagRows: true}
	}
	return other, nil
}
