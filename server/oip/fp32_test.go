package oip

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// withAndWithoutAssembly runs the test in both ways that this machine has.
func withAndWithoutAssembly(t *testing.T, f func(t *testing.T)) {
	before := hasAVX2
	defer func() { hasAVX2 = before }()
	if before {
		t.Run("assembly", f)
	}
	hasAVX2 = false
	t.Run("portable", f)
}

// readFP32 reads n numbers.
func readFP32(text []byte, n int) ([]byte, error) {
	t := backends.Tensor{Name: "x", Datatype: backends.FP32, Shape: []int64{int64(n)}}
	err := ReadArray(&t, text)
	return t.Data, err
}

// oneByOne reads an array without readPlain.
func oneByOne(texts []string) (data []byte, err error) {
	for _, text := range texts {
		start := skipSpace([]byte(text), 0)
		var next int
		if data, next, err = appendFP32(data, []byte(text), start); err != nil {
			return nil, err
		}
		if rest := skipSpace([]byte(text), next); rest != len(text) {
			return nil, errNumber
		}
	}
	return data, nil
}

// checkArray compares both ways of reading an array, with an offset before it.
func checkArray(t *testing.T, texts []string, offset int) {
	t.Helper()
	want, wantErr := oneByOne(texts)
	text := strings.Repeat(" ", offset) + "[" + strings.Join(texts, ",") + "]"
	got, err := readFP32([]byte(text), len(texts))
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("ReadArray(%s) = %v, want %v", text, err, wantErr)
	}
	if err == nil && !bytes.Equal(got, want) {
		t.Fatalf("ReadArray(%s) = %x, want %x", text, got, want)
	}
}

func TestEveryNumberAmongOthers(t *testing.T) {
	withAndWithoutAssembly(t, func(t *testing.T) {
		usual := strings.Split(strings.Repeat("0.25,-1.5,0.3333333,12.125,", 12)+"7.5", ",")
		all := append(append([]string{" ", "1 2", "1.5 ", " 1.5", "\n  1.5", "\t-2.25\r\n", "00.5", "01", "1.5.5", "-", "1..5", "0.25-", "0.1e5",
			"00000000.5", "0.12345678901234", "0.123456789012345", "0.1234567890123456", "0.12345678901234567", "0.123456789012345678",
			"9.12345678901234567", "10.12345678901234", "123456.12345678", "1234567.1234567", "12345678.123456", "0.00000000000000001",
			"0.50000000000000000", "0.5000000000000000x", "x.5000000000000000", "5x0.5", "0.x", "\"0.5\"", "[0.5]", "null", "0x.5", "-0.0", "-0.00"},
			numbers...), notNumbers...)
		for _, text := range all {
			for at := range 14 {
				texts := append([]string{}, usual...)
				texts[at*3] = text
				checkArray(t, texts, at)
			}
		}
	})
}

func TestArraysOfAllForms(t *testing.T) {
	withAndWithoutAssembly(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for range 3000 {
			texts := make([]string, 1+random.IntN(60))
			bits, places := 32<<random.IntN(2), random.IntN(20)-1
			space := []string{"", " ", "\n\t"}[random.IntN(3)]
			for i := range texts {
				v := (random.Float64()*2 - 1) * math.Pow(10, float64(random.IntN(9)-3))
				texts[i] = space + strconv.FormatFloat(float64(float32(v)), 'f', places, bits)
			}
			checkArray(t, texts, random.IntN(70))
		}
	})
}

// What lies next to the middle between two float32 takes more than one operation.
func TestMiddlesInArrays(t *testing.T) {
	withAndWithoutAssembly(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		for range 500 {
			texts := make([]string, 40)
			for i := range texts {
				f := random.Float32()*2 - 1
				middle := (float64(f) + float64(math.Nextafter32(f, 1))) / 2
				texts[i] = fmt.Sprintf("%.*f", 14+random.IntN(4), middle)
			}
			checkArray(t, texts, 0)
		}
	})
}

func TestArraysOfTheWrongLength(t *testing.T) {
	withAndWithoutAssembly(t, func(t *testing.T) {
		text := []byte("[" + strings.Repeat("0.125,", 99) + "0.125]")
		for _, n := range []int{0, 1, 50, 99, 101, 200} {
			if _, err := readFP32(text, n); err == nil {
				t.Errorf("100 numbers as %d: no error", n)
			}
		}
		for cut := range text {
			if _, err := readFP32(text[:cut], 100); err == nil {
				t.Errorf("%d bytes of %d: no error", cut, len(text))
			}
		}
	})
}

func TestGivenMemoryIsEnough(t *testing.T) {
	text := []byte("[" + strings.Repeat("0.125,", 99) + "0.125]")
	tensor := backends.Tensor{Name: "x", Datatype: backends.FP32, Shape: []int64{100}, Data: make([]byte, 0, 400)}
	if n := testing.AllocsPerRun(10, func() {
		if err := ReadArray(&tensor, text); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("ReadArray allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() {
		var err error
		if text, err = AppendArray(text[:0], tensor); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("AppendArray allocates %v times", n)
	}
}

func FuzzFP32Array(f *testing.F) {
	for _, text := range numbers {
		f.Add("0.25,-0.125,1.5,0.0625,0.3333333,7.75,"+text+",12.5,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.25,0.5,0.75,1.25", 3)
	}
	f.Fuzz(func(t *testing.T, list string, offset int) {
		if strings.ContainsAny(list, "[]\"") || offset < 0 || offset > 100 {
			return // other ways to end than at commas
		}
		withAndWithoutAssembly(t, func(t *testing.T) { checkArray(t, strings.Split(list, ","), offset) })
	})
}
