package rewrite

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// Made returns the node that makes v, if it is one of these operators of ai.onnx; otherwise nil.
func Made(v *onnx.Value, ops ...string) *onnx.Node {
	if v == nil || v.Producer == nil || v.Const != nil || v.Producer.Domain != "" || !slices.Contains(ops, v.Producer.Op) {
		return nil
	}
	return v.Producer
}

// IsFP32 says that v is there and has elements of FP32.
func IsFP32(v *onnx.Value) bool { return v != nil && v.Datatype == backends.FP32 }

// Floats returns the elements of an FP32 constant; ok is false for what is none.
func Floats(v *onnx.Value) (all []float32, ok bool) {
	if !IsFP32(v) || v.Const == nil {
		return nil, false
	}
	all = make([]float32, len(v.Const.Data)/4)
	for i := range all {
		all[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.Const.Data[4*i:]))
	}
	return all, true
}

// floats returns an FP32 constant.
func floats(name string, shape []int64, all []float32) backends.Tensor {
	t := backends.Tensor{Name: name, Datatype: backends.FP32, Shape: shape, Data: make([]byte, 0, 4*len(all))}
	for _, v := range all {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
	}
	return t
}

// Integers returns the elements of a constant of INT64 or INT32; ok is false for what is none.
func Integers(v *onnx.Value) (all []int64, ok bool) {
	if v == nil || v.Const == nil {
		return nil, false
	}
	all = []int64{}
	switch data := v.Const.Data; v.Datatype {
	case backends.Int64:
		for ; len(data) >= 8; data = data[8:] {
			all = append(all, int64(binary.LittleEndian.Uint64(data)))
		}
	case backends.Int32:
		for ; len(data) >= 4; data = data[4:] {
			all = append(all, int64(int32(binary.LittleEndian.Uint32(data))))
		}
	default:
		return nil, false
	}
	return all, true
}

// Scalar returns the one element of an FP32 constant.
func Scalar(v *onnx.Value) (float32, bool) {
	if !IsFP32(v) || v.Const == nil || v.Const.Elements() != 1 {
		return 0, false
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(v.Const.Data)), true
}

// is says that v is a constant of about that value.
func is(v *onnx.Value, want float64) bool {
	have, ok := Scalar(v)
	return ok && math.Abs(float64(have)-want) <= 1e-3*math.Abs(want)
}

// Other returns the input of a node of two that is not v; nil if neither or both are.
func Other(n *onnx.Node, v *onnx.Value) *onnx.Value {
	if n == nil || len(n.Inputs) != 2 || n.Inputs[0] == n.Inputs[1] {
		return nil
	}
	if i := slices.Index(n.Inputs, v); i >= 0 {
		return n.Inputs[1-i]
	}
	return nil
}

// times returns v if x is v·factor, in either order, or v/(1/factor).
func times(x *onnx.Value, factor float64) *onnx.Value {
	if n := Made(x, "Mul"); n != nil {
		for i, v := range n.Inputs {
			if is(v, factor) {
				return n.Inputs[1-i]
			}
		}
	}
	if n := Made(x, "Div"); n != nil && is(n.Inputs[1], 1/factor) {
		return n.Inputs[0]
	}
	return nil
}

// plus returns v if x is v+term, in either order.
func plus(x *onnx.Value, term float64) *onnx.Value {
	if n := Made(x, "Add"); n != nil {
		for i, v := range n.Inputs {
			if is(v, term) {
				return n.Inputs[1-i]
			}
		}
	}
	return nil
}

// isVector says that v is a constant vector of FP32.
func isVector(v *onnx.Value) bool { return IsFP32(v) && v.Const != nil && len(v.Const.Shape) == 1 }

// lastDim returns the size of the last dimension, -1 if it is not known.
func lastDim(v *onnx.Value) int64 {
	if !v.HasShape || len(v.Shape) == 0 {
		return -1
	}
	return v.Shape[len(v.Shape)-1].Size
}
