package kernels

import (
	"fmt"
	"testing"
)

// BenchmarkGemm prints GFLOPS on one thread.
func BenchmarkGemm(b *testing.B) {
	sizes := []struct{ m, k, n int }{
		{1, 768, 3072}, {4, 768, 3072}, {8, 768, 3072}, {32, 768, 3072}, {384, 768, 768}, {384, 768, 3072}, {384, 1024, 1024}, {1024, 1024, 1024}, {64, 256, 10},
	}
	pool := newTestPool(b, 1)
	for _, level := range Levels()[1:] {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%v/%dx%dx%d", level, size.m, size.k, size.n), func(b *testing.B) {
				atLevel(b, level)
				s := newSource(b, 1)
				x, c := s.values(size.m*size.k), make([]float32, size.m*size.n)
				w := PackB(s.values(size.k*size.n), size.k, size.n, size.n, false)
				for b.Loop() {
					Gemm(pool, size.m, x, size.k, w, c, size.n, Epilogue{})
				}
				reportGFLOPS(b, 2*size.m*size.k*size.n)
			})
		}
	}
}

// BenchmarkTileInCache is the largest tile with operands that stay in the first-level cache.
func BenchmarkTileInCache(b *testing.B) {
	for _, level := range Levels()[1:] {
		b.Run(level.String(), func(b *testing.B) {
			rows := maxRows(level)
			cols := maxPanels(level, rows) * panelWidth
			k := 256
			x := make([]float32, k*cols+rows*k)
			t := tile{
				a: x, aRow: 0, aStep: 1, b: x, offsets: make([]int, k), panel: panelWidth,
				c: make([]float32, rows*cols), cRow: cols, rows: rows, cols: cols, flags: tileFinish,
			}
			for b.Loop() {
				t.run(level)
			}
			reportGFLOPS(b, 2*rows*cols*k)
		})
	}
}

func atLevel(b *testing.B, l Level) {
	before := CurrentLevel()
	if err := SetLevel(l); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := SetLevel(before); err != nil {
			b.Error(err)
		}
	})
}

func reportGFLOPS(b *testing.B, flops int) {
	b.ReportMetric(float64(flops)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
}
