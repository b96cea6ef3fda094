package oip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// wide takes one optional input of every datatype, named after it, and gives the same.
var wide = func() (s backends.Signature) {
	for d := backends.Bool; d <= backends.Bytes; d++ {
		spec := backends.TensorSpec{Name: strings.ToLower(d.String()), Datatype: d, Shape: []int64{-1, -1}, Optional: true}
		s.Inputs = append(s.Inputs, spec)
		s.Outputs = append(s.Outputs, spec)
	}
	return s
}()

// pair takes x and n and gives y and s, in batches.
var pair = backends.Signature{
	Batched: true,
	Inputs: []backends.TensorSpec{
		{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 2}},
		{Name: "n", Datatype: backends.Int64, Shape: []int64{-1}, Optional: true},
	},
	Outputs: []backends.TensorSpec{
		{Name: "y", Datatype: backends.FP32, Shape: []int64{-1, 2}},
		{Name: "s", Datatype: backends.Bytes, Shape: []int64{-1}},
	},
}

const x12 = `{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}`

func fp32s(values ...float32) (data []byte) {
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func texts(values ...string) (data []byte) {
	for _, v := range values {
		data = backends.AppendBytesElement(data, []byte(v))
	}
	return data
}

func TestDataIsReadInPlace(t *testing.T) {
	for _, row := range []struct {
		situation string
		input     string // after the name
		want      []byte
	}{
		{"flat", `"datatype":"FP32","shape":[2,2],"data":[1,2,3,4]`, fp32s(1, 2, 3, 4)},
		{"nested", `"datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4]]`, fp32s(1, 2, 3, 4)},
		{"data first", `"data":[[1,2],[3,4]],"shape":[2,2],"datatype":"FP32"`, fp32s(1, 2, 3, 4)},
		{"white space everywhere", "\n\"datatype\" : \"FP32\" ,\t\"shape\" : [ 2 , 2 ] , \"data\" : [ [ 1 , 2 ]\r\n, [ 3 , 4 ] ] ", fp32s(1, 2, 3, 4)},
		{"no elements", `"datatype":"FP32","shape":[0,2],"data":[]`, nil},
		{"no elements, nested", `"datatype":"FP32","shape":[2,0],"data":[[],[]]`, nil},
		{"unknown keys and parameters", `"datatype":"FP32","extra":{"a":[1,{"b":null}]},"parameters":{"content_type":"np"},"shape":[1,1],"data":[7]`, fp32s(7)},
		{"no parameters", `"datatype":"FP32","parameters":null,"shape":[1,1],"data":[7]`, fp32s(7)},
		{"integral shape", `"datatype":"FP32","shape":[1.0,1e0],"data":[7]`, fp32s(7)},
	} {
		t.Run(row.situation, func(t *testing.T) {
			req, err := Decode([]byte(`{"outputs":[{"name":"fp32"}],"inputs":[{"name":"fp32",`+row.input+`}]}`), AllJSON, wide)
			if err != nil {
				t.Fatal(err)
			}
			if got := req.Batch.Tensors[0].Data; !slices.Equal(got, row.want) {
				t.Errorf("Data = %x, want %x", got, row.want)
			}
		})
	}
}

func TestEveryDatatypeInJSON(t *testing.T) {
	for _, row := range []struct {
		datatype backends.Datatype
		data     string
		want     []byte
	}{
		{backends.Bool, `[true,false,1,0]`, []byte{1, 0, 1, 0}},
		{backends.Uint8, `[0,255]`, []byte{0, 255}},
		{backends.Uint16, `[1,65535]`, []byte{1, 0, 255, 255}},
		{backends.Uint32, `[1,4294967295]`, []byte{1, 0, 0, 0, 255, 255, 255, 255}},
		{backends.Uint64, `[18446744073709551615]`, slices.Repeat([]byte{255}, 8)},
		{backends.Int8, `[-128,127]`, []byte{0x80, 0x7f}},
		{backends.Int16, `[-2]`, []byte{0xfe, 0xff}},
		{backends.Int32, `[-2]`, []byte{0xfe, 0xff, 0xff, 0xff}},
		{backends.Int64, `[9007199254740993]`, []byte{1, 0, 0, 0, 0, 0, 0x20, 0}},
		{backends.FP32, `[-1.5]`, fp32s(-1.5)},
		{backends.FP64, `[0.1]`, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1))},
		{backends.Bytes, `["","plain","\"\\\/\b\f\n\r\t","\u00e9\uD83D\ude00","日本"]`, texts("", "plain", "\"\\/\b\f\n\r\t", "é😀", "日本")},
	} {
		name := strings.ToLower(row.datatype.String())
		n := strings.Count(row.data, ",") + 1
		body := fmt.Sprintf(`{"inputs":[{"name":%q,"datatype":"%v","shape":[1,%d],"data":%s}]`, name, row.datatype, n, row.data) +
			`,"outputs":[{"name":"fp32"}]}`
		req, err := Decode([]byte(body), AllJSON, wide)
		if err != nil {
			t.Errorf("%v: %v", row.datatype, err)
			continue
		}
		if got := req.Batch.Tensors[0].Data; !slices.Equal(got, row.want) {
			t.Errorf("%v %s = %x, want %x", row.datatype, row.data, got, row.want)
		}
	}
}

