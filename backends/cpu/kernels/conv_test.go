package kernels

import (
	"slices"
	"sync"
	"testing"
)

// naiveConv is the convolution in float64.
func naiveConv(c Conv, weights []float32, x, y Images, ep Epilogue) []float64 {
	c.Window, c.Groups = c.normal(), max(c.Groups, 1)
	act := ep.Activation.scalar64()
	channels, filters := c.Channels/c.Groups, c.Filters/c.Groups
	var out []float64
	for plane := range y.N * y.C {
		image, f := plane/y.C, plane%y.C
		for p := range y.H * y.W {
			var sum float64
			for ch := range channels {
				src := x.plane(image*x.C + f/filters*channels + ch)
				for i := range c.Kernel[0] {
					for j := range c.Kernel[1] {
						h := p/y.W*c.Stride[0] + i*c.Dilation[0] - c.Pads[0]
						w := p%y.W*c.Stride[1] + j*c.Dilation[1] - c.Pads[1]
						if h >= 0 && h < x.H && w >= 0 && w < x.W {
							sum += float64(src[h*x.W+w]) * float64(weights[((f*channels+ch)*c.Kernel[0]+i)*c.Kernel[1]+j])
						}
					}
				}
			}
			if ep.RowBias != nil {
				sum += float64(ep.RowBias[f])
			}
			if ep.Residual != nil {
				sum += float64(ep.Residual[plane*y.H*y.W+p])
			}
			out = append(out, act(sum))
		}
	}
	return out
}

