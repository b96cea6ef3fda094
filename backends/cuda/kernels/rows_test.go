package kernels_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

type rowSize struct{ rows, columns int64 }

// rowSizes are rows that a warp keeps, that a block keeps, and that neither does.
var rowSizes = []rowSize{{1, 1}, {5, 33}, {7, 768}, {3, 1001}, {9, 1024}, {2, 1025}, {3, 4096}, {2, 9001}}

func TestNorm(t *testing.T) {
	for _, typ := range floats {
		for _, s := range rowSizes {
			for _, root := range []bool{false, true} {
				t.Run(fmt.Sprint(typ, s, root), func(t *testing.T) { newBench(t).norm(typ, s, root) })
			}
		}
	}
}

// norm holds one case against the exact result.
func (b *bench) norm(typ kernels.Type, s rowSize, root bool) {
	b.Helper()
	n := kernels.Norm{Type: typ, Rows: s.rows, Columns: s.columns, Epsilon: 1e-5, RootMeanSquare: root}
	x, y := b.normal(typ, s.rows*s.columns, 2), b.empty(typ, s.rows*s.columns)
	weight := b.normal(typ, s.columns, 1)
	var bias, residual, sum *array
	period := s.rows
	if b.rand.IntN(2) == 0 {
		bias = b.normal(typ, s.columns, 1)
	}
	if b.rand.IntN(2) == 0 {
		if b.rand.IntN(2) == 0 {
			period = 1 + b.rand.Int64N(s.rows)
			n.ResidualRows = period
		}
		residual, sum = b.normal(typ, period*s.columns, 1), b.empty(typ, s.rows*s.columns)
	}
	n.X, n.Y, n.Weight, n.Bias, n.Residual, n.Sum = x.at(), y.at(), weight.at(), or(bias), or(residual), or(sum)
	b.run(n)
	in := make([]float64, x.len())
	for i := range in {
		in[i] = x.get(i)
		if residual != nil {
			in[i] += residual.get(i % int(period*s.columns))
		}
	}
	if sum != nil {
		b.check(n, sum, precision(typ), func(i int) float64 { return in[i] })
	}
	want := normed(in, int(s.columns), root, 1e-5)
	b.check(n, y, precision(typ), func(i int) float64 {
		v := want[i] * weight.get(i%int(s.columns))
		if bias != nil {
			v += bias.get(i % int(s.columns))
		}
		return v
	})
}

func normed(in []float64, columns int, root bool, epsilon float64) []float64 {
	out := make([]float64, len(in))
	for from := 0; from < len(in); from += columns {
		row, mean, squares := in[from:from+columns], 0.0, 0.0
		for _, v := range row {
			mean += v / float64(columns)
		}
		if root {
			mean = 0
		}
		for _, v := range row {
			squares += (v - mean) * (v - mean) / float64(columns)
		}
		for i, v := range row {
			out[from+i] = (v - mean) / math.Sqrt(squares+epsilon)
		}
	}
	return out
}

func TestSoftmax(t *testing.T) {
	for _, typ := range floats {
		for _, s := range rowSizes {
			for _, log := range []bool{false, true} {
				t.Run(fmt.Sprint(typ, s, log), func(t *testing.T) { newBench(t).softmax(typ, s, log) })
			}
		}
	}
}

// softmax holds one case against the exact result.
func (b *bench) softmax(typ kernels.Type, s rowSize, log bool) {
	b.Helper()
	x, y := b.normal(typ, s.rows*s.columns, 3), b.empty(typ, s.rows*s.columns)
	k := kernels.Softmax{Type: typ, Rows: s.rows, Columns: s.columns, X: x.at(), Y: y.at(), Log: log}
	b.run(k)
	columns := int(s.columns)
	sums, most := make([]float64, s.rows), make([]float64, s.rows)
	for r := range sums {
		most[r] = math.Inf(-1)
		for c := range columns {
			most[r] = max(most[r], x.get(r*columns+c))
		}
		for c := range columns {
			sums[r] += math.Exp(x.get(r*columns+c) - most[r])
		}
	}
	within := precision(typ)
	if !log {
		within /= 4 // numbers are less than 1
	}
	b.check(k, y, within, func(i int) float64 {
		v := x.get(i) - most[i/columns]
		if log {
			return v - math.Log(sums[i/columns])
		}
		return math.Exp(v) / sums[i/columns]
	})
}
