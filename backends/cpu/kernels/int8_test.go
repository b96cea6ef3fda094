package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// bytes returns n bytes in guarded memory.
func (s source) bytes(n int) []byte {
	x := bytesOf(guarded(s.t, (n+3)/4))
	x = x[len(x)-n:]
	for i := range x {
		x[i] = byte(s.Uint32())
	}
	return x
}

// int32s returns n integers in guarded memory.
func (s source) int32s(n int) []int32 { return intsOf(guarded(s.t, n)) }

// zeros returns n zero points of bytes.
func (s source) zeros(n int, signed bool) []int32 {
	z := make([]int32, n)
	for i := range z {
		z[i] = number(byte(s.Uint32()), signed)
	}
	return z
}

func number(b byte, signed bool) int32 {
	if signed {
		return int32(int8(b))
	}
	return int32(b)
}

// zeroOf is the i-th zero point.
func zeroOf(zeros []int32, i int) int32 {
	if len(zeros) == 0 {
		return 0
	}
	return zeros[min(i, len(zeros)-1)]
}

// plainBytes is a product of bytes by definition. B is K x N, without gaps.
type plainBytes struct {
	m, n, k int
	a, b    Bytes
	bias    []int32
}

func (g plainBytes) compute() []int32 {
	c := make([]int32, g.m*g.n)
	for i := range g.m {
		for j := range g.n {
			sum := int32(0)
			for k := range g.k {
				a := number(g.a.Data[i*g.a.Stride+k], g.a.Signed) - zeroOf(g.a.Zero, i)
				sum += a * (number(g.b.Data[k*g.n+j], g.b.Signed) - zeroOf(g.b.Zero, j))
			}
			if g.bias != nil {
				sum += g.bias[j]
			}
			c[i*g.n+j] = sum
		}
	}
	return c
}

// plainCases are products of the test sizes, of all kinds of bytes and of zero points.
func plainCases(t *testing.T) []plainBytes {
	var cases []plainBytes
	for i, size := range testSizes {
		s := newSource(t, uint64(i))
		for kind := range 4 {
			g := plainBytes{m: size.m, n: size.n, k: size.k}
			g.a = Bytes{s.bytes(size.m * (size.k + i%3)), size.k + i%3, kind&1 != 0, nil}
			g.b = Bytes{s.bytes(size.k * size.n), size.n, kind&2 != 0, nil}
			switch (i + kind) % 4 {
			case 1:
				g.a.Zero, g.b.Zero = s.zeros(1, g.a.Signed), s.zeros(1, g.b.Signed)
			case 2:
				g.a.Zero = s.zeros(size.m, g.a.Signed)
			case 3:
				g.a.Zero, g.b.Zero = s.zeros(1, g.a.Signed), s.zeros(size.n, g.b.Signed)
			}
			if kind == 3 {
				g.bias = s.zeros(size.n, true)
			}
			cases = append(cases, g)
		}
	}
	return cases
}

// eachByteLevel runs the test at every level that this machine has.
func eachByteLevel(t *testing.T, f func(t *testing.T)) {
	for _, l := range Levels() {
		t.Run(l.String(), func(t *testing.T) {
			before := CurrentLevel()
			if err := SetLevel(l); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := SetLevel(before); err != nil {
					t.Error(err)
				}
			}()
			f(t)
		})
	}
}

func TestByteGemmIsExact(t *testing.T) {
	cases := plainCases(t)
	want := make([][]int32, len(cases))
	for i, g := range cases {
		want[i] = g.compute()
	}
	eachByteLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for i, g := range cases {
				turned := Bytes{make([]byte, len(g.b.Data)), g.k, g.b.Signed, g.b.Zero}
				for at, v := range g.b.Data {
					turned.Data[at%g.n*g.k+at/g.n] = v
				}
				for _, b := range []*PackedBytes{PackBytes(g.b, g.k, g.n, false), PackBytes(turned, g.k, g.n, true)} {
					ldc := g.n + i%3
					c := s.int32s(g.m * ldc)
					ByteGemm{M: g.m, A: g.a, B: b, Bias: g.bias}.Int32(pool, c, ldc)
					for r := range g.m {
						if got, want := c[r*ldc:][:g.n], want[i][r*g.n:][:g.n]; !slices.Equal(got, want) {
							t.Fatalf("case %d, %d x %d x %d: row %d = %v, want %v", i, g.m, g.k, g.n, r, got, want)
						}
					}
				}
			}
		}
	})
}

