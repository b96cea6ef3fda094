package oip

import (
	"math"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestResponse(t *testing.T) {
	y := backends.Tensor{Name: "y", Datatype: backends.FP32, Shape: []int64{1, 3}, Data: fp32s(1, -0.1, 1e-7)}
	s := backends.Tensor{Name: "s", Datatype: backends.Bytes, Shape: []int64{2}, Data: texts("a\"\x01\u2028", "é")}
	scalar := backends.Tensor{Name: "n", Datatype: backends.Int8, Data: []byte{0x80}}
	for _, row := range []struct {
		situation string
		response  Response
		want      string
		length    int
	}{
		{"JSON", Response{Batch: backends.Batch{Tensors: []backends.Tensor{y, s}}},
			`{"model_name":"m","model_version":"3","outputs":[{"name":"y","datatype":"FP32","shape":[1,3],"data":[1,-0.1,1e-7]},` +
				`{"name":"s","datatype":"BYTES","shape":[2],"data":["a\"\u0001` + "\u2028" + `","é"]}]}`, AllJSON},
		{"an empty id is echoed", Response{HasID: true, Batch: backends.Batch{Tensors: []backends.Tensor{scalar}}},
			`{"model_name":"m","model_version":"3","id":"","outputs":[{"name":"n","datatype":"INT8","shape":[],"data":[-128]}]}`, AllJSON},
		{"what the cache did", Response{ID: "\t", HasID: true, Batch: backends.Batch{Trace: backends.Trace{Cache: backends.CacheHit}}},
			`{"model_name":"m","model_version":"3","id":"\t","parameters":{"cache":"hit"},"outputs":[]}`, AllJSON},
		{"JSON and binary", Response{Binary: []bool{false, true}, Batch: backends.Batch{Tensors: []backends.Tensor{scalar, y}}},
			`{"model_name":"m","model_version":"3","outputs":[{"name":"n","datatype":"INT8","shape":[],"data":[-128]},` +
				`{"name":"y","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}]}` + string(y.Data), 188},
	} {
		t.Run(row.situation, func(t *testing.T) {
			row.response.Model, row.response.Version = "m", "3"
			got, length, err := AppendResponse(nil, row.response)
			if err != nil || string(got) != row.want || length != row.length {
				t.Errorf("AppendResponse = %s, %d, %v\nwant %s, %d", got, length, err, row.want, row.length)
			}
		})
	}
}

func TestWhatJSONCannotHoldIsRefused(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, row := range []struct {
		tensor backends.Tensor
		want   string
	}{
		{backends.Tensor{Datatype: backends.FP32, Shape: []int64{2}, Data: fp32s(1, nan)}, `output "y" holds NaN or an infinity at element 1`},
		{backends.Tensor{Datatype: backends.FP32, Shape: []int64{2}, Data: fp32s(inf, 1)}, `at element 0`},
		{backends.Tensor{Datatype: backends.FP64, Shape: []int64{1}, Data: []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x7f}}, `at element 0`},
		{backends.Tensor{Datatype: backends.BF16, Shape: []int64{1}, Data: []byte{0, 0}}, `is BF16`},
		{backends.Tensor{Datatype: backends.Bytes, Shape: []int64{2}, Data: texts("a", "\xff")}, `not valid UTF-8 at element 1`},
	} {
		row.tensor.Name = "y"
		r := Response{Batch: backends.Batch{Tensors: []backends.Tensor{row.tensor}}}
		got, _, err := AppendResponse([]byte("before"), r)
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "binary_data") {
			t.Errorf("AppendResponse of %v: error %v, want %q and the advice in it", row.tensor, err, row.want)
		}
		if string(got) != "before" {
			t.Errorf("what is left of the refused reply is %q", got)
		}
		r.Binary = []bool{true}
		if _, _, err := AppendResponse(nil, r); err != nil {
			t.Errorf("as binary data: %v", err)
		}
	}
}

func TestResponseReusesTheBuffer(t *testing.T) {
	r := Response{Model: "m", Version: "1", Batch: backends.Batch{Tensors: []backends.Tensor{
		{Name: "y", Datatype: backends.FP32, Shape: []int64{4}, Data: fp32s(0.1, 0.2, 0.3, 1e30)}}}}
	buffer, _, _ := AppendResponse(nil, r)
	if allocations := testing.AllocsPerRun(100, func() { buffer, _, _ = AppendResponse(buffer[:0], r) }); allocations > 0 {
		t.Errorf("%v allocations a response, want none", allocations)
	}
}

func TestErrorDocument(t *testing.T) {
	if got, want := string(Error("a \"b\"\n")), `{"error":"a \"b\"\n"}`; got != want {
		t.Errorf("Error = %s, want %s", got, want)
	}
}

func TestDescribe(t *testing.T) {
	got := Describe([]backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1}}, {Name: "k", Datatype: backends.Bytes}})
	if len(got) != 2 || got[0].Datatype != "FP32" || got[1].Shape == nil {
		t.Errorf("Describe = %+v", got)
	}
}
