package oip

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// every has a tensor of each datatype that JSON has a form for, with its extremes.
var every = []Tensor{
	{Name: "bool", Datatype: Bool, Shape: []int64{2, 1}, Data: []byte{0, 1}},
	{Name: "u8", Datatype: Uint8, Shape: []int64{2}, Data: []byte{0, 255}},
	{Name: "u16", Datatype: Uint16, Shape: []int64{1}, Data: []byte{255, 255}},
	{Name: "u32", Datatype: Uint32, Shape: []int64{1}, Data: []byte{255, 255, 255, 255}},
	{Name: "u64", Datatype: Uint64, Shape: []int64{1}, Data: []byte{255, 255, 255, 255, 255, 255, 255, 255}},
	{Name: "i8", Datatype: Int8, Shape: []int64{1, 2}, Data: []byte{128, 127}},
	{Name: "i16", Datatype: Int16, Shape: []int64{1}, Data: []byte{0, 128}},
	{Name: "i32", Datatype: Int32, Shape: []int64{1}, Data: []byte{0, 0, 0, 128}},
	{Name: "i64", Datatype: Int64, Shape: []int64{1}, Data: []byte{1, 0, 0, 0, 0, 0, 0, 128}},
	{Name: "f32", Datatype: FP32, Shape: []int64{3}, Data: floats(FP32, 0.1, -math.MaxFloat32, 1e-45)},
	{Name: "f64", Datatype: FP64, Shape: []int64{2}, Data: floats(FP64, 0.1, math.MaxFloat64)},
	{Name: "text", Datatype: Bytes, Shape: []int64{3}, Data: texts("", "a\"\\\n<é>", "z")},
	{Name: "none", Datatype: FP32, Shape: []int64{0, 3}},
	{Name: "scalar", Datatype: Int32, Shape: []int64{}, Data: []byte{7, 0, 0, 0}},
}

// binaryOnly has those that it has none for.
var binaryOnly = []Tensor{
	{Name: "f16", Datatype: FP16, Shape: []int64{3}, Data: floats(FP16, 1, -2.5, 65504)},
	{Name: "bf16", Datatype: BF16, Shape: []int64{2}, Data: floats(BF16, 1, -3e38)},
	{Name: "nan", Datatype: FP32, Shape: []int64{2}, Data: floats(FP32, math.NaN(), math.Inf(-1))},
	{Name: "bytes", Datatype: Bytes, Shape: []int64{1}, Data: texts("\xff\x00")},
}

func floats(d Datatype, values ...float64) []byte {
	var data []byte
	for _, v := range values {
		data = AppendFloat(data, d, v)
	}
	return data
}

func texts(values ...string) []byte {
	var data []byte
	for _, v := range values {
		data = AppendBytesElement(data, []byte(v))
	}
	return data
}

func TestRequestsComeBackAsTheyWere(t *testing.T) {
	for _, c := range []struct {
		situation string
		inputs    []Tensor
		form      Form
	}{
		{"JSON", every, Form{}},
		{"JSON that asks for binary outputs", every, Form{BinaryOutputs: true}},
		{"binary", append(binaryOnly, every...), Form{BinaryInputs: true}},
	} {
		want := Request{ID: "7", Inputs: c.inputs, Outputs: []string{"y"}, Parameters: map[string]json.RawMessage{"k": json.RawMessage("1")}}
		body, head, err := EncodeRequest(want, c.form)
		if err != nil {
			t.Fatalf("%s: %v", c.situation, err)
		}
		if (head > 0) != c.form.BinaryInputs || strings.Contains(string(body), binaryOutput) != c.form.BinaryOutputs {
			t.Errorf("%s: EncodeRequest = %d bytes of JSON: %s", c.situation, head, body)
		}
		have, err := DecodeRequest(body, head)
		if err != nil {
			t.Fatalf("%s: %v", c.situation, err)
		}
		if err := (Tolerance{}).Compare(have.Inputs, want.Inputs); err != nil {
			t.Errorf("%s: %v", c.situation, err)
		}
		have.Inputs = want.Inputs
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s: DecodeRequest = %+v, want %+v", c.situation, have, want)
		}
	}
}

