package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// bf16 returns x rounded as its definition says, by comparing the two neighbours.
func bf16(x float32) float32 {
	if x != x {
		return x
	}
	if math.Abs(float64(x)) < 0x1p-126 {
		return float32(math.Copysign(0, float64(x)))
	}
	if math.IsInf(float64(x), 0) {
		return x
	}
	toward := math.Float32bits(x) &^ 0xffff
	low, high := float64(math.Float32frombits(toward)), float64(math.Float32frombits(toward+0x10000))
	if math.IsInf(high, 0) {
		high = math.Copysign(0x1p128, high)
	}
	below, above := math.Abs(float64(x)-low), math.Abs(high-float64(x))
	if below < above || below == above && toward>>16&1 == 0 {
		return float32(low)
	}
	return math.Float32frombits(toward + 0x10000)
}

func bf16s(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = bf16(v)
	}
	return y
}

// rounded returns what is multiplied at the precision.
func (p Precision) rounded(x []float32) []float32 {
	if p == BF16 {
		return bf16s(x)
	}
	return x
}

// ties are values halfway between two neighbours and next to it, and the borders of the normal
// numbers.
func (s source) ties(n int) []float32 {
	x := s.odd(n)
	for i := range x {
		u := math.Float32bits(x[i])
		switch s.IntN(8) {
		case 0:
			x[i] = math.Float32frombits(u&^0xffff | 0x8000)
		case 1:
			x[i] = math.Float32frombits(u&^0xffff | 0x8001)
		case 2:
			x[i] = math.Float32frombits(u&^0xffff | 0x7fff)
		case 3:
			x[i] = math.Float32frombits(u&(1<<31) | 0x00800000 - uint32(s.IntN(3)))
		case 4:
			x[i] = math.Float32frombits(u&(1<<31) | 0x7f7fffff - uint32(s.IntN(0x10000)))
		case 5:
			x[i] = math.Float32frombits(u&(1<<31) | 0x7f800001 + uint32(s.IntN(0x7ffffe))) // NaN, most of them signalling
		}
	}
	return x
}

// Rows are some values apart, and what is between those of the result stays as it is.
func TestConversionsToBF16(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		for _, cols := range lengths {
			for _, rows := range []int{1, 3} {
				if cols > 0 {
					convertsRows(t, rows, cols)
				}
			}
		}
		convertsRows(t, 300, 600)
		convertsRows(t, 1, 4*chunk+33)
	})
}

func convertsRows(t *testing.T, rows, cols int) {
	s, level := newSource(t, uint64(cols)), CurrentLevel()
	srcRow, dstRow := cols+3, cols+5
	x, odd := s.ties((rows-1)*srcRow+cols), s.ties((rows-1)*srcRow+cols)

	rounded := s.values((rows-1)*dstRow + cols)
	before := slices.Clone(rounded)
	c := conversion{dst: rounded, src: x, rows: rows, cols: cols, dstRow: dstRow, srcRow: srcRow}
	c.round(level)
	for r := range rows {
		row := rounded[r*dstRow:][:cols]
		equal(t, "round", row, bf16s(x[r*srcRow:][:cols]))
		for i, v := range row {
			if u := math.Float32bits(v); u&0xffff != 0 || v != v && u&0x400000 == 0 {
				t.Fatalf("round(%x) = %x, which is no quiet bfloat16", x[r*srcRow+i], u)
			}
		}
		if r < rows-1 {
			same(t, "gap", rounded[r*dstRow+cols:][:dstRow-cols], before[r*dstRow+cols:][:dstRow-cols])
		}
	}

	words := (cols + 1) / 2
	pairs := s.values(rows*words + 2*(rows-1))
	c.dst, c.dstRow = pairs, words+2
	c.pairUp(level)
	for r := range rows {
		same(t, "pairUp", pairs[r*(words+2):][:words], pairsOf(rounded[r*dstRow:][:cols]))
	}

	for _, panel := range []int{panelWidth, rows * panelWidth} {
		dstRow := panelWidth
		if panel == panelWidth {
			dstRow = panels(cols) * panelWidth
		}
		last := (rows-1)*dstRow + (cols-1)/panelWidth*panel + (cols-1)%panelWidth
		units := s.values(last + 1)
		c := conversion{dst: units, src: x, odd: odd, rows: rows, cols: cols, dstRow: dstRow, srcRow: srcRow, panel: panel}
		c.pairRows(level)
		for r := range rows {
			for i := range cols {
				unit := math.Float32bits(units[r*dstRow+i/panelWidth*panel+i%panelWidth])
				got := []float32{math.Float32frombits(unit << 16), math.Float32frombits(unit &^ 0xffff)}
				equal(t, "pairRows", got, []float32{bf16(x[r*srcRow+i]), bf16(odd[r*srcRow+i])})
			}
		}
	}
}

