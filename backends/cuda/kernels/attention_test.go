package kernels_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// attended is a case of attention.
type attended struct {
	name          string
	batch, heads  int64
	queries, keys int64
	mask          string
	causal        bool
}

func TestAttention(t *testing.T) {
	for _, typ := range floats {
		for _, size := range []int64{32, 64, 128} {
			for _, s := range []attended{
				{"one key", 1, 1, 1, 1, "", false},
				{"a tile", 1, 2, 64, 64, "", false},
				{"odd", 2, 3, 37, 71, "of keys", false},
				{"long", 1, 1, 130, 257, "of all", false},
				{"causal", 1, 2, 70, 70, "", true},
				{"causal behind others", 1, 1, 9, 100, "of keys", true},
				{"more queries than keys", 1, 1, 70, 3, "", true},
			} {
				t.Run(fmt.Sprint(s.name, " ", typ, " ", size), func(t *testing.T) { newBench(t).attention(typ, size, s) })
			}
		}
	}
}

// attention holds one case, with heads of that size, against the exact result.
func (b *bench) attention(typ kernels.Type, size int64, s attended) {
	b.Helper()
	a := kernels.Attention{Type: typ, Batch: s.batch, Heads: s.heads, Queries: s.queries, Keys: s.keys, Size: size, Causal: s.causal,
		Scale: float32(1 / math.Sqrt(float64(size)))}
	gap := int64(b.rand.IntN(3)) * 4
	// Queries, keys and values of a row lie beside each other, as one layer makes them.
	row := s.heads*size + gap
	q, k, v := b.normal(typ, s.batch*s.queries*row, 1), b.normal(typ, s.batch*s.keys*row, 1), b.normal(typ, s.batch*s.keys*row, 1)
	o := b.empty(typ, s.batch*s.queries*s.heads*size)
	a.Q = kernels.Heads{Address: q.at(), Batch: s.queries * row, Head: size, Row: row}
	a.K = kernels.Heads{Address: k.at(), Batch: s.keys * row, Head: size, Row: row}
	a.V = kernels.Heads{Address: v.at(), Batch: s.keys * row, Head: size, Row: row}
	a.Out = kernels.Heads{Address: o.at(), Batch: s.queries * s.heads * size, Head: size, Row: s.heads * size}
	var mask *array
	masked := func(int) float64 {
		if b.rand.IntN(3) == 0 {
			return math.Inf(-1)
		}
		return b.rand.NormFloat64()
	}
	switch s.mask {
	case "of keys":
		mask = b.empty(typ, s.batch*s.keys).fill(masked)
		a.Mask, a.MaskKey = kernels.Heads{Address: mask.at(), Batch: s.keys}, 1
	case "of all":
		mask = b.empty(typ, s.heads*s.queries*s.keys).fill(masked)
		a.Mask, a.MaskKey = kernels.Heads{Address: mask.at(), Head: s.queries * s.keys, Row: s.keys}, 1
	}
	b.run(a)
	b.checkAttention(a, q, k, v, o, mask)
}

func (b *bench) checkAttention(a kernels.Attention, q, k, v, o, mask *array) {
	b.Helper()
	at := func(x *array, h kernels.Heads, batch, head, row, e int64) float64 {
		return x.get(int(batch*h.Batch + head*h.Head + row*h.Row + e))
	}
	for batch := range a.Batch {
		for head := range a.Heads {
			for query := range a.Queries {
				scores, most := make([]float64, a.Keys), math.Inf(-1)
				for key := range a.Keys {
					for e := range a.Size {
						scores[key] += at(q, a.Q, batch, head, query, e) * at(k, a.K, batch, head, key, e)
					}
					scores[key] *= float64(a.Scale)
					if mask != nil {
						scores[key] += at(mask, a.Mask, batch, head, query, key*a.MaskKey)
					}
					if a.Causal && key > query+a.Keys-a.Queries {
						scores[key] = math.Inf(-1)
					}
					most = max(most, scores[key])
				}
				sum := 0.0
				for key := range scores {
					scores[key] = math.Exp(scores[key] - most)
					sum += scores[key]
				}
				for e := range a.Size {
					want := 0.0
					for key := range a.Keys {
						want += scores[key] / sum * at(v, a.V, batch, head, key, e)
					}
					if math.IsInf(most, -1) {
						want = 0
					}
					if got := at(o, a.Out, batch, head, query, e); !(math.Abs(got-want) <= 2*precision(a.Type)) {
						b.Fatalf("%+v: example %d head %d query %d element %d is %v, want %v", a, batch, head, query, e, got, want)
					}
				}
			}
		}
	}
}
