package kernels

import (
	"slices"
	"testing"
)

// naive is the product in float64, with the epilogue. B is K x N.
type naive struct {
	m, n, k       int
	a, b          []float32
	lda, ldb, ldc int
	ep            Epilogue
}

func (g naive) compute() []float64 {
	out := make([]float64, 0, g.m*g.n)
	act := g.ep.Activation.scalar64()
	for i := range g.m {
		for j := range g.n {
			var x float64
			for k := range g.k {
				x += float64(g.a[i*g.lda+k]) * float64(g.b[k*g.ldb+j])
			}
			if g.ep.Bias != nil {
				x += float64(g.ep.Bias[j])
			}
			if g.ep.RowBias != nil {
				x += float64(g.ep.RowBias[i])
			}
			if g.ep.Residual != nil {
				x += float64(g.ep.Residual[i*g.ldc+j])
			}
			out = append(out, act(x))
		}
	}
	return out
}

// scalar64 is the activation on a float64.
func (a Activation) scalar64() func(float64) float64 {
	switch a.Function {
	case None, Relu, Clip, LeakyRelu, HardSigmoid, HardSwish, Square:
		f := a.scalar()
		return func(x float64) float64 { return float64(f(float32(x))) }
	}
	return a.exact()
}

// rowsOf returns the m rows of n values, ldc apart, without the gaps.
func rowsOf(c []float32, m, n, ldc int) []float32 {
	var rows []float32
	for i := range m {
		rows = append(rows, c[i*ldc:][:n]...)
	}
	return rows
}

func transpose(b []float32, k, n int) []float32 {
	t := make([]float32, len(b))
	for i := range k {
		for j := range n {
			t[j*k+i] = b[i*n+j]
		}
	}
	return t
}

var testSizes = []struct{ m, n, k int }{
	{1, 1, 1}, {1, 10, 784}, {2, 16, 5}, {3, 17, 64}, {4, 31, 33}, {5, 32, 100}, {6, 33, 385}, {7, 48, 20},
	{8, 64, 13}, {9, 100, 9}, {13, 129, 50}, {14, 1, 70}, {15, 300, 17}, {29, 65, 400}, {70, 130, 770},
	{1, 257, 40}, {2, 1000, 64}, {3, 130, 64}, {4, 400, 3}, {200, 40, 30},
	{0, 5, 5}, {5, 0, 5}, {5, 20, 0}, {1, 0, 0},
}

func testEpilogues(s source, m, n, ldc int) []Epilogue {
	bias, rowBias, residual := s.values(n), s.values(m), s.values(m*ldc)
	return []Epilogue{
		{},
		{Bias: bias, Activation: Activation{Function: Relu}},
		{RowBias: rowBias, Residual: residual, Activation: Activation{Function: Clip, Min: -0.5, Max: 0.75}},
		{Bias: bias, RowBias: rowBias, Residual: residual, Activation: Activation{Function: GeluErf}},
		{Bias: bias, Activation: Activation{Function: LeakyRelu, Alpha: 0.1}},
	}
}

func TestGemmMatchesFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for i, size := range testSizes {
				s := newSource(uint64(i))
				m, n, k := size.m, size.n, size.k
				lda, ldc := k+i%3, n+i%4
				a, b := s.values(m*lda), s.values(k*n)
				for _, ep := range testEpilogues(s, m, n, ldc) {
					want := naive{m: m, n: n, k: k, a: a, lda: lda, b: b, ldb: n, ldc: ldc, ep: ep}.compute()
					for _, packed := range []*Packed{PackB(b, k, n, n, false), PackB(transpose(b, k, n), k, n, k, true)} {
						c := s.values(m * ldc)
						before := slices.Clone(c)
						Gemm(pool, m, a, lda, packed, c, ldc, ep)
						near(t, describe(size), rowsOf(c, m, n, ldc), want, 1e-4)
						same(t, "gaps of "+describe(size), gaps(c, m, n, ldc), gaps(before, m, n, ldc))
					}
				}
			}
		}
	})
}

// gaps returns what stands between the rows.
func gaps(c []float32, m, n, ldc int) []float32 {
	var between []float32
	for i := range m {
		between = append(between, c[i*ldc+n:(i+1)*ldc]...)
	}
	return between
}
