package kernels

import (
	"fmt"
	"slices"
	"testing"
)

// naiveBatch is one matrix of a BatchGemm in float64.
func naiveBatch(g BatchGemm, i, j int) []float64 {
	at := func(o Operand, row, col int) float64 {
		if o.Transposed {
			row, col = col, row
		}
		return float64(o.Data[i*o.Batch[0]+j*o.Batch[1]+row*o.Stride+col])
	}
	act := g.Activation.scalar64()
	var out []float64
	for row := range g.M {
		for col := range g.N {
			var x float64
			for k := range g.K {
				x += at(g.A, row, k) * at(g.B, k, col)
			}
			if g.Alpha != 0 {
				x *= float64(g.Alpha)
			}
			if g.Added.Data != nil {
				x += at(g.Added, row, col)
			}
			out = append(out, act(x))
		}
	}
	return out
}

// stored makes an operand of so many rows and columns with gaps between rows.
func (s source) stored(batch [2]int, rows, cols int, transposed bool) Operand {
	if transposed {
		rows, cols = cols, rows
	}
	stride := cols + s.IntN(3)
	o := Operand{Stride: stride, Batch: [2]int{batch[1] * rows * stride, rows * stride}, Transposed: transposed}
	o.Data = s.values(max(0, batch[0]*batch[1]*rows*stride-(stride-cols)))
	return o
}

// batchCase is a BatchGemm with the expected result of each matrix.
type batchCase struct {
	BatchGemm
	want [][]float64
}

// batchCases are the test sizes with every combination of transposition and added values.
func batchCases(t *testing.T) []batchCase {
	var cases []batchCase
	for i, size := range testSizes {
		for variant := range 8 {
			s := newSource(t, uint64(8*i+variant))
			g := batchCase{BatchGemm: BatchGemm{Batch: [2]int{1 + variant%2, 1 + variant/2%3}, M: size.m, N: size.n, K: size.k}}
			g.A = s.stored(g.Batch, g.M, g.K, variant&1 != 0)
			g.B = s.stored(g.Batch, g.K, g.N, variant&2 != 0)
			g.C = s.stored(g.Batch, g.M, g.N, false)
			if variant&4 != 0 {
				g.Alpha, g.Activation = 0.125, Activation{Function: Relu}
				g.Added = s.stored(g.Batch, g.M, g.N, false)
			}
			for b := range g.Batch[0] * g.Batch[1] {
				g.want = append(g.want, naiveBatch(g.BatchGemm, b/g.Batch[1], b%g.Batch[1]))
			}
			cases = append(cases, g)
		}
	}
	return cases
}

func TestBatchGemmMatchesFloat64(t *testing.T) {
	cases := batchCases(t)
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for _, g := range cases {
				before := slices.Clone(g.C.Data)
				g.C.Data = s.copyOf(g.C.Data)
				g.Run(pool)
				padded := append(slices.Clone(g.C.Data), make([]float32, g.C.Stride)...)
				before = append(before, make([]float32, g.C.Stride)...)
				for b, want := range g.want {
					name := fmt.Sprintf("%dx%dx%d", g.M, g.K, g.N)
					at := b/g.Batch[1]*g.C.Batch[0] + b%g.Batch[1]*g.C.Batch[1]
					near(t, name, rowsOf(padded[at:], g.M, g.N, g.C.Stride), want, 1e-4)
					same(t, "gaps of "+name, gaps(padded[at:], g.M, g.N, g.C.Stride), gaps(before[at:], g.M, g.N, g.C.Stride))
				}
			}
		}
	})
}

// Heads of attention stand side by side in a row, the mask is one row for all rows and heads.
func TestBatchGemmReadsHeadsInPlace(t *testing.T) {
	const examples, heads, tokens, width = 2, 3, 20, 16
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 5)
		row := heads * width
		side := func() Operand {
			return Operand{Data: s.values(examples * tokens * row), Stride: row, Batch: [2]int{tokens * row, width}}
		}
		q, k := side(), side()
		k.Transposed = true
		g := BatchGemm{
			Batch: [2]int{examples, heads}, M: tokens, N: tokens, K: width, A: q, B: k, Alpha: 0.25,
			C:     Operand{Data: s.values(examples * heads * tokens * tokens), Stride: tokens, Batch: [2]int{heads * tokens * tokens, tokens * tokens}},
			Added: Operand{Data: s.values(examples * tokens), Batch: [2]int{tokens, 0}},
		}
		g.Run(newTestPool(t, 2))
		for i := range examples {
			for j := range heads {
				c := g.C.Data[i*g.C.Batch[0]+j*g.C.Batch[1]:][:tokens*tokens]
				near(t, "head", c, naiveBatch(g, i, j), 1e-5)
			}
		}
	})
}
