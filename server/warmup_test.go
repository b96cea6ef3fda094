package server

import (
	"errors"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestZerosFitsTheSignature(t *testing.T) {
	sig := backends.Signature{Batched: true, Inputs: []backends.TensorSpec{
		{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 3}},
		{Name: "s", Datatype: backends.Bytes, Shape: []int64{-1, -1}},
	}}
	row, err := zeros(sig, 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := sig.Check(row); err != nil {
		t.Error(err)
	}
	if _, err := zeros(sig, 15); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("zeros with room for less = %v, want an ErrInvalid", err)
	}
}

func TestZerosIsNotMadeForARowThatNoRequestCouldBring(t *testing.T) {
	for _, shape := range [][]int64{
		{-1, 10_000_000_000},
		{1 << 40, 1 << 40},
		{1 << 62},
	} {
		sig := backends.Signature{Inputs: []backends.TensorSpec{{Name: "x", Datatype: backends.FP64, Shape: shape}}}
		if _, err := zeros(sig, 64<<20); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("zeros of %v = %v, want an ErrInvalid", shape, err)
		}
	}
}
