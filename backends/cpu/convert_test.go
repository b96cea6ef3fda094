package cpu

import (
	"math"
	"testing"
)

// TestHalvesAreRoundTrips takes every FP16 and BF16 there is to float32 and back.
func TestHalvesAreRoundTrips(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if v := halfToFloat(h); v == v && floatToHalf(float64(v)) != h {
			t.Errorf("FP16 %#04x is %v and that %#04x", h, v, floatToHalf(float64(v)))
		}
		if v := bfloatToFloat(h); v == v && floatToBfloat(v) != h {
			t.Errorf("BF16 %#04x is %v and that %#04x", h, v, floatToBfloat(v))
		}
	}
}

func TestRoundingToHalves(t *testing.T) {
	tests := []struct {
		value        float64
		half, bfloat uint16
	}{
		{1, 0x3c00, 0x3f80},
		{-2, 0xc000, 0xc000},
		{65504, 0x7bff, 0x4780},
		{65519.996, 0x7bff, 0x4780},
		{65520, 0x7c00, 0x4780}, // half way to what would be the next power of two
		{1e30, 0x7c00, 0x714a},
		{math.Inf(-1), 0xfc00, 0xff80},
		{1 + 1.0/2048, 0x3c00, 0x3f80}, // a tie goes to even
		{1 + 3.0/2048, 0x3c02, 0x3f80}, // and so does this one
		{0x1p-24, 0x0001, 0x3380},      // the smallest subnormal
		{0x1p-25, 0x0000, 0x3300},      // half of it
		{0x1.8p-25, 0x0001, 0x3340},    // more than half of it
		{0x1.ffcp-15, 0x0400, 0x3880},  // rounds up to the smallest normal
		{0x1.ff8p-15, 0x03ff, 0x3880},  // the largest subnormal
		{1 + 1.0/256, 0x3c04, 0x3f80},  // a tie of BF16 goes to even
		{1 + 3.0/256, 0x3c0c, 0x3f82},  // and so does this one
		{math.NaN(), 0x7e00, 0x7fc0},   //
		{3.3895314e38, 0x7c00, 0x7f7f}, // the largest BF16
		{3.4028234e38, 0x7c00, 0x7f80}, // rounds to infinity
		{math.Copysign(0, -1), 0x8000, 0x8000},
	}
	for _, test := range tests {
		if got := floatToHalf(test.value); got != test.half {
			t.Errorf("floatToHalf(%v) = %#04x, want %#04x", test.value, got, test.half)
		}
		if got := floatToBfloat(float32(test.value)); got != test.bfloat {
			t.Errorf("floatToBfloat(%v) = %#04x, want %#04x", test.value, got, test.bfloat)
		}
	}
}
