package cuda

import (
	"slices"
	"testing"
)

func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		maxRows int
		want    []int
	}{
		{0, []int{1, 2, 4, 8, 16, 32, 64, 128}},
		{1, []int{1}},
		{2, []int{1, 2}},
		{8, []int{1, 2, 4, 8}},
		{12, []int{1, 2, 4, 8, 12}},
	} {
		if got := Buckets(c.maxRows); !slices.Equal(got, c.want) {
			t.Errorf("Buckets(%d) = %v, want %v", c.maxRows, got, c.want)
		}
	}
}

func TestBucketIsTheSmallestThatHoldsTheRows(t *testing.T) {
	buckets := Buckets(12)
	for _, c := range []struct {
		rows, want int
		ok         bool
	}{
		{1, 1, true}, {2, 2, true}, {3, 4, true}, {4, 4, true}, {5, 8, true}, {8, 8, true},
		{9, 12, true}, {12, 12, true}, {13, 0, false},
	} {
		if got, ok := Bucket(buckets, c.rows); got != c.want || ok != c.ok {
			t.Errorf("Bucket(%v, %d) = %d, %v, want %d, %v", buckets, c.rows, got, ok, c.want, c.ok)
		}
	}
	if got, ok := Bucket(nil, 1); ok {
		t.Errorf("Bucket of none = %d, true", got)
	}
}