func TestScalars(t *testing.T) {
	sig := backends.Signature{Inputs: []backends.TensorSpec{{Name: "k", Datatype: backends.Int64}}}
	for _, data := range []string{"7", " 7 ", "[7]"} {
		req, err := Decode([]byte(`{"inputs":[{"name":"k","datatype":"INT64","shape":[],"data":`+data+`}]}`), AllJSON, sig)
		if err != nil || req.Batch.Tensors[0].Data[0] != 7 {
			t.Errorf("scalar %s: %+v, %v", data, req, err)
		}
	}
}

func TestRefusedJSON(t *testing.T) {
	x := func(data string) string {
		return `{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":` + data + `}]}`
	}
	n := func(data string) string {
		return `{"inputs":[` + x12 + `,{"name":"n","datatype":"INT64","shape":[1],"data":[` + data + `]}]}`
	}
	input := func(keys string) string { return `{"inputs":[{` + keys + `}]}` }
	deep := strings.Repeat(`[`, 100_000)
	for _, row := range []struct {
		situation, body string
		want            string // in the error's text
	}{
		{"empty", ``, "ends at byte 0"},
		{"not an object", `[]`, "an object was expected"},
		{"truncated", `{"inputs":[{"name":"x"`, "ends at byte"},
		{"truncated in data", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,`, "ends at byte"},
		{"truncated after an element", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1`, "ends at byte"},
		{"truncated string", `{"inp`, "does not end"},
		{"trailing garbage", `{"inputs":[` + x12 + `]}x`, "where the end was expected"},
		{"trailing comma", `{"inputs":[` + x12 + `,]}`, "was expected"},
		{"missing colon", `{"id" "a"}`, "':'"},
		{"key twice", `{"id":"a","id":"b","inputs":[` + x12 + `]}`, `"id" is given twice`},
		{"input key twice", input(`"name":"x","name":"x"`), `"name" is given twice`},
		{"id is a number", `{"id":7}`, "a string was expected"},
		{"inputs missing", `{}`, `input "x" is missing`},
		{"inputs null", `{"inputs":null}`, "an array was expected"},
		{"input twice", `{"inputs":[` + x12 + `,` + x12 + `]}`, "given twice"},
		{"too many inputs", `{"inputs":[` + x12 + `,` + x12 + `,` + x12 + `]}`, "more inputs are given than the 2"},
		{"unknown input", `{"inputs":[{"name":"z","datatype":"FP32","shape":[1],"data":[1]}]}`, `unknown input "z": this model takes [x n]`},
		{"unknown datatype", input(`"name":"x","datatype":"FLOAT"`), `input "x": unknown datatype "FLOAT"`},
		{"wrong datatype", `{"inputs":[{"name":"x","datatype":"INT64","shape":[1,2],"data":[1,2]}]}`, "datatype INT64 given, FP32 expected"},
		{"wrong shape", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}`, "shape [1 3] given, [-1 2] expected"},
		{"wrong rank", `{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}]}`, "shape [2] given, [-1 2] expected"},
		{"rows differ", `{"inputs":[` + x12 + `,{"name":"n","datatype":"INT64","shape":[2],"data":[1,2]}]}`, "same first dimension"},
		{"negative shape", input(`"name":"x","shape":[-1,2]`), "dimension 0 is -1"},
		{"fractional shape", input(`"name":"x","shape":[1.5,2]`), "dimension 0 is 1.5"},
		{"huge dimension", input(`"name":"x","shape":[9223372036854775808]`), "dimension 0 is 9223372036854775808"},
		{"shape overflows", input(`"name":"x","datatype":"FP32","shape":[4294967296,4294967296],"data":[1]`), "overflows"},
		{"shape beyond the body", input(`"name":"x","datatype":"FP32","shape":[1000000000,2],"data":[1]`), "1 elements given from element 0 on, shape [1000000000 2] expects 2000000000"},
		{"too many dimensions", input(`"name":"x","shape":[` + strings.Repeat("1,", 32) + `1]`), "more than 32 dimensions"},
		{"no datatype", input(`"name":"x","shape":[1,2],"data":[1,2]`), `key "datatype" is missing`},
		{"no name", input(`"datatype":"FP32","shape":[1,2],"data":[1,2]`), `input "inputs[0]": key "name" is missing`},
		{"no shape", input(`"name":"x","datatype":"FP32","data":[1,2]`), `key "shape" is missing`},
		{"no data", input(`"name":"x","datatype":"FP32","shape":[1,2]`), "neither data nor binary_data_size"},
		{"null data", input(`"name":"x","datatype":"FP32","shape":[1,2],"data":null`), "neither data nor binary_data_size"},
		{"too few", x(`[1,2,3]`), "3 elements given from element 0 on, shape [2 2] expects 4"},
		{"too many", x(`[1,2,3,4,5]`), "more than 4 elements given"},
		{"none", x(`[]`), "0 elements given"},
		{"one row too few", x(`[[1,2]]`), "1 entries given in dimension 0"},
		{"one row too many", x(`[[1,2],[3,4],[5,6]]`), "more than 2 entries given in dimension 0"},
		{"short row", x(`[[1,2],[3]]`), "1 elements given from element 2 on"},
		{"long row", x(`[[1,2,3],[4]]`), "more than 2 elements given from element 0"},
		{"empty row", x(`[[],[1,2]]`), "0 elements given"},
		{"nested too deep", x(`[[[1],[2]],[[3],[4]]]`), "element 0 is an array"},
		{"flat then nested", x(`[1,[2,3],4]`), "element 1 is an array"},
		{"nested then flat", x(`[[1,2],3,4]`), "where a '['"},
		{"a string of numbers", x(`"1,2,3,4"`), "where a '['"},
		{"an object", x(`{}`), "where a '['"},
		{"NaN", x(`[1,NaN,3,4]`), `input "x": element 1 is NaN, which JSON does not have`},
		{"infinity", x(`[1,2,3,-Infinity]`), `element 3 is -Infinity`},
		{"null element", x(`[1,null,3,4]`), "element 1 is null, not a JSON number"},
		{"string element", x(`[1,"2",3,4]`), `element 1 is "2", not a JSON number`},
		{"boolean element", x(`[1,true,3,4]`), "element 1 is true"},
		{"leading zero", x(`[01,2,3,4]`), "malformed JSON"},
		{"hexadecimal", x(`[0x10,2,3,4]`), "malformed JSON"},
		{"plus sign", x(`[+1,2,3,4]`), "element 0 is +1"},
		{"float overflow", x(`[1,2,3,1e39]`), "element 3 is 1e39, out of the range of FP32"},
		{"integer overflow", n(`9223372036854775808`), `input "n": element 0 is 9223372036854775808, out of the range of INT64 (-9223372036854775808 to 9223372036854775807)`},
		{"fraction as integer", n(`1.5`), "element 0 is 1.5, not an integer"},
		{"half precision", input(`"name":"x","datatype":"FP16","shape":[1,2],"data":[1,2]`), "FP16 has no JSON form: send it as binary data"},
		{"bad data that comes first", input(`"data":[1,NaN],"name":"x","datatype":"FP32","shape":[1,2]`), "malformed JSON"},
		{"nested beyond reason", `{"extra":` + deep, "nests deeper than 64"},
		{"data nested beyond reason", input(`"data":` + deep), "nests deeper than 64"},
		{"control character", "{\"inputs\":[{\"name\":\"x\n\"", "control character"},
		{"bad escape", `{"id":"\x"}`, "unknown escape"},
		{"lone surrogate", `{"id":"\ud800"}`, "surrogate"},
		{"swapped surrogates", `{"id":"\ude00\ud83d"}`, "surrogate"},
		{"short escape", `{"id":"\u12`, "unknown escape"},
		{"not UTF-8", "{\"id\":\"\xff\"}", "UTF-8"},
		{"binary size without binary data", input(`"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}`), "0 bytes are left after the JSON"},
		{"shared memory", input(`"name":"x","parameters":{"shared_memory_region":"r"}`), "shared memory is not supported"},
		{"unknown output", `{"inputs":[` + x12 + `],"outputs":[{"name":"z"}]}`, `unknown output "z": this model gives [y s]`},
		{"output twice", `{"inputs":[` + x12 + `],"outputs":[{"name":"y"},{"name":"y"}]}`, "asked for twice"},
		{"too many outputs", `{"inputs":[` + x12 + `],"outputs":[{"name":"y"},{"name":"s"},{"name":"y"}]}`, "more outputs are asked for than the 2"},
		{"classification", `{"inputs":[` + x12 + `],"outputs":[{"name":"y","parameters":{"classification":3}}]}`, "classification is not supported"},
		{"binary_data is a number", `{"inputs":[` + x12 + `],"outputs":[{"name":"y","parameters":{"binary_data":1}}]}`, "must be true or false"},
		{"parameter is an array", `{"parameters":{"a":[1]}}`, `parameter "a"`},
		{"parameter twice", `{"inputs":[` + x12 + `],"parameters":{"a":1,"a":2}}`, `parameter "a" is given twice`},
		{"timeout is negative", `{"parameters":{"timeout":-1}}`, "number of microseconds"},
		{"sequence", `{"parameters":{"sequence_id":42}}`, "sequences are not supported"},
		{"too many parameters", `{"parameters":{` + strings.Repeat(`"a":1,`, 65) + `"a":1}}`, "more than 64 parameters"},
		{"name without end", input(`"name":"` + strings.Repeat("x", 2000) + `"`), "longer than 1024 bytes"},
		{"output name without end", `{"outputs":[{"name":"` + strings.Repeat("x", 2000) + `"}]}`, "longer than 1024 bytes"},
		{"parameter name without end", `{"parameters":{"` + strings.Repeat("x", 2000) + `":1}}`, "longer than 1024 bytes"},
		{"reserved parameter", `{"parameters":{"triton_x":42}}`, "reserved"},
	} {
		t.Run(row.situation, func(t *testing.T) {
			req, err := Decode([]byte(row.body), AllJSON, pair)
			if err == nil {
				t.Fatalf("Decode(%s) = %+v, want an error", row.body, req)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %q, want %q in it", err, row.want)
			}
			if !errors.Is(err, backends.ErrInvalid) && !errors.Is(err, backends.ErrUnsupported) {
				t.Errorf("error %q has no kind", err)
			}
		})
	}
}

