package kernels

import (
	"fmt"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends/cpu/kernels/peak"
)

// BenchmarkGemm is the product of layers, on one thread.
func BenchmarkGemm(b *testing.B) {
	sizes := []struct{ m, k, n int }{
		{1, 768, 3072}, {4, 768, 3072}, {8, 768, 3072}, {16, 768, 3072}, {32, 768, 3072}, {384, 768, 768}, {384, 768, 3072},
		{384, 1024, 1024}, {1024, 1024, 1024}, {64, 256, 10},
	}
	pool := newTestPool(b, 1)
	eachKernel(b, func(b *testing.B, p Precision) {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%dx%dx%d", size.m, size.k, size.n), func(b *testing.B) {
				s := newSource(b, 1)
				x, c := s.values(size.m*size.k), make([]float32, size.m*size.n)
				w := PackB(Matrix{Data: s.values(size.k * size.n), K: size.k, N: size.n, Stride: size.n}, p)
				measure(b, p, 2*size.m*size.k*size.n, func() { Gemm(pool, size.m, x, size.k, w, c, size.n, Epilogue{}) })
			})
		}
	})
}

// eachKernel runs the benchmark for each precision at each vector level that differs for it.
func eachKernel(b *testing.B, f func(b *testing.B, p Precision)) {
	for p, last := range map[Precision]Level{FP32: AVX512, BF16: AVX512BF16} {
		for _, level := range Levels()[1:] {
			if level > last || p == BF16 && level == AVX512VNNI {
				continue
			}
			b.Run(fmt.Sprintf("%v/%v", p, level), func(b *testing.B) {
				atLevel(b, level)
				f(b, p)
			})
		}
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

// measure runs f and reports the best rate that it reached, and its share of what the registers
// can do at best in between: both bests, as other work on the machine only ever slows down.
func measure(b *testing.B, p Precision, flops int, f func()) {
	best, ceiling := 0.0, 0.0
	for b.Loop() {
		start := time.Now()
		f()
		best = max(best, float64(flops)/float64(time.Since(start)))
		start = time.Now()
		n := spin(p, CurrentLevel(), 2000)
		ceiling = max(ceiling, float64(n)/float64(time.Since(start)))
	}
	b.ReportMetric(best, "GFLOPS")
	b.ReportMetric(100*best/ceiling, "%peak")
}

// spin multiplies in registers as the kernels of a precision do, and returns how many operations
// that were.
func spin(p Precision, l Level, n int) int {
	if p == BF16 && l >= AVX512BF16 {
		return peak.Pairs(n)
	}
	return peak.Loop(l >= AVX512, n)
}

// BenchmarkConv is the layers of image networks, on one thread.
func BenchmarkConv(b *testing.B) {
	square := func(k, stride, pad int) Window {
		return Window{Kernel: [2]int{k, k}, Stride: [2]int{stride, stride}, Pads: [4]int{pad, pad, pad, pad}}
	}
	convs := []struct {
		name string
		conv Conv
		size int
	}{
		{"7x7by2/3-64x224", Conv{3, 64, 1, square(7, 2, 3)}, 224},
		{"3x3/64-64x56", Conv{64, 64, 1, square(3, 1, 1)}, 56},
		{"3x3/128-128x28", Conv{128, 128, 1, square(3, 1, 1)}, 28},
		{"3x3/256-256x14", Conv{256, 256, 1, square(3, 1, 1)}, 14},
		{"3x3/512-512x7", Conv{512, 512, 1, square(3, 1, 1)}, 7},
		{"3x3by2/128-256x28", Conv{128, 256, 1, square(3, 2, 1)}, 28},
		{"1x1/256-64x56", Conv{256, 64, 1, square(1, 1, 0)}, 56},
		{"1x1/96-24x56", Conv{96, 24, 1, square(1, 1, 0)}, 56},
		{"1x1/16-64x112", Conv{16, 64, 1, square(1, 1, 0)}, 112},
		{"1x1/512-2048x7", Conv{512, 2048, 1, square(1, 1, 0)}, 7},
		{"1x1by2/64-128x56", Conv{64, 128, 1, square(1, 2, 0)}, 56},
		{"depthwise3x3/64x112", Conv{64, 64, 64, square(3, 1, 1)}, 112},
		{"depthwise3x3by2/64x112", Conv{64, 64, 64, square(3, 2, 1)}, 112},
		{"depthwise5x5/120x28", Conv{120, 120, 120, square(5, 1, 2)}, 28},
		{"depthwise5x5/960x7", Conv{960, 960, 960, square(5, 1, 2)}, 7},
	}
	pool := newTestPool(b, 1)
	eachKernel(b, func(b *testing.B, p Precision) {
		for _, test := range convs {
			b.Run(test.name, func(b *testing.B) {
				s, c := newSource(b, 1), test.conv
				h, w := c.OutSize(test.size, test.size)
				depth := c.Channels / c.Groups * c.Kernel[0] * c.Kernel[1]
				packed := PackConv(c, s.values(c.Filters*depth), p)
				x := Images{s.values(c.Channels * test.size * test.size), 1, c.Channels, test.size, test.size}
				y := Images{make([]float32, c.Filters*h*w), 1, c.Filters, h, w}
				ep := Epilogue{RowBias: s.values(c.Filters), Activation: Activation{Function: Relu}}
				measure(b, p, 2*depth*len(y.Data), func() { Conv2D(pool, packed, x, y, ep) })
			})
		}
	})
}

// BenchmarkElementwise prints bytes written per second for values that stay in the first-level cache.
func BenchmarkElementwise(b *testing.B) {
	for _, level := range Levels()[1:] {
		for _, f := range []Function{Relu, Exp, Tanh, Erf, Sigmoid, GeluErf, GeluTanh, HardSwish} {
			b.Run(fmt.Sprintf("%v/function%d", level, f), func(b *testing.B) {
				atLevel(b, level)
				x := newSource(b, 1).values(2048)
				y := make([]float32, len(x))
				for b.Loop() {
					Apply(y, x, Activation{Function: f})
				}
				b.SetBytes(int64(4 * len(x)))
			})
		}
		for name, f := range map[string]func(dst, src []float32){
			"softmax":   func(dst, src []float32) { Softmax(dst, src, 128) },
			"layernorm": func(dst, src []float32) { LayerNorm(dst, src, Norm{Scale: src[:256], Bias: src[:256]}) },
			"maxrows":   func(dst, src []float32) { MaxRows(dst[:8], src, 256) },
		} {
			b.Run(fmt.Sprintf("%v/%s", level, name), func(b *testing.B) {
				atLevel(b, level)
				x := newSource(b, 1).values(2048)
				y := make([]float32, len(x))
				for b.Loop() {
					f(y, x)
				}
				b.SetBytes(int64(4 * len(x)))
			})
		}
	}
}

// BenchmarkBatchGemm is the attention of 12 heads of 64, 128 tokens.
func BenchmarkBatchGemm(b *testing.B) {
	pool := newTestPool(b, 1)
	eachKernel(b, func(b *testing.B, p Precision) {
		for _, tokens := range []int{16, 128} {
			s := newSource(b, 1)
			row := 12 * 64
			side := func() Operand {
				return Operand{Data: s.values(tokens * row), Stride: row, Batch: [2]int{0, 64}}
			}
			scores := Operand{Data: s.values(12 * tokens * tokens), Stride: tokens, Batch: [2]int{0, tokens * tokens}}
			keys := side()
			keys.Transposed = true
			for name, g := range map[string]BatchGemm{
				"scores": {Batch: [2]int{1, 12}, M: tokens, N: tokens, K: 64, A: side(), B: keys, C: scores, Alpha: 0.125},
				"values": {Batch: [2]int{1, 12}, M: tokens, N: 64, K: tokens, A: scores, B: side(), C: side()},
			} {
				b.Run(fmt.Sprintf("%s%d", name, tokens), func(b *testing.B) {
					g.Precision = p
					measure(b, p, 2*12*tokens*tokens*64, func() { g.Run(pool) })
				})
			}
		}
	})
}

// BenchmarkStream is products of few rows with a matrix of 64 MiB, which no cache holds, as share of
// the rate at which that memory can be read.
func BenchmarkStream(b *testing.B) {
	pool := newTestPool(b, 1)
	eachKernel(b, func(b *testing.B, p Precision) {
		k, n := 2048, 64<<20/4/2048*p.lanes()
		s := newSource(b, 1)
		packed := PackB(Matrix{Data: s.values(k * n), K: k, N: n, Stride: n}, p)
		for _, m := range []int{1, 4, 8, 16} {
			b.Run(fmt.Sprint(m), func(b *testing.B) {
				x, c := s.values(m*k), make([]float32, m*n)
				best, ceiling := 0.0, 0.0
				for b.Loop() {
					start := time.Now()
					Gemm(pool, m, x, k, packed, c, n, Epilogue{})
					best = max(best, 64<<20/float64(time.Since(start)))
					start = time.Now()
					MaxRows(x[:1], packed.data, len(packed.data))
					ceiling = max(ceiling, 64<<20/float64(time.Since(start)))
				}
				b.ReportMetric(best, "GB/s")
				b.ReportMetric(100*best/ceiling, "%read")
			})
		}
	})
}
