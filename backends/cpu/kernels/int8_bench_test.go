package kernels

import (
	"fmt"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends/cpu/kernels/peak"
)

// BenchmarkBytes is products of bytes on one thread, as share of what the registers can multiply:
// with sums as result, and from and to float32 at precision Int8.
func BenchmarkBytes(b *testing.B) {
	pool := newTestPool(b, 1)
	for _, size := range []struct{ m, k, n int }{
		{1, 768, 3072}, {8, 768, 3072}, {32, 768, 3072}, {384, 768, 768}, {384, 768, 3072}, {384, 1024, 1024},
	} {
		name := fmt.Sprintf("%dx%dx%d", size.m, size.k, size.n)
		s := newSource(b, 1)
		operations := 2 * size.m * size.k * size.n
		b.Run("sums/"+name, func(b *testing.B) {
			g := ByteGemm{M: size.m, A: Bytes{s.bytes(size.m * size.k), size.k, false, []int32{128}}}
			g.B = PackBytes(Bytes{s.bytes(size.k * size.n), size.n, true, nil}, size.k, size.n, false)
			c := make([]int32, size.m*size.n)
			measureBytes(b, operations, func() { g.Int32(pool, c, size.n) })
		})
		b.Run("int8/"+name, func(b *testing.B) {
			x, c := s.values(size.m*size.k), make([]float32, size.m*size.n)
			w := PackB(Matrix{Data: s.values(size.k * size.n), K: size.k, N: size.n, Stride: size.n}, Int8)
			measureBytes(b, operations, func() { Gemm(pool, size.m, x, size.k, w, c, size.n, Epilogue{}) })
		})
	}
}

// measureBytes reports the best rate of f and its share of the best of a loop in registers.
func measureBytes(b *testing.B, operations int, f func()) {
	best, ceiling := 0.0, 0.0
	for b.Loop() {
		start := time.Now()
		f()
		best = max(best, float64(operations)/float64(time.Since(start)))
		start = time.Now()
		n := peak.Bytes(2000)
		ceiling = max(ceiling, float64(n)/float64(time.Since(start)))
	}
	b.ReportMetric(best, "GOPS")
	if ceiling > 0 {
		b.ReportMetric(100*best/ceiling, "%peak")
	}
}
