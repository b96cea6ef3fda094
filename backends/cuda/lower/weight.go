package lower

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// constant returns a weight of what t holds, in datatype d where that is one of floating point.
func constant(t *backends.Tensor, d backends.Datatype) (Tensor, error) {
	if t.Datatype == backends.Bytes {
		return Tensor{}, fmt.Errorf("constant %q: a device has no strings", t.Name)
	}
	shape := t.Shape
	w := Tensor{Type: t.Datatype, Shape: slices.Clone(shape), Strides: dense(shape), Buffer: &Buffer{
		Bytes:  int64(len(t.Data)),
		Weight: &Weight{Key: fmt.Sprintf("%p", t), Data: func() []byte { return t.Data }},
	}}
	if t.Datatype != d && isFloat(t.Datatype) {
		return converted(w, d), nil
	}
	return w, nil
}

// NewWeight returns a dense tensor with contents that are computed when they are needed. The key
// tells them from others.
func NewWeight(key string, d backends.Datatype, shape []int64, data func() []byte) Tensor {
	return Tensor{Type: d, Shape: slices.Clone(shape), Strides: dense(shape),
		Buffer: &Buffer{Bytes: bytesOf(d, shape), Weight: &Weight{Key: key, Data: data}}}
}

// Floats returns the elements of a weight of floating point, in the order of its shape.
func (t Tensor) Floats() []float32 {
	data, width := gather(t), t.Type.Size()
	all := make([]float32, len(data)/width)
	for i := range all {
		all[i] = number(data[i*width:], t.Type)
	}
	return all
}

func number(b []byte, d backends.Datatype) float32 {
	switch d {
	case backends.FP16:
		return fromHalf(binary.LittleEndian.Uint16(b))
	case backends.BF16:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(b))
}

func appendNumber(b []byte, v float32, d backends.Datatype) []byte {
	switch d {
	case backends.FP16:
		return binary.LittleEndian.AppendUint16(b, toHalf(v))
	case backends.BF16:
		return binary.LittleEndian.AppendUint16(b, toBrain(v))
	}
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

// floats returns a weight of those numbers.
func floats(key string, d backends.Datatype, shape []int64, numbers func() []float32) Tensor {
	return NewWeight(key, d, shape, func() []byte {
		var data []byte
		for _, v := range numbers() {
			data = appendNumber(data, v, d)
		}
		return data
	})
}

// converted returns a weight of floating point in another datatype.
func converted(t Tensor, d backends.Datatype) Tensor {
	return floats(fmt.Sprintf("%s as %v", layoutKey(t), d), d, t.Shape, t.Floats)
}

// gathered returns a weight with its elements in the order of its shape.
func gathered(t Tensor) Tensor {
	return NewWeight(layoutKey(t), t.Type, t.Shape, func() []byte { return gather(t) })
}

// layoutKey tells a view of a weight from others.
func layoutKey(t Tensor) string {
	return fmt.Sprintf("%s %d %v %v", t.Buffer.Weight.Key, t.Offset, t.Shape, t.Strides)
}

// gather returns the elements of a weight in the order of its shape.
func gather(t Tensor) []byte {
	data, width := t.Buffer.Weight.Data(), int64(t.Type.Size())
	n := t.Elements()
	if t.Dense() {
		return data[t.Offset*width : (t.Offset+n)*width]
	}
	out := make([]byte, 0, n*width)
	index, at := make([]int64, len(t.Shape)), t.Offset
	for range n {
		out = append(out, data[at*width:(at+1)*width]...)
		for i := range slices.Backward(index) {
			index[i]++
			at += t.Strides[i]
			if index[i] < t.Shape[i] {
				break
			}
			at -= index[i] * t.Strides[i]
			index[i] = 0
		}
	}
	return out
}

// toBrain rounds to the nearest BF16, ties to even.
func toBrain(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// toHalf rounds to the nearest FP16, ties to even.
func toHalf(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, rest := uint16(bits>>16)&0x8000, bits&0x7fffffff
	switch {
	case rest > 0x7f800000:
		return sign | 0x7e00
	case rest >= 0x477ff000: // what rounds beyond the largest
		return sign | 0x7c00
	case rest < 0x38800000: // below the smallest with a full mantissa: its unit is 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(rest))*(1<<24)))
	}
	rest += 0xfff + rest>>13&1
	return sign | uint16((rest-0x38000000)>>13)
}

func fromHalf(h uint16) float32 {
	sign, exponent, mantissa := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0:
		v := float32(mantissa) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
}
