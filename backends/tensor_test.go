package backends

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestElements(t *testing.T) {
	for _, c := range []struct {
		situation string
		shape     []int64
		want      int64
	}{
		{"a scalar", nil, 1},
		{"a matrix", []int64{3, 4}, 12},
		{"no rows", []int64{0, 4}, 0},
		{"a negative dimension", []int64{3, -1}, -1},
		{"a negative dimension behind a zero", []int64{0, -1}, -1},
		{"just within an int64", []int64{math.MaxInt64}, math.MaxInt64},
		{"just beyond it", []int64{math.MaxInt64, 2}, -1},
		{"far beyond it", []int64{1 << 40, 1 << 40}, -1},
		{"beyond it, then a zero", []int64{1 << 40, 1 << 40, 0}, -1},
	} {
		if got := Elements(c.shape); got != c.want {
			t.Errorf("%s: Elements(%v) = %d, want %d", c.situation, c.shape, got, c.want)
		}
	}
}

func TestTensorCheck(t *testing.T) {
	text := AppendBytesElement(AppendBytesElement(nil, []byte("abc")), nil)
	for _, c := range []struct {
		situation string
		t         Tensor
		want      string // empty for no error
	}{
		{"fits", Tensor{Name: "x", Datatype: FP32, Shape: []int64{2}, Data: make([]byte, 8)}, ""},
		{"a byte short", Tensor{Name: "x", Datatype: FP32, Shape: []int64{2}, Data: make([]byte, 7)}, "7 bytes of data do not fit"},
		{"no datatype", Tensor{Name: "x", Shape: []int64{2}}, "no datatype"},
		{"overflow in bytes", Tensor{Name: "x", Datatype: FP64, Shape: []int64{1 << 61}}, "do not fit"},
		{"negative", Tensor{Name: "x", Datatype: FP64, Shape: []int64{-1}}, "negative or overflows"},
		{"two texts", Tensor{Name: "x", Datatype: Bytes, Shape: []int64{2}, Data: text}, ""},
		{"one text too many", Tensor{Name: "x", Datatype: Bytes, Shape: []int64{1}, Data: text}, "2 elements do not fit"},
		{"a prefix cut short", Tensor{Name: "x", Datatype: Bytes, Shape: []int64{2}, Data: text[:9]}, "cut short"},
		{"a text cut short", Tensor{Name: "x", Datatype: Bytes, Shape: []int64{1}, Data: text[:6]}, "claims 3 bytes, 2 are left"},
	} {
		err := c.t.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check() = %v, want %q", c.situation, err, c.want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Check() = %v, want an ErrInvalid", c.situation, err)
		}
	}
}

func TestBytesElementsYieldsWhatWasAppended(t *testing.T) {
	want := []string{"one", "", "three"}
	var data []byte
	for _, s := range want {
		data = AppendBytesElement(data, []byte(s))
	}
	var got []string
	for element := range BytesElements(data) {
		got = append(got, string(element))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("BytesElements = %q, want %q", got, want)
	}
	for range BytesElements(data) {
		break // leaving early is allowed
	}
}

func TestSignatureCheck(t *testing.T) {
	sig := Signature{
		Batched: true,
		Inputs: []TensorSpec{
			{Name: "x", Datatype: FP32, Shape: []int64{-1, 2}},
			{Name: "ids", Datatype: Int64, Shape: []int64{-1, -1}},
			{Name: "hint", Datatype: Bool, Shape: []int64{-1}, Optional: true},
		},
		Outputs: []TensorSpec{{Name: "y", Datatype: FP32, Shape: []int64{-1}}},
	}
	x := Tensor{Name: "x", Datatype: FP32, Shape: []int64{1, 2}, Data: make([]byte, 8)}
	ids := Tensor{Name: "ids", Datatype: Int64, Shape: []int64{1, 3}, Data: make([]byte, 24)}
	with := func(t Tensor, change func(*Tensor)) Tensor { change(&t); return t }
	for _, c := range []struct {
		situation string
		in        Batch
		want      string // empty for no error
	}{
		{"fits", Batch{Tensors: []Tensor{x, ids}}, ""},
		{"in another order, with an output", Batch{Tensors: []Tensor{ids, x}, Outputs: []string{"y"}}, ""},
		{"an unknown input", Batch{Tensors: []Tensor{x, ids, with(x, func(t *Tensor) { t.Name = "z" })}}, `unknown input "z": this model takes [x ids hint]`},
		{"one twice", Batch{Tensors: []Tensor{x, ids, x}}, `input "x" is given twice`},
		{"one missing", Batch{Tensors: []Tensor{x}}, `input "ids" is missing`},
		{"another datatype", Batch{Tensors: []Tensor{with(x, func(t *Tensor) { t.Datatype = FP64 }), ids}}, "datatype FP64 given, FP32 expected"},
		{"another rank", Batch{Tensors: []Tensor{with(x, func(t *Tensor) { t.Shape = []int64{2} }), ids}}, "shape [2] given, [-1 2] expected"},
		{"another size", Batch{Tensors: []Tensor{with(x, func(t *Tensor) { t.Shape = []int64{1, 3} }), ids}}, "shape [1 3] given"},
		{"a negative size", Batch{Tensors: []Tensor{with(x, func(t *Tensor) { t.Shape = []int64{-1, 2} }), ids}}, "shape [-1 2] given"},
		{"data that do not fit", Batch{Tensors: []Tensor{with(x, func(t *Tensor) { t.Data = t.Data[:4] }), ids}}, "4 bytes of data"},
		{"unequal rows", Batch{Tensors: []Tensor{x, with(ids, func(t *Tensor) { t.Shape = []int64{3, 1} })}}, `input "ids" has 3 rows but input "x" has 1`},
		{"an unknown output", Batch{Tensors: []Tensor{x, ids}, Outputs: []string{"w"}}, `unknown output "w": this model gives [y]`},
		{"an output twice", Batch{Tensors: []Tensor{x, ids}, Outputs: []string{"y", "y"}}, `output "y" is asked for twice`},
	} {
		err := sig.Check(c.in)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check = %v, want %q", c.situation, err, c.want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Check = %v, want an ErrInvalid", c.situation, err)
		}
	}
}

func TestDatatypeNamesRoundTrip(t *testing.T) {
	for d := Bool; d <= Bytes; d++ {
		if got, err := ParseDatatype(d.String()); err != nil || got != d {
			t.Errorf("ParseDatatype(%q) = %v, %v, want %v", d.String(), got, err, d)
		}
	}
	for _, name := range []string{"", "fp32", "INVALID", "STRING"} {
		if _, err := ParseDatatype(name); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseDatatype(%q) = %v, want an ErrInvalid", name, err)
		}
	}
}

func TestErrorfSaysTheMessageAndKnowsItsKind(t *testing.T) {
	cause := errors.New("disk on fire")
	err := Errorf(ErrUnavailable, "load x: %w", cause)
	if err.Error() != "load x: disk on fire" || !errors.Is(err, ErrUnavailable) || !errors.Is(err, cause) || errors.Is(err, ErrInvalid) {
		t.Errorf("Errorf = %q", err)
	}
}

func TestRetryAfterIsFoundThroughWrapping(t *testing.T) {
	err := Errorf(ErrOverloaded, "full: %w", WithRetryAfter(errors.New("later"), 7))
	if wait, ok := RetryAfter(err); !ok || wait != 7 {
		t.Errorf("RetryAfter = %v, %v, want 7", wait, ok)
	}
	if _, ok := RetryAfter(ErrInvalid); ok {
		t.Error("RetryAfter found advice where there is none")
	}
}