// Sums that leave 32 bits wrap at all levels alike.
func TestByteGemmOfTheLargestValues(t *testing.T) {
	const m, k, n = 3, 4099, 33
	for _, signed := range []bool{false, true} {
		g := plainBytes{m: m, n: n, k: k, a: Bytes{slices.Repeat([]byte{0x80}, m*k), k, signed, nil}, b: Bytes{slices.Repeat([]byte{0xff}, k*n), n, !signed, nil}}
		want := g.compute()
		eachByteLevel(t, func(t *testing.T) {
			c := make([]int32, m*n)
			ByteGemm{M: m, A: g.a, B: PackBytes(g.b, k, n, false)}.Int32(newTestPool(t, 1), c, n)
			if !slices.Equal(c, want) {
				t.Errorf("signed %v: %v, want %v", signed, c, want)
			}
		})
	}
}

func TestByteGemmRoundsAndScales(t *testing.T) {
	const m, k, n = 17, 70, 45
	s := newSource(t, 1)
	g := plainBytes{m: m, n: n, k: k, a: Bytes{s.bytes(m * k), k, false, []int32{120}}, b: Bytes{s.bytes(k * n), n, true, nil}}
	sums := g.compute()
	scales := make([]float32, n)
	for i := range scales {
		scales[i] = s.Float32() / 1000
	}
	rowScale, bias, residual := s.values(m), s.values(n), s.values(m*n)
	eachByteLevel(t, func(t *testing.T) {
		pool := newTestPool(t, 2)
		product := ByteGemm{M: m, A: g.a, B: PackBytes(g.b, k, n, false)}
		for _, r := range []Rounding{
			{Scale: scales, Zero: 3, Signed: true}, {Scale: scales[:1], Zero: 130}, {Scale: scales}, {Scale: scales[:1], Zero: -128, Signed: true},
			{Scale: scales, Zero: 3, Signed: true, Relu: true}, {Scale: scales[:1], Zero: 130, Relu: true},
		} {
			c := s.bytes(m * n)
			product.Bytes(pool, c, n, r)
			low, high := r.bounds()
			if r.Relu {
				low = r.Zero
			}
			for i, sum := range sums {
				want := math.RoundToEven(float64(float32(sum)*r.Scale[min(i%n, len(r.Scale)-1)])) + float64(r.Zero)
				want = max(float64(low), min(float64(high), want))
				if got := number(c[i], r.Signed); got != int32(want) {
					t.Fatalf("%+v: [%d] = %d, want %v", r, i, got, want)
				}
			}
		}
		c := s.copyOf(residual)
		product.Floats(pool, c, n, Scaling{rowScale, scales, Epilogue{Bias: bias, Residual: c, Activation: Activation{Function: Relu}}})
		for i, sum := range sums {
			product := float32(sum) * (rowScale[i/n] * scales[i%n])
			biased := product + bias[i%n]
			if want := max(0, biased+residual[i]); c[i] != want {
				t.Fatalf("[%d] = %v, want %v", i, c[i], want)
			}
		}
	})
}