func TestHalfPrecisionOutputIsRefusedBeforeItIsComputed(t *testing.T) {
	body := `{"inputs":[{"name":"fp32","datatype":"FP32","shape":[1,1],"data":[1]}],"outputs":[{"name":"bf16"}]}`
	if _, err := Decode([]byte(body), AllJSON, wide); err == nil || !strings.Contains(err.Error(), `output "bf16" is BF16`) {
		t.Errorf("error %v, want one that names the output", err)
	}
	body = strings.Replace(body, `"bf16"`, `"bf16","parameters":{"binary_data":true}`, 1)
	if _, err := Decode([]byte(body), AllJSON, wide); err != nil {
		t.Errorf("as binary data: %v", err)
	}
}

func TestRequestKeys(t *testing.T) {
	body := `{"outputs":[{"name":"s","parameters":{"binary_data":false}},{"name":"y"}],
		"parameters":{"zeta":"\u0061\n","alpha":1.50,"beta":true,"big":18446744073709551615,"neg":-2e1,"gone":null,
			"timeout":2500,"priority":0,"binary_data_output":true,"sequence_id":0,"sequence_start":false},
		"future":[{}],"inputs":[` + x12 + `],"id":"a\"b"}`
	req, err := Decode([]byte(body), AllJSON, pair)
	if err != nil {
		t.Fatal(err)
	}
	if !req.HasID || req.ID != `a"b` {
		t.Errorf("ID = %q %v", req.ID, req.HasID)
	}
	if want := 2500 * time.Microsecond; req.Timeout != want {
		t.Errorf("Timeout = %v, want %v", req.Timeout, want)
	}
	if want := []string{"s", "y"}; !slices.Equal(req.Batch.Outputs, want) {
		t.Errorf("Outputs = %v, want %v", req.Batch.Outputs, want)
	}
	if want := []bool{false, true}; !slices.Equal(req.Binary, want) {
		t.Errorf("Binary = %v, want %v", req.Binary, want)
	}
	want := []backends.Parameter{{Name: "alpha", Value: "1.5"}, {Name: "beta", Value: "true"}, {Name: "big", Value: "18446744073709551615"},
		{Name: "neg", Value: "-20"}, {Name: "zeta", Value: `"a\n"`}}
	if !slices.Equal(req.Batch.Parameters, want) {
		t.Errorf("Parameters = %v, want %v", req.Batch.Parameters, want)
	}
}

