package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestRegress(t *testing.T) {
	// y = 1, 3, 2, 5: by hand, the slope is 1.1 and the sum of squared residuals 2.7.
	estimate, deviation := regress([]float64{1, 3, 2, 5})
	if math.Abs(estimate-1.1) > 1e-12 || math.Abs(deviation-math.Sqrt(2.7/2/5)) > 1e-12 {
		t.Errorf("regress = %v, %v", estimate, deviation)
	}
}

func TestSlope(t *testing.T) {
	for _, c := range []struct {
		situation string
		reading   func(i int, r *rand.Rand) float64
		flat      bool
	}{
		{"constant", func(int, *rand.Rand) float64 { return 7 }, true},
		{"falling", func(i int, _ *rand.Rand) float64 { return float64(-i) }, true},
		{"one more each time", func(i int, _ *rand.Rand) float64 { return float64(i) }, false},
		{"a pool that fills at first", func(i int, _ *rand.Rand) float64 { return min(float64(i), 30) }, true},
		{"a small leak under noise", func(i int, r *rand.Rand) float64 { return float64(i) + 10*r.NormFloat64() }, false},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		var readings []float64
		for i := range 100 {
			readings = append(readings, c.reading(i, r))
		}
		if got := slopeOf(readings, 1); got.flat() != c.flat {
			t.Errorf("%s: slope = %v, flat %v, want %v", c.situation, got, got.flat(), c.flat)
		}
	}
	if got := slopeOf(make([]float64, 12), 1); !math.IsNaN(got.estimate) {
		t.Errorf("too few readings: slope = %v, want none", got)
	}
}

func TestRecovery(t *testing.T) {
	kill := time.Now()
	row := func(slowFrom, slowTo time.Duration) []outcome {
		var all []outcome
		for i := range 1000 {
			o := outcome{due: kill.Add(time.Duration(i) * time.Millisecond), status: 200}
			o.end = o.due.Add(time.Millisecond)
			if after := o.due.Sub(kill); after >= slowFrom && after < slowTo {
				o.end = o.due.Add(time.Second)
			}
			all = append(all, o)
		}
		return all
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		situation string
		outcomes  []outcome
		want      time.Duration
	}{
		{"nobody notices", row(0, 0), 0},
		{"slow for a while", row(0, 200*ms), 200 * ms},
		{"felt a little later", row(150*ms, 250*ms), 250 * ms},
		{"slow for another reason", row(700*ms, 800*ms), 0},
		{"slow to the end", row(0, 1000*ms), time.Second},
		{"nothing was answered", nil, time.Second},
	} {
		if got := recovery(c.outcomes, kill, kill.Add(time.Second), 100*ms); got != c.want {
			t.Errorf("%s: recovery = %v, want %v", c.situation, got, c.want)
		}
	}
}