func TestQuantizeMatchesTheDefinition(t *testing.T) {
	eachByteLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, n := range lengths {
			x := s.odd(n)
			for i := range x {
				if s.IntN(4) == 0 {
					x[i] = float32(s.IntN(600)-300) / 2 // ties
				}
			}
			for _, b := range []ByteType{{false, 0}, {false, 127}, {true, 0}, {true, -128}, {true, 5}} {
				for _, scale := range []float32{1, 0.25, 0.3, 1e-30} {
					got := s.bytes(n)
					b.Quantize(got, x, scale)
					low, high := Rounding{Signed: b.Signed}.bounds()
					for i, v := range x {
						want := math.RoundToEven(float64(v/scale)) + float64(b.Zero)
						want = max(float64(low), min(float64(high), want))
						if v != v {
							want = float64(low)
						}
						if g := number(got[i], b.Signed); float64(g) != want {
							t.Fatalf("%+v scale %v: Quantize(%v) = %d, want %v", b, scale, v, g, want)
						}
					}
					back := s.values(n)
					b.Dequantize(back, got, scale)
					for i, v := range got {
						if want := float32(number(v, b.Signed)-b.Zero) * scale; back[i] != want {
							t.Fatalf("%+v scale %v: Dequantize(%d) = %v, want %v", b, scale, v, back[i], want)
						}
					}
				}
			}
		}
	})
}

// byteConvs are convolutions that are computed in each of the ways there are.
var byteConvs = []struct {
	name string
	conv Conv
	h, w int
}{
	{"pointwise", Conv{Channels: 9, Filters: 5, Window: Window{Kernel: [2]int{1, 1}}}, 5, 9},
	{"pointwise, many filters", Conv{Channels: 16, Filters: 40, Window: Window{Kernel: [2]int{1, 1}}}, 6, 6},
	{"pointwise, strided", Conv{Channels: 3, Filters: 4, Window: Window{Kernel: [2]int{1, 1}, Stride: [2]int{2, 2}}}, 7, 9},
	{"direct", Conv{Channels: 6, Filters: 17, Window: Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 6, 30},
	{"direct, paired", Conv{Channels: 4, Filters: 3, Window: Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 15, 14},
	{"gathered", Conv{Channels: 5, Filters: 8, Window: Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 0, 2, 1}, Stride: [2]int{2, 1}}}, 7, 7},
	{"first layer", Conv{Channels: 3, Filters: 16, Window: Window{Kernel: [2]int{7, 7}, Pads: [4]int{3, 3, 3, 3}, Stride: [2]int{2, 2}}}, 25, 23},
	{"groups", Conv{Channels: 12, Filters: 6, Groups: 3, Window: Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}, Dilation: [2]int{1, 2}}}, 9, 9},
	{"depthwise", Conv{Channels: 6, Filters: 6, Groups: 6, Window: Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 9, 20},
	{"depthwise, twice the filters", Conv{Channels: 3, Filters: 6, Groups: 3, Window: Window{Kernel: [2]int{5, 3}, Pads: [4]int{2, 1, 2, 1}, Stride: [2]int{2, 2}}}, 9, 9},
	{"depthwise, too many taps for float32", Conv{Channels: 2, Filters: 2, Groups: 2, Window: Window{Kernel: [2]int{17, 17}, Pads: [4]int{8, 8, 8, 8}}}, 9, 9},
	{"one row", Conv{Channels: 7, Filters: 9, Window: Window{Kernel: [2]int{1, 5}, Pads: [4]int{0, 2, 0, 2}}}, 1, 50},
}

// plainConv is a convolution of bytes by definition.
func plainConv(c Conv, x ByteImages, w Bytes, bias []int32, h, width int) []int32 {
	groups := max(c.Groups, 1)
	win := c.normal()
	perGroup := c.Channels / groups
	var y []int32
	for image := range x.N {
		for f := range c.Filters {
			for i := range h * width {
				sum := bias[f]
				for ch := range perGroup {
					for tap := range c.Kernel[0] * c.Kernel[1] {
						r := i/width*win.Stride[0] + tap/c.Kernel[1]*win.Dilation[0] - c.Pads[0]
						col := i%width*win.Stride[1] + tap%c.Kernel[1]*win.Dilation[1] - c.Pads[1]
						if r < 0 || r >= x.H || col < 0 || col >= x.W {
							continue
						}
						channel := f/(c.Filters/groups)*perGroup + ch
						v := number(x.Data[((image*x.C+channel)*x.H+r)*x.W+col], x.Signed) - zeroOf(x.Zero, image)
						weight := number(w.Data[(f*perGroup+ch)*c.Kernel[0]*c.Kernel[1]+tap], w.Signed) - zeroOf(w.Zero, f)
						sum += v * weight
					}
				}
				y = append(y, sum)
			}
		}
	}
	return y
}