var testConvs = []struct {
	name    string
	conv    Conv
	n, h, w int
}{
	{"one value", Conv{1, 1, 1, Window{Kernel: [2]int{1, 1}}}, 1, 1, 1},
	{"pointwise", Conv{20, 33, 1, Window{Kernel: [2]int{1, 1}}}, 2, 7, 9},
	{"pointwise with a stride", Conv{20, 33, 1, Window{Kernel: [2]int{1, 1}, Stride: [2]int{2, 2}}}, 2, 14, 13},
	{"pointwise with pads", Conv{3, 5, 1, Window{Kernel: [2]int{1, 1}, Pads: [4]int{1, 0, 2, 3}}}, 1, 5, 5},
	{"3x3, wide rows", Conv{16, 24, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 2, 30, 28},
	{"3x3, two rows in a tile", Conv{9, 31, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 2, 15, 14},
	{"3x3, two rows of 16 in a tile", Conv{9, 3, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 1, 16, 16},
	{"3x3, one row", Conv{9, 5, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{0, 1, 0, 1}}}, 1, 3, 13},
	{"3x3, narrow rows", Conv{40, 50, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 2, 7, 7},
	{"7x7 with stride 2", Conv{3, 17, 1, Window{Kernel: [2]int{7, 7}, Stride: [2]int{2, 2}, Pads: [4]int{3, 3, 3, 3}}}, 1, 45, 64},
	{"dilated", Conv{5, 6, 1, Window{Kernel: [2]int{3, 2}, Dilation: [2]int{2, 3}, Pads: [4]int{2, 0, 1, 3}}}, 1, 20, 21},
	{"dilated with a stride", Conv{4, 4, 1, Window{Kernel: [2]int{3, 3}, Stride: [2]int{2, 3}, Dilation: [2]int{3, 2}}}, 1, 31, 40},
	{"one channel", Conv{1, 21, 1, Window{Kernel: [2]int{5, 5}}}, 2, 28, 28},
	{"one channel, one filter", Conv{1, 1, 1, Window{Kernel: [2]int{5, 5}}}, 2, 28, 28},
	{"narrow and tall", Conv{3, 40, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 1, 130, 5},
	{"grouped", Conv{12, 18, 3, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 2, 16, 16},
	{"depthwise 3x3", Conv{7, 7, 7, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 2, 28, 29},
	{"depthwise 3x3 with stride 2", Conv{7, 7, 7, Window{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pads: [4]int{0, 0, 1, 1}}}, 1, 28, 70},
	{"depthwise 5x5", Conv{5, 5, 5, Window{Kernel: [2]int{5, 5}, Pads: [4]int{2, 2, 2, 2}}}, 1, 14, 14},
	{"depthwise 5x5 with stride 2", Conv{5, 5, 5, Window{Kernel: [2]int{5, 5}, Stride: [2]int{2, 2}, Pads: [4]int{2, 2, 2, 2}}}, 1, 7, 130},
	{"depthwise 5x5, wide", Conv{3, 3, 3, Window{Kernel: [2]int{5, 5}, Pads: [4]int{1, 2, 3, 0}}}, 2, 19, 53},
	{"depthwise 5x5, all in the padding", Conv{3, 3, 3, Window{Kernel: [2]int{5, 5}, Pads: [4]int{4, 3, 4, 4}}}, 1, 1, 2},
	{"depthwise 5x5, tall", Conv{2, 2, 2, Window{Kernel: [2]int{5, 5}, Pads: [4]int{2, 2, 2, 2}}}, 1, 5000, 17},
	{"depthwise 3x3 with stride 2, tall", Conv{2, 2, 2, Window{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pads: [4]int{1, 1, 1, 1}}}, 1, 9001, 17},
	{"depthwise with a multiplier", Conv{4, 8, 4, Window{Kernel: [2]int{3, 3}}}, 1, 9, 9},
	{"pads wider than the plane", Conv{2, 2, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{4, 5, 4, 5}}}, 1, 2, 1},
	{"one dimension", Conv{8, 9, 1, Window{Kernel: [2]int{1, 5}, Stride: [2]int{1, 2}, Pads: [4]int{0, 2, 0, 2}}}, 3, 1, 77},
	{"pointwise, long rows", Conv{40, 70, 1, Window{Kernel: [2]int{1, 1}}}, 2, 20, 17},
	{"pointwise, deep", Conv{500, 15, 1, Window{Kernel: [2]int{1, 1}}}, 1, 7, 5},
	{"pointwise, one position", Conv{50, 37, 1, Window{Kernel: [2]int{1, 1}}}, 3, 1, 1},
	{"deep and wide", Conv{300, 75, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 1, 5, 17},
	{"deep", Conv{100, 20, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}, 1, 5, 16},
}

// convCase is a convolution with its expected result.
type convCase struct {
	name    string
	conv    Conv
	weights []float32
	x, y    Images
	ep      Epilogue
	want    []float64
}

func convCases(t *testing.T) []convCase {
	var cases []convCase
	for i, test := range testConvs {
		s := newSource(t, uint64(i))
		c := convCase{name: test.name, conv: test.conv}
		h, w := c.conv.OutSize(test.h, test.w)
		c.weights = s.values(c.conv.Filters * c.conv.Channels / c.conv.Groups * c.conv.Kernel[0] * c.conv.Kernel[1])
		c.x = Images{s.values(test.n * c.conv.Channels * test.h * test.w), test.n, c.conv.Channels, test.h, test.w}
		c.y = Images{nil, test.n, c.conv.Filters, h, w}
		size := test.n * c.conv.Filters * h * w
		for _, ep := range []Epilogue{
			{},
			{RowBias: s.values(c.conv.Filters), Activation: Activation{Function: Relu}},
			{RowBias: s.values(c.conv.Filters), Residual: s.values(size), Activation: Activation{Function: HardSwish}},
		} {
			c.ep, c.want = ep, naiveConv(c.conv, c.weights, c.x, c.y, ep)
			cases = append(cases, c)
		}
	}
	return cases
}

func TestConvMatchesFloat64(t *testing.T) {
	cases := convCases(t)
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 1)
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for _, c := range cases {
				for _, how := range []Method{AnySize, InPlace} {
					y := c.y
					y.Data = s.values(len(c.want))
					Conv2D(pool, Memory(nil).PackConvBy(how, c.conv, c.weights, FP32), c.x, y, c.ep)
					near(t, c.name, y.Data, c.want, 1e-4)
				}
			}
		}
	})
}

// What is added may lie where the result goes, if the convolution says so.
func TestConvAddsInPlace(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		pool := newTestPool(t, 2)
		for _, c := range convCases(t) {
			for _, how := range []Method{AnySize, InPlace} {
				packed := Memory(nil).PackConvBy(how, c.conv, c.weights, FP32)
				if c.ep.Residual == nil || !packed.AddsInPlace() {
					continue
				}
				y := c.y
				y.Data = slices.Clone(c.ep.Residual)
				ep := c.ep
				ep.Residual = y.Data
				Conv2D(pool, packed, c.x, y, ep)
				near(t, c.name, y.Data, c.want, 1e-4)
			}
		}
	})
}

