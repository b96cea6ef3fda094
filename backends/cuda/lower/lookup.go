package lower

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// lookup lets a gather of a known table's rows write them where they are wanted, such as beside those of other tables, and
// take their sums or means first.
func (f *fusion) lookup(o *Op) bool {
	if o.Name() != "Gather" || o.In[0].Buffer.Weight == nil || o.In[0].Shape[0] != 1 || !isFloat(o.In[0].Type) || o.In[1].Type != backends.Int64 {
		return false
	}
	table, indices := o.In[0].permute(1, 2), o.In[1]
	k, length, last := Lookup{}, int64(1), o
	if next := f.reader(last); next != nil {
		r, ok := next.Kind.(Reduce)
		if ok && (r.Function == "Sum" || r.Function == "Mean") && whole(next.In[0]) && next.In[0].Shape[2] == table.Shape[1] {
			k.Mean, length, last = r.Function == "Mean", next.In[0].Shape[1], next
		}
	}
	out, joined := last.Out[0].reshape([]int64{indices.Elements() / max(length, 1), table.Shape[1]})
	if next := f.reader(last); joined && next != nil && next.Kind == (Map{}) && next.In[0].Type == next.Out[0].Type && whole(next.In[0]) {
		if placed, ok := next.Out[0].reshape(out.Shape); ok && (placed.Strides[1] == 1 || placed.Shape[1] == 1) {
			out, last = placed, next
		}
	}
	if !joined || last == o || out.Elements() == 0 {
		return false
	}
	rows, _ := indices.reshape([]int64{out.Shape[0], length})
	l := &Op{Node: last.Node, Kind: k, In: []Tensor{table, rows}, Out: []Tensor{out}}
	f.program.Ops[slices.Index(f.program.Ops, last)] = l
	f.program.pruneBut(f.kept)
	return true
}

// lookups makes one lookup of those that write rows beside each other.
func (f *fusion) lookups(o *Op) bool {
	k, ok := o.Kind.(Lookup)
	if !ok {
		return false
	}
	out := o.Out[0]
	for _, other := range f.program.Ops[slices.Index(f.program.Ops, o)+1:] {
		if other.Kind != k {
			continue
		}
		if to := other.Out[0]; to.Buffer == out.Buffer && to.Type == out.Type && slices.Equal(to.Shape, out.Shape) && slices.Equal(to.Strides, out.Strides) {
			other.In, other.Out = slices.Concat(o.In, other.In), slices.Concat(o.Out, other.Out)
			f.remove(o)
			return true
		}
	}
	return false
}

// columns puts the indices of a lookup in order at once where each table's are a column of a matrix.
func (f *fusion) columns(o *Op) bool {
	if _, ok := o.Kind.(Lookup); !ok || len(o.Out) < 2 {
		return false
	}
	var copies []*Op
	for i := range o.Out {
		w := f.writer(o.In[2*i+1])
		if w == nil || w.Kind != (Map{}) || f.reader(w) != o || !whole(o.In[2*i+1]) {
			return false
		}
		copies = append(copies, w)
	}
	from := copies[0].In[0]
	step := copies[1].In[0].Offset - from.Offset
	for i, w := range copies {
		in := w.In[0]
		if in.Buffer != from.Buffer || in.Offset != from.Offset+int64(i)*step || !slices.Equal(in.Shape, from.Shape) || !slices.Equal(in.Strides, from.Strides) {
			return false
		}
	}
	n := int64(len(copies))
	from.Shape, from.Strides = append([]int64{n}, from.Shape...), append([]int64{step}, from.Strides...)
	all := newTensor(backends.Int64, []int64{n, o.Out[0].Shape[0], o.In[1].Shape[1]})
	flat, _ := all.reshape(from.Shape)
	copies[0].In, copies[0].Out = []Tensor{from}, []Tensor{flat}
	for i := range copies {
		o.In[2*i+1], _ = all.narrow(0, int64(i), 1, 1).reshape(all.Shape[1:])
	}
	for _, w := range copies[1:] {
		f.remove(w)
	}
	return true
}
