package kernels

import (
	"fmt"
	"math"
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
	{1, 257, 40}, {2, 1000, 64}, {3, 130, 64}, {4, 400, 3}, {200, 40, 30}, {33, 70, 2100},
	{0, 5, 5}, {5, 0, 5}, {5, 20, 0}, {1, 0, 0}, {70, 20, 1024}, {66, 5, 1024}, {65, 40, 1024},
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

// gemmCase is a product with its expected result.
type gemmCase struct {
	naive
	want []float64
}

// gemmCases are the test sizes, each with every epilogue. Rows are some values apart.
func gemmCases(t *testing.T) []gemmCase {
	var cases []gemmCase
	for i, size := range testSizes {
		s := newSource(t, uint64(i))
		g := naive{m: size.m, n: size.n, k: size.k, lda: size.k + i%3, ldb: size.n, ldc: size.n + i%4}
		g.a, g.b = s.values(g.m*g.lda), s.values(g.k*g.n)
		for _, ep := range testEpilogues(s, g.m, g.n, g.ldc) {
			g.ep = ep
			cases = append(cases, gemmCase{g, g.compute()})
		}
	}
	return cases
}

func TestGemmMatchesFloat64(t *testing.T) {
	cases := gemmCases(t)
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for _, g := range cases {
				name := fmt.Sprintf("%dx%dx%d", g.m, g.k, g.n)
				for _, packed := range []*Packed{PackB(Matrix{Data: g.b, K: g.k, N: g.n, Stride: g.n}, FP32),
					PackB(Matrix{s.copyOf(transpose(g.b, g.k, g.n)), g.k, g.n, g.k, true}, FP32)} {
					c := s.values(g.m * g.ldc)
					before := slices.Clone(c)
					Gemm(pool, g.m, g.a, g.lda, packed, c, g.ldc, g.ep)
					near(t, name, rowsOf(c, g.m, g.n, g.ldc), g.want, 1e-4)
					same(t, "gaps of "+name, gaps(c, g.m, g.n, g.ldc), gaps(before, g.m, g.n, g.ldc))
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

// The same row gives the same bits in every company, at every place, on any number of threads,
// from packed and unpacked matrices.
func TestGemmRowsDoNotDependOnTheirCompany(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		const m, n, k = 31, 150, 800
		s := newSource(t, 1)
		a, b, bias := s.values(m*k), s.values(k*n), s.values(n)
		packed := PackB(Matrix{Data: b, K: k, N: n, Stride: n}, FP32)
		ep := Epilogue{Bias: bias, Activation: Activation{Function: Silu}}
		alone := s.values(m * n)
		for i := range m {
			Gemm(newTestPool(t, 1), 1, a[i*k:], k, packed, alone[i*n:], n, ep)
		}
		for _, threads := range []int{1, 4} {
			pool := newTestPool(t, threads)
			for rows := 2; rows <= m; rows++ {
				c := s.values(rows * n)
				Gemm(pool, rows, a[(m-rows)*k:], k, packed, c, n, ep)
				same(t, "rows", c, alone[(m-rows)*n:])
			}
			c := s.values(m * n)
			BatchGemm{
				Batch: [2]int{1, 1}, M: m, N: n, K: k, A: Operand{Data: a, Stride: k}, B: Operand{Data: b, Stride: n},
				C: Operand{Data: c, Stride: n}, Added: Operand{Data: bias}, Activation: ep.Activation,
			}.Run(pool)
			same(t, "unpacked", c, alone)
		}
	})
}

// Levels with fused multiply-add agree bit for bit.
func TestGemmIsEqualAtVectorLevels(t *testing.T) {
	levels := Levels()[1:]
	if len(levels) < 2 {
		t.Skipf("this machine has no two vector levels: %v", levels)
	}
	s := newSource(t, 2)
	const m, n, k = 30, 100, 500
	a, packed := s.values(m*k), PackB(Matrix{Data: s.values(k * n), K: k, N: n, Stride: n}, FP32)
	var results [][]float32
	eachLevel(t, func(t *testing.T) {
		c := make([]float32, m*n)
		Gemm(newTestPool(t, 2), m, a, k, packed, c, n, Epilogue{Activation: Activation{Function: GeluErf}})
		results = append(results, c)
	})
	same(t, "avx2 and avx512", results[1], results[2])
}

func TestGemmKeepsNaNAndInfinity(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, m := range []int{1, 3, 14} {
			const n, k = 40, 9
			s := newSource(t, uint64(m))
			a, b := s.odd(m*k), s.odd(k*n)
			for _, f := range []Function{None, Relu, Clip} {
				ep := Epilogue{Activation: Activation{Function: f, Min: -1, Max: 1}}
				c := s.values(m * n)
				Gemm(newTestPool(t, 1), m, a, k, PackB(Matrix{Data: b, K: k, N: n, Stride: n}, FP32), c, n, ep)
				want := naive{m: m, n: n, k: k, a: a, lda: k, b: b, ldb: n, ldc: n, ep: ep}.compute()
				for i, w := range want {
					// Products of 1e38 overflow in float32 only: skip what float64 holds.
					if math.Abs(w) > 1e30 && !math.IsInf(w, 0) {
						continue
					}
					if g := float64(c[i]); math.IsNaN(w) && !math.IsNaN(g) {
						t.Fatalf("function %d: [%d] = %v, want NaN", f, i, g)
					}
				}
			}
		}
	})
}

