package lower

import (
	"encoding/binary"
	"fmt"

	"github.com/thrumserve/thrum/backends"
)

// quantity is a weight of eight bits that stands for numbers.
type quantity struct {
	value  Tensor    // of Int8, dense
	scales []float32 // one for all, or for each position of an axis
	stride int64     // of that axis in value
}

// known returns the weight that a DequantizeLinear of weights makes, and remembers what it is made of.
// Weights of eight bits with a zero point other than 0 are only made.
func (c *call) known(x Tensor, a scaling, d backends.Datatype) Tensor {
	dense := c.dense(x)
	flat, _ := dense.reshape(a.x.Shape) // as the weight lies
	key := fmt.Sprintf("%s by %s, %v", layoutKey(flat), layoutKey(a.scale), d)
	n, inner := flat.Shape[1], flat.Shape[2]
	scale, zero := a.scale, a.zero
	out := floats(key, d, x.Shape, func() []float32 {
		values, scales, zeros := signed(flat), scale.Floats(), []int64(nil)
		if zero.Given() {
			zeros = signed(zero)
		}
		all := make([]float32, len(values))
		for i, v := range values {
			at := int64(i) / inner % n
			if zeros != nil {
				v -= zeros[at]
			}
			all[i] = float32(v) * scales[at]
		}
		return all
	})
	centred := true
	if zero.Given() {
		for _, z := range signed(zero) {
			centred = centred && z == 0
		}
	}
	if x.Type == backends.Int8 && centred && c.integers {
		c.integral[out.Buffer] = quantity{value: dense, scales: scale.Floats(), stride: inner}
	}
	return out
}

// per returns the scales for n results whose weights are stride apart: one for each, or for all.
func (q quantity) per(n, stride int64) ([]float32, bool) {
	one := len(q.scales) == 1
	return q.scales, one || int64(len(q.scales)) == n && q.stride == stride
}

// view returns the bytes of a view of the weight that q stands for.
func (q quantity) view(of Tensor) Tensor {
	v := of
	v.Buffer, v.Type, v.Offset = q.value.Buffer, q.value.Type, q.value.Offset+of.Offset
	return v
}

// terms returns what the sums of rows [n, k] with bytes are multiplied with, and what is added then: the
// bias, without what the zero point of the bytes has brought in.
func (s source) terms(rows Tensor, scales []float32, bias Tensor) (by, plus Tensor) {
	n, k := rows.Shape[0], rows.Shape[1]
	key := fmt.Sprintf("%s after %s", layoutKey(rows), s.key)
	if bias.Given() {
		key += " and " + layoutKey(bias)
	}
	factors := func() []float32 {
		all := make([]float32, n)
		for i := range all {
			all[i] = s.scale * scales[i%len(scales)]
		}
		return all
	}
	return floats(key+" scale", backends.FP32, []int64{n}, factors), floats(key+" bias", backends.FP32, []int64{n}, func() []float32 {
		all := make([]float32, n)
		if bias.Given() {
			copy(all, bias.Floats())
		}
		values, scales := signed(rows), factors()
		for i := range all {
			sum := int64(0)
			for _, v := range values[int64(i)*k : int64(i+1)*k] {
				sum += v
			}
			all[i] -= float32(float64(sum*s.zero) * float64(scales[i]))
		}
		return all
	})
}

// signed returns the elements of a weight of integers, in the order of its shape.
func signed(t Tensor) []int64 {
	var all []int64
	for data := gather(t); len(data) > 0; data = data[t.Type.Size():] {
		switch t.Type {
		case backends.Uint8:
			all = append(all, int64(data[0]))
		case backends.Int8:
			all = append(all, int64(int8(data[0])))
		case backends.Int32:
			all = append(all, int64(int32(binary.LittleEndian.Uint32(data))))
		}
	}
	return all
}

