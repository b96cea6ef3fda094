package cpu

import (
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

func TestFold(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		one := &onnx.Value{Name: "one", Datatype: backends.FP32, HasShape: true, Shape: []onnx.Dim{{Size: 1}},
			Const: &backends.Tensor{Datatype: backends.FP32, Shape: []int64{1}, Data: []byte{0, 0, 0x80, 0x3f}}}
		n := &onnx.Node{Op: "Add", Name: "sum", Opset: 17, Inputs: []*onnx.Value{one, one}}
		sum := &onnx.Value{Name: "two", Datatype: backends.FP32, HasShape: true, Shape: one.Shape, Producer: n}
		n.Outputs = []*onnx.Value{sum}
		g := &onnx.Graph{Nodes: []*onnx.Node{n}, Outputs: []*onnx.Value{sum}, Values: []*onnx.Value{one, sum}}
		if err := Fold(g, func(*onnx.Node) bool { return keeps }); err != nil {
			t.Fatal(err)
		}
		if folded := sum.Const != nil && string(sum.Const.Data) == "\x00\x00\x00\x40"; folded == keeps {
			t.Errorf("keep %v: the sum is %v, %d nodes", keeps, sum.Const, len(g.Nodes))
		}
	}
}
