package main

import (
	"fmt"
	"math"
)

// slope is the growth of a quantity per cycle with its 95 % interval.
type slope struct{ estimate, low, high float64 }

// flat reports whether the quantity may not be growing at all.
func (s slope) flat() bool { return s.low <= 0 }

func (s slope) String() string { return fmt.Sprintf("%+.3g [%+.3g, %+.3g]", s.estimate, s.low, s.high) }

// A collector of garbage, an allocator and a kernel give memory back when they like, so that
// neighbouring readings go together and a plain regression would be much too sure of itself.
const (
	warmUpShare = 0.4 // of the readings are left out at first: pools and heaps find their size
	blocks      = 12  // means of as many stretches of the rest are what is regressed
)

// slopeOf fits a line through readings, one every step cycles, by least squares on the means of
// blocks, with Student's t for the interval.
func slopeOf(readings []float64, step int) slope {
	readings = readings[int(warmUpShare*float64(len(readings))):]
	size := len(readings) / blocks
	if size == 0 {
		return slope{math.NaN(), math.Inf(-1), math.Inf(1)}
	}
	readings = readings[len(readings)-size*blocks:]
	var means [blocks]float64
	for i, r := range readings {
		means[i/size] += r / float64(size)
	}
	estimate, deviation := regress(means[:])
	const t = 2.228 // the 97.5 % point of Student's t with blocks - 2 degrees of freedom
	per := float64(size * step)
	return slope{estimate / per, (estimate - t*deviation) / per, (estimate + t*deviation) / per}
}

// regress returns the slope of y over its index and the standard deviation of that.
func regress(y []float64) (estimate, deviation float64) {
	n := float64(len(y))
	middle, mean := (n-1)/2, 0.0
	for _, v := range y {
		mean += v / n
	}
	sxx, sxy, syy := 0.0, 0.0, 0.0
	for i, v := range y {
		dx, dy := float64(i)-middle, v-mean
		sxx += dx * dx
		sxy += dx * dy
		syy += dy * dy
	}
	estimate = sxy / sxx
	return estimate, math.Sqrt(max(0, syy-estimate*sxy) / (n - 2) / sxx)
}