// pairsOf puts rounded values next to each other.
func pairsOf(x []float32) []float32 {
	var pairs []float32
	for i := 0; i < len(x); i += 2 {
		unit := math.Float32bits(x[i]) >> 16
		if i+1 < len(x) {
			unit |= math.Float32bits(x[i+1])
		}
		pairs = append(pairs, math.Float32frombits(unit))
	}
	return pairs
}

// Rounding gives the same bits at all levels, and so do products at the levels that multiply the
// values of a pair one after the other.
func TestBF16IsFP32OfRoundedValues(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		if CurrentLevel() >= AVX512BF16 {
			t.Skip("pairs are added at once")
		}
		s := newSource(t, 3)
		for _, size := range testSizes {
			m, n, k := size.m, size.n, size.k
			a, b := s.values(m*k), s.values(k*n)
			got, want := s.values(m*n), s.values(m*n)
			Gemm(newTestPool(t, 2), m, a, k, PackB(Matrix{Data: b, K: k, N: n, Stride: n}, BF16), got, n, Epilogue{})
			Gemm(newTestPool(t, 2), m, bf16s(a), k, PackB(Matrix{Data: bf16s(b), K: k, N: n, Stride: n}, FP32), want, n, Epilogue{})
			same(t, fmt.Sprintf("%dx%dx%d", m, k, n), got, want)
		}
	})
}

// The bound is that of sums in float32, for products that are exact: bfloat16 has 8 bits.
func TestBF16GemmMatchesFloat64(t *testing.T) {
	cases := gemmCases(t)
	for i := range cases {
		g := cases[i].naive
		g.a, g.b = bf16s(g.a), bf16s(g.b)
		cases[i].want = g.compute()
	}
	everyLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for _, g := range cases {
				name := fmt.Sprintf("%dx%dx%d", g.m, g.k, g.n)
				for _, b := range []Matrix{
					{Data: g.b, K: g.k, N: g.n, Stride: g.n},
					{s.copyOf(transpose(g.b, g.k, g.n)), g.k, g.n, g.k, true},
				} {
					c := s.values(g.m * g.ldc)
					Gemm(pool, g.m, g.a, g.lda, PackB(b, BF16), c, g.ldc, g.ep)
					near(t, name, rowsOf(c, g.m, g.n, g.ldc), g.want, 1e-4)
				}
			}
		}
	})
}

func TestBF16RowsDoNotDependOnTheirCompany(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		const m, n, k = 31, 150, 1601
		s := newSource(t, 1)
		a, b, bias := s.values(m*k), s.values(k*n), s.values(n)
		packed := PackB(Matrix{Data: b, K: k, N: n, Stride: n}, BF16)
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
			if CurrentLevel() < AVX512BF16 {
				continue // what is not packed is not rounded there
			}
			c := s.values(m * n)
			BatchGemm{
				Batch: [2]int{1, 1}, M: m, N: n, K: k, A: Operand{Data: a, Stride: k}, B: Operand{Data: b, Stride: n},
				C: Operand{Data: c, Stride: n}, Added: Operand{Data: bias}, Activation: ep.Activation, Precision: BF16,
			}.Run(pool)
			same(t, "unpacked", c, alone)
		}
	})
}

