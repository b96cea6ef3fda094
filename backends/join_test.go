package backends

import (
	"reflect"
	"testing"
)

func TestJoin(t *testing.T) {
	part := func(rows ...byte) Batch {
		n := int64(len(rows))
		var text []byte
		for _, r := range rows {
			text = AppendBytesElement(text, []byte{r, r}[:r%3])
		}
		return Batch{
			Tensors: []Tensor{
				{Name: "x", Datatype: Uint8, Shape: []int64{n, 1}, Data: rows},
				{Name: "text", Datatype: Bytes, Shape: []int64{n}, Data: text},
			},
			Outputs: []string{"y"}, Parameters: []Parameter{{Name: "p", Value: "1"}},
		}
	}
	for _, c := range []struct {
		situation string
		parts     []Batch
		want      Batch
	}{
		{"one part", []Batch{part(1, 2)}, part(1, 2)},
		{"two parts", []Batch{part(1, 2), part(3)}, part(1, 2, 3)},
		{"an empty part", []Batch{part(), part(4), part(5)}, part(4, 5)},
	} {
		if got := Join(c.parts); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: Join = %+v, want %+v", c.situation, got, c.want)
		}
	}
	one, two := part(1), part(2)
	Join([]Batch{one, two}).Tensors[0].Data[0] = 9
	if one.Tensors[0].Data[0] != 1 || one.Tensors[0].Shape[0] != 1 {
		t.Error("Join changed a part")
	}
}