func TestByteConvIsExact(t *testing.T) {
	eachByteLevel(t, func(t *testing.T) {
		s := newSource(t, 2)
		for _, test := range byteConvs {
			c := test.conv
			h, w := c.OutSize(test.h, test.w)
			for kind := range 4 {
				x := ByteImages{s.bytes(2 * c.Channels * test.h * test.w), 2, c.Channels, test.h, test.w, kind&1 != 0, nil}
				weights := Bytes{Data: s.bytes(c.Filters * c.Channels / max(c.Groups, 1) * c.Kernel[0] * c.Kernel[1]), Signed: kind&2 != 0}
				switch kind {
				case 1:
					x.Zero, weights.Zero = s.zeros(1, x.Signed), s.zeros(1, weights.Signed)
				case 2:
					x.Zero, weights.Zero = s.zeros(2, x.Signed), s.zeros(c.Filters, weights.Signed)
				case 3:
					x.Zero = s.zeros(1, x.Signed)
				}
				bias := s.zeros(c.Filters, true)
				want := plainConv(c, x, weights, bias, h, w)
				for _, threads := range []int{1, 3} {
					y := s.int32s(len(want))
					ByteConv{X: x, W: PackByteConv(c, weights), Size: [2]int{h, w}, Bias: bias}.Int32(newTestPool(t, threads), y)
					if !slices.Equal(y, want) {
						t.Fatalf("%s, kind %d, %d threads: %v, want %v", test.name, kind, threads, y, want)
					}
				}
			}
		}
	})
}

func TestByteConvRoundsAndScales(t *testing.T) {
	eachByteLevel(t, func(t *testing.T) {
		s := newSource(t, 3)
		for _, test := range byteConvs {
			c := test.conv
			h, w := c.OutSize(test.h, test.w)
			area := h * w
			x := ByteImages{s.bytes(2 * c.Channels * test.h * test.w), 2, c.Channels, test.h, test.w, false, []int32{100, 7}}
			weights := Bytes{Data: s.bytes(c.Filters * c.Channels / max(c.Groups, 1) * c.Kernel[0] * c.Kernel[1]), Signed: true}
			sums := plainConv(c, x, weights, make([]int32, c.Filters), h, w)
			scales, rowBias, residual := s.values(c.Filters), s.values(c.Filters), s.values(len(sums))
			conv := ByteConv{X: x, W: PackByteConv(c, weights), Size: [2]int{h, w}}
			y := s.copyOf(residual)
			conv.Floats(newTestPool(t, 2), y, Scaling{[]float32{0.5, 0.25}, scales, Epilogue{RowBias: rowBias, Residual: y, Activation: Activation{Function: Relu}}})
			rounded := s.bytes(len(sums))
			conv.Bytes(newTestPool(t, 2), rounded, Rounding{Scale: scales, Zero: 9, Signed: true})
			for i, sum := range sums {
				f := i / area % c.Filters
				product := float32(sum) * ([]float32{0.5, 0.25}[i/area/c.Filters] * scales[f])
				biased := product + rowBias[f]
				if want := max(0, biased+residual[i]); y[i] != want {
					t.Fatalf("%s: [%d] = %v, want %v", test.name, i, y[i], want)
				}
				want := max(-128, min(127, math.RoundToEven(float64(float32(sum)*scales[f]))+9))
				if got := int8(rounded[i]); float64(got) != want {
					t.Fatalf("%s: byte [%d] = %v, want %v", test.name, i, got, want)
				}
			}
		}
	})
}

