package plugins

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// A batch in shared memory is a head and the data of its tensors behind it, each at the next
// multiple of dataAlign. Words are little-endian and tensors are named by their place in the
// signature:
//
//	head bytes u32, tensors u32, outputs u32 (allOutputs for all), parameters u32
//	each tensor:    spec u32, datatype u32, rank u32, zero u32, data bytes u64, rank × dimension u64
//	each output:    spec u32
//	each parameter: name bytes u32, name, value bytes u32, value
//
// There is one way to write a batch, so that two batches never share memory and nothing hides
// in gaps: decode refuses every other.
const (
	dataAlign  = 64
	maxHead    = 64 << 10
	allOutputs = math.MaxUint32
)

// usualTensors is how many tensors a batch may have for its frame to take no memory of the heap.
const usualTensors = 8

// frame is a batch that lies in shared memory, or is to be laid there.
type frame struct {
	tensors    []frameTensor
	outputs    []int // nil for all
	parameters []backends.Parameter
}

type frameTensor struct {
	spec     int
	datatype backends.Datatype
	shape    []int64
	size     int // bytes of data
}

// headBytes returns the length of the head.
func (f frame) headBytes() int {
	n := 16 + 4*len(f.outputs)
	for _, t := range f.tensors {
		n += 24 + 8*len(t.shape)
	}
	for _, p := range f.parameters {
		n += 8 + len(p.Name) + len(p.Value)
	}
	return n
}

// bytes returns the length of head and data.
func (f frame) bytes() int {
	n := f.headBytes()
	for _, t := range f.tensors {
		n = alignData(n) + t.size
	}
	return n
}

func alignData(n int) int { return (n + dataAlign - 1) &^ (dataAlign - 1) }

// lay writes the head into mem, which has room for f.bytes(), and appends to places where the
// data of each tensor belong. What lies between is left as it is.
func (f frame) lay(mem []byte, places [][]byte) [][]byte {
	at := len(f.appendHead(mem[:0]))
	for _, t := range f.tensors {
		at = alignData(at)
		places = append(places, mem[at:at+t.size:at+t.size])
		at += t.size
	}
	return places
}

func (f frame) appendHead(b []byte) []byte {
	outputs := uint32(allOutputs)
	if f.outputs != nil {
		outputs = uint32(len(f.outputs))
	}
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(f.headBytes()))
	b = le.AppendUint32(b, uint32(len(f.tensors)))
	b = le.AppendUint32(b, outputs)
	b = le.AppendUint32(b, uint32(len(f.parameters)))
	for _, t := range f.tensors {
		b = le.AppendUint32(b, uint32(t.spec))
		b = le.AppendUint32(b, uint32(t.datatype))
		b = le.AppendUint32(b, uint32(len(t.shape)))
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, uint64(t.size))
		for _, d := range t.shape {
			b = le.AppendUint64(b, uint64(d))
		}
	}
	for _, i := range f.outputs {
		b = le.AppendUint32(b, uint32(i))
	}
	for _, p := range f.parameters {
		b = append(le.AppendUint32(b, uint32(len(p.Name))), p.Name...)
		b = append(le.AppendUint32(b, uint32(len(p.Value))), p.Value...)
	}
	return b
}

var errLayout = errors.New("shared memory is not laid out as a batch")

func misplaced(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errLayout, fmt.Sprintf(format, args...))
}

// decode reads a batch of tensors that specs describe, and outputs that the other specs do. The
// peer may write to mem at any time: the head is read once, and what is checked by value, the
// elements of BYTES, is copied. All other data are returned where they lie.
func decode(mem []byte, specs, outputs []backends.TensorSpec) (backends.Batch, error) {
	if len(mem) < 16 {
		return backends.Batch{}, misplaced("%d bytes", len(mem))
	}
	size := int(binary.LittleEndian.Uint32(mem))
	if size < 16 || size > min(len(mem), maxHead) {
		return backends.Batch{}, misplaced("a head of %d bytes in %d, at most %d", size, len(mem), maxHead)
	}
	head := bytes.Clone(mem[:size])
	d := decoder{rest: head}
	if d.uint32() != uint32(size) {
		return backends.Batch{}, misplaced("the head changes")
	}
	tensors, wanted, parameters := d.uint32(), d.uint32(), d.uint32()
	var b backends.Batch
	b.Tensors = d.tensors(tensors, specs)
	b.Outputs = d.outputs(wanted, outputs)
	b.Parameters = d.parameters(parameters)
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes behind the head", len(d.rest))
	}
	if d.err == nil {
		d.data(b.Tensors, mem, size)
	}
	return b, d.err
}

// decoder reads a head. After an error it reads zeros.
type decoder struct {
	rest  []byte
	sizes []uint64 // bytes of data of each tensor
	err   error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = misplaced(format, args...)
	}
	d.rest = nil
}

func (d *decoder) uint32() uint32 {
	if len(d.rest) < 4 {
		d.fail("a head cut short")
		return 0
	}
	n := binary.LittleEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return n
}

func (d *decoder) uint64() uint64 {
	low := d.uint32()
	return uint64(d.uint32())<<32 | uint64(low)
}

