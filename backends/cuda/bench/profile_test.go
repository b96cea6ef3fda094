//go:build cuda

package main

import (
	"testing"

	"github.com/thrumserve/thrum/backends/cuda"
)

func TestGroupedAddsWhatIsAlike(t *testing.T) {
	parts := []cuda.Part{
		{Operation: "Norm", Shapes: "4×8", Took: 3, Bytes: 1}, {Operation: "Gemm", Shapes: "4×8", By: "gemm", Took: 2, Operations: 5},
		{Operation: "Gemm", Shapes: "4×8", By: "gemm", Took: 4, Operations: 5}, {Operation: "Gemm", Shapes: "4×8", By: "cuBLASLt", Took: 1},
	}
	got := grouped(parts)
	if len(got) != 3 || got[0].By != "gemm" || got[0].count != 2 || got[0].Took != 6 || got[0].Operations != 10 || got[2].By != "cuBLASLt" {
		t.Errorf("grouped = %+v, %+v, ...", got[0], got[1])
	}
}
