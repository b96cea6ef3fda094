package cache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// key is the canonical form of a request: head followed by the data of every input. Two
// requests have equal keys exactly if they ask the same version for the same thing; the order
// in which the inputs are listed does not matter.
//
// head holds, every text preceded by its length: the id; the number of inputs and for each,
// by name, its name, datatype, number of dimensions, dimensions and bytes of data; the outputs
// wanted, in order, where nil differs from none; the parameters. So head tells where it ends,
// and how the data behind it is cut.
type key struct {
	head   []byte
	inputs []backends.Tensor // by name
	digest uint64            // of head and data
}

// newKey describes in, which must not change. sum is the hash function of the digest.
func newKey(id string, in backends.Batch, sum func([]byte) uint64) key {
	inputs := byName(in.Tensors)
	head := appendText(make([]byte, 0, 256), id)
	head = binary.AppendUvarint(head, uint64(len(inputs)))
	for i := range inputs {
		head = appendInput(head, &inputs[i])
	}
	head = appendWanted(head, in.Outputs)
	head = binary.AppendUvarint(head, uint64(len(in.Parameters)))
	for _, p := range in.Parameters {
		head = appendText(head, p.Name)
		head = appendText(head, p.Value)
	}
	k := key{head: head, inputs: inputs}
	for i := range inputs {
		head = binary.LittleEndian.AppendUint64(head, sum(inputs[i].Data))
	}
	k.digest = sum(head)
	return k
}

func appendInput(head []byte, t *backends.Tensor) []byte {
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
func byName(tensors []backends.Tensor) []backends.Tensor {
	order := func(a, b backends.Tensor) int { return cmp.Compare(a.Name, b.Name) }
	if slices.IsSortedFunc(tensors, order) {
		return tensors
	}
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, order)
	return tensors
}

// size returns the bytes of the whole key.
func (k key) size() int {
	n := len(k.head)
	for i := range k.inputs {
		n += len(k.inputs[i].Data)
	}
	return n
}

// bytes returns a copy of the whole key.
func (k key) bytes() []byte {
	all := make([]byte, 0, k.size())
	all = append(all, k.head...)
	for i := range k.inputs {
		all = append(all, k.inputs[i].Data...)
	}
	return all
}

// matches reports whether all is the whole of k.
func (k key) matches(all []byte) bool {
	if len(all) != k.size() || !bytes.HasPrefix(all, k.head) {
		return false
	}
	all = all[len(k.head):]
	for i := range k.inputs {
		data := k.inputs[i].Data
		if !bytes.Equal(all[:len(data)], data) {
			return false
		}
		all = all[len(data):]
	}
	return true
}

// equal reports whether k and other are the same key.
func (k key) equal(other key) bool {
	return bytes.Equal(k.head, other.head) && slices.EqualFunc(k.inputs, other.inputs,
		func(a, b backends.Tensor) bool { return bytes.Equal(a.Data, b.Data) })
}
