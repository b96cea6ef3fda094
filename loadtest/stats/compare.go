package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Alpha is the level at which a difference counts as one, and 1 - Alpha the confidence of intervals.
const Alpha = 0.05

// power is the chance with which a MinimumDetectable effect is found.
const power = 0.8

// Verdict is what measurements say of a change that is feared.
type Verdict string

// The verdicts.
const (
	Same       Verdict = "same"        // a change as large as the floor is excluded
	Changed    Verdict = "changed"     // there is a change, and one as large as the floor is not excluded
	CannotTell Verdict = "cannot tell" // neither
)

// Interval is an estimate with its confidence interval.
type Interval struct{ Low, Estimate, High float64 }

// Judge compares an interval with the smallest change that matters, in the direction of the sign
// of floor. It passes nothing for lack of data: where the interval holds both none and the floor,
// it cannot tell.
func (i Interval) Judge(floor float64) Verdict {
	if floor < 0 {
		return Interval{-i.High, -i.Estimate, -i.Low}.Judge(-floor)
	}
	switch {
	case i.High < floor: // false of a NaN, too
		return Same
	case i.Low > 0:
		return Changed
	default:
		return CannotTell
	}
}

// Comparison is a candidate beside a baseline. Changes are shares: 0.05 is 5 % more.
type Comparison struct {
	Baseline, Candidate float64  // medians
	P                   float64  // two-sided, of Mann-Whitney: how likely so large a difference is by chance
	Change              Interval // Hodges-Lehmann, of the median of candidate / baseline
	Detectable          float64  // the smallest change that as many runs with this noise find four times in five
	Level               float64  // at which P decides; 1 - Level is the confidence of Change
	Verdict             Verdict
}

// Compare compares runs of two builds by a figure that is positive, such as the p99 of each run.
// The sign of floor is the direction of what is feared: 0.05 for a latency, -0.03 for a rate. The
// verdict is Changed only if Mann-Whitney finds the difference at Alpha, and Same only if the floor is
// excluded with Confidence: a regression that is just as large as the floor would else pass one
// time in forty.
//
// looks is how often, at most, the same comparison is made while runs are added until it can be told, and
// is fixed before the first: each look gets as large a part of both errors (Bonferroni's correction, which
// holds whatever the looks have in common).
//
// Changes are measured on the logarithms, so that they are shares: Hodges-Lehmann's estimate is
// the median of the logarithms of all candidate / baseline, its interval is Mann-Whitney's test
// inverted (Hollander and Wolfe, Nonparametric Statistical Methods, 4.3). The detectable change is
// (z(1-alpha/2) + z(power)) · s · sqrt((1/m + 1/n) · pi/3), where s is the pooled standard deviation
// of the logarithms and pi/3 what ranks cost beside a t-test on normal noise.
func Compare(baseline, candidate []float64, floor float64, looks int) Comparison {
	alpha, err := Alpha/float64(looks), (1-Confidence)/float64(looks)
	c := Comparison{
		Baseline: Median(baseline), Candidate: Median(candidate),
		P:          MannWhitney(baseline, candidate),
		Detectable: math.Inf(1),
		Level:      alpha,
		Verdict:    CannotTell,
	}
	a, b := logs(baseline), logs(candidate)
	change, ok := shift(a, b, alpha)
	c.Change = change.share()
	if !ok {
		return c
	}
	c.Detectable = math.Expm1(detectable(a, b, alpha))
	wide, _ := shift(a, b, err)
	switch {
	case wide.share().Judge(floor) == Same:
		c.Verdict = Same
	case c.P <= alpha && c.Change.worse(floor):
		c.Verdict = Changed
	}
	return c
}

// Shift returns by which share candidate is more than baseline, run by run: Hodges-Lehmann's interval with
// the confidence 1 - Alpha. It is not ok where either has too few runs for one, or one that is not above 0.
func Shift(baseline, candidate []float64) (Interval, bool) {
	change, ok := shift(logs(baseline), logs(candidate), Alpha)
	return change.share(), ok
}

// share makes shares of logarithms.
func (i Interval) share() Interval {
	return Interval{math.Expm1(i.Low), math.Expm1(i.Estimate), math.Expm1(i.High)}
}

// worse reports whether there surely is a change in the direction of floor.
func (i Interval) worse(floor float64) bool { return floor > 0 && i.Low > 0 || floor < 0 && i.High < 0 }

func logs(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = math.Log(v)
	}
	return out
}

// shift is Hodges-Lehmann's estimate of b - a, in an interval that misses the truth with probability
// alpha. It is not ok where there are too few for one, or where something is not a number.
func shift(a, b []float64, alpha float64) (Interval, bool) {
	var all []float64
	for _, x := range a {
		for _, y := range b {
			all = append(all, y-x)
		}
	}
	if len(all) == 0 || slices.ContainsFunc(all, func(d float64) bool { return math.IsNaN(d) || math.IsInf(d, 0) }) {
		return Interval{math.NaN(), math.NaN(), math.NaN()}, false
	}
	slices.Sort(all)
	skip := skipped(len(a), len(b), alpha)
	if skip < 1 {
		return Interval{math.Inf(-1), Median(all), math.Inf(1)}, false
	}
	return Interval{all[skip-1], Median(all), all[len(all)-skip]}, true
}

// skipped returns how many of the sorted differences lie outside the interval on either side, plus
// one: the largest k with P[U <= k-1] <= alpha/2, 0 if there is none.
func skipped(m, n int, alpha float64) int {
	if max(m, n) > mostExact {
		mean := float64(m*n) / 2
		sd := math.Sqrt(float64(m*n*(m+n+1)) / 12)
		return max(int(mean-distuv.UnitNormal.Quantile(1-alpha/2)*sd), 0)
	}
	k, below := 0, 0.0
	for u, p := range distribution(m, n) {
		if below += p; below > alpha/2 {
			break
		}
		k = u + 1
	}
	return k
}

func detectable(a, b []float64, alpha float64) float64 {
	m, n := float64(len(a)), float64(len(b))
	s := math.Sqrt((squares(a) + squares(b)) / (m + n - 2))
	z := distuv.UnitNormal.Quantile(1-alpha/2) + distuv.UnitNormal.Quantile(power)
	return z * s * math.Sqrt((1/m+1/n)*math.Pi/3)
}

// squares is the sum of squared distances from the mean.
func squares(values []float64) (sum float64) {
	mean := 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return sum
}
