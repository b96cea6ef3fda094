package lower

import (
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// TestNamesOfClassesAreAnswersOnly has an operation other than one that passes them on read names.
func TestNamesOfClassesAreAnswersOnly(t *testing.T) {
	class, same := &onnx.Value{Name: "class", Datatype: backends.Bytes}, &onnx.Value{Name: "same", Datatype: backends.Bytes}
	numbers := newTensor(backends.Int64, []int64{3})
	l := &lowering{float: backends.FP32, values: map[*onnx.Value]Tensor{class: numbers}, names: map[*Buffer][]string{numbers.Buffer: {"no", "yes"}}}
	if err := l.node(&onnx.Node{Op: "Identity", Inputs: []*onnx.Value{class}, Outputs: []*onnx.Value{same}}); err != nil {
		t.Fatal(err)
	}
	if out, names, err := l.output(same); err != nil || out.Type != backends.Int64 || strings.Join(names, " ") != "no yes" {
		t.Errorf("output = %+v, %v, %v, want numbers and their names", out, names, err)
	}
	err := l.node(&onnx.Node{Op: "Not", Inputs: []*onnx.Value{same}, Outputs: []*onnx.Value{{Name: "y", Datatype: backends.Bool, HasShape: true, Shape: []onnx.Dim{{Size: 3}}}}})
	if err == nil || !strings.Contains(err.Error(), "Not") || !strings.Contains(err.Error(), `"same" is names of classes`) {
		t.Errorf("an operation on names = %v, want a refusal that names both", err)
	}
}