func TestBF16KeepsNaNAndInfinity(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		for _, m := range []int{1, 3, 14} {
			const n, k = 40, 9
			s := newSource(t, uint64(m))
			a, b := s.odd(m*k), s.odd(k*n)
			c := s.values(m * n)
			Gemm(newTestPool(t, 1), m, a, k, PackB(Matrix{Data: b, K: k, N: n, Stride: n}, BF16), c, n, Epilogue{})
			want := naive{m: m, n: n, k: k, a: bf16s(a), lda: k, b: bf16s(b), ldb: n, ldc: n}.compute()
			for i, w := range want {
				// Products of 1e38 overflow in float32 only: skip what float64 holds.
				if math.Abs(w) > 1e30 && !math.IsInf(w, 0) {
					continue
				}
				if g := float64(c[i]); math.IsNaN(w) && !math.IsNaN(g) {
					t.Fatalf("[%d] = %v, want NaN", i, g)
				}
			}
		}
	})
}

func TestBF16ConvMatchesFloat64(t *testing.T) {
	cases := convCases(t)
	for i := range cases {
		c := &cases[i]
		if c.conv.Channels > max(1, c.conv.Groups) {
			x := c.x
			x.Data = bf16s(x.Data)
			c.want = naiveConv(c.conv, bf16s(c.weights), x, c.y, c.ep)
		}
	}
	everyLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for _, c := range cases {
				y := c.y
				y.Data = s.values(len(c.want))
				Conv2D(pool, PackConv(c.conv, c.weights, BF16), c.x, y, c.ep)
				near(t, c.name, y.Data, c.want, 1e-4)
			}
		}
	})
}

func TestBF16BatchGemmMatchesFloat64(t *testing.T) {
	cases := batchCases(t)
	rounded := slices.Clone(cases)
	for i := range rounded {
		g := &rounded[i]
		g.A.Data, g.B.Data, g.want = bf16s(g.A.Data), bf16s(g.B.Data), slices.Clone(g.want)
		for b := range g.want {
			g.want[b] = naiveBatch(g.BatchGemm, b/g.Batch[1], b%g.Batch[1])
		}
		g.A.Data, g.B.Data = cases[i].A.Data, cases[i].B.Data
	}
	everyLevel(t, func(t *testing.T) {
		s, cases := newSource(t, 1), cases
		if CurrentLevel() >= AVX512BF16 {
			cases = rounded
		}
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for _, g := range cases {
				g.C.Data, g.Precision = s.copyOf(g.C.Data), BF16
				g.Run(pool)
				padded := append(g.C.Data, make([]float32, g.C.Stride)...)
				for b, want := range g.want {
					at := b/g.Batch[1]*g.C.Batch[0] + b%g.Batch[1]*g.C.Batch[1]
					near(t, fmt.Sprintf("%dx%dx%d", g.M, g.K, g.N), rowsOf(padded[at:], g.M, g.N, g.C.Stride), want, 1e-4)
				}
			}
		}
	})
}

// Memory for packing may hold anything; what does not come from B is zero.
func TestPanelsAreFilledUpWithZeros(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		dirty := Memory(func(n int, fill func([]float32)) []float32 {
			x := s.odd(n)
			fill(x)
			return x
		})
		const k, n = 5, 35
		for _, transposed := range []bool{false, true} {
			stride := n
			if transposed {
				stride = k
			}
			for _, p := range []Precision{FP32, BF16} {
				b := dirty.PackB(Matrix{s.values(k * n), k, n, stride, transposed}, p)
				for i, v := range b.data {
					column := i/(b.units*panelWidth)*panelWidth + i%panelWidth
					unit, bits := i/panelWidth%b.units, math.Float32bits(v)
					if column >= n && bits != 0 || p == BF16 && unit == k/2 && bits>>16 != 0 {
						t.Fatalf("%v, transposed %v: unit %d of column %d is %08x", p, transposed, unit, column, bits)
					}
				}
			}
		}
	})
}

func TestPrecisionNames(t *testing.T) {
	for _, p := range []Precision{FP32, BF16, Int8} {
		if got, err := ParsePrecision(p.String()); got != p || err != nil {
			t.Errorf("ParsePrecision(%q) = %v, %v, want %v", p.String(), got, err, p)
		}
	}
	if p, err := ParsePrecision("fp16"); err == nil {
		t.Errorf(`ParsePrecision("fp16") = %v, want an error`, p)
	}
	if got := Precision(7).String(); got != "precision(7)" {
		t.Errorf("Precision(7).String() = %q", got)
	}
}
