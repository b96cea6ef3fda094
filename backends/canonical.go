package backends

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// AppendCanonical appends to head the canonical form of a request but for the data of its
// inputs, and returns the inputs in the order in which their data follow. Two requests have the
// same canonical form exactly if they ask for the same thing; the order in which the inputs are
// listed does not matter.
//
// The form holds, every text preceded by its length: the number of inputs and for each, by name,
// its name, datatype, number of dimensions, dimensions and bytes of data; the outputs wanted, in
// order, where nil differs from none; the parameters. So it tells where it ends, and how the
// data behind it are cut.
func (b Batch) AppendCanonical(head []byte) ([]byte, []Tensor) {
	inputs := byName(b.Tensors)
	head = binary.AppendUvarint(head, uint64(len(inputs)))
	for i := range inputs {
		head = appendInput(head, &inputs[i])
	}
	head = appendWanted(head, b.Outputs)
	head = binary.AppendUvarint(head, uint64(len(b.Parameters)))
	for _, p := range b.Parameters {
		head = appendText(head, p.Name)
		head = appendText(head, p.Value)
	}
	return head, inputs
}

func appendInput(head []byte, t *Tensor) []byte {
	head = appendText(head, t.Name)
	head = append(head, byte(t.Datatype))
	head = binary.AppendUvarint(head, uint64(len(t.Shape)))
	for _, d := range t.Shape {
		head = binary.AppendUvarint(head, uint64(d))
	}
	return binary.AppendUvarint(head, uint64(len(t.Data)))
}

func appendWanted(head []byte, outputs []string) []byte {
	if outputs == nil {
		return append(head, 0)
	}
	head = binary.AppendUvarint(head, uint64(len(outputs))+1)
	for _, name := range outputs {
		head = appendText(head, name)
	}
	return head
}

func appendText(head []byte, text string) []byte {
	head = binary.AppendUvarint(head, uint64(len(text)))
	return append(head, text...)
}

// byName returns tensors in the order of their names, without a copy if they are in it.
func byName(tensors []Tensor) []Tensor {
	order := func(a, b Tensor) int { return cmp.Compare(a.Name, b.Name) }
	if slices.IsSortedFunc(tensors, order) {
		return tensors
	}
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, order)
	return tensors
}
