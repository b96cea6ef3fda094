package ml

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

var nan = float32(math.NaN())

// equal compares with NaN equal to NaN.
func equal(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return x == y || x != x && y != y })
}

func TestScale(t *testing.T) {
	for _, row := range []struct {
		name          string
		x             []float32
		offset, scale []float32
		want          []float32
	}{
		{"each column by itself", []float32{1, 2, 3, 4}, []float32{1, 2}, []float32{10, -1}, []float32{0, 0, 20, -2}},
		{"all with one", []float32{1, 2, 3, 4}, []float32{1}, []float32{0.5}, []float32{0, 0.5, 1, 1.5}},
		{"NaN stays", []float32{nan, 2}, []float32{1}, []float32{0}, []float32{nan, 0}},
		{"no rows", nil, []float32{1}, []float32{1}, nil},
	} {
		got := make([]float32, len(row.x))
		if err := Scale(got, row.x, 2, row.offset, row.scale); err != nil || !equal(got, row.want) {
			t.Errorf("%s: Scale = %v, %v, want %v", row.name, got, err, row.want)
		}
	}
	if err := Scale(make([]float32, 3), make([]float32, 3), 3, make([]float32, 2), make([]float32, 2)); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("2 offsets for 3 columns: %v, want an ErrInvalid", err)
	}
}

func TestNormalize(t *testing.T) {
	for _, row := range []struct {
		name string
		norm Norm
		x    []float32
		want []float32
	}{
		{"L1", NormL1, []float32{1, -3}, []float32{0.25, -0.75}},
		{"L2", NormL2, []float32{3, -4}, []float32{0.6, -0.8}},
		{"largest", NormMax, []float32{2, -8}, []float32{1, -4}},
		{"largest of negatives, which changes signs", NormMax, []float32{-2, -8}, []float32{1, 4}},
		{"zeros stay", NormL2, []float32{0, 0, 0, 5}, []float32{0, 0, 0, 1}},
	} {
		got := make([]float32, len(row.x))
		Normalize(got, row.x, 2, row.norm)
		for i := range got {
			if !near(float64(got[i]), float64(row.want[i]), 1e-7) {
				t.Errorf("%s: Normalize = %v, want %v", row.name, got, row.want)
				break
			}
		}
	}
}

func TestBinarize(t *testing.T) {
	got := make([]float32, 4)
	Binarize(got, []float32{0.5, 0.6, -1, nan}, 0.5)
	if want := []float32{0, 1, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("Binarize = %v, want %v", got, want)
	}
	whole := make([]int64, 2)
	Binarize(whole, []int64{1, 2}, 1.5)
	if want := []int64{0, 1}; !slices.Equal(whole, want) {
		t.Errorf("Binarize = %v, want %v", whole, want)
	}
}

func TestImpute(t *testing.T) {
	for _, row := range []struct {
		name    string
		missing float32
		values  []float32
		want    []float32
	}{
		{"NaN by column", nan, []float32{7, 8}, []float32{7, 2, -1, 8}},
		{"NaN by one value", nan, []float32{9}, []float32{9, 2, -1, 9}},
		{"a number", -1, []float32{7, 8}, []float32{nan, 2, 7, nan}},
		{"more values than columns: the first", nan, []float32{5, 6, 7}, []float32{5, 2, -1, 5}},
	} {
		got := make([]float32, 4)
		if err := Impute(got, []float32{nan, 2, -1, nan}, 2, row.missing, row.values); err != nil || !equal(got, row.want) {
			t.Errorf("%s: Impute = %v, %v, want %v", row.name, got, err, row.want)
		}
	}
	if err := Impute(nil, nil, 2, 0, []float32{}); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("no values: %v, want an ErrInvalid", err)
	}
}

func TestExtract(t *testing.T) {
	x := []string{"a", "b", "c", "d", "e", "f"}
	got := make([]string, 4)
	if err := Extract(got, x, 3, []int64{2, 0}); err != nil || !slices.Equal(got, []string{"c", "a", "f", "d"}) {
		t.Errorf("Extract = %v, %v, want [c a f d]", got, err)
	}
	for _, at := range []int64{-1, 3} {
		if err := Extract(make([]string, 2), x, 3, []int64{at}); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("column %d of 3: %v, want an ErrInvalid", at, err)
		}
	}
}

func TestPlace(t *testing.T) {
	dst := []float32{9, 9, 9, 9, 9, 9, 9, 9}
	Place(dst, 4, 1, 2, []int64{1, 2, 3, 4, 5, 6}, 3)
	if want := []float32{9, 1, 2, 9, 9, 4, 5, 9}; !slices.Equal(dst, want) {
		t.Errorf("wider rows: Place = %v, want %v", dst, want)
	}
	Place(dst, 4, 0, 3, []float64{7, 8}, 1)
	if want := []float32{7, 0, 0, 9, 8, 0, 0, 9}; !slices.Equal(dst, want) {
		t.Errorf("narrower rows: Place = %v, want %v", dst, want)
	}
}

func TestDictionary(t *testing.T) {
	d, err := NewDictionary([]float32{1, nan, 2, 1, nan}, []string{"one", "none", "two", "again", "again"}, "other")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, 4)
	d.Map(got, []float32{2, nan, 1, 3})
	if want := []string{"two", "none", "one", "other"}; !slices.Equal(got, want) {
		t.Errorf("Map = %v, want %v", got, want)
	}
	if _, err := NewDictionary([]string{"a"}, []int64{}, 0); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("1 key for no values: %v, want an ErrInvalid", err)
	}
}

func TestOneHot(t *testing.T) {
	o, err := NewOneHot([]string{"ash", "oak"}, true)
	if err != nil {
		t.Fatal(err)
	}
	got := []float32{9, 9, 9, 9, 9, 9}
	if err := o.Encode(got, []string{"oak", "elm", "ash"}); err != nil || !slices.Equal(got, []float32{0, 1, 0, 0, 1, 0}) {
		t.Errorf("Encode = %v, %v, want [0 1 0 0 1 0]", got, err)
	}
	strict, err := NewOneHot([]int64{1}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := strict.Encode(make([]float32, 1), []int64{2}); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("an element of no category: %v, want an ErrInvalid", err)
	}
	if _, err := NewOneHot([]int64{}, true); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("no categories: %v, want an ErrInvalid", err)
	}
}
