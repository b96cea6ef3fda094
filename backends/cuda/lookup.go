package cuda

import (
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// lookup describes the tables in memory of the device, where the kernel reads of them.
func (b binding) lookup(k lower.Lookup, o *lower.Op) (kernels.Launch, error) {
	var tables []byte
	for i, y := range o.Out {
		table, indices := o.In[2*i], o.In[2*i+1]
		tables = kernels.Bags{Table: b.at(table), Indices: b.at(indices), Y: b.at(y), Rows: table.Shape[0], Length: indices.Shape[1]}.Append(tables)
	}
	at := uint64(0)
	if b.place != nil {
		var err error
		if at, err = b.place(tables); err != nil {
			return kernels.Launch{}, err
		}
	}
	out := o.Out[0]
	return kernels.EmbeddingBags{
		Type: types[out.Type], Tables: at, Count: int64(len(o.Out)), Bags: out.Shape[0], Width: out.Shape[1], Stride: max(out.Strides[0], 1), Mean: k.Mean, Fault: b.fault,
	}.Launch()
}
