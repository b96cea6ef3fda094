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
func (c *call) known(x, flat, scale, zero Tensor, d backends.Datatype) Tensor {
	key := fmt.Sprintf("%s by %s, %v", layoutKey(flat), layoutKey(scale), d)
	n, inner := flat.Shape[1], flat.Shape[2]
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
		q := quantity{value: x, scales: scale.Floats(), stride: inner}
		c.integral[out.Buffer] = q
	}
	return out
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
	scale, zero := before.In[1], before.In[2]
	if scale.Elements() != 1 || scale.Buffer.Weight == nil || zero.Given() && zero.Buffer.Weight == nil || before.In[0].Type == backends.Int32 {
		return false
	}
	n, k := w.Shape[3], w.Shape[2]
	if len(q.scales) != 1 && (int64(len(q.scales)) != n || q.stride != w.Strides[3]) {
		return false
	}
	rows := before.In[0]
	rows.Shape, rows.Strides = x.Shape, x.Strides
	matrix := q.value
	matrix.Offset, matrix.Shape, matrix.Strides = w.Offset, []int64{n, k}, []int64{w.Strides[3], w.Strides[2]}
	matrix = gathered(matrix)
	key := fmt.Sprintf("%s after %s", layoutKey(matrix), layoutKey(scale))
	by := func() []float32 {
		all := make([]float32, n)
		for i := range all {
			all[i] = scale.Floats()[0] * q.scales[i%len(q.scales)]
		}
		return all
	}
	bias := o.In[2]
	if bias.Given() {
		key += " and " + layoutKey(bias)
	}
	terms := func() []float32 {
		all := make([]float32, n)
		if bias.Given() {
			copy(all, bias.Floats())
		}
		if zero.Given() {
			scales, values, point := by(), signed(matrix), signed(zero)[0]
			for i := range all {
				sum := int64(0)
				for _, v := range values[int64(i)*k : int64(i+1)*k] {
					sum += v
				}
				all[i] -= float32(float64(sum*point) * float64(scales[i]))
			}
		}
		return all
	}
	if zero.Given() {
		key += " from " + layoutKey(zero)
	}
	o.Kind = GemmInteger{}
	o.In = []Tensor{rows, matrix, floats(key+" scale", backends.FP32, []int64{n}, by), floats(key+" bias", backends.FP32, []int64{n}, terms)}
	f.program.pruneBut(f.kept)
	return true
}
