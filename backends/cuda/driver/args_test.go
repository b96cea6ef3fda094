package driver

import (
	"encoding/hex"
	"testing"
	"unsafe"
)

func TestArgsLieInCellsOfEightBytes(t *testing.T) {
	var args Args
	args.Address(0x7f0102030405)
	args.Int64(-2)
	args.Int32(-1)
	args.Float32(1.5)
	want := []string{"05040302017f0000", "feffffffffffffff", "ffffffff00000000", "0000c03f00000000"}
	cells := args.Cells()
	if len(cells) != len(want) {
		t.Fatalf("%d cells, want %d", len(cells), len(want))
	}
	for i, c := range cells {
		if got := hex.EncodeToString(unsafe.Slice((*byte)(c), 8)); got != want[i] {
			t.Errorf("cell %d is %s, want %s", i, got, want[i])
		}
	}
}
