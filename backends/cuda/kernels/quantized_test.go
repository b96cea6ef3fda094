package kernels_test

import (
	"math"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

func TestQuantize(t *testing.T) {
	for _, from := range floats {
		for _, to := range []kernels.Type{kernels.U8, kernels.I8} {
			for _, s := range [][3]int64{{1, 1, 1}, {3, 5, 7}, {2, 1, 300}} {
				b := newBench(t)
				x, y := b.normal(from, size(s[:]), 100), b.empty(to, size(s[:]))
				// Powers of two, so that quotients are exact and ties are ties.
				scale := b.empty(kernels.F32, s[1]).fill(func(int) float64 { return math.Ldexp(1, b.rand.IntN(4)-2) })
				var zero *array
				if b.rand.IntN(2) == 0 {
					zero = b.whole(to, s[1], 0, 100)
				}
				q := kernels.Quantize{From: from, To: to, Outer: s[0], Count: s[1], Inner: s[2], X: x.at(), Y: y.at(), Scale: scale.at(), Zero: or(zero)}
				b.run(q)
				low, high := 0.0, 255.0
				if to == kernels.I8 {
					low, high = -128, 127
				}
				b.check(q, y, 0, func(i int) float64 {
					c := i / int(s[2]) % int(s[1])
					v := math.RoundToEven(x.get(i) / scale.get(c))
					if zero != nil {
						v += zero.get(c)
					}
					return min(max(v, low), high)
				})
			}
		}
	}
}

func TestDequantize(t *testing.T) {
	for _, from := range []kernels.Type{kernels.U8, kernels.I8, kernels.I32} {
		for _, to := range floats {
			b := newBench(t)
			s := []int64{3, 5, 7}
			x, y, scale, zero := b.whole(from, 105, 0, 127), b.empty(to, 105), b.normal(kernels.F32, 5, 0.01), b.whole(from, 5, 0, 100)
			d := kernels.Dequantize{From: from, To: to, Outer: s[0], Count: s[1], Inner: s[2], X: x.at(), Y: y.at(), Scale: scale.at(), Zero: zero.at()}
			b.run(d)
			b.check(d, y, precision(to), func(i int) float64 { return (x.get(i) - zero.get(i/7%5)) * scale.get(i/7%5) })
		}
	}
}
