package plugins

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

var layoutSignature = backends.Signature{
	Batched: true,
	Inputs: []backends.TensorSpec{
		{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 3}},
		{Name: "text", Datatype: backends.Bytes, Shape: []int64{-1}},
	},
	Outputs: []backends.TensorSpec{
		{Name: "y", Datatype: backends.Uint8, Shape: []int64{-1, 2}},
		{Name: "z", Datatype: backends.FP64, Shape: []int64{-1}},
	},
}

func layoutBatch() backends.Batch {
	return backends.Batch{
		Tensors: []backends.Tensor{
			{Name: "text", Datatype: backends.Bytes, Shape: []int64{2}, Data: backends.AppendBytesElement(backends.AppendBytesElement(nil, []byte("one")), nil)},
			{Name: "x", Datatype: backends.FP32, Shape: []int64{2, 3}, Data: bytes.Repeat([]byte{1, 2, 3}, 8)},
		},
		Outputs:    []string{"z"},
		Parameters: []backends.Parameter{{Name: "top", Value: "3"}, {Name: "", Value: ""}},
	}
}

// laid returns parts as they lie in shared memory.
func laid(t testing.TB, parts ...backends.Batch) []byte {
	t.Helper()
	f := frameOf(&layoutSignature, parts, nil)
	mem := make([]byte, f.bytes())
	layParts(f.lay(mem, nil), parts)
	return mem
}

func TestLayoutRoundTrip(t *testing.T) {
	all := layoutBatch()
	all.Outputs = nil
	none := layoutBatch()
	none.Outputs, none.Parameters = []string{}, nil
	empty := layoutBatch()
	empty.Tensors = []backends.Tensor{{Name: "x", Datatype: backends.FP32, Shape: []int64{0, 3}, Data: []byte{}}}
	for situation, in := range map[string]backends.Batch{
		"some outputs": layoutBatch(), "all outputs": all, "no outputs, no parameters": none, "no rows": empty, "nothing": {},
	} {
		out, err := decode(laid(t, in), layoutSignature.Inputs, layoutSignature.Outputs)
		if len(in.Tensors) == 0 {
			in.Tensors = []backends.Tensor{}
		}
		if err != nil || !reflect.DeepEqual(out, in) {
			t.Errorf("%s came back as\n%+v, %v, was\n%+v", situation, out, err, in)
		}
	}
}

func TestPartsAreLaidAsOne(t *testing.T) {
	parts := []backends.Batch{layoutBatch(), layoutBatch(), layoutBatch()}
	parts[1].Tensors[1].Data = bytes.Repeat([]byte{9}, 24)
	if got, want := laid(t, parts...), laid(t, backends.Join(parts)); !bytes.Equal(got, want) {
		t.Errorf("parts are laid as\n%v, joined as\n%v", got, want)
	}
	if got := parts[0].Tensors[0].Shape[0]; got != 2 {
		t.Errorf("laying changed the shape of a part: %d rows", got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	le := binary.LittleEndian
	put := func(at int, n uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], n); return b }
	}
	for situation, spoil := range map[string]func([]byte) []byte{
		"no head":              func([]byte) []byte { return nil },
		"a head of nothing":    put(0, 0),
		"a head past the end":  put(0, 1<<20),
		"a head cut short":     put(0, 40),
		"a longer head":        func(b []byte) []byte { le.PutUint32(b, le.Uint32(b)+4); return b },
		"three tensors":        put(4, 3),
		"three outputs":        put(8, 3),
		"too many parameters":  put(12, 1<<30),
		"no such input":        put(16, 2),
		"another datatype":     put(20, uint32(backends.FP64)),
		"another rank":         put(24, 2),
		"an enormous rank":     put(24, 1<<31),
		"a gap that says more": put(28, 1),
		"data past the end":    put(32, 1<<30),
		"data beyond an int":   put(36, 1<<31),
		"less data":            put(32, 1),
		"more behind the data": func(b []byte) []byte { return append(b, 0) },
		"data cut short":       func(b []byte) []byte { return b[:len(b)-1] },
	} {
		mem := spoil(laid(t, layoutBatch()))
		b, err := decode(mem, layoutSignature.Inputs, layoutSignature.Outputs)
		if err == nil {
			err = layoutSignature.Check(b)
		}
		if err == nil {
			t.Errorf("%s: decode = %+v, want an error", situation, b)
		}
	}
}

func TestDecodeCopiesWhatItChecksByValue(t *testing.T) {
	mem := laid(t, layoutBatch())
	b, err := decode(mem, layoutSignature.Inputs, layoutSignature.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range mem {
		mem[i] = 0xff
	}
	if err := b.Tensors[0].Check(); err != nil {
		t.Errorf("the elements of BYTES change after they have been checked: %v", err)
	}
	if b.Tensors[1].Data[0] != 0xff {
		t.Error("the data of other tensors are not where they lie")
	}
}

// FuzzLayout plays a hostile peer: what decode accepts fits its memory, does not overlap, and is
// laid out again as it was but for what lies in gaps.
func FuzzLayout(f *testing.F) {
	f.Add(laid(f, layoutBatch()))
	f.Add(laid(f, backends.Batch{}))
	f.Fuzz(func(t *testing.T, mem []byte) {
		b, err := decode(mem, layoutSignature.Inputs, layoutSignature.Outputs)
		if err != nil {
			if !errors.Is(err, errLayout) {
				t.Errorf("decode = %v, want errLayout", err)
			}
			return
		}
		total := 0
		for _, tensor := range b.Tensors {
			total += len(tensor.Data)
		}
		if total > len(mem) {
			t.Errorf("%d bytes of tensors in %d", total, len(mem))
		}
		again := laid(t, b)
		if c, err := decode(again, layoutSignature.Inputs, layoutSignature.Outputs); err != nil || !reflect.DeepEqual(b, c) || len(again) != len(mem) {
			t.Errorf("laid again as %+v, %v, was %+v", c, err, b)
		}
	})
}

func TestRepliesOfErrors(t *testing.T) {
	for _, k := range kinds {
		err := errorOf(codeOf(backends.Errorf(k.kind, "why")), "why")
		if !errors.Is(err, k.kind) || err.Error() != "why" {
			t.Errorf("%v came back as %v", k.kind, err)
		}
	}
	fault := errorOf(codeOf(errors.New("a bug")), "a bug")
	for _, k := range kinds {
		if errors.Is(fault, k.kind) || fault.Error() != "a bug" {
			t.Errorf("a fault came back as %v", fault)
		}
	}
	for _, code := range []uint32{codeAnswer, codeMoreRoom, 1000, 1 << 31} {
		if err := errorOf(code, "?"); !errors.Is(err, errAnswer) {
			t.Errorf("errorOf(%d) = %v, want errAnswer", code, err)
		}
	}
	if err := errorOf(codeFault, strings.Repeat("é", maxErrorBytes)); len(err.Error()) > maxErrorBytes+8 {
		t.Errorf("a text of %d bytes arrived, at most %d wanted", len(err.Error()), maxErrorBytes)
	}
}