// One packed convolution serves callers with images of different sizes at the same time.
func TestConvMayBeShared(t *testing.T) {
	c := Conv{5, 20, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}
	s := newSource(t, 1)
	weights := s.values(20 * 5 * 9)
	packed, pool := PackConv(c, weights, FP32), newTestPool(t, 2)
	var callers sync.WaitGroup
	for size := 6; size < 14; size++ {
		x := Images{s.values(5 * size * size), 1, 5, size, size}
		y := Images{s.values(20 * size * size), 1, 20, size, size}
		want := naiveConv(c, weights, x, y, Epilogue{})
		callers.Go(func() {
			for range 5 {
				Conv2D(pool, packed, x, y, Epilogue{})
				if err := difference(y.Data, want, 1e-4); err != nil {
					t.Errorf("size %d: %v", size, err)
				}
			}
		})
	}
	callers.Wait()
}

// Lattices lie in scratch memory without a guard, so what is read past them is computed instead.
func TestReadsPastALatticeStayInTheSlack(t *testing.T) {
	for _, test := range testConvs {
		w := test.conv.normal()
		h, width := w.OutSize(test.h, test.w)
		l := newLattice(w, [2]int{test.h, test.w}, [2]int{h, width})
		lastOfRow := (h-1)*l.cols + panels(width)*panelWidth - 1
		lastOfFlat := panels((h-1)*l.cols+width)*panelWidth - 1
		for _, o := range l.offsets {
			if o < 0 || o+max(lastOfRow, lastOfFlat) >= l.size+slack {
				t.Errorf("%s: tap at %d reads value %d of %d and %d more", test.name, o, o+max(lastOfRow, lastOfFlat), l.size, slack)
			}
		}
	}
}

func FuzzConv(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		everyLevel(t, func(t *testing.T) {
			s := newSource(t, seed)
			groups := 1 + s.IntN(3)
			c := Conv{Channels: groups * (1 + s.IntN(4)), Filters: groups * (1 + s.IntN(20)), Groups: groups}
			for i := range 2 {
				c.Kernel[i], c.Stride[i], c.Dilation[i] = 1+s.IntN(4), s.IntN(4), s.IntN(3)
				c.Pads[i], c.Pads[i+2] = s.IntN(4), s.IntN(4)
			}
			x := Images{N: 1 + s.IntN(2), C: c.Channels, H: 1 + s.IntN(40), W: 1 + s.IntN(40)}
			x.Data = s.values(x.N * x.C * x.H * x.W)
			y := Images{N: x.N, C: c.Filters}
			y.H, y.W = c.OutSize(x.H, x.W)
			y.Data = s.values(y.N * y.C * y.H * y.W)
			weights := s.values(c.Filters * c.Channels / groups * c.Kernel[0] * c.Kernel[1])
			ep := Epilogue{RowBias: s.values(c.Filters), Activation: Activation{Function: Relu}}
			for _, p := range []Precision{FP32, BF16} {
				packed := PackConv(c, weights, p)
				Conv2D(newTestPool(t, 1+s.IntN(3)), packed, x, y, ep)
				rounded := x
				rounded.Data = packed.Precision().rounded(x.Data)
				near(t, describe(c), y.Data, naiveConv(c, packed.Precision().rounded(weights), rounded, y, ep), 1e-4)
			}
		})
	})
}