func TestGemmMayAddItsOwnOutput(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		const m, n, k = 20, 50, 800
		s := newSource(t, 1)
		a, packed, c := s.values(m*k), PackB(Matrix{Data: s.values(k * n), K: k, N: n, Stride: n}, FP32), s.values(m*n)
		want := s.values(m * n)
		Gemm(newTestPool(t, 2), m, a, k, packed, want, n, Epilogue{Residual: s.copyOf(c)})
		Gemm(newTestPool(t, 2), m, a, k, packed, c, n, Epilogue{Residual: c})
		same(t, "C += A*B", c, want)
	})
}

func TestWrongSizesPanicBeforeWriting(t *testing.T) {
	pool := newTestPool(t, 1)
	packed := PackB(Matrix{Data: make([]float32, 12), K: 3, N: 4, Stride: 4}, FP32)
	tests := []struct {
		name string
		call func(c []float32)
	}{
		{"A too short", func(c []float32) { Gemm(pool, 2, make([]float32, 5), 3, packed, c, 4, Epilogue{}) }},
		{"A with rows that overlap", func(c []float32) { Gemm(pool, 2, make([]float32, 9), 2, packed, c, 4, Epilogue{}) }},
		{"C too short", func(c []float32) { Gemm(pool, 2, make([]float32, 6), 3, packed, c[:7], 4, Epilogue{}) }},
		{"bias too short", func(c []float32) {
			Gemm(pool, 2, make([]float32, 6), 3, packed, c, 4, Epilogue{Bias: make([]float32, 3)})
		}},
		{"row bias too short", func(c []float32) {
			Gemm(pool, 2, make([]float32, 6), 3, packed, c, 4, Epilogue{RowBias: make([]float32, 1)})
		}},
		{"residual too short", func(c []float32) {
			Gemm(pool, 2, make([]float32, 6), 3, packed, c, 4, Epilogue{Residual: make([]float32, 7)})
		}},
		{"B too short", func([]float32) { PackB(Matrix{Data: make([]float32, 11), K: 3, N: 4, Stride: 4}, FP32) }},
		{"batch too short", func(c []float32) {
			BatchGemm{
				Batch: [2]int{2, 1}, M: 1, N: 4, K: 3, A: Operand{Data: make([]float32, 3), Stride: 3},
				B: Operand{Data: make([]float32, 12), Stride: 4, Batch: [2]int{12, 0}}, C: Operand{Data: c, Stride: 4, Batch: [2]int{4, 0}},
			}.Run(pool)
		}},
		{"lengths differ", func(c []float32) { Apply(c, make([]float32, 3), Activation{Function: Relu}) }},
		{"no whole rows", func(c []float32) { Softmax(c, make([]float32, 8), 3) }},
		{"operands differ", func(c []float32) { Combine(Add, c, make([]float32, 8), make([]float32, 7)) }},
	}
	for _, test := range tests {
		c := make([]float32, 8)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", test.name)
				}
			}()
			test.call(c)
		}()
		same(t, test.name, c, make([]float32, 8))
	}
}

