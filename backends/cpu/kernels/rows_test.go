package kernels

import (
	"math"
	"testing"
)

// rowSums64 are the figures of a row in float64.
type rowSums64 struct{ sum, top, exps, mean, variance, square float64 }

func sums64(x []float32) rowSums64 {
	r := rowSums64{top: math.Inf(-1)}
	n := float64(len(x))
	for _, v := range x {
		r.sum += float64(v)
		r.top = max(r.top, float64(v))
		r.square += float64(v) * float64(v) / n
	}
	r.mean = r.sum / n
	for _, v := range x {
		r.exps += math.Exp(float64(v) - r.top)
		r.variance += (float64(v) - r.mean) * (float64(v) - r.mean) / n
	}
	return r
}

// map64 computes a function of each value.
func map64(x []float32, f func(i int, x float64) float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(i, float64(v))
	}
	return y
}

func TestRowFunctionsMatchFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, cols := range lengths[1:] {
			const rows = 2
			s := newSource(t, uint64(cols))
			x := s.values(rows * cols)
			Combine(Mul, x, x, []float32{20})
			n := Norm{Scale: s.values(cols), Bias: s.values(cols), Epsilon: 1e-5}
			checks := []struct {
				name string
				run  func(dst, src []float32)
				want func(r rowSums64, i int, x float64) float64
			}{
				{"softmax", func(dst, src []float32) { Softmax(dst, src, cols) },
					func(r rowSums64, _ int, x float64) float64 { return math.Exp(x-r.top) / r.exps }},
				{"log softmax", func(dst, src []float32) { LogSoftmax(dst, src, cols) },
					func(r rowSums64, _ int, x float64) float64 { return x - r.top - math.Log(r.exps) }},
				{"layer norm", func(dst, src []float32) { LayerNorm(dst, src, n) },
					func(r rowSums64, i int, x float64) float64 {
						return (x-r.mean)/math.Sqrt(r.variance+1e-5)*float64(n.Scale[i]) + float64(n.Bias[i])
					}},
				{"layer norm without bias", func(dst, src []float32) { LayerNorm(dst, src, Norm{Scale: n.Scale, Epsilon: 1e-5}) },
					func(r rowSums64, i int, x float64) float64 {
						return (x - r.mean) / math.Sqrt(r.variance+1e-5) * float64(n.Scale[i])
					}},
				{"rms norm", func(dst, src []float32) { RMSNorm(dst, src, n) },
					func(r rowSums64, i int, x float64) float64 {
						return x/math.Sqrt(r.square+1e-5)*float64(n.Scale[i]) + float64(n.Bias[i])
					}},
			}
			for _, check := range checks {
				y := s.values(rows * cols)
				check.run(y, x)
				inPlace := s.copyOf(x)
				check.run(inPlace, inPlace)
				same(t, check.name+" in place", inPlace, y)
				for row := range rows {
					part := x[row*cols:][:cols]
					r := sums64(part)
					near(t, check.name, y[row*cols:][:cols], map64(part, func(i int, x float64) float64 { return check.want(r, i, x) }), 5e-6)
				}
			}
		}
	})
}

func TestRowReductions(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, cols := range lengths {
			s := newSource(t, uint64(cols))
			x := s.values(3 * cols)
			got := s.values(3)
			SumRows(got, x, cols)
			for row := range got {
				near(t, "sum", got[row:row+1], []float64{sums64(x[row*cols:][:cols]).sum}, 1e-5)
			}
			for _, odd := range [][]float32{x, s.odd(3 * cols)} {
				want := make([]float32, 3)
				MaxRows(got, odd, cols)
				for row := range want {
					want[row] = largestPortable(odd[row*cols:][:cols])
				}
				equalButZeros(t, Max, got, want)
				MinRows(got, odd, cols)
				for row := range want {
					want[row] = smallestPortable(odd[row*cols:][:cols])
				}
				equalButZeros(t, Min, got, want)
			}
		}
	})
}

// One NaN must be found wherever it stands.
func TestMaxRowsFindsNaN(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		x := s.values(150)
		for i := range x {
			before := x[i]
			x[i] = float32(math.NaN())
			for _, reduce := range []func(dst, src []float32, cols int){MaxRows, MinRows} {
				got := []float32{0}
				reduce(got, x, len(x))
				if got[0] == got[0] {
					t.Fatalf("NaN at %d: %v, want NaN", i, got[0])
				}
			}
			x[i] = before
		}
	})
}

func TestSoftmaxOfOddRows(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	tests := []struct {
		name string
		x    []float32
		want []float32
	}{
		{"masked", []float32{-inf, 3, -inf, 3}, []float32{0, 0.5, 0, 0.5}},
		{"all masked", []float32{-inf, -inf}, []float32{nan, nan}},
		{"infinite", []float32{inf, 1}, []float32{nan, nan}},
		{"not a number", []float32{1, nan, 1}, []float32{nan, nan, nan}},
		{"large", []float32{3e38, 3e38, -3e38}, []float32{0.5, 0.5, 0}},
	}
	eachLevel(t, func(t *testing.T) {
		for _, test := range tests {
			got := make([]float32, len(test.x))
			Softmax(got, test.x, len(test.x))
			equal(t, test.name, got, test.want)
		}
	})
}