func TestConvolutionsAllocateNothing(t *testing.T) {
	if detectingRaces {
		t.Skip("memory is given back to pools, which forget some of it where races are detected")
	}
	s := newSource(t, 1)
	for _, test := range testConvs {
		for i, p := range []Precision{FP32, BF16, FP32} {
			c := test.conv
			how := []Method{AnySize, AnySize, InPlace}[i]
			packed := Memory(nil).PackConvBy(how, c, s.values(c.Filters*c.Channels/c.Groups*c.Kernel[0]*c.Kernel[1]), p)
			x := Images{s.values(test.n * c.Channels * test.h * test.w), test.n, c.Channels, test.h, test.w}
			y := Images{N: test.n, C: c.Filters}
			y.H, y.W = c.OutSize(test.h, test.w)
			y.Data = s.values(y.N * y.C * y.H * y.W)
			pool := newTestPool(t, 2)
			// Scratch memory may be collected in between.
			if got := testing.AllocsPerRun(20, func() { Conv2D(pool, packed, x, y, Epilogue{}) }); got > 0.5 {
				t.Errorf("%s, %v: %v allocations", test.name, p, got)
			}
		}
	}
}

func TestMethod(t *testing.T) {
	if !winogradHere() {
		t.Skip("one method at level " + CurrentLevel().String())
	}
	conv := func(channels, filters, groups int, w Window) Conv { return Conv{channels, filters, groups, w} }
	square := Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}
	for _, test := range []struct {
		name string
		conv Conv
		size [2]int
		p    Precision
		want Method
	}{
		{"large planes", conv(64, 64, 0, square), [2]int{56, 56}, FP32, Winograd4},
		{"planes of 28, for which larger tiles have many weights", conv(128, 128, 1, square), [2]int{28, 28}, FP32, Winograd2},
		{"planes of 14", conv(256, 256, 1, square), [2]int{14, 14}, FP32, Winograd2},
		{"planes of 7, for which they are too many", conv(512, 512, 1, square), [2]int{7, 7}, FP32, AnySize},
		{"one row", conv(64, 64, 1, square), [2]int{1, 500}, FP32, AnySize},
		{"a size that is not known", conv(64, 64, 1, square), [2]int{0, 0}, FP32, AnySize},
		{"a height that is not known", conv(64, 64, 1, square), [2]int{0, 56}, FP32, AnySize},
		{"wide rows", conv(64, 64, 1, square), [2]int{4, 500}, FP32, Winograd4},
		{"few channels", conv(3, 64, 1, square), [2]int{224, 224}, FP32, AnySize},
		{"few filters", conv(64, 3, 1, square), [2]int{224, 224}, FP32, AnySize},
		{"1x1 on large planes", conv(24, 72, 1, Window{Kernel: [2]int{1, 1}}), [2]int{20, 20}, FP32, InPlace},
		{"1x1 with a stride", conv(24, 72, 1, Window{Kernel: [2]int{1, 1}, Stride: [2]int{2, 2}}), [2]int{28, 28}, FP32, InPlace},
		{"1x1 on small planes", conv(24, 72, 1, Window{Kernel: [2]int{1, 1}}), [2]int{14, 14}, FP32, AnySize},
		{"1x1 with pads", conv(24, 72, 1, Window{Kernel: [2]int{1, 1}, Pads: [4]int{1, 0, 0, 0}}), [2]int{28, 28}, FP32, AnySize},
		{"1x1, bfloat16", conv(24, 72, 1, Window{Kernel: [2]int{1, 1}}), [2]int{28, 28}, BF16, AnySize},
		{"groups", conv(64, 64, 2, square), [2]int{56, 56}, FP32, AnySize},
		{"depthwise", conv(64, 64, 64, square), [2]int{56, 56}, FP32, AnySize},
		{"a stride", conv(64, 64, 1, Window{Kernel: [2]int{3, 3}, Stride: [2]int{1, 2}}), [2]int{56, 56}, FP32, AnySize},
		{"a dilation", conv(64, 64, 1, Window{Kernel: [2]int{3, 3}, Dilation: [2]int{2, 1}}), [2]int{56, 56}, FP32, AnySize},
		{"another kernel", conv(64, 64, 1, Window{Kernel: [2]int{3, 5}}), [2]int{56, 56}, FP32, AnySize},
		{"bfloat16", conv(64, 64, 1, square), [2]int{56, 56}, BF16, AnySize},
		{"bytes", conv(64, 64, 1, square), [2]int{56, 56}, Int8, AnySize},
	} {
		if got := test.conv.Method(test.size, test.p); got != test.want {
			t.Errorf("%s: %v.Method(%v, %v) = %d, want %d", test.name, test.conv, test.size, test.p, got, test.want)
		}
	}
}
