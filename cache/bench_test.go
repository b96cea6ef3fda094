package cache

import (
	"context"
	"fmt"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// BenchmarkCache measures a hit beside the bare hash of the same bytes, and a miss in front of
// a predictor that does nothing.
func BenchmarkCache(b *testing.B) {
	echo := backends.PredictorFunc(func(_ context.Context, in backends.Batch) (backends.Batch, error) {
		return in, nil
	})
	for _, size := range []int{16, 3136, 602112} {
		in := backends.Batch{Tensors: []backends.Tensor{
			{Name: "x", Datatype: backends.Uint8, Shape: []int64{1, int64(size)}, Data: make([]byte, size)},
		}}
		b.Run(fmt.Sprintf("hash/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				sum(in.Tensors[0].Data)
			}
		})
		b.Run(fmt.Sprintf("hit/%d", size), func(b *testing.B) {
			c := open(b, Options{MaxBytes: 64 << 20})
			p := c.Wrap("v1", echo)
			for c.Stats().Hits == 0 {
				if _, err := p.Predict(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Predict(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
			if s := c.Stats(); s.Hits < uint64(b.N) {
				b.Fatalf("%d hits in %d calls", s.Hits, b.N)
			}
		})
	}
	b.Run("miss/16", func(b *testing.B) {
		p := open(b, Options{MaxBytes: 1 << 20}).Wrap("v1", echo)
		b.ReportAllocs()
		for n := uint64(0); b.Loop(); n++ {
			if _, err := p.Predict(b.Context(), request(n)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
