package oip

import (
	"encoding/binary"
	"math"
	"strconv"
	"testing"
)

// appendFloat32 appends one number, or reports false.
func appendFloat32(dst []byte, v float32) ([]byte, bool) {
	dst, n := appendFloat32s(dst, fp32s(v))
	return dst, n == 1
}

// stride walks over the bit patterns of float32; being odd and without small factors in
// common with 2^32, its steps fall on every exponent and on fractions of all kinds.
const stride = 400_009

func TestFloat32IsShortestAndReadsBack(t *testing.T) {
	check := func(raw uint32) {
		v := math.Float32frombits(raw)
		got, ok := appendFloat32(nil, v)
		if want := !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0); ok != want {
			t.Fatalf("appendFloat32(%x) reports %v, want %v", raw, ok, want)
		}
		if !ok {
			return
		}
		back, err := strconv.ParseFloat(string(got), 32)
		if err != nil || math.Float32bits(float32(back)) != raw {
			t.Fatalf("appendFloat32(%x) = %s, reads back as %x (%v)", raw, got, math.Float32bits(float32(back)), err)
		}
		want := strconv.AppendFloat(nil, float64(v), 'g', -1, 32)
		if len(significantDigits(got)) != len(significantDigits(want)) || farther(got, want, float64(v)) {
			t.Fatalf("appendFloat32(%x) = %s, want %s", raw, got, want)
		}
	}
	for exponent := uint32(0); exponent <= 255; exponent++ {
		for _, fraction := range []uint32{0, 1, 2, 3, 1 << 22, 1<<22 - 1, 1<<23 - 2, 1<<23 - 1} {
			check(exponent<<23 | fraction)
			check(1<<31 | exponent<<23 | fraction)
		}
	}
	for raw := uint64(0); raw < 1<<32; raw += stride {
		check(uint32(raw))
	}
}

func significantDigits(number []byte) string {
	digits, _ := significant(number, 0)
	return string(digits)
}

// farther reports whether got is farther from v than want is; they may lie at equal distance
// on either side.
func farther(got, want []byte, v float64) bool {
	g, _ := strconv.ParseFloat(string(got), 64)
	w, _ := strconv.ParseFloat(string(want), 64)
	return math.Abs(g-v) > math.Abs(w-v)*(1+1e-6)
}

func TestFloatForms(t *testing.T) {
	for _, row := range []struct {
		v    float32
		want string
	}{
		{0, "0"},
		{float32(math.Copysign(0, -1)), "-0"},
		{1, "1"},
		{-1.5, "-1.5"},
		{0.1, "0.1"},
		{100, "100"},
		{16777216, "16777216"},
		{1e-6, "0.000001"},
		{9.5e-7, "9.5e-7"},
		{1e20, "100000000000000000000"},
		{1e21, "1e21"},
		{math.MaxFloat32, "3.4028235e38"},
		{math.SmallestNonzeroFloat32, "1e-45"},
	} {
		if got, _ := appendFloat32(nil, row.v); string(got) != row.want {
			t.Errorf("appendFloat32(%v) = %s, want %s", row.v, got, row.want)
		}
	}
}

func BenchmarkAppendFloat32(b *testing.B) {
	values := make([]float32, 1024)
	for i := range values {
		values[i] = float32(math.Sin(float64(i)))
	}
	data, dst := fp32s(values...), make([]byte, 0, 32<<10)
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			dst, _ = appendFloat32s(dst[:0], data)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(values)), "ns/float")
	})
	b.Run("strconv", func(b *testing.B) {
		for b.Loop() {
			dst = dst[:0]
			for _, v := range values {
				dst = strconv.AppendFloat(dst, float64(v), 'g', -1, 32)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(values)), "ns/float")
	})
}

// eachDecimal compares the decimals of blocks of float32, given by their bits, with those made alone.
func eachDecimal(t *testing.T, all func(yield func(raw uint32) bool)) {
	var raws []uint32
	compare := func() {
		var block [decimalBlock]decimal32
		var data []byte
		for _, raw := range raws {
			data = binary.LittleEndian.AppendUint32(data, raw)
		}
		decimals(&block, data)
		for i, raw := range raws {
			if want := decimalOf(raw); block[i] != want {
				t.Fatalf("decimals(%x) = %+v, want %+v", raw, block[i], want)
			}
		}
		raws = raws[:0]
	}
	for raw := range all {
		if raw<<1 == 0 || raw&infinity32 == infinity32 {
			continue
		}
		if raws = append(raws, raw); len(raws) == decimalBlock {
			compare()
		}
	}
	compare()
}

func TestDecimalsInBlocksAreThoseAlone(t *testing.T) {
	eachDecimal(t, func(yield func(uint32) bool) {
		for exponent := uint32(0); exponent < 255; exponent++ {
			for _, fraction := range []uint32{0, 1, 2, 3, 1 << 22, 1<<22 - 1, 1<<23 - 2, 1<<23 - 1} {
				if !yield(exponent<<23|fraction) || !yield(1<<31|exponent<<23|fraction) {
					return
				}
			}
		}
		for raw := uint64(0); raw < 1<<32; raw += 40_009 {
			if !yield(uint32(raw)) {
				return
			}
		}
	})
}

func TestFloatsOfAllLengths(t *testing.T) {
	withAndWithoutAssembly(t, func(t *testing.T) {
		for n := range 3*decimalBlock + 2 {
			var data, want []byte
			for i := range n {
				v := float32(math.Sin(float64(i*n))) * float32(math.Pow(10, float64(i%50-25)))
				if i%7 == 3 {
					v = float32(math.Copysign(0, float64(i%2)-0.5))
				}
				data = append(data, fp32s(v)...)
				text, _ := appendFloat32(nil, v)
				want = append(appendComma(want, i), text...)
			}
			if got, wrote := appendFloat32s(nil, data); string(got) != string(want) || wrote != n {
				t.Fatalf("%d floats: %s, want %s", n, got, want)
			}
			for at := range n {
				if at%5 != 0 {
					continue
				}
				spoilt := append([]byte{}, data...)
				binary.LittleEndian.PutUint32(spoilt[4*at:], math.Float32bits(float32(math.Inf(-1))))
				if _, wrote := appendFloat32s(nil, spoilt); wrote != at {
					t.Fatalf("an infinity at %d of %d: %d were written", at, n, wrote)
				}
			}
		}
	})
}
