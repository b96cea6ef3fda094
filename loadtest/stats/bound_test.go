package stats

import (
	"math"
	"testing"
)

// The table of MLPerf's early stopping, binomial, without a tolerance.
func TestRequired(t *testing.T) {
	over := []uint64{0, 1, 5, 10, 50}
	for percentile, want := range map[float64][]uint64{
		0.95:  {90, 130, 259, 398, 1372},
		0.99:  {459, 662, 1307, 2010, 6898},
		0.999: {4603, 6636, 13105, 20140, 69058},
	} {
		for i, k := range over {
			n := Required(percentile, k)
			if n != want[i] {
				t.Errorf("Required(%v, %d) = %d, want %d", percentile, k, n, want[i])
			}
			if !Holds(percentile, k, n) || Holds(percentile, k, n-1) {
				t.Errorf("Holds(%v, %d) does not turn at %d", percentile, k, n)
			}
			if got, ok := Over(percentile, n); !ok || got != k {
				t.Errorf("Over(%v, %d) = %d, %v, want %d", percentile, n, got, ok, k)
			}
			if _, ok := Over(percentile, want[0]-1); ok {
				t.Errorf("Over(%v, %d) is ok: too few for any", percentile, want[0]-1)
			}
		}
	}
}

func TestBreaks(t *testing.T) {
	for _, c := range []struct {
		name        string
		over, total uint64
		want        bool
	}{
		{"nothing sent", 0, 0, false},
		{"none over", 0, 1000, false},
		{"as many as allowed", 10, 1000, false},
		{"twice as many, which chance may do", 17, 1000, false},
		{"three times as many", 30, 1000, true},
		{"all", 10, 10, true},
	} {
		if got := Breaks(0.99, c.over, c.total); got != c.want {
			t.Errorf("%s: Breaks(0.99, %d, %d) = %v, want %v", c.name, c.over, c.total, got, c.want)
		}
	}
}

// The positions are those of scipy.stats.binom.ppf.
func TestRanks(t *testing.T) {
	for _, c := range []struct {
		n          int
		percentile float64
		low, high  int
	}{
		{100, 0.5, 36, 63},
		{1000, 0.99, 980, 997},
		{100000, 0.999, 99872, 99925},
		{50, 0.99, 46, 49},
		{1, 0.99, 0, 0},
		{0, 0.99, 0, 0},
	} {
		low, high := Ranks(c.n, c.percentile, 0.99)
		if low != c.low || high != c.high {
			t.Errorf("Ranks(%d, %v, 0.99) = %d, %d, want %d, %d", c.n, c.percentile, low, high, c.low, c.high)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := Median([]float64{4, 1, 3}); got != 3 {
		t.Errorf("Median(4, 1, 3) = %v, want 3", got)
	}
	if got := Median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("Median(4, 1, 3, 2) = %v, want 2.5", got)
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median() = %v, want NaN", got)
	}
}

func TestLook(t *testing.T) {
	for _, c := range []struct {
		look        int
		over, total uint64
		want        Verdict
	}{
		{1, 0, 527, CannotTell},
		{1, 0, 528, Same}, // 0.99^528 < 0.01/2
		{10, 0, 925, CannotTell},
		{10, 0, 926, Same}, // 0.99^926 < 0.01/110
		{1, 10, 100, Changed},
		{1, 1, 100, CannotTell},
	} {
		if got := Look(c.look, 0.99, c.over, c.total); got != c.want {
			t.Errorf("look %d at %d of %d over = %q, want %q", c.look, c.over, c.total, got, c.want)
		}
	}
}
