package backends

import (
	"bytes"
	"slices"
)

// Join lays the rows of parts together, as a Joiner would, in memory of its own: every byte is
// copied once. It is for who cannot lay them where they are to be computed. A single part is
// returned as it is.
func Join(parts []Batch) Batch {
	if len(parts) == 1 {
		return parts[0]
	}
	joined := parts[0]
	joined.Tensors = slices.Clone(joined.Tensors)
	data := make([][]byte, len(parts))
	for k := range joined.Tensors {
		rows := int64(0)
		for i, p := range parts {
			data[i] = p.Tensors[k].Data
			rows += p.Tensors[k].Shape[0]
		}
		t := &joined.Tensors[k]
		t.Data = bytes.Join(data, nil)
		t.Shape = slices.Clone(t.Shape)
		t.Shape[0] = rows
	}
	return joined
}
