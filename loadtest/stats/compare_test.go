package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name     string
		interval Interval
		floor    float64
		want     Verdict
	}{
		{"surely none", Interval{-0.01, 0, 0.01}, 0.05, Same},
		{"surely one, but small", Interval{0.01, 0.02, 0.03}, 0.05, Same},
		{"one, and perhaps as large as the floor", Interval{0.02, 0.045, 0.07}, 0.05, Changed},
		{"large", Interval{0.2, 0.3, 0.4}, 0.05, Changed},
		{"none and the floor are both possible", Interval{-0.02, 0.02, 0.06}, 0.05, CannotTell},
		{"an improvement", Interval{-0.2, -0.1, -0.05}, 0.05, Same},
		{"a rate that fell", Interval{-0.2, -0.1, -0.05}, -0.03, Changed},
		{"a rate that rose", Interval{0.05, 0.1, 0.2}, -0.03, Same},
		{"nothing known", Interval{math.Inf(-1), math.NaN(), math.Inf(1)}, 0.05, CannotTell},
		{"not a number", Interval{math.NaN(), math.NaN(), math.NaN()}, 0.05, CannotTell},
	} {
		if got := c.interval.Judge(c.floor); got != c.want {
			t.Errorf("%s: %v.Judge(%v) = %q, want %q", c.name, c.interval, c.floor, got, c.want)
		}
	}
}

func TestCompareFailsClosed(t *testing.T) {
	for name, arms := range map[string][2][]float64{
		"nothing":         {nil, nil},
		"one arm only":    {{1, 2, 3, 4, 5}, nil},
		"too few runs":    {{1, 2, 3}, {1, 2, 3}},
		"not a number":    {{1, 2, 3, 4, 5}, {1, 2, 3, 4, math.NaN()}},
		"no latency":      {{1, 2, 3, 4, 5}, {1, 2, 3, 4, 0}},
		"noise above all": {{1, 9, 2, 8, 3, 7, 4, 6, 5, 10}, {2, 8, 1, 9, 4, 7, 3, 10, 5, 6}},
	} {
		if c := Compare(arms[0], arms[1], 0.05, 1); c.Verdict != CannotTell {
			t.Errorf("%s: Compare = %+v, want that it cannot tell", name, c)
		}
	}
}

// How often each verdict falls, on lognormal noise of 2 % between runs, ten runs an arm.
func TestCompareByItsRates(t *testing.T) {
	const trials = 500
	for _, c := range []struct {
		name      string
		effect    float64
		want      Verdict
		low, high float64 // share of trials with that verdict
	}{
		{"no regression is not accused", 1, Changed, 0, 0.02},
		{"no regression passes", 1, Same, 0.97, 1},
		{"the floor is caught", 1.05, Changed, 0.985, 1},
		{"half the floor may or may not matter", 1.025, Changed, 0.2, 0.6},
		{"an improvement passes", 0.95, Same, 0.999, 1},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		hits, detectable := 0, 0.0
		for range trials {
			comparison := Compare(noisy(r, 10, 1), noisy(r, 10, c.effect), 0.05, 1)
			detectable += comparison.Detectable / trials
			if comparison.Verdict == c.want {
				hits++
			}
		}
		if share := float64(hits) / trials; share < c.low || share > c.high {
			t.Errorf("%s: %v of trials are %q, want %v to %v", c.name, share, c.want, c.low, c.high)
		}
		if detectable < 0.02 || detectable > 0.035 {
			t.Errorf("%s: detectable is %v on average, want about 0.026", c.name, detectable)
		}
	}
}

func noisy(r *rand.Rand, n int, effect float64) []float64 { return noisier(r, n, effect, 0.02) }

func noisier(r *rand.Rand, n int, effect, noise float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = 0.010 * effect * math.Exp(noise*r.NormFloat64())
	}
	return values
}

// Who adds runs until it can be told errs no more often than who looks once, at noise that does not let
// ten runs of each tell: 500 trials, three looks.
func TestLooksAreCorrectedFor(t *testing.T) {
	const trials = 500
	sizes := []int{10, 16, 20}
	for _, c := range []struct {
		name   string
		effect float64
		wrong  Verdict
		most   float64 // share of trials that are wrong
		told   float64 // share that is told, at least
	}{
		{"no change is accused", 1, Changed, Alpha / 2, 0.5}, // of both directions one is feared
		{"the floor passes", 1.05, Same, (1 - Confidence) / 2, 0.5},
	} {
		r := rand.New(rand.NewPCG(5, 6))
		wrong, told, once := 0, 0, 0
		for range trials {
			a, b := noisier(r, sizes[2], 1, 0.04), noisier(r, sizes[2], c.effect, 0.04)
			for look, n := range sizes {
				v := Compare(a[:n], b[:n], 0.05, len(sizes)).Verdict
				if v == CannotTell {
					continue
				}
				told++
				if look == 0 {
					once++
				}
				if v == c.wrong {
					wrong++
				}
				break
			}
		}
		// Three deviations more than is allowed.
		if share := float64(wrong) / trials; share > c.most+3*math.Sqrt(c.most/trials) {
			t.Errorf("%s: in %v of trials, at most %v may be", c.name, share, c.most)
		}
		if share := float64(told) / trials; share < c.told || told <= once {
			t.Errorf("%s: %v of trials are told, %d at the first look, want that more runs tell more", c.name, share, once)
		}
	}
}

func TestCompareSaysWhatChanged(t *testing.T) {
	c := Compare([]float64{10, 10.1, 9.9, 10.2, 9.8}, []float64{12, 12.1, 11.9, 12.2, 11.8}, 0.05, 1)
	if c.Baseline != 10 || c.Candidate != 12 || math.Abs(c.Change.Estimate-0.2) > 0.005 || c.Verdict != Changed {
		t.Errorf("Compare = %+v, want 10, 12, a change of 20 %%", c)
	}
	if c.Change.Low > 0.2 || c.Change.High < 0.2 || c.P > 0.01 {
		t.Errorf("Compare = %+v, want an interval around 20 %% and P = 2/252", c)
	}
}

// Each of three looks asks for more than one look alone does, for both verdicts: on the same runs it tells
// no more, and sometimes less.
func TestEachLookAsksForMore(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	lost := map[Verdict]int{}
	for range 300 {
		a, b := noisier(r, 10, 1, 0.03), noisier(r, 10, 1.02, 0.03)
		alone, third := Compare(a, b, 0.05, 1), Compare(a, b, 0.05, 3)
		if alone.Level != Alpha || third.Level != Alpha/3 {
			t.Fatalf("levels %v and %v, want %v and %v", alone.Level, third.Level, Alpha, Alpha/3)
		}
		if third.Change.Low > alone.Change.Low || third.Change.High < alone.Change.High || third.Detectable <= alone.Detectable {
			t.Fatalf("of three looks one says %+v, want less than a look alone: %+v", third, alone)
		}
		if third.Verdict == alone.Verdict {
			continue
		}
		if alone.Verdict == CannotTell {
			t.Fatalf("of three looks one says %q, a look alone cannot tell", third.Verdict)
		}
		lost[alone.Verdict]++ // a small change that is no more surely below the floor may be one that is told
	}
	if lost[Same] == 0 || lost[Changed] == 0 {
		t.Errorf("three looks tell less than one in %d trials that are the same and %d that changed, want some of each", lost[Same], lost[Changed])
	}
}
