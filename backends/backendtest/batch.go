package backendtest

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// variable is the size that Example gives a dimension that varies, the rows excepted.
const variable = 3

// Example returns a batch that fits the signature, with every input that is not optional. Row
// i is the same whatever the number of rows, and different from most others.
func Example(s backends.Signature, rows int) backends.Batch {
	var b backends.Batch
	for _, spec := range s.Inputs {
		if spec.Optional {
			continue
		}
		t := backends.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: slices.Clone(spec.Shape), Data: []byte{}}
		for i, d := range t.Shape {
			switch {
			case i == 0 && s.Batched:
				t.Shape[i] = int64(rows)
			case d < 0:
				t.Shape[i] = variable
			}
		}
		for i := range t.Elements() {
			t.Data = appendElement(t.Data, t.Datatype, i)
		}
		b.Tensors = append(b.Tensors, t)
	}
	return b
}

// appendElement appends an element that depends on i alone: a small number, so that it is a
// fair index and no sum of many overflows.
func appendElement(data []byte, d backends.Datatype, i int64) []byte {
	n := i * 2654435761 >> 7 & 0xff
	switch d {
	case backends.FP32:
		return binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(n)/256))
	case backends.FP64:
		return binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(n)/256))
	case backends.FP16:
		return binary.LittleEndian.AppendUint16(data, uint16(0x3c00+n)) // 1 to 1.25
	case backends.BF16:
		return binary.LittleEndian.AppendUint16(data, uint16(0x3f80+n&0x7f)) // 1 to 2
	case backends.Bytes:
		return backends.AppendBytesElement(data, fmt.Appendf(nil, "value %d", n))
	default:
		return append(data, append([]byte{byte(n & 1)}, make([]byte, d.Size()-1)...)...)
	}
}

// row returns row i of every tensor of a batched b.
func row(b backends.Batch, i int) backends.Batch {
	tensors := slices.Clone(b.Tensors)
	for k, t := range tensors {
		tensors[k].Shape = append([]int64{1}, t.Shape[1:]...)
		tensors[k].Data = rowData(t, i)
	}
	b.Tensors = tensors
	return b
}

func rowData(t backends.Tensor, i int) []byte {
	each := int(backends.Elements(t.Shape[1:]))
	if t.Datatype != backends.Bytes {
		n := each * t.Datatype.Size()
		return t.Data[i*n : (i+1)*n]
	}
	var data []byte
	k := 0
	for element := range backends.BytesElements(t.Data) {
		if k/max(each, 1) == i {
			data = backends.AppendBytesElement(data, element)
		}
		k++
	}
	return data
}

func one(t backends.Tensor) backends.Batch { return backends.Batch{Tensors: []backends.Tensor{t}} }

// conforms reports how an answer is not one to the request.
func conforms(s backends.Signature, in, out backends.Batch) error {
	names := in.Outputs
	if names == nil {
		for _, spec := range s.Outputs {
			names = append(names, spec.Name)
		}
	}
	if len(out.Tensors) != len(names) {
		return fmt.Errorf("%d outputs, want %v", len(out.Tensors), names)
	}
	for i, t := range out.Tensors {
		spec, _ := s.Output(names[i])
		fits := slices.EqualFunc(t.Shape, spec.Shape, func(have, want int64) bool { return want < 0 || have == want })
		if t.Name != names[i] || t.Datatype != spec.Datatype || !fits {
			return fmt.Errorf("output %d is %q %v %v, want %q %v %v", i, t.Name, t.Datatype, t.Shape, names[i], spec.Datatype, spec.Shape)
		}
		if s.Batched && t.Shape[0] != int64(in.Rows()) {
			return fmt.Errorf("output %q has %d rows, want %d", t.Name, t.Shape[0], in.Rows())
		}
		if err := t.Check(); err != nil {
			return err
		}
	}
	return nil
}

// near reports where two answers differ by more than the tolerance.
func near(have, want backends.Batch, tolerance float64) error {
	if len(have.Tensors) != len(want.Tensors) {
		return fmt.Errorf("%d outputs, want %d", len(have.Tensors), len(want.Tensors))
	}
	for i, h := range have.Tensors {
		w := want.Tensors[i]
		if h.Name != w.Name || h.Datatype != w.Datatype || !slices.Equal(h.Shape, w.Shape) || len(h.Data) != len(w.Data) {
			return fmt.Errorf("output %q %v %v, want %q %v %v", h.Name, h.Datatype, h.Shape, w.Name, w.Datatype, w.Shape)
		}
		if err := nearData(h, w, tolerance); err != nil {
			return fmt.Errorf("output %q: %w", h.Name, err)
		}
	}
	return nil
}

func nearData(have, want backends.Tensor, tolerance float64) error {
	if have.Datatype != backends.FP32 && have.Datatype != backends.FP64 {
		if !slices.Equal(have.Data, want.Data) {
			return fmt.Errorf("%v, want %v", have.Data, want.Data)
		}
		return nil
	}
	for i := range have.Elements() {
		h, w := float(have, i), float(want, i)
		if h != w && !(math.IsNaN(h) && math.IsNaN(w)) && !(math.Abs(h-w) <= tolerance*(1+math.Abs(w))) {
			return fmt.Errorf("element %d is %g, want %g", i, h, w)
		}
	}
	return nil
}

func float(t backends.Tensor, i int64) float64 {
	if t.Datatype == backends.FP64 {
		return math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:])))
}

func clone(b backends.Batch) backends.Batch {
	b.Tensors = slices.Clone(b.Tensors)
	for i, t := range b.Tensors {
		b.Tensors[i].Shape = slices.Clone(t.Shape)
		b.Tensors[i].Data = slices.Clone(t.Data)
	}
	return b
}

func otherDatatype(d backends.Datatype) backends.Datatype {
	if d == backends.FP64 {
		return backends.FP32
	}
	return backends.FP64
}

func size(b backends.Batch) int {
	n := 0
	for _, t := range b.Tensors {
		n += len(t.Data)
	}
	return max(n, 1)
}

func describe(b backends.Batch) string {
	text := fmt.Sprintf("%d rows", b.Rows())
	if b.Outputs != nil {
		text += fmt.Sprintf(" for %v", b.Outputs)
	}
	return text
}

var seed = maphash.MakeSeed()

// fingerprint tells a batch from a changed one.
func fingerprint(b backends.Batch) string {
	text := describe(b)
	for _, t := range b.Tensors {
		text += fmt.Sprintf(" %s %v %v %x", t.Name, t.Datatype, t.Shape, maphash.Bytes(seed, t.Data))
	}
	return text
}
