// Package stats decides what measurements allow to say: whether a percentile is under its limit,
// whether one build is slower than another, whether memory grows. Every decision has three
// outcomes, since measurements may also say nothing.
package stats

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// Confidence of everything that is said of a percentile, as in MLPerf's early stopping.
const Confidence = 0.99

// mostRequests bounds searches; a run has fewer.
const mostRequests = 1 << 40

// Required returns how many requests there have to be, of which over took longer than a limit or
// have failed, before it can be said with Confidence that the percentile (0.99 for p99) is within
// the limit: the smallest n with P[Bin(n, 1-percentile) <= over] <= 1 - Confidence. This is the
// early-stopping bound of MLPerf Inference with no tolerance.
func Required(percentile float64, over uint64) uint64 {
	n := sort.Search(mostRequests, func(n int) bool {
		return n > int(over) && binomial(uint64(n), 1-percentile, over) <= 1-Confidence
	})
	return uint64(n)
}

// Holds reports whether total requests, of which over were over the limit, show with Confidence
// that the percentile is within it.
func Holds(percentile float64, over, total uint64) bool {
	return holds(1-Confidence, percentile, over, total)
}

// Breaks reports whether they show with Confidence that it is not.
func Breaks(percentile float64, over, total uint64) bool {
	return breaks(1-Confidence, percentile, over, total)
}

// Look is Holds, Breaks or neither, for who looks again and again while requests come in: the
// Confidence is that of all looks together. The n-th look, from 1 on, may err with a probability of
// (1-Confidence)/(n(n+1)), which add up to 1-Confidence.
func Look(n int, percentile float64, over, total uint64) Verdict {
	err := (1 - Confidence) / float64(n) / float64(n+1)
	switch {
	case holds(err, percentile, over, total):
		return Same
	case breaks(err, percentile, over, total):
		return Changed
	}
	return CannotTell
}

func holds(err, percentile float64, over, total uint64) bool {
	return total > over && binomial(total, 1-percentile, over) <= err
}

func breaks(err, percentile float64, over, total uint64) bool {
	return over > 0 && 1-binomial(total, 1-percentile, over-1) <= err
}

// binomial is P[Bin(n, p) <= k].
func binomial(n uint64, p float64, k uint64) float64 {
	return distuv.Binomial{N: float64(n), P: p}.CDF(float64(k))
}

// Over returns the most of total requests that may be over a limit for Holds, and whether there is
// such a number at all: total may be too few even for none.
func Over(percentile float64, total uint64) (over uint64, ok bool) {
	if !Holds(percentile, 0, total) {
		return 0, false
	}
	first := sort.Search(int(total), func(k int) bool { return !Holds(percentile, uint64(k), total) })
	return uint64(first - 1), true
}

// Ranks returns the positions, from 0, in n sorted latencies between which the percentile lies
// with the confidence, whatever the latencies are distributed like (the binomial interval of order
// statistics). It is [0, n-1] where n is too small to say.
func Ranks(n int, percentile, confidence float64) (low, high int) {
	if n == 0 {
		return 0, 0
	}
	tail := (1 - confidence) / 2
	at := func(p float64) int {
		return sort.Search(n, func(k int) bool { return binomial(uint64(n), percentile, uint64(k)) >= p })
	}
	return max(at(tail)-1, 0), min(at(1-tail), n-1)
}

// Median returns the median of values, NaN if there are none.
func Median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the q-quantile of values, between the two nearest if it falls between.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