func (d *decoder) text() string {
	n := d.uint32()
	if uint64(n) > uint64(len(d.rest)) {
		d.fail("a text of %d bytes in %d", n, len(d.rest))
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) tensors(n uint32, specs []backends.TensorSpec) []backends.Tensor {
	if uint64(n) > uint64(len(specs)) {
		d.fail("%d tensors, at most %d", n, len(specs))
		return nil
	}
	tensors := make([]backends.Tensor, n)
	d.sizes = make([]uint64, 0, n)
	shapes := make([]int64, 0, ranks(specs)) // of all of them: one allocation
	for i := range tensors {
		spec, datatype, rank, zero := d.uint32(), d.uint32(), d.uint32(), d.uint32()
		d.sizes = append(d.sizes, d.uint64())
		if uint64(spec) >= uint64(len(specs)) || zero != 0 || uint64(rank) > uint64(len(d.rest)/8) {
			d.fail("tensor %d is number %d of rank %d", i, spec, rank)
			return nil
		}
		s := &specs[spec]
		if datatype != uint32(s.Datatype) || int(rank) != len(s.Shape) {
			d.fail("tensor %q has datatype %d and rank %d instead of %v %v", s.Name, datatype, rank, s.Datatype, s.Shape)
			return nil
		}
		from := len(shapes)
		for range rank {
			shapes = append(shapes, int64(d.uint64()))
		}
		tensors[i] = backends.Tensor{Name: s.Name, Datatype: s.Datatype, Shape: shapes[from:len(shapes):len(shapes)]}
	}
	return tensors
}

// ranks returns how many dimensions the tensors of all specs have together.
func ranks(specs []backends.TensorSpec) int {
	n := 0
	for i := range specs {
		n += len(specs[i].Shape)
	}
	return n
}

func (d *decoder) outputs(n uint32, specs []backends.TensorSpec) []string {
	if n == allOutputs || d.err != nil {
		return nil
	}
	if uint64(n) > uint64(len(specs)) {
		d.fail("%d outputs, at most %d", n, len(specs))
		return nil
	}
	names := make([]string, n)
	for i := range names {
		spec := d.uint32()
		if uint64(spec) >= uint64(len(specs)) {
			d.fail("output %d is number %d of %d", i, spec, len(specs))
			return nil
		}
		names[i] = specs[spec].Name
	}
	return names
}

func (d *decoder) parameters(n uint32) []backends.Parameter {
	if n == 0 || d.err != nil {
		return nil
	}
	if uint64(n) > uint64(len(d.rest)/8) {
		d.fail("%d parameters", n)
		return nil
	}
	all := make([]backends.Parameter, n)
	for i := range all {
		all[i] = backends.Parameter{Name: d.text(), Value: d.text()}
	}
	return all
}

// data gives each tensor its part of mem.
func (d *decoder) data(tensors []backends.Tensor, mem []byte, at int) {
	for i := range tensors {
		t := &tensors[i]
		at = alignData(at)
		if at > len(mem) || d.sizes[i] > uint64(len(mem)-at) {
			d.fail("%d bytes of tensor %q at %d of %d", d.sizes[i], t.Name, at, len(mem))
			return
		}
		end := at + int(d.sizes[i])
		t.Data = mem[at:end:end]
		if t.Datatype == backends.Bytes {
			t.Data = bytes.Clone(t.Data)
		}
		at = end
	}
	if at != len(mem) {
		d.fail("%d bytes behind the data", len(mem)-at)
	}
}

// frameOf returns how the rows of parts are laid, whose tensors have passed the signature's Check.
// The frame's tensors are appended to tensors.
func frameOf(s *backends.Signature, parts []backends.Batch, tensors []frameTensor) frame {
	first := &parts[0]
	f := frame{outputs: indices(s.Outputs, first.Outputs), parameters: first.Parameters}
	for k := range first.Tensors {
		t := frameOfTensor(s.Inputs, first.Tensors[k])
		if len(parts) > 1 {
			t.shape = slices.Clone(t.shape)
		}
		for i := range parts[1:] {
			more := &parts[1+i].Tensors[k]
			t.shape[0] += more.Shape[0]
			t.size += len(more.Data)
		}
		tensors = append(tensors, t)
	}
	f.tensors = tensors
	return f
}

// answerFrame returns how an answer is laid, which has passed checkAnswer.
func answerFrame(s *backends.Signature, out backends.Batch, tensors []frameTensor) frame {
	for _, t := range out.Tensors {
		tensors = append(tensors, frameOfTensor(s.Outputs, t))
	}
	return frame{tensors: tensors}
}

func frameOfTensor(specs []backends.TensorSpec, t backends.Tensor) frameTensor {
	return frameTensor{spec: index(specs, t.Name), datatype: t.Datatype, shape: t.Shape, size: len(t.Data)}
}

func indices(specs []backends.TensorSpec, names []string) []int {
	if names == nil {
		return nil
	}
	all := make([]int, len(names))
	for i, name := range names {
		all[i] = index(specs, name)
	}
	return all
}

func index(specs []backends.TensorSpec, name string) int {
	for i := range specs {
		if specs[i].Name == name {
			return i
		}
	}
	return -1
}
