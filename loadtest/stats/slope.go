package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Point is a value at a time; the unit of time is the caller's.
type Point struct{ At, Value float64 }

// batches is how many batches a series is cut into. Memory goes up and down with the garbage
// collector, so neighbouring samples say almost the same; means over a batch say more of their own.
const batches = 24

// settling is the share of a series at its beginning that does not count: caches fill, pools grow.
const settling = 0.2

// fewest is how many points a series needs after that.
const fewest = 2 * batches

// Slope returns how much a series grows in a unit of time, with the confidence of 1 - Alpha. ok is
// false if there are too few points, which must be in the order of time.
//
// The first fifth is left out, and a line is fitted to the means of 24 batches of the rest by least
// squares. Where neighbouring batches go together, as in slow swings, they count for fewer: with r
// the correlation of neighbouring residuals, corrected for what fitting a line takes from it, n
// batches are worth n(1-r)/(1+r), in the error of the slope and in the degrees of freedom of its
// t-distribution.
func Slope(points []Point) (i Interval, ok bool) {
	unknown := Interval{math.Inf(-1), math.NaN(), math.Inf(1)}
	points = points[int(settling*float64(len(points))):]
	if len(points) < fewest {
		return unknown, false
	}
	x, y := means(points)
	alpha, beta := stat.LinearRegression(x, y, nil, false)
	rest := make([]float64, len(x))
	for i := range x {
		rest[i] = y[i] - alpha - beta*x[i]
	}
	spread := squares(x)
	if spread == 0 || math.IsNaN(beta) {
		return unknown, false
	}
	inflation := inflation(rest)
	free := max(batches/inflation-2, 3)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: free}.Quantile(1 - Alpha/2)
	half := t * math.Sqrt(squares(rest)/(batches-2)*inflation/spread)
	return Interval{beta - half, beta, beta + half}, true
}

func means(points []Point) (x, y []float64) {
	x, y = make([]float64, batches), make([]float64, batches)
	for b := range batches {
		part := points[b*len(points)/batches : (b+1)*len(points)/batches]
		for _, p := range part {
			x[b] += p.At / float64(len(part))
			y[b] += p.Value / float64(len(part))
		}
	}
	return x, y
}

// inflation is how many residuals that go together with their neighbours say as much as one.
func inflation(rest []float64) float64 {
	var with, own float64
	for i, r := range rest {
		own += r * r
		if i > 0 {
			with += r * rest[i-1]
		}
	}
	if own == 0 {
		return 1
	}
	n := float64(len(rest))
	r := (with/own*n + 2) / (n - 4) // about a fitted line r comes out too small by (2+4r)/n
	r = min(max(r, 0), 0.8)
	return (1 + r) / (1 - r)
}
