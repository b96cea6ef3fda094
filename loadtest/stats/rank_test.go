package stats

import (
	"math"
	"testing"
)

// The probabilities are those of scipy 1.15.3, stats.mannwhitneyu(alternative="two-sided").
func TestMannWhitney(t *testing.T) {
	var a, b []float64
	for i := range 40 {
		a = append(a, float64(i*37%101)+0.5)
	}
	for i := range 35 {
		b = append(b, float64(i*53%97)+6.25)
	}
	for _, c := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"a small shift", []float64{1.1, 2.2, 3.3, 4.4, 5.5}, []float64{2.0, 3.1, 4.2, 5.3, 6.4}, 0.6904761904761905},
		{"apart", []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, []float64{11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 1.082508822446903e-05},
		{"one value each", []float64{1}, []float64{2}, 1},
		{"unequal sizes", []float64{0.3, 0.9, 1.7}, []float64{0.5, 0.6, 2.4, 3.1, 4.4, 5.0, 6.6}, 0.18333333333333335},
		{"ten a side", []float64{10.1, 10.4, 9.8, 10.0, 10.7, 9.9, 10.3, 10.2, 10.6, 9.7},
			[]float64{10.5, 10.9, 10.8, 10.25, 11.0, 10.35, 10.65, 11.2, 10.15, 10.95}, 0.006841455757864427},
		{"ties", []float64{1, 2, 2, 3, 3, 3, 4}, []float64{2, 3, 3, 4, 4, 5, 5, 6}, 0.04988443697992588},
		{"all equal", []float64{3, 3, 3, 3}, []float64{3, 3, 3}, 1},
		{"too many to count out", a, b, 0.9703497798660837},
		{"empty", nil, []float64{1}, 1},
		{"not a number", []float64{math.NaN(), 1}, []float64{1}, 1},
	} {
		for _, got := range []float64{MannWhitney(c.a, c.b), MannWhitney(c.b, c.a)} {
			if math.Abs(got-c.want) > 1e-9 {
				t.Errorf("%s: MannWhitney = %v, want %v", c.name, got, c.want)
			}
		}
	}
}

// The critical values of two-sided tests at 0.05 in every textbook's table: U = 2, 8, 23, 127.
func TestSkippedIsTheCriticalValue(t *testing.T) {
	for n, want := range map[int]int{3: 0, 5: 3, 7: 9, 10: 24, 20: 128} {
		if got := skipped(n, n, Alpha); got != want {
			t.Errorf("skipped(%d, %d) = %d, want %d", n, n, got, want)
		}
	}
	if got := skipped(30, 30, Alpha); got < 310 || got > 325 { // 317 in tables
		t.Errorf("skipped(30, 30) = %d, want about 318", got)
	}
}