// integer makes a product of integers of one whose operands have been integers: rows with one scale
// and zero point, and a matrix with a scale for all or for each column.
func (f *fusion) integer(o *Op) bool {
	g, isGemm := o.Kind.(Gemm)
	if !isGemm || g.Alpha != 1 || g.Activation.Function != "" || o.In[3].Given() || o.In[2].Given() && o.In[2].Buffer.Weight == nil {
		return false
	}
	x, w, y := o.In[0], o.In[1], o.Out[0]
	before, q := f.writer(x), f.quantities[w.Buffer]
	if before == nil || before.Name() != "Dequantize" || q.value.Buffer == nil || !x.Dense() || x.Offset != 0 || y.Shape[0] != 1 || y.Shape[1] != 1 {
		return false
	}
	from, known := sourceOf(before.In[0], before.In[1], before.In[2])
	scales, fit := q.per(w.Shape[3], w.Strides[3])
	if !known || !fit || !whole(before.Out[0]) {
		return false
	}
	rows := from.bytes
	rows.Shape, rows.Strides = x.Shape, x.Strides
	matrix := q.view(w)
	matrix.Shape, matrix.Strides = []int64{w.Shape[3], w.Shape[2]}, []int64{w.Strides[3], w.Strides[2]}
	matrix = gathered(matrix)
	by, plus := from.terms(matrix, scales, o.In[2])
	o.Kind, o.In = GemmInteger{}, []Tensor{rows, matrix, by, plus, {}}
	f.program.pruneBut(f.kept)
	return true
}

// requantise lets a product or a mean of bytes write bytes, where they are all that is read of its result,
// and has a product add bytes that have been dequantised for nobody else.
func (f *fusion) requantise(o *Op) bool {
	if p, ok := o.Kind.(Pool); ok && p.From.Scale != 0 {
		return f.writesBytes(o, func(to source) {
			p.To = Affine{to.scale, to.zero}
			o.Kind = p
		})
	}
	r, ok := requantized(o)
	if !ok || !isFloat(o.Out[0].Type) {
		return false
	}
	if extra := o.In[4]; extra.Given() && isFloat(extra.Type) {
		if before := f.writer(extra); before != nil && before.Name() == "Dequantize" && whole(before.Out[0]) {
			if from, known := sourceOf(before.In[0], before.In[1], before.In[2]); known {
				o.In[4].Buffer, o.In[4].Type, o.In[4].Offset = from.bytes.Buffer, from.bytes.Type, from.bytes.Offset
				r.ResidualScale, r.ResidualZero = from.scale, from.zero
				o.Kind = withRequantized(o.Kind, r)
			}
		}
	}
	return f.writesBytes(o, func(to source) {
		r.Scale, r.Zero = to.scale, to.zero
		o.Kind = withRequantized(o.Kind, r)
	})
}

// writesBytes has o write what its result is quantised to, where that is all that is read of it, and says by
// which numbers.
func (f *fusion) writesBytes(o *Op, by func(to source)) bool {
	next := f.reader(o)
	if next == nil || !isFloat(o.Out[0].Type) || next.Name() != "Quantize" || !whole(next.In[0]) || !whole(next.Out[0]) || next.In[0].Elements() != o.Out[0].Elements() {
		return false
	}
	to, known := sourceOf(next.Out[0], next.In[1], next.In[2])
	if !known {
		return false
	}
	by(to)
	o.Out[0].Buffer, o.Out[0].Type = next.Out[0].Buffer, next.Out[0].Type
	f.replace(next, o)
	return true
}

// requantized returns what an operation does to sums of products of bytes.
func requantized(o *Op) (Requantized, bool) {
	switch k := o.Kind.(type) {
	case GemmInteger:
		return k.Requantized, true
	case ConvInteger:
		return k.Requantized, true
	}
	return Requantized{}, false
}

func withRequantized(k Kind, r Requantized) Kind {
	if c, ok := k.(ConvInteger); ok {
		c.Requantized = r
		return c
	}
	return GemmInteger{r}
}