func FuzzGemm(f *testing.F) {
	f.Add(uint8(3), uint16(17), uint16(40), uint64(1))
	f.Add(uint8(14), uint16(33), uint16(500), uint64(2))
	f.Fuzz(func(t *testing.T, m uint8, n, k uint16, seed uint64) {
		rows, cols, depth := int(m%64), int(n%400), int(k%900)
		everyLevel(t, func(t *testing.T) {
			s := newSource(t, seed)
			lda, ldc := depth+s.IntN(5), cols+s.IntN(5)
			a, b := s.values(rows*lda), s.values(depth*cols)
			eps := testEpilogues(s, rows, cols, ldc)
			ep := eps[s.IntN(len(eps))]
			for _, p := range []Precision{FP32, BF16} {
				c := s.values(rows * ldc)
				packed := PackB(Matrix{Data: b, K: depth, N: cols, Stride: cols}, p)
				Gemm(newTestPool(t, 1+s.IntN(3)), rows, a, lda, packed, c, ldc, ep)
				want := naive{m: rows, n: cols, k: depth, a: p.rounded(a), lda: lda, b: p.rounded(b), ldb: cols, ldc: ldc, ep: ep}.compute()
				near(t, p.String(), rowsOf(c, rows, cols, ldc), want, 1e-4)
			}
		})
	})
}

func TestProductsAllocateNothing(t *testing.T) {
	if detectingRaces {
		t.Skip("memory is given back to pools, which forget some of it where races are detected")
	}
	const m, n, k = 33, 150, 200
	s := newSource(t, 1)
	a, b, c := s.values(m*k), s.values(k*n), s.values(m*n)
	for _, threads := range []int{1, 2} {
		pool := newTestPool(t, threads)
		bytes := ByteGemm{
			M: m, A: Bytes{Data: s.bytes(m * k), Stride: k}, B: PackBytes(Bytes{Data: s.bytes(k * n), Stride: n, Signed: true}, k, n, false),
		}
		sums, rounded, scale := s.int32s(m*n), s.bytes(m*n), []float32{0.01}
		if got := testing.AllocsPerRun(100, func() {
			bytes.Int32(pool, sums, n)
			bytes.Floats(pool, c, n, Scaling{RowScale: scale, Scale: scale})
			bytes.Bytes(pool, rounded, n, Rounding{Scale: scale})
		}); got > 0.5 {
			t.Errorf("ByteGemm, %d threads: %v allocations", threads, got)
		}
		packed := PackB(Matrix{Data: b, K: k, N: n, Stride: n}, Int8)
		if got := testing.AllocsPerRun(100, func() { Gemm(pool, m, a, k, packed, c, n, Epilogue{}) }); got > 0.5 {
			t.Errorf("Gemm, %v, %d threads: %v allocations", Int8, threads, got)
		}
		for _, p := range []Precision{FP32, BF16} {
			packed := PackB(Matrix{Data: b, K: k, N: n, Stride: n}, p)
			batch := BatchGemm{
				Batch: [2]int{1, 1}, M: m, N: n, K: k, A: Operand{Data: a, Stride: k}, B: Operand{Data: b, Stride: n},
				C: Operand{Data: c, Stride: n}, Precision: p,
			}
			// Scratch memory may be collected in between.
			if got := testing.AllocsPerRun(100, func() { Gemm(pool, m, a, k, packed, c, n, Epilogue{}) }); got > 0.5 {
				t.Errorf("Gemm, %v, %d threads: %v allocations", p, threads, got)
			}
			if got := testing.AllocsPerRun(100, func() { batch.Run(pool) }); got > 0.5 {
				t.Errorf("BatchGemm, %v, %d threads: %v allocations", p, threads, got)
			}
		}
	}
}
