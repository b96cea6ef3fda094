package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// FuzzDecodeJSON compares whatever decodes with what encoding/json and strconv make of it.
func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"name":"fp32","datatype":"FP32","shape":[2,2],"data":[[1.5,-2e-3],[0.10000000149011612,3.4e38]]}],"outputs":[{"name":"fp32"}]}`))
	f.Add([]byte(`{"id":"é\ud83d\ude00","inputs":[{"data":[["a","\u00e9\n"]],"shape":[1,2],"datatype":"BYTES","name":"bytes"}],"outputs":[{"name":"int64"}]}`))
	f.Add([]byte(`{"inputs":[{"name":"int64","datatype":"INT64","shape":[1,3],"data":[9223372036854775807,-1,2e3]},{"name":"bool","datatype":"BOOL","shape":[1,2],"data":[true,0]}],"outputs":[{"name":"bool","parameters":{"binary_data":true}}]}`))
	f.Add([]byte(`{"parameters":{"timeout":1,"a":1.50,"b":"x","c":true},"inputs":[{"name":"uint8","datatype":"UINT8","shape":[1,1],"data":[255]},{"name":"fp64","datatype":"FP64","shape":[0,1],"data":[]}],"outputs":[{"name":"fp64"}]}`))
	for _, number := range numbers {
		f.Add([]byte(`{"outputs":[{"name":"fp32"}],"inputs":[{"name":"fp32","datatype":"FP32","shape":[1,1],"data":[` + number + `]}]}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		req, err := Decode(body, AllJSON, wide)
		if !bytes.Equal(given, body) {
			t.Fatal("Decode wrote to the body")
		}
		if err != nil {
			return
		}
		var reference struct {
			Inputs []map[string]any
		}
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		if err := decoder.Decode(&reference); err != nil {
			t.Fatalf("encoding/json refuses what decodes: %v", err)
		}
		if err := wide.Check(req.Batch); err != nil {
			t.Fatalf("what decodes fails the check: %v", err)
		}
		for i, tensor := range req.Batch.Tensors {
			want, sure := flatten(nil, tensor.Datatype, reference.Inputs[i]["data"])
			if sure && !bytes.Equal(tensor.Data, want) {
				t.Errorf("input %s decodes as %x, want %x", tensor.Name, tensor.Data, want)
			}
		}
	})
}

// flatten appends what encoding/json found, or reports that it is not sure about a number.
func flatten(out []byte, d backends.Datatype, v any) (data []byte, sure bool) {
	switch v := v.(type) {
	case []any:
		sure = true
		for _, element := range v {
			var ok bool
			out, ok = flatten(out, d, element)
			sure = sure && ok
		}
		return out, sure
	case string:
		return backends.AppendBytesElement(out, []byte(v)), true
	case bool:
		if v {
			return append(out, 1), true
		}
		return append(out, 0), true
	case json.Number:
		return flattenNumber(out, d, v.String())
	}
	return out, false
}

func flattenNumber(out []byte, d backends.Datatype, text string) ([]byte, bool) {
	switch d {
	case backends.FP32:
		v, err := strconv.ParseFloat(text, 32)
		return binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v))), err == nil
	case backends.FP64:
		v, err := strconv.ParseFloat(text, 64)
		return binary.LittleEndian.AppendUint64(out, math.Float64bits(v)), err == nil
	}
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		return appendLow(out, v, 8*d.Size()), true
	}
	v, err := strconv.ParseInt(text, 10, 64)
	return appendLow(out, uint64(v), 8*d.Size()), err == nil
}

