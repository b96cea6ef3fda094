package cache

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// key is what a prediction is found by: head, which is the id, preceded by its length, and the
// canonical form of the request, followed by the data of every input. Two requests have equal
// keys exactly if they ask the same version for the same thing.
type key struct {
	head   []byte
	inputs []backends.Tensor // by name
	digest uint64            // of head and data
}

// newKey describes in, which must not change. sum is the hash function of the digest.
func newKey(id string, in backends.Batch, sum func([]byte) uint64) key {
	head := binary.AppendUvarint(make([]byte, 0, 256), uint64(len(id)))
	head, inputs := in.AppendCanonical(append(head, id...))
	k := key{head: head, inputs: inputs}
	for i := range inputs {
		head = binary.LittleEndian.AppendUint64(head, sum(inputs[i].Data))
	}
	k.digest = sum(head)
	return k
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
