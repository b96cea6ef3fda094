package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// mostExact is up to how many values on either side the distribution of U is counted out.
const mostExact = 25

// MannWhitney returns the probability, under the assumption that a and b come from one
// distribution, of ranks that differ as much as theirs or more, in either direction. It is exact
// for up to 25 values a side without ties, and else the normal approximation with corrections for
// ties and continuity. (Mann and Whitney, Annals of Mathematical Statistics 18, 1947; the recurrence
// of the exact distribution is theirs, the correction for ties is in Hollander and Wolfe, 4.1.)
// It is 1, and says nothing, where either is empty or holds a NaN.
func MannWhitney(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 || slices.ContainsFunc(slices.Concat(a, b), math.IsNaN) {
		return 1
	}
	u, ties := rankSum(a, b)
	m, n := len(a), len(b)
	u = min(u, float64(m*n)-u)
	if ties == 0 && max(m, n) <= mostExact {
		below := 0.0
		for k, p := range distribution(m, n) {
			if float64(k) > u {
				break
			}
			below += p
		}
		return min(2*below, 1)
	}
	return approximately(u, m, n, ties)
}

// approximately is the two-sided probability for the smaller U, where ties is the sum of t³-t over
// the groups of t equal values.
func approximately(u float64, m, n int, ties float64) float64 {
	total := float64(m + n)
	variance := float64(m*n) / 12 * (total + 1 - ties/(total*(total-1)))
	if variance <= 0 {
		return 1 // all are equal
	}
	z := (u + 0.5 - float64(m*n)/2) / math.Sqrt(variance)
	return min(2*distuv.UnitNormal.CDF(z), 1)
}

// rankSum returns Mann-Whitney's U of a, half a point for every tie, and the sum of t³-t.
func rankSum(a, b []float64) (u, ties float64) {
	type value struct {
		v     float64
		first bool
	}
	var all []value
	for _, v := range a {
		all = append(all, value{v, true})
	}
	for _, v := range b {
		all = append(all, value{v, false})
	}
	slices.SortFunc(all, func(x, y value) int { return cmp.Compare(x.v, y.v) })
	sum := 0.0
	for i := 0; i < len(all); {
		end, first := i, 0
		for end < len(all) && all[end].v == all[i].v {
			if all[end].first {
				first++
			}
			end++
		}
		t := float64(end - i)
		ties += t*t*t - t
		sum += float64(first) * float64(i+1+end) / 2
		i = end
	}
	m := float64(len(a))
	return sum - m*(m+1)/2, ties
}

// distribution returns the probabilities of U = 0, 1, ... m·n for samples of m and n from one
// distribution: the number of ways to choose m of the ranks with each sum, by the recurrence
// ways(m, n, u) = ways(m-1, n, u-n) + ways(m, n-1, u).
func distribution(m, n int) []float64 {
	ways := make([][]float64, m+1) // ways[i][u] of i and the j that is reached
	for i := range ways {
		ways[i] = make([]float64, m*n+1)
		ways[i][0] = 1
	}
	for j := 1; j <= n; j++ {
		for i := 1; i <= m; i++ {
			next := slices.Clone(ways[i])
			for u := j; u <= i*j; u++ {
				next[u] += ways[i-1][u-j]
			}
			ways[i] = next
		}
	}
	total := 0.0
	for _, w := range ways[m] {
		total += w
	}
	for u := range ways[m] {
		ways[m][u] /= total
	}
	return ways[m]
}