// FuzzDecodeBinary looks for panics, and for tensors that reach beyond the body.
func FuzzDecodeBinary(f *testing.F) {
	head := `{"outputs":[{"name":"fp32"}],"inputs":[{"name":"fp32","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}`
	f.Add([]byte(head+"12345678"), len(head))
	f.Add([]byte(head+"1234567"), len(head))
	f.Add([]byte(head+"12345678"), 0)
	f.Add([]byte(head), len(head)+1)
	head = `{"outputs":[{"name":"fp32"}],"inputs":[{"name":"bytes","datatype":"BYTES","shape":[1,1],"parameters":{"binary_data_size":7}}]}`
	f.Add([]byte(head+"\x03\x00\x00\x00abc"), len(head))
	f.Add([]byte(head+"\x03\x00\x00\xffabc"), len(head))
	f.Fuzz(func(t *testing.T, body []byte, length int) {
		req, err := Decode(body, length, wide)
		if err == nil {
			if err := wide.Check(req.Batch); err != nil {
				t.Errorf("what decodes fails the check: %v", err)
			}
		}
		single := backends.Signature{Batched: true, Inputs: wide.Inputs[length&7 : length&7+1], Outputs: wide.Outputs[:1]}
		if req, err := Decode(body, 0, single); err == nil {
			if err := single.Check(req.Batch); err != nil {
				t.Errorf("a raw body that decodes fails the check: %v", err)
			}
		}
	})
}

// FuzzRoundTrip writes a tensor as a response, in JSON or binary, and reads it back as an input.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(backends.FP32), false, fp32s(1.5, -0.1, 3.4e38, 1e-45))
	f.Add(uint8(backends.Bytes), false, []byte("a\x00\"b\n\\é"))
	f.Add(uint8(backends.FP16), true, []byte("abcd"))
	f.Add(uint8(backends.Int64), false, []byte("abcdefgh\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add(uint8(backends.Uint8), false, []byte("\x00\x7f\x80\xff"))
	f.Add(uint8(backends.Bool), true, []byte("\x00\x01"))
	f.Fuzz(func(t *testing.T, kind uint8, asBinary bool, data []byte) {
		tensor := tensorOf(backends.Datatype(kind%uint8(backends.Bytes))+1, data)
		response := Response{Model: "m", Version: "1", Batch: backends.Batch{Tensors: []backends.Tensor{tensor}}, Binary: []bool{asBinary}}
		body, length, err := AppendResponse([]byte("before"), response)
		if err != nil {
			if asBinary {
				t.Fatalf("binary data is refused: %v", err)
			}
			return
		}
		if !bytes.HasPrefix(body, []byte("before")) {
			t.Fatal("what was in the buffer is lost")
		}
		text := body[len("before"):]
		if length != AllJSON {
			text = text[:length]
		}
		if !json.Valid(text) {
			t.Fatalf("%s is not JSON", text)
		}
		// An output reads as an input, and the binary data keeps its place if the JSON its length.
		request := []byte(strings.Replace(string(body[len("before"):]), `"outputs":[`, ` "inputs":[`, 1))
		sig := backends.Signature{Inputs: wide.Inputs, Outputs: wide.Outputs[:1]}
		req, err := Decode(request, length, sig)
		if err != nil {
			t.Fatalf("Decode(%s): %v", request, err)
		}
		if got := req.Batch.Tensors[0]; !slices.Equal(got.Shape, tensor.Shape) || !bytes.Equal(got.Data, tensor.Data) {
			t.Errorf("%v comes back as %v, by way of %s", tensor, got, request)
		}
	})
}

// tensorOf makes a valid tensor of datatype d out of any data.
func tensorOf(d backends.Datatype, data []byte) backends.Tensor {
	t := backends.Tensor{Name: strings.ToLower(d.String()), Datatype: d}
	switch d {
	case backends.Bytes:
		elements := bytes.Split(data, []byte{0})
		for _, element := range elements {
			t.Data = backends.AppendBytesElement(t.Data, element)
		}
		t.Shape = []int64{int64(len(elements)), 1}
		return t
	case backends.Bool:
		data = bytes.Clone(data)
		for i := range data {
			data[i] &= 1
		}
	}
	n := len(data) / d.Size()
	t.Shape, t.Data = []int64{1, int64(n)}, data[:n*d.Size()]
	return t
}
