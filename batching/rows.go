package batching

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// stackingKey describes everything in which calls must agree to share a batch: inputs in
// order with datatype and per-row shape, the outputs wanted (nil differs from none), and the
// parameters. in's tensors are in the signature's order and have a first dimension.
func stackingKey(in backends.Batch) string {
	var scratch [128]byte
	key := binary.AppendUvarint(scratch[:0], uint64(len(in.Tensors)))
	for _, t := range in.Tensors {
		key = appendText(key, t.Name)
		key = append(key, byte(t.Datatype))
		key = binary.AppendUvarint(key, uint64(len(t.Shape)))
		for _, d := range t.Shape[1:] {
			key = binary.AppendUvarint(key, uint64(d))
		}
	}
	wanted := 0
	if in.Outputs != nil {
		wanted = len(in.Outputs) + 1
	}
	key = binary.AppendUvarint(key, uint64(wanted))
	for _, name := range in.Outputs {
		key = appendText(key, name)
	}
	for _, p := range in.Parameters {
		key = appendText(key, p.Name)
		key = appendText(key, p.Value)
	}
	return string(key)
}

func appendText(key []byte, text string) []byte {
	key = binary.AppendUvarint(key, uint64(len(text)))
	return append(key, text...)
}

// inOrder returns tensors in the order of specs, without a copy where they are in it already.
func inOrder(tensors []backends.Tensor, specs []backends.TensorSpec) []backends.Tensor {
	at := 0
	for _, t := range tensors {
		for at < len(specs) && specs[at].Name != t.Name {
			at++
		}
	}
	if at < len(specs) {
		return tensors
	}
	position := make(map[string]int, len(specs))
	for i, s := range specs {
		position[s.Name] = i
	}
	ordered := slices.Clone(tensors)
	slices.SortFunc(ordered, func(a, b backends.Tensor) int { return position[a.Name] - position[b.Name] })
	return ordered
}

// stack joins the inputs of calls with equal keys into one batch, copying every byte once.
func stack(calls []*call, rows int) backends.Batch {
	first := calls[0].in
	tensors := slices.Clone(first.Tensors)
	parts := make([][]byte, len(calls))
	for k := range tensors {
		for i, c := range calls {
			parts[i] = c.in.Tensors[k].Data
		}
		tensors[k].Data = bytes.Join(parts, nil)
		tensors[k].Shape = withRows(tensors[k].Shape, rows)
	}
	return backends.Batch{
		Tensors:    tensors,
		Outputs:    first.Outputs,
		Parameters: first.Parameters,
		NoCache:    slices.ContainsFunc(calls, func(c *call) bool { return c.in.NoCache }),
	}
}

var errRows = errors.New("the model answered")

// checkRows reports an answer that cannot be cut into the rows that were asked. The error is
// a fault of the predictor: it never wraps ErrInvalid, whatever is wrong with the tensor.
func checkRows(out backends.Batch, rows int) error {
	for _, t := range out.Tensors {
		if len(t.Shape) == 0 || t.Shape[0] != int64(rows) {
			return fmt.Errorf("%w %d rows with output %q of shape %v", errRows, rows, t.Name, t.Shape)
		}
		if err := t.Check(); err != nil {
			return fmt.Errorf("%w %d rows with a damaged output: %v", errRows, rows, err)
		}
	}
	return nil
}

// split gives every call its rows of out, which passed checkRows. The answers share out's
// memory, each limited to its own part, and its lease.
func split(out backends.Batch, rows int, calls []*call) {
	out.Lease.Retain(len(calls) - 1)
	width := len(out.Tensors)
	tensors := make([]backends.Tensor, width*len(calls))
	for k, t := range out.Tensors {
		rest := t.Data
		perRow := int(t.Elements()) / rows
		for i, c := range calls {
			n := dataSize(t.Datatype, rest, perRow*c.rows)
			part := &tensors[i*width+k]
			*part = t
			part.Shape = withRows(t.Shape, c.rows)
			part.Data, rest = rest[:n:n], rest[n:]
		}
	}
	for i, c := range calls {
		c.out = out
		c.out.Tensors = tensors[i*width : (i+1)*width : (i+1)*width]
	}
}

// dataSize returns the bytes that the first n elements of data take.
func dataSize(d backends.Datatype, data []byte, n int) int {
	if d != backends.Bytes {
		return n * d.Size()
	}
	size := 0
	for range n {
		size += 4 + int(binary.LittleEndian.Uint32(data[size:]))
	}
	return size
}

// noRows is the answer to a call without rows. A dimension that varies is 0 in it.
func noRows(in backends.Batch, sig backends.Signature) backends.Batch {
	wanted := in.Outputs
	if wanted == nil {
		for _, spec := range sig.Outputs {
			wanted = append(wanted, spec.Name)
		}
	}
	out := backends.Batch{Tensors: make([]backends.Tensor, len(wanted))}
	for i, name := range wanted {
		spec, _ := sig.Output(name)
		shape := withRows(spec.Shape, 0)
		for k := range shape {
			shape[k] = max(shape[k], 0)
		}
		out.Tensors[i] = backends.Tensor{Name: name, Datatype: spec.Datatype, Shape: shape}
	}
	return out
}

func withRows(shape []int64, rows int) []int64 {
	shape = slices.Clone(shape)
	shape[0] = int64(rows)
	return shape
}
