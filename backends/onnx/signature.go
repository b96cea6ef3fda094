package onnx

import "github.com/thrumserve/thrum/backends"

// Signature returns what the model takes and gives, as clients see it.
//
// Batched is set when the first dimension of every input has the same symbol, or none, and it is
// proven that every output has this first dimension and that its rows depend neither on other
// rows nor on how many there are. A ZipMap output is a table of scores, FP32 [rows, classes],
// with the classes as labels. STRING tensors are BYTES. An output whose rank not even the file
// declares is shown as a vector of unknown size.
func (g *Graph) Signature() backends.Signature {
	s := backends.Signature{Platform: "onnx_onnxv1", Batched: g.batched()}
	for _, v := range g.Inputs {
		s.Inputs = append(s.Inputs, v.spec())
	}
	for _, v := range g.Outputs {
		s.Outputs = append(s.Outputs, v.spec())
	}
	return s
}

func (v *Value) spec() backends.TensorSpec {
	dims := v.Shape
	if !v.HasShape {
		dims = []Dim{unknown}
	}
	return backends.TensorSpec{Name: v.Name, Datatype: v.Datatype, Shape: sizes(dims, -1), Labels: v.Labels}
}

func (g *Graph) batched() bool {
	symbol := batchSymbol(g.Inputs)
	return symbol != "" && g.rowsApart(symbol)
}