func TestWhatJSONHasNoFormFor(t *testing.T) {
	for _, tensor := range binaryOnly {
		_, _, err := EncodeRequest(Request{Inputs: []Tensor{tensor}}, Form{})
		if err == nil || !strings.Contains(err.Error(), `"`+tensor.Name+`"`) || !strings.Contains(err.Error(), "send binary bodies") {
			t.Errorf("EncodeRequest(%s) = %v, want advice to send binary bodies", tensor.Name, err)
		}
	}
}

func TestDecodeResponseOfOtherServers(t *testing.T) {
	for _, c := range []struct {
		situation, body string
		want            Tensor
	}{
		{"nested data", `{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4.5]]}]}`,
			Tensor{"y", FP32, []int64{2, 2}, floats(FP32, 1, 2, 3, 4.5)}},
		{"data before the shape", `{"outputs":[{"data":[1,0],"shape":[2],"datatype":"BOOL","name":"y"}]}`, Tensor{"y", Bool, []int64{2}, []byte{1, 0}}},
		{"null for NaN", `{"outputs":[{"name":"y","datatype":"FP64","shape":[1],"data":[null]}]}`, Tensor{"y", FP64, []int64{1}, floats(FP64, math.NaN())}},
		{"FP16 as numbers", `{"outputs":[{"name":"y","datatype":"FP16","shape":[1],"data":[1.5]}]}`, Tensor{"y", FP16, []int64{1}, floats(FP16, 1.5)}},
		{"integers as 2.0 and 2e3", `{"outputs":[{"name":"y","datatype":"INT16","shape":[2],"data":[-2.0, 2e3]}]}`, Tensor{"y", Int16, []int64{2}, []byte{0xfe, 0xff, 0xd0, 7}}},
		{"an empty dimension", `{"outputs":[{"name":"y","datatype":"INT8","shape":[2,0],"data":[[],[]]}]}`, Tensor{"y", Int8, []int64{2, 0}, nil}},
		{"other parameters", `{"parameters":{"a":{"b":1}},"outputs":[{"name":"y","datatype":"INT8","shape":[1],"parameters":{"content_type":"np"},"data":[1]}]}`,
			Tensor{"y", Int8, []int64{1}, []byte{1}}},
	} {
		r, err := DecodeResponse([]byte(c.body), 0)
		if err != nil || len(r.Outputs) != 1 {
			t.Errorf("%s: DecodeResponse = %+v, %v", c.situation, r, err)
			continue
		}
		if err := (Tolerance{}).Compare(r.Outputs, []Tensor{c.want}); err != nil {
			t.Errorf("%s: %v", c.situation, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		situation, json, rest string
		want                  string // part of the error
	}{
		{"what is no JSON", `{"outputs":`, "", "cannot be read"},
		{"neither form", `{"outputs":[{"name":"y","datatype":"INT8","shape":[1]}]}`, "", "neither data nor binary_data_size"},
		{"an unknown datatype", `{"outputs":[{"name":"y","datatype":"INT4","shape":[1],"data":[1]}]}`, "", `unknown datatype "INT4"`},
		{"too few elements", `{"outputs":[{"name":"y","datatype":"INT8","shape":[3],"data":[1]}]}`, "", "1 elements do not fit shape [3]"},
		{"a ragged array", `{"outputs":[{"name":"y","datatype":"INT8","shape":[2,2],"data":[[1,2,3],[4]]}]}`, "", "3 entries in dimension 1"},
		{"an array half nested", `{"outputs":[{"name":"y","datatype":"INT8","shape":[2,1],"data":[[1],2]}]}`, "", "neither flat nor nested"},
		{"nesting too deep", `{"outputs":[{"name":"y","datatype":"INT8","shape":[1],"data":[[1]]}]}`, "", "neither flat nor nested"},
		{"nesting of a scalar", `{"outputs":[{"name":"y","datatype":"INT8","shape":[],"data":[[1]]}]}`, "", "deeper than shape"},
		{"a number beyond the datatype", `{"outputs":[{"name":"y","datatype":"UINT8","shape":[1],"data":[256]}]}`, "", "element 0 is 256, not UINT8"},
		{"a number below the datatype", `{"outputs":[{"name":"y","datatype":"INT8","shape":[1],"data":[-129.0]}]}`, "", "element 0 is -129.0, not INT8"},
		{"a negative one without a sign", `{"outputs":[{"name":"y","datatype":"UINT64","shape":[1],"data":[-1]}]}`, "", "element 0 is -1, not UINT64"},
		{"an integer just below 64 bits", `{"outputs":[{"name":"y","datatype":"INT64","shape":[1],"data":[-9223372036854775809]}]}`, "", "not INT64"},
		{"a fraction", `{"outputs":[{"name":"y","datatype":"INT64","shape":[1],"data":[1.5]}]}`, "", "element 0 is 1.5"},
		{"a number for text", `{"outputs":[{"name":"y","datatype":"BYTES","shape":[1],"data":[1]}]}`, "", "element 0 is 1, not BYTES"},
		{"an object for a number", `{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[{"a":1}]}]}`, "", "not FP32"},
		{"data that are no array", `{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":1}]}`, "", "must be an array"},
		{"binary data without their header", `{"outputs":[{"name":"y","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1}}]}`, "", HeadHeader},
		{"too few binary data", `{"outputs":[{"name":"y","datatype":"INT8","shape":[4],"parameters":{"binary_data_size":4}}]}`, "abc", "4 bytes of binary data are announced, 3 are left"},
		{"too many of them", `{"outputs":[{"name":"y","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1}}]}`, "abc", "2 bytes follow"},
		{"a size that does not fit", `{"outputs":[{"name":"y","datatype":"INT32","shape":[1],"parameters":{"binary_data_size":3}}]}`, "abc", "3 bytes do not fit"},
		{"text cut short", `{"outputs":[{"name":"y","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}}]}`, "\x09\x00\x00\x00a", "element 0 is cut short"},
		{"a shape that overflows", `{"outputs":[{"name":"y","datatype":"INT8","shape":[9223372036854775807,9],"data":[1]}]}`, "", "do not fit"},
		{"a tensor twice", `{"outputs":[{"name":"y","datatype":"INT8","shape":[1],"data":[1]},{"name":"y","datatype":"INT8","shape":[1],"data":[1]}]}`, "", "twice"},
	} {
		head := 0
		if c.rest != "" {
			head = len(c.json)
		}
		r, err := DecodeResponse([]byte(c.json+c.rest), head)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: DecodeResponse = %+v, %v, want an error with %q", c.situation, r, err, c.want)
		}
	}
	for _, head := range []int{-1, 3} {
		if _, err := DecodeResponse([]byte("{}"), head); err == nil {
			t.Errorf("DecodeResponse with %d bytes of JSON of 2 = nil", head)
		}
	}
	if _, err := DecodeRequest([]byte(`{"instances":[1]}`), 0); err == nil || !strings.Contains(err.Error(), "no inputs") {
		t.Errorf("DecodeRequest of another protocol's = %v", err)
	}
}

func TestHalves(t *testing.T) {
	for bits := range 1 << 16 {
		h := uint16(bits)
		v := halfToFloat(h)
		if math.IsNaN(v) {
			if h>>10&0x1f != 0x1f || h&0x3ff == 0 {
				t.Errorf("halfToFloat(%#04x) is NaN", h)
			}
			continue
		}
		if got := floatToHalf(v); got != h {
			t.Errorf("floatToHalf(%v) = %#04x, want %#04x", v, got, h)
		}
	}
	for _, c := range []struct {
		v    float64
		want uint16
	}{
		{1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {65519, 0x7bff}, {65520, 0x7c00}, {-1e9, 0xfc00}, {math.Ldexp(1, -25), 0}, {math.Ldexp(1.5, -25), 1},
	} {
		if got := floatToHalf(c.v); got != c.want {
			t.Errorf("floatToHalf(%v) = %#04x, want %#04x", c.v, got, c.want)
		}
	}
	for _, c := range []struct {
		v    float64
		want uint16
	}{{1, 0x3f80}, {1 + 1.0/256, 0x3f80}, {1 + 3.0/256, 0x3f82}, {math.Inf(-1), 0xff80}} {
		if got := floatToBrain(c.v); got != c.want {
			t.Errorf("floatToBrain(%v) = %#04x, want %#04x", c.v, got, c.want)
		}
	}
}

func TestCompare(t *testing.T) {
	tensor := func(d Datatype, data []byte, shape ...int64) []Tensor {
		return []Tensor{{Name: "y", Datatype: d, Shape: shape, Data: data}}
	}
	loose := Tolerance{Abs: 1e-3, Rel: 1e-2}
	for _, c := range []struct {
		situation  string
		have, want []Tensor
		err        string
	}{
		{"equal", tensor(FP32, floats(FP32, 1, 2), 2), tensor(FP32, floats(FP32, 1, 2), 2), ""},
		{"within the tolerance", tensor(FP32, floats(FP32, 1, 101), 2), tensor(FP32, floats(FP32, 1, 100), 2), ""},
		{"beyond it", tensor(FP32, floats(FP32, 1, 102), 2), tensor(FP32, floats(FP32, 1, 100), 2), `output "y" element 1 is 102, want 100 (tolerance 0.001 + 0.01 relative)`},
		{"half precision within", tensor(FP16, floats(FP16, 100.5), 1), tensor(FP16, floats(FP16, 100), 1), ""},
		{"half precision beyond", tensor(FP16, floats(FP16, 102), 1), tensor(FP16, floats(FP16, 100), 1), "element 0 is 102, want 100"},
		{"brain float beyond", tensor(BF16, floats(BF16, 104), 1), tensor(BF16, floats(BF16, 100), 1), "element 0 is 104, want 100"},
		{"double precision within", tensor(FP64, floats(FP64, 1.001), 1), tensor(FP64, floats(FP64, 1), 1), ""},
		{"NaN and another NaN", tensor(FP32, binary.LittleEndian.AppendUint32(nil, 0x7fc00001), 1), tensor(FP32, floats(FP32, math.NaN()), 1), ""},
		{"NaN for a number", tensor(FP32, floats(FP32, math.NaN()), 1), tensor(FP32, floats(FP32, 1), 1), "is NaN, want 1"},
		{"a number for NaN", tensor(FP32, floats(FP32, 1), 1), tensor(FP32, floats(FP32, math.NaN()), 1), "is 1, want NaN"},
		{"a number for an infinity", tensor(FP32, floats(FP32, 1), 1), tensor(FP32, floats(FP32, math.Inf(1)), 1), "is 1, want +Inf"},
		{"an infinity for a number", tensor(FP32, floats(FP32, math.Inf(1)), 1), tensor(FP32, floats(FP32, 1), 1), "is +Inf, want 1"},
		{"minus zero", tensor(FP32, floats(FP32, math.Copysign(0, -1)), 1), tensor(FP32, floats(FP32, 0), 1), ""},
		{"an integer off by one", tensor(Int8, []byte{1, 255}, 2), tensor(Int8, []byte{1, 254}, 2), `output "y" element 1 is -1, want -2`},
		{"a boolean", tensor(Bool, []byte{1}, 1), tensor(Bool, []byte{0}, 1), "element 0 is true, want false"},
		{"text", tensor(Bytes, texts("a", "b"), 2), tensor(Bytes, texts("a", "c"), 2), `element 1 is "b", want "c"`},
		{"another shape", tensor(Int8, []byte{1}, 1), tensor(Int8, []byte{1}, 1, 1), "is INT8[1], want INT8[1 1]"},
		{"another datatype", tensor(Uint8, []byte{1}, 1), tensor(Int8, []byte{1}, 1), "is UINT8[1], want INT8[1]"},
		{"nothing", nil, tensor(Int8, []byte{1}, 1), `output "y" is missing`},
	} {
		err := loose.Compare(c.have, c.want)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: Compare = %v, want %q", c.situation, err, c.err)
		}
	}
}

func TestModelCheck(t *testing.T) {
	m := Model{Name: "m", Inputs: []Spec{{"x", FP32, []int64{-1, 2}}, {"n", Int8, []int64{-1}}}, Outputs: []Spec{{"y", FP32, []int64{-1}}}}
	x := Tensor{Name: "x", Datatype: FP32, Shape: []int64{3, 2}}
	n := Tensor{Name: "n", Datatype: Int8, Shape: []int64{3}}
	for _, c := range []struct {
		situation string
		r         Request
		want      string
	}{
		{"fits", Request{Inputs: []Tensor{n, x}, Outputs: []string{"y"}}, ""},
		{"another name", Request{Inputs: []Tensor{{Name: "z"}}}, `no input "z": it takes [x FP32[-1 2] n INT8[-1]]`},
		{"another datatype", Request{Inputs: []Tensor{{Name: "x", Datatype: FP64, Shape: []int64{3, 2}}}}, `input "x" is FP64[3 2], model m expects x FP32[-1 2]`},
		{"another shape", Request{Inputs: []Tensor{{Name: "x", Datatype: FP32, Shape: []int64{3, 5}}}}, `input "x" has shape [3 5], model m expects x FP32[-1 2]`},
		{"an input is missing", Request{Inputs: []Tensor{x}}, `input n INT8[-1] of model m is missing`},
		{"another output", Request{Inputs: []Tensor{n, x}, Outputs: []string{"q"}}, `no output "q"`},
	} {
		err := m.Check(c.r)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check = %v, want %q", c.situation, err, c.want)
		}
	}
	if err := (Model{}).Check(Request{Inputs: []Tensor{x}}); err != nil {
		t.Errorf("Check without a signature = %v", err)
	}
	if got := m.Rows(Request{Inputs: []Tensor{x}}); got != 3 {
		t.Errorf("Rows = %d, want 3", got)
	}
	fixed := Model{Inputs: []Spec{{"x", FP32, []int64{3, 2}}}}
	if got := fixed.Rows(Request{Inputs: []Tensor{x}}); got != 1 {
		t.Errorf("Rows of a model without a batch dimension = %d, want 1", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, form := range []Form{{}, {BinaryInputs: true, BinaryOutputs: true}} {
		body, head, err := EncodeRequest(Request{ID: "1", Inputs: every, Outputs: []string{"y"}}, form)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, head)
		f.Add([]byte(strings.Replace(string(body), `"inputs"`, `"outputs"`, 1)), head+1)
	}
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[[1,2],[3,null]]}]}`), 0)
	f.Fuzz(func(t *testing.T, body []byte, head int) {
		if r, err := DecodeResponse(body, head); err == nil {
			if err := (Tolerance{}).Compare(r.Outputs, r.Outputs); err != nil {
				t.Error(err)
			}
		}
		r, err := DecodeRequest(body, head)
		if err != nil {
			return
		}
		again, head, err := EncodeRequest(r, Form{BinaryInputs: true})
		if err != nil {
			t.Fatal(err)
		}
		same, err := DecodeRequest(again, head)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Tolerance{}).Compare(same.Inputs, r.Inputs); err != nil {
			t.Error(err)
		}
	})
}