func TestOptionalKeysMayBeNull(t *testing.T) {
	req, err := Decode([]byte(`{"id":null,"parameters":null,"outputs":null,"inputs":[`+x12+`]}`), AllJSON, pair)
	if err != nil || req.HasID || req.Batch.Outputs != nil || len(req.Binary) != 2 {
		t.Errorf("Decode = %+v, %v", req, err)
	}
}

func TestHugeTimeoutIsNoOverflow(t *testing.T) {
	req, err := Decode([]byte(`{"parameters":{"timeout":18446744073709551615},"inputs":[`+x12+`]}`), AllJSON, pair)
	if err != nil || req.Timeout <= 0 {
		t.Errorf("Timeout = %v, %v, want a positive one", req.Timeout, err)
	}
}

func TestJSONRequestKeepsNothingOfTheBody(t *testing.T) {
	body := []byte(`{"id":"abc","parameters":{"p":"q"},"outputs":[{"name":"y"}],"inputs":[` + x12 + `]}`)
	req, err := Decode(body, AllJSON, pair)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	got := fmt.Sprintf("%s %v %v %s %x", req.ID, req.Batch.Parameters, req.Batch.Outputs, req.Batch.Tensors[0].Name, req.Batch.Tensors[0].Data)
	want := fmt.Sprintf("abc [{p \"q\"}] [y] x %x", fp32s(1, 2))
	if got != want {
		t.Errorf("after the body was cleared: %s, want %s", got, want)
	}
}
