package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// attentionCase is an Attention of sizes that make one block or several of a head.
func attentionCase(s source, batch [2]int, sizes [4]int, variant int) Attention {
	a := Attention{Batch: batch, Queries: sizes[0], Keys: sizes[1], Width: sizes[2], ValueWidth: sizes[3], Alpha: 0.3}
	a.Q = s.stored(batch, a.Queries, a.Width, variant&1 != 0)
	a.K = s.stored(batch, a.Width, a.Keys, variant&2 != 0)
	a.V = s.stored(batch, a.Keys, a.ValueWidth, variant&4 != 0)
	a.Y = s.stored(batch, a.Queries, a.ValueWidth, false)
	if variant&1 == 0 {
		a.Added = s.stored(batch, a.Queries, a.Keys, false)
	}
	return a
}

var attentionSizes = [][4]int{{1, 1, 1, 1}, {1, 7, 4, 3}, {5, 9, 8, 17}, {18, 18, 32, 32}, {33, 600, 5, 16}, {130, 260, 20, 24}, {3, 5, 0, 2}, {0, 4, 4, 4}, {4, 4, 4, 0}}

// byParts computes the same as a in three passes over all heads.
func (a Attention) byParts(p *Pool) {
	heads := a.Batch[0] * a.Batch[1]
	scores := make([]float32, heads*a.Queries*a.Keys)
	w := Operand{Data: scores, Stride: a.Keys, Batch: [2]int{a.Batch[1] * a.Queries * a.Keys, a.Queries * a.Keys}}
	BatchGemm{Batch: a.Batch, M: a.Queries, N: a.Keys, K: a.Width, A: a.Q, B: a.K, C: w, Added: a.Added, Alpha: a.Alpha, Precision: a.Precision}.Run(p)
	Softmax(scores, scores, a.Keys)
	if a.ZeroHidden {
		for i, v := range scores {
			if math.IsNaN(float64(v)) {
				scores[i] = 0
			}
		}
	}
	BatchGemm{Batch: a.Batch, M: a.Queries, N: a.ValueWidth, K: a.Keys, A: w, B: a.V, C: a.Y, Precision: a.Precision}.Run(p)
}

func TestAttentionIsItsParts(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		for i, sizes := range attentionSizes {
			for variant := range 8 {
				for _, threads := range []int{1, 3} {
					for _, precision := range []Precision{FP32, BF16} {
						p := newTestPool(t, threads)
						s := newSource(t, uint64(8*i+variant))
						a := attentionCase(s, [2]int{1 + variant%2, 1 + variant%3}, sizes, variant)
						a.Precision = precision
						want := a
						want.Y.Data = slices.Clone(a.Y.Data)
						want.byParts(p)
						a.Run(p)
						if !slices.Equal(a.Y.Data, want.Y.Data) {
							t.Errorf("%v, variant %d, %d threads, %v: Attention differs from its parts", sizes, variant, threads, precision)
						}
					}
				}
			}
		}
	})
}

func TestAttentionOfHiddenQueries(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		p := newTestPool(t, 2)
		for _, zero := range []bool{true, false} {
			s := newSource(t, 1)
			a := attentionCase(s, [2]int{2, 3}, [4]int{6, 5, 4, 8}, 0)
			a.ZeroHidden = zero
			for col := range a.Keys { // the second query of the first head sees nothing
				a.Added.Data[a.Added.Stride+col] = float32(math.Inf(-1))
			}
			want := a
			want.Y.Data = slices.Clone(a.Y.Data)
			want.byParts(p)
			a.Run(p)
			for i, v := range a.Y.Data {
				if math.Float32bits(v) != math.Float32bits(want.Y.Data[i]) && !(v != v && want.Y.Data[i] != want.Y.Data[i]) {
					t.Fatalf("zero %v: element %d is %v, want %v", zero, i, v, want.Y.Data[i])
				}
			}
			if first := a.Y.Data[a.Y.Stride]; zero != (first == 0) {
				t.Errorf("zero %v: what the hidden query gets begins with %v", zero, first)
			}
		}
	})
}

func TestAttentionRefusesWhatDoesNotFit(t *testing.T) {
	for name, spoil := range map[string]func(a *Attention){
		"queries": func(a *Attention) { a.Q.Data = a.Q.Data[:len(a.Q.Data)-1] },
		"keys":    func(a *Attention) { a.K.Stride++ },
		"values":  func(a *Attention) { a.V.Data = nil },
		"results": func(a *Attention) { a.Y.Data = a.Y.Data[:len(a.Y.Data)-1] },
		"mask":    func(a *Attention) { a.Added.Data = a.Added.Data[:1] },
	} {
		a := attentionCase(newSource(t, 1), [2]int{2, 2}, [4]int{3, 4, 5, 6}, 0)
		spoil(&a)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s that do not fit: no panic", name)
				}
			}()
			a.Run(newTestPool(t, 1))
		}()
	}
}

// BenchmarkAttention compares heads one by one with three passes over all heads.
func BenchmarkAttention(b *testing.B) {
	p := newTestPool(b, 2)
	for _, c := range []struct{ batch, heads, positions, width int }{{1, 12, 18, 32}, {1, 12, 128, 64}, {8, 12, 128, 64}, {1, 12, 512, 64}} {
		s := newSource(b, 1)
		a := attentionCase(s, [2]int{c.batch, c.heads}, [4]int{c.positions, c.positions, c.width, c.width}, 2)
		for name, run := range map[string]func(){"heads": func() { a.Run(p) }, "parts": func() { a.byParts(p) }} {
			b.Run(fmt.Sprintf("%dx%dx%dx%d/%s", c.batch, c.heads, c.positions, c.width, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					run()
				}
			})
		}
	}
}
