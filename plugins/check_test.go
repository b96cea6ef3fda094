package plugins

import (
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestCheckSignature(t *testing.T) {
	spec := func(name string, d backends.Datatype, shape ...int64) []backends.TensorSpec {
		return []backends.TensorSpec{{Name: name, Datatype: d, Shape: shape}}
	}
	for name, test := range map[string]struct {
		signature backends.Signature
		ok        bool
	}{
		"nothing":                {backends.Signature{}, true},
		"a batched input":        {backends.Signature{Inputs: spec("x", backends.FP32, -1, 3), Batched: true}, true},
		"a scalar output":        {backends.Signature{Outputs: spec("y", backends.Bytes)}, true},
		"no name":                {backends.Signature{Inputs: spec("", backends.FP32, 1)}, false},
		"a name not UTF-8":       {backends.Signature{Outputs: spec("\xff", backends.FP32, 1)}, false},
		"a name twice":           {backends.Signature{Inputs: append(spec("x", backends.FP32), spec("x", backends.FP32)...)}, false},
		"no datatype":            {backends.Signature{Outputs: spec("y", backends.Invalid)}, false},
		"no such datatype":       {backends.Signature{Outputs: spec("y", backends.Bytes+1)}, false},
		"a dimension below -1":   {backends.Signature{Inputs: spec("x", backends.FP32, 1, -2)}, false},
		"batched without rows":   {backends.Signature{Inputs: spec("x", backends.FP32, 4), Batched: true}, false},
		"batched without shape":  {backends.Signature{Outputs: spec("y", backends.FP32), Batched: true}, false},
		"a platform not UTF-8":   {backends.Signature{Platform: "\xff"}, false},
		"a precision":            {backends.Signature{Precision: "bf16"}, true},
		"a long precision":       {backends.Signature{Precision: "as precise as can be"}, false},
		"a precision not UTF-8":  {backends.Signature{Precision: "\xff"}, false},
		"a label that not UTF-8": {backends.Signature{Outputs: []backends.TensorSpec{{Name: "y", Datatype: backends.FP32, Labels: []string{"\xff"}}}}, false},
	} {
		if err := checkSignature(test.signature); (err == nil) != test.ok {
			t.Errorf("%s: checkSignature(%+v) = %v, want ok %v", name, test.signature, err, test.ok)
		}
	}
}

func TestCheckAnswer(t *testing.T) {
	signature := backends.Signature{
		Outputs: []backends.TensorSpec{
			{Name: "a", Datatype: backends.Uint8, Shape: []int64{-1, 2}},
			{Name: "b", Datatype: backends.Bytes, Shape: []int64{-1, -1}},
		},
		Batched: true,
	}
	a := backends.Tensor{Name: "a", Datatype: backends.Uint8, Shape: []int64{1, 2}, Data: []byte{1, 2}}
	b := backends.Tensor{Name: "b", Datatype: backends.Bytes, Shape: []int64{1, 1}, Data: []byte{1, 0, 0, 0, 'b'}}
	with := func(t backends.Tensor, change func(*backends.Tensor)) backends.Tensor {
		change(&t)
		return t
	}
	for name, test := range map[string]struct {
		asked  []string
		answer []backends.Tensor
		ok     bool
	}{
		"all":             {nil, []backends.Tensor{a, b}, true},
		"some":            {[]string{"b"}, []backends.Tensor{b}, true},
		"in asked order":  {[]string{"b", "a"}, []backends.Tensor{b, a}, true},
		"in other order":  {[]string{"b", "a"}, []backends.Tensor{a, b}, false},
		"nothing":         {nil, nil, false},
		"too few":         {nil, []backends.Tensor{a}, false},
		"too many":        {[]string{"a"}, []backends.Tensor{a, b}, false},
		"unasked":         {[]string{"a"}, []backends.Tensor{b}, false},
		"other datatype":  {[]string{"a"}, []backends.Tensor{with(a, func(t *backends.Tensor) { t.Datatype = backends.Int8 })}, false},
		"other width":     {[]string{"a"}, []backends.Tensor{with(a, func(t *backends.Tensor) { t.Shape, t.Data = []int64{1, 1}, []byte{1} })}, false},
		"other rank":      {[]string{"a"}, []backends.Tensor{with(a, func(t *backends.Tensor) { t.Shape = []int64{1, 2, 1} })}, false},
		"negative":        {[]string{"b"}, []backends.Tensor{with(b, func(t *backends.Tensor) { t.Shape = []int64{1, -1} })}, false},
		"a row more":      {[]string{"a"}, []backends.Tensor{with(a, func(t *backends.Tensor) { t.Shape, t.Data = []int64{2, 2}, []byte{1, 2, 3, 4} })}, false},
		"no rows":         {[]string{"a"}, []backends.Tensor{with(a, func(t *backends.Tensor) { t.Shape, t.Data = []int64{0, 2}, nil })}, false},
		"data cut short":  {[]string{"a"}, []backends.Tensor{with(a, func(t *backends.Tensor) { t.Data = []byte{1} })}, false},
		"bad bytes":       {[]string{"b"}, []backends.Tensor{with(b, func(t *backends.Tensor) { t.Data = []byte{255, 255, 255, 255, 'b'} })}, false},
		"enormous second": {[]string{"b"}, []backends.Tensor{with(b, func(t *backends.Tensor) { t.Shape = []int64{1, 1 << 62} })}, false},
	} {
		if err := checkAnswer(signature, test.asked, 1, backends.Batch{Tensors: test.answer}); (err == nil) != test.ok {
			t.Errorf("%s: checkAnswer = %v, want ok %v", name, err, test.ok)
		}
	}
}