// A product of precision Int8 is near the one of float32, equal at all levels, and its rows do not
// depend on their company.
func TestGemmInt8(t *testing.T) {
	const m, k, n = 31, 771, 150
	s := newSource(t, 1)
	a, b, bias := s.values(m*k), s.values(k*n), s.values(n)
	residual := s.values(m * n)
	ep := Epilogue{Bias: bias, Residual: residual, Activation: Activation{Function: Relu}}
	exact := naive{m: m, n: n, k: k, a: a, b: b, lda: k, ldb: n, ldc: n, ep: ep}.compute()
	var first []float32
	eachByteLevel(t, func(t *testing.T) {
		packed := PackB(Matrix{b, k, n, n, false}, Int8)
		turned := PackB(Matrix{transpose(b, k, n), k, n, k, true}, Int8)
		alone := s.values(m * n)
		for i := range m {
			one := ep
			one.Residual = residual[i*n:]
			Gemm(newTestPool(t, 1), 1, a[i*k:], k, packed, alone[i*n:], n, one)
		}
		near(t, "product", alone, exact, 0.25)
		if first == nil {
			first = alone
		}
		same(t, "levels", alone, first)
		for _, threads := range []int{1, 4} {
			for rows := 2; rows <= m; rows++ {
				part := ep
				part.Residual = residual[(m-rows)*n:]
				c := s.values(rows * n)
				Gemm(newTestPool(t, threads), rows, a[(m-rows)*k:], k, turned, c, n, part)
				same(t, "rows", c, alone[(m-rows)*n:])
			}
		}
	})
}

func TestGemmInt8OfValuesThatAreNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	const k, n = 20, 17
	s := newSource(t, 1)
	b := s.values(k * n)
	b[3] = inf
	eachByteLevel(t, func(t *testing.T) {
		packed := PackB(Matrix{b, k, n, n, false}, Int8)
		for _, odd := range []float32{nan, inf, -inf, 0, 1e-45, 3e38} {
			a := s.values(2 * k)
			a[5] = odd
			c := s.values(2 * n)
			Gemm(newTestPool(t, 1), 2, a, k, packed, c, n, Epilogue{})
			for i, v := range c {
				want := i%n == 3 || i < n && odd-odd != 0
				if got := v != v; got != want {
					t.Errorf("a[5] = %v: c[%d] = %v, NaN %v", odd, i, v, want)
				}
			}
		}
		zero := make([]float32, k)
		c := s.values(n)
		Gemm(newTestPool(t, 1), 1, zero, k, packed, c, n, Epilogue{})
		for i, v := range c {
			if i != 3 && v != 0 {
				t.Errorf("zeros: c[%d] = %v, want 0", i, v)
			}
		}
	})
}

func TestConv2DInt8(t *testing.T) {
	for _, test := range byteConvs {
		c := test.conv
		h, w := c.OutSize(test.h, test.w)
		s := newSource(t, 5)
		depth := c.Channels / max(c.Groups, 1) * c.Kernel[0] * c.Kernel[1]
		weights, x := s.values(c.Filters*depth), s.values(2*c.Channels*test.h*test.w)
		for i := range len(x) / 2 {
			x[i] *= 100 // the images have scales of their own
		}
		rowBias := s.values(c.Filters)
		ep := Epilogue{RowBias: rowBias, Activation: Activation{Function: Relu}}
		size := c.Filters * h * w
		var first []float32
		eachByteLevel(t, func(t *testing.T) {
			run := func(p Precision, x []float32, n, threads int) []float32 {
				y := s.values(n * size)
				Conv2D(newTestPool(t, threads), PackConv(c, weights, p), Images{x, n, c.Channels, test.h, test.w}, Images{y, n, c.Filters, h, w}, ep)
				return y
			}
			got := run(Int8, x, 2, 3)
			for i, v := range run(FP32, x, 2, 1) {
				tol := 0.02 * math.Sqrt(float64(depth))
				if i < size {
					tol *= 100
				}
				if math.Abs(float64(got[i]-v)) > tol {
					t.Fatalf("%s: [%d] = %v, want %v", test.name, i, got[i], v)
				}
			}
			same(t, test.name+": second image alone", run(Int8, x[len(x)/2:], 1, 1), got[size:])
			if depth == c.Kernel[0]*c.Kernel[1] {
				return // float32
			}
			if first == nil {
				first = got
			}
			same(t, test.name+": levels", got, first)
		})
	}
}

