package backends

import (
	"bytes"
	"reflect"
	"testing"
)

func TestAppendCanonical(t *testing.T) {
	x := Tensor{Name: "x", Datatype: Uint8, Shape: []int64{1}, Data: []byte{1}}
	y := Tensor{Name: "y", Datatype: Uint8, Shape: []int64{1}, Data: []byte{2}}
	given := []Tensor{y, x}
	one, inputs := Batch{Tensors: given}.AppendCanonical([]byte("id"))
	other, _ := Batch{Tensors: []Tensor{x, y}, NoCache: true}.AppendCanonical([]byte("id"))
	if !bytes.Equal(one, other) || !bytes.HasPrefix(one, []byte("id")) {
		t.Errorf("AppendCanonical = %q and %q, want the same whatever the order of the inputs", one, other)
	}
	if !reflect.DeepEqual(inputs, []Tensor{x, y}) || given[0].Name != "y" {
		t.Errorf("inputs = %v, given is now %v, want x before y and no change to what was given", inputs, given)
	}
	wanted, _ := Batch{Tensors: given, Outputs: []string{}}.AppendCanonical([]byte("id"))
	if bytes.Equal(one, wanted) {
		t.Error("no outputs wanted and all of them have the same form")
	}
}
