package oip

import (
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

const (
	binaryX = `{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}`
	binaryN = `{"name":"n","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}}`
)

func TestBinaryTensorsFollowInTheOrderOfTheJSON(t *testing.T) {
	head := `{"inputs":[` + binaryN + `,` + binaryX + `],"parameters":{"binary_data_output":true},"outputs":[{"name":"y"},{"name":"s","parameters":{"binary_data":false}}]} `
	n := []byte{7, 0, 0, 0, 0, 0, 0, 0}
	req, err := Decode(slices.Concat([]byte(head), n, fp32s(1, 2)), len(head), pair)
	if err != nil {
		t.Fatal(err)
	}
	if got := req.Batch.Tensors; !slices.Equal(got[0].Data, n) || !slices.Equal(got[1].Data, fp32s(1, 2)) {
		t.Errorf("Tensors = %+v", got)
	}
	if want := []bool{true, false}; !slices.Equal(req.Binary, want) {
		t.Errorf("Binary = %v, want %v", req.Binary, want)
	}
}

func TestJSONAndBinaryInputsMix(t *testing.T) {
	head := `{"inputs":[` + binaryN + `,` + x12 + `]}`
	req, err := Decode([]byte(head+"\x07\x00\x00\x00\x00\x00\x00\x00"), len(head), pair)
	if err != nil || req.Batch.Tensors[0].Data[0] != 7 || !slices.Equal(req.Batch.Tensors[1].Data, fp32s(1, 2)) {
		t.Errorf("Decode = %+v, %v", req, err)
	}
}

func TestEmptyBinaryTensor(t *testing.T) {
	head := `{"inputs":[{"name":"x","datatype":"FP32","shape":[0,2],"parameters":{"binary_data_size":0}}]}`
	if _, err := Decode([]byte(head), len(head), pair); err != nil {
		t.Error(err)
	}
}

func TestRefusedBinary(t *testing.T) {
	of := func(name, datatype, size string) string {
		return `{"inputs":[{"name":"` + name + `","datatype":"` + datatype + `","shape":[1,2],"parameters":{"binary_data_size":` + size + `}}]}`
	}
	for _, row := range []struct {
		situation, head, tail string
		want                  string
	}{
		{"size beyond the body", of("fp32", "FP32", "8"), "1234", "binary_data_size is 8, but 4 bytes are left"},
		{"size below the shape's", of("fp32", "FP32", "4"), "1234", "4 bytes of data do not fit shape [1 2]"},
		{"size above the shape's", of("fp32", "FP32", "12"), "123456789012", "12 bytes of data do not fit shape [1 2]"},
		{"extra bytes", of("fp32", "FP32", "8"), "123456789", "1 bytes of binary data follow"},
		{"negative size", of("fp32", "FP32", "-8"), "12345678", "must be a number of bytes"},
		{"fractional size", of("fp32", "FP32", "7.5"), "12345678", "must be a number of bytes"},
		{"huge size", of("fp32", "FP32", "18446744073709551615"), "12345678", "must be a number of bytes"},
		{"size as a string", of("fp32", "FP32", `"8"`), "12345678", "must be a number of bytes"},
		{"BOOL of 2", of("bool", "BOOL", "2"), "\x01\x02", `input "bool": element 1 is byte 2`},
		{"BYTES cut in a prefix", of("bytes", "BYTES", "3"), "\x00\x00\x00", "cut short"},
		{"BYTES beyond the data", of("bytes", "BYTES", "8"), "\x00\x00\x00\x00\xff\xff\xff\xff", "claims 4294967295 bytes"},
		{"BYTES of one element too few", of("bytes", "BYTES", "4"), "\x00\x00\x00\x00", "1 elements do not fit"},
		{"data as well", `{"inputs":[{"name":"fp32","datatype":"FP32","shape":[1,1],"data":[1],"parameters":{"binary_data_size":4}}]}`, "1234", "both data and binary_data_size"},
	} {
		t.Run(row.situation, func(t *testing.T) {
			body := strings.TrimSuffix(row.head, "}") + `,"outputs":[{"name":"fp32"}]}`
			_, err := Decode([]byte(body+row.tail), len(body), wide)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q in it", err, row.want)
			}
		})
	}
}

func TestHeaderLengthBeyondTheBody(t *testing.T) {
	for _, length := range []int{3, -2} {
		if _, err := Decode([]byte("{}"), length, pair); err == nil || !strings.Contains(err.Error(), "but the body has 2 bytes") {
			t.Errorf("Decode with a JSON of %d bytes: %v, want an error with the body's size", length, err)
		}
	}
}

func TestRawBody(t *testing.T) {
	spec := func(d backends.Datatype, batched bool, shape ...int64) backends.Signature {
		return backends.Signature{Batched: batched, Inputs: []backends.TensorSpec{{Name: "x", Datatype: d, Shape: shape}},
			Outputs: []backends.TensorSpec{{Name: "y", Datatype: backends.FP16}}}
	}
	for _, row := range []struct {
		situation string
		sig       backends.Signature
		body      string
		shape     []int64
		data      string
		err       string
	}{
		{"one row", spec(backends.FP32, true, -1, 2), "12345678", []int64{1, 2}, "12345678", ""},
		{"one row of any length", spec(backends.FP32, true, -1, -1), "12345678", []int64{1, 2}, "12345678", ""},
		{"no rows", spec(backends.Uint8, false, -1), "abc", []int64{3}, "abc", ""},
		{"text", spec(backends.Bytes, true, -1), "abc", []int64{1}, "\x03\x00\x00\x00abc", ""},
		{"text of two dimensions", spec(backends.Bytes, true, -1, 1), "abc", []int64{1, 1}, "\x03\x00\x00\x00abc", ""},
		{"empty text", spec(backends.Bytes, true, -1), "", []int64{1}, "\x00\x00\x00\x00", ""},
		{"size does not fit", spec(backends.FP32, true, -1, 2), "123", nil, "", "do not fit"},
		{"size does not divide", spec(backends.FP32, true, -1, -1, 2), "123456781234", nil, "", "do not fit"},
		{"two dimensions vary", spec(backends.FP32, false, -1, -1), "1234", nil, "", "at most one dimension that varies"},
		{"more than one text", spec(backends.Bytes, false, 2), "abc", nil, "", "do not fit"},
		{"byte that is no BOOL", spec(backends.Bool, false, -1), "\x02", nil, "", "a BOOL is 0 or 1"},
		{"several inputs", pair, "1234", nil, "", "needs a model of one input"},
	} {
		t.Run(row.situation, func(t *testing.T) {
			req, err := Decode([]byte(row.body), 0, row.sig)
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q in it", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			x := req.Batch.Tensors[0]
			if !slices.Equal(x.Shape, row.shape) || string(x.Data) != row.data || !slices.Equal(req.Binary, []bool{true}) {
				t.Errorf("Decode = %+v, want shape %v and data %q", req, row.shape, row.data)
			}
		})
	}
}