func FuzzByteGemm(f *testing.F) {
	f.Add(uint8(3), uint8(17), uint8(9), uint8(0), []byte("some bytes"))
	f.Add(uint8(15), uint8(40), uint8(33), uint8(7), []byte{0x80, 0xff, 0, 1})
	f.Fuzz(func(t *testing.T, m, n, k, kind uint8, data []byte) {
		g := plainBytes{m: int(m), n: int(n), k: int(k)}
		g.a = Bytes{make([]byte, g.m*g.k), g.k, kind&1 != 0, nil}
		g.b = Bytes{make([]byte, g.k*g.n), g.n, kind&2 != 0, nil}
		for i := range g.a.Data {
			g.a.Data[i] = at(data, i)
		}
		for i := range g.b.Data {
			g.b.Data[i] = at(data, 7*i+3)
		}
		if kind&4 != 0 {
			g.a.Zero, g.b.Zero = []int32{number(at(data, 1), kind&1 != 0)}, []int32{number(at(data, 2), kind&2 != 0)}
		}
		want := g.compute()
		for _, l := range Levels() {
			before := CurrentLevel()
			if err := SetLevel(l); err != nil {
				t.Fatal(err)
			}
			c := make([]int32, g.m*g.n)
			ByteGemm{M: g.m, A: g.a, B: PackBytes(g.b, g.k, g.n, false)}.Int32(newTestPool(t, 2), c, g.n)
			if !slices.Equal(c, want) {
				t.Errorf("%v: %d x %d x %d kind %d: %v, want %v", l, m, k, n, kind, c, want)
			}
			if err := SetLevel(before); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// at returns the i-th byte of data that repeats.
func at(data []byte, i int) byte {
	if len(data) == 0 {
		return 0
	}
	return data[i%len(data)] + byte(i/len(data))
}

func TestByteKernelsRefuseWhatDoesNotFit(t *testing.T) {
	b := PackBytes(Bytes{Data: make([]byte, 12), Stride: 4}, 3, 4, false)
	pool := newTestPool(t, 1)
	a := Bytes{Data: make([]byte, 6), Stride: 3}
	conv := PackByteConv(Conv{Channels: 2, Filters: 3, Window: Window{Kernel: [2]int{1, 1}}}, Bytes{Data: make([]byte, 6)})
	x := ByteImages{Data: make([]byte, 8), N: 1, C: 2, H: 2, W: 2}
	for what, f := range map[string]func(){
		"a short A":         func() { ByteGemm{M: 3, A: a, B: b}.Int32(pool, make([]int32, 12), 4) },
		"a short C":         func() { ByteGemm{M: 2, A: a, B: b}.Int32(pool, make([]int32, 7), 4) },
		"rows that overlap": func() { ByteGemm{M: 2, A: a, B: b}.Int32(pool, make([]int32, 8), 3) },
		"a short bias":      func() { ByteGemm{M: 2, A: a, B: b, Bias: make([]int32, 3)}.Int32(pool, make([]int32, 8), 4) },
		"too few scales": func() {
			ByteGemm{M: 2, A: a, B: b}.Bytes(pool, make([]byte, 8), 4, Rounding{Scale: make([]float32, 3)})
		},
		"too few zero points": func() { PackBytes(Bytes{make([]byte, 12), 4, true, make([]int32, 3)}, 3, 4, false) },
		"a short image": func() {
			ByteConv{X: ByteImages{Data: x.Data, N: 2, C: 2, H: 2, W: 2}, W: conv, Size: [2]int{2, 2}}.Int32(pool, make([]int32, 24))
		},
		"a short y": func() { ByteConv{X: x, W: conv, Size: [2]int{2, 2}}.Int32(pool, make([]int32, 11)) },
		"too few weights": func() {
			PackByteConv(Conv{Channels: 2, Filters: 3, Window: Window{Kernel: [2]int{1, 1}}}, Bytes{Data: make([]byte, 5)})
		},
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was accepted", fmt.Sprint(what))
				}
			}()
			f()
		})
	}
}
