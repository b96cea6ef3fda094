package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// numbers are texts on the edges of the parsers.
var numbers = []string{
	"0", "-0", "0.0", "-0.0", "1", "-1", "10", "0.1", "-0.1", "1.0", "100.0", "1e0", "1E0", "1e+0", "1e-0", "1e5", "1.5e-7",
	"12345678", "123456789", "0.12345678", "0.123456789", "0.1234567890123456", "1.12345678e8",
	"0.10000000149011612", "3.4028234663852886e+38", "3.4028235677973366e38", "3.4028235677973367e38", "1e39", "-1e39",
	"1.1754943508222875e-38", "1e-45", "7e-46", "1e-400", "1e400", "1e22", "1e23", "1e-22", "1e-23",
	"16777217", "16777219", "1.00000005960464477539062", "1.000000059604644775390625", "1.00000005960464477539063",
	"9007199254740993", "9007199254740992", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
	"18446744073709551615", "18446744073709551616", "99999999999999999999", "1234567890123456789012345678901234567890",
	"0.000000000000000000000000000001", "0.00012345678901234567", "1.7976931348623157e308", "1.7976931348623159e308", "4.9e-324", "2e-324",
	"1e999999999999999999999999", "1e-999999999999999999999999", "0e999999999999999999999999",
	"8388608.5", "8388609.5", "33554431", "33554433", "33554435", "67108863",
}

// notNumbers are texts that JSON does not allow.
var notNumbers = []string{"", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-.5", "NaN", "Infinity", "-Infinity", "a", "--1", "1.-5"}

func TestFloatsEqualStrconv(t *testing.T) {
	for _, text := range numbers {
		checkFloats(t, text)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		f := math.Float32frombits(random.Uint32())
		d := math.Float64frombits(random.Uint64())
		if f-f != 0 || d-d != 0 {
			continue
		}
		checkFloats(t, strconv.FormatFloat(float64(f), 'g', -1, 32))
		checkFloats(t, strconv.FormatFloat(float64(f), 'g', -1, 64))
		checkFloats(t, strconv.FormatFloat(d, 'e', random.IntN(20), 64))
		// The middle between two float32, and what lies next to it.
		middle := (float64(f) + float64(math.Nextafter32(f, math.MaxFloat32))) / 2
		checkFloats(t, strconv.FormatFloat(middle, 'f', -1, 64))
		checkFloats(t, strconv.FormatFloat(math.Nextafter(middle, 0), 'g', -1, 64))
		checkFloats(t, fmt.Sprintf("%d.%d", random.Uint64N(1000), random.Uint64N(1e17)))
	}
}

// checkFloats compares both parsers with strconv, to the bit.
func checkFloats(t *testing.T, text string) {
	t.Helper()
	want, wantErr := strconv.ParseFloat(text, 32)
	got, next, err := appendFP32(nil, []byte(text), 0)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("appendFP32(%s) = %v, want %v", text, err, wantErr)
	}
	if err == nil && (binary.LittleEndian.Uint32(got) != math.Float32bits(float32(want)) || next != len(text)) {
		t.Fatalf("appendFP32(%s) = %x up to %d, want %x", text, got, next, math.Float32bits(float32(want)))
	}
	want, wantErr = strconv.ParseFloat(text, 64)
	got, next, err = appendFP64(nil, []byte(text), 0)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("appendFP64(%s) = %v, want %v", text, err, wantErr)
	}
	if err == nil && (binary.LittleEndian.Uint64(got) != math.Float64bits(want) || next != len(text)) {
		t.Fatalf("appendFP64(%s) = %x up to %d, want %x", text, got, next, math.Float64bits(want))
	}
}

func TestTextThatIsNoNumber(t *testing.T) {
	for _, text := range notNumbers {
		for _, d := range []backends.Datatype{backends.FP32, backends.FP64, backends.Int8, backends.Uint64} {
			if out, _, err := elementOf(d)(nil, []byte(text), 0); err == nil {
				t.Errorf("%v of %q = %x, want an error", d, text, out)
			}
		}
	}
}

func TestIntegers(t *testing.T) {
	for _, row := range []struct {
		d    backends.Datatype
		text string
		want int64 // as the low bits of the element
		err  error
	}{
		{backends.Int8, "127", 127, nil},
		{backends.Int8, "128", 0, errRange},
		{backends.Int8, "-128", -128, nil},
		{backends.Int8, "-129", 0, errRange},
		{backends.Int16, "32767", 32767, nil},
		{backends.Int16, "-32769", 0, errRange},
		{backends.Int32, "-2147483648", math.MinInt32, nil},
		{backends.Int32, "2147483648", 0, errRange},
		{backends.Int64, "9223372036854775807", math.MaxInt64, nil},
		{backends.Int64, "9223372036854775808", 0, errRange},
		{backends.Int64, "-9223372036854775808", math.MinInt64, nil},
		{backends.Int64, "-9223372036854775809", 0, errRange},
		{backends.Int64, "9007199254740993", 9007199254740993, nil},
		{backends.Uint8, "255", -1, nil},
		{backends.Uint8, "256", 0, errRange},
		{backends.Uint8, "-1", 0, errRange},
		{backends.Uint8, "-0", 0, nil},
		{backends.Uint16, "65535", -1, nil},
		{backends.Uint16, "65536", 0, errRange},
		{backends.Uint32, "4294967295", -1, nil},
		{backends.Uint32, "4294967296", 0, errRange},
		{backends.Uint64, "18446744073709551615", -1, nil},
		{backends.Uint64, "18446744073709551616", 0, errRange},
		{backends.Uint64, "1e99999999999", 0, errRange},
		{backends.Int64, "1.0", 1, nil},
		{backends.Int64, "1.50e1", 15, nil},
		{backends.Int64, "2e3", 2000, nil},
		{backends.Int64, "0.0e9", 0, nil},
		{backends.Int64, "1234567890123456789000e-3", 1234567890123456789, nil},
		{backends.Int64, "1.5", 0, errInteger},
		{backends.Int64, "1e-1", 0, errInteger},
		{backends.Int32, "true", 0, errNumber},
	} {
		got, next, err := elementOf(row.d)(nil, []byte(row.text), 0)
		if err != row.err {
			t.Errorf("%v of %s: error %v, want %v", row.d, row.text, err, row.err)
			continue
		}
		want := appendLow(nil, uint64(row.want), 8*row.d.Size())
		if err == nil && (string(got) != string(want) || next != len(row.text)) {
			t.Errorf("%v of %s = %x up to %d, want %x", row.d, row.text, got, next, want)
		}
	}
}

func BenchmarkParseFP32(b *testing.B) {
	forms := map[string]func(v float32) string{
		"shortest": func(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) },
		"double":   func(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 64) },
		"3digits":  func(v float32) string { return strconv.FormatFloat(float64(v), 'f', 3, 32) },
	}
	for name, form := range forms {
		random := rand.New(rand.NewPCG(1, 2))
		body := []byte("[")
		for i := range 784 {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, form(random.Float32())...)
		}
		body = append(body, ']')
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				t := backends.Tensor{Name: "x", Datatype: backends.FP32, Shape: []int64{784}}
				if err := readArray(&cursor{text: body}, &t); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/784, "ns/float")
		})
	}
}
