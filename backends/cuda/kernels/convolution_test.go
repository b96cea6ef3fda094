package kernels_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

func window(size, stride, pad, dilation int64) kernels.Window {
	return kernels.Window{Size: [2]int64{size, size}, Stride: [2]int64{stride, stride}, Pad: [2]int64{pad, pad}, Dilation: [2]int64{dilation, dilation}}
}

func outSize(in, size, stride, pad, dilation int64) int64 {
	return (in+2*pad-(size-1)*dilation-1)/stride + 1
}

// slid is a case of a convolution.
type slid struct {
	name                   string
	n, h, w, c, k, g       int64
	size, stride, pad, dil int64
	processors             int64
}

func TestConv(t *testing.T) {
	cases := []slid{
		{"pointwise", 2, 5, 7, 16, 24, 1, 1, 1, 0, 1, 0},
		{"pointwise, strided", 2, 5, 7, 16, 24, 1, 1, 2, 0, 1, 0},
		{"three by three", 1, 9, 8, 16, 17, 1, 3, 1, 1, 1, 0},
		{"of three channels, strided", 2, 11, 13, 3, 8, 1, 3, 2, 1, 1, 0},
		{"dilated", 1, 12, 10, 8, 8, 1, 3, 1, 2, 2, 0},
		{"in groups", 1, 7, 7, 32, 48, 4, 3, 1, 1, 1, 0},
		{"in groups of odd widths", 2, 5, 6, 6, 9, 3, 2, 1, 1, 1, 0},
		{"seven by seven", 1, 20, 20, 3, 64, 1, 7, 2, 3, 1, 0},
		{"large tiles", 4, 32, 33, 8, 500, 1, 3, 1, 1, 1, 0},
		{"depthwise", 2, 9, 8, 16, 16, 16, 3, 1, 1, 1, 0},
		{"depthwise, odd and strided", 1, 10, 11, 7, 7, 7, 5, 2, 2, 1, 0},
		{"divided", 1, 5, 6, 64, 20, 1, 3, 1, 1, 1, 3},
		{"divided, pointwise", 1, 3, 3, 600, 20, 1, 1, 1, 0, 1, 3},
		{"divided, in groups of odd widths", 2, 4, 3, 118, 74, 2, 3, 2, 1, 1, 7},
	}
	for _, c := range cases {
		for _, kind := range []string{"f32", "tf32", "f16", "bf16"} {
			if c.name == "large tiles" && (testing.Short() || kind == "f32" && shipped(t) != nil) {
				continue
			}
			t.Run(c.name+" "+kind, func(t *testing.T) { newBench(t).conv(c, kind) })
		}
	}
}

// conv holds one case against the exact result.
func (b *bench) conv(c slid, kind string) {
	b.Helper()
	typ := map[string]kernels.Type{"f16": kernels.F16, "bf16": kernels.BF16}[kind]
	v := kernels.Conv{Type: typ, TF32: kind == "tf32", Room: kernels.Room{Processors: c.processors}, Slide: kernels.Slide{
		Images: c.n, Height: c.h, Width: c.w, Channels: c.c, OutChannels: c.k, Groups: c.g, Window: window(c.size, c.stride, c.pad, c.dil),
		OutHeight: outSize(c.h, c.size, c.stride, c.pad, c.dil), OutWidth: outSize(c.w, c.size, c.stride, c.pad, c.dil)}}
	in, rows, images := c.c/c.g, c.n*v.OutHeight*v.OutWidth, c.n
	if b.first {
		rows, images = 128, ceilOf(128, v.OutHeight*v.OutWidth)
	}
	out := rows * c.k
	deviation := math.Pow(float64(c.size*c.size*in), -0.25)
	x, w, y := b.normal(typ, images*c.h*c.w*c.c, deviation), b.normal(typ, c.k*c.size*c.size*in, deviation), b.empty(typ, out)
	e, bias, residual := b.epilogue(typ, c.k, out)
	v.X, v.Weights, v.Y, v.Epilogue = x.at(), w.at(), y.at(), e
	parts := b.parts(v)
	if v.Room.Parts = or(parts); (parts != nil) != (c.processors > 0) {
		b.Fatalf("%+v has %d bytes of parts", v, v.PartsBytes())
	}
	b.multiply(v)
	within := precision(typ)
	if v.TF32 {
		within = 4e-3
	}
	b.checkConv(v, x, w, y, bias, residual, within)
}

func (b *bench) checkConv(v kernels.Conv, x, w, y, bias, residual *array, within float64) {
	b.Helper()
	pick := max(1, y.len()/5000)
	for i := range y.len() {
		if y.poisoned(i) {
			b.Fatalf("%+v: element %d is not written", v, i)
		}
		if pick > 1 && b.rand.IntN(pick) > 0 {
			continue
		}
		want := finish(v.Epilogue, convolved(v.Slide, x, w, i, 0), bias, residual, i%int(v.OutChannels), i)
		if got := y.get(i); !(math.Abs(got-want) <= within*max(1, math.Abs(want))) {
			b.Fatalf("%+v: element %d is %v, want %v", v, i, got, want)
		}
	}
}

// convolved returns the sum for element i of a result. Outside of images lies pad.
func convolved(v kernels.Slide, x, w *array, i int, pad float64) float64 {
	in := v.Channels / v.Groups
	k := int64(i) % v.OutChannels
	q := int64(i) / v.OutChannels % v.OutWidth
	p := int64(i) / v.OutChannels / v.OutWidth % v.OutHeight
	n := int64(i) / v.OutChannels / v.OutWidth / v.OutHeight
	group, sum := k/(v.OutChannels/v.Groups), 0.0
	for r := range v.Window.Size[0] {
		for s := range v.Window.Size[1] {
			yy, xx := p*v.Window.Stride[0]-v.Window.Pad[0]+r*v.Window.Dilation[0], q*v.Window.Stride[1]-v.Window.Pad[1]+s*v.Window.Dilation[1]
			for c := range in {
				weight := ((k*v.Window.Size[0]+r)*v.Window.Size[1]+s)*in + c
				if v.Depthwise() {
					weight = (r*v.Window.Size[1]+s)*v.Channels + k
				}
				value := pad
				if yy >= 0 && yy < v.Height && xx >= 0 && xx < v.Width {
					value = x.get(int(((n*v.Height+yy)*v.Width+xx)*v.Channels + group*in + c))
				}
				sum += value * w.get(int(weight))
			}
		}
	}
	return sum
}

func TestConvInt8(t *testing.T) {
	for _, c := range []slid{
		{"pointwise", 2, 5, 7, 16, 24, 1, 1, 1, 0, 1, 0},
		{"three by three", 1, 9, 8, 16, 17, 1, 3, 1, 1, 1, 0},
		{"of three channels, strided", 2, 11, 13, 3, 8, 1, 3, 2, 1, 1, 0},
		{"dilated, of 20 channels", 1, 12, 10, 20, 12, 1, 3, 1, 2, 2, 0},
		{"in groups", 1, 7, 7, 64, 48, 4, 3, 1, 1, 1, 0},
		{"in groups of odd widths", 2, 5, 6, 6, 9, 3, 2, 1, 1, 1, 0},
		{"large tiles", 4, 32, 33, 16, 500, 1, 3, 1, 1, 1, 0},
		{"divided", 1, 5, 6, 128, 20, 1, 3, 1, 1, 1, 3},
		{"divided, in groups of odd widths", 2, 4, 3, 250, 74, 2, 3, 2, 1, 1, 7},
		{"depthwise", 2, 9, 8, 16, 16, 16, 3, 1, 1, 1, 0},
		{"depthwise, odd and strided", 1, 10, 11, 7, 7, 7, 5, 2, 2, 1, 0},
	} {
		for _, typ := range []kernels.Type{kernels.I8, kernels.U8} {
			for _, out := range []kernels.Type{kernels.I32, []kernels.Type{kernels.F32, kernels.F16, kernels.BF16}[rand.IntN(3)], kernels.I8, kernels.U8} {
				if c.k == 500 && (out != typ || testing.Short()) {
					continue
				}
				t.Run(fmt.Sprint(c.name, " ", typ, " ", out), func(t *testing.T) { newBench(t).convInt8(c, typ, out) })
			}
		}
	}
}

// convInt8 holds one case of bytes against the exact result.
func (b *bench) convInt8(c slid, typ, out kernels.Type) {
	b.Helper()
	v := kernels.ConvInt8{Type: typ, Pad: int64(b.rand.IntN(100)), Room: kernels.Room{Processors: c.processors}, Slide: kernels.Slide{
		Images: c.n, Height: c.h, Width: c.w, Channels: c.c, OutChannels: c.k, Groups: c.g, Window: window(c.size, c.stride, c.pad, c.dil),
		OutHeight: outSize(c.h, c.size, c.stride, c.pad, c.dil), OutWidth: outSize(c.w, c.size, c.stride, c.pad, c.dil)}}
	rows, images := c.n*v.OutHeight*v.OutWidth, c.n
	if b.first {
		rows, images = 128, ceilOf(128, v.OutHeight*v.OutWidth)
	}
	elements := rows * c.k
	x, w, y := b.whole(typ, images*c.h*c.w*c.c, -128, 128), b.whole(kernels.I8, c.k*c.size*c.size*c.c/c.g, -128, 128), b.empty(out, elements)
	r, finish := b.requantized(out, c.k, elements)
	v.X, v.Weights, v.Y, v.Requantized = x.at(), w.at(), y.at(), r
	parts := b.parts(v)
	if v.Room.Parts = or(parts); (parts != nil) != (c.processors > 0) {
		b.Fatalf("%+v has %d bytes of parts", v, v.PartsBytes())
	}
	b.multiply(v)
	pick := max(1, y.len()/3000)
	for i := range y.len() {
		if pick > 1 && b.rand.IntN(pick) > 0 {
			continue
		}
		sum := convolved(v.Slide, x, w, i, float64(v.Pad))
		if out != kernels.I32 {
			b.checkBytes(v, y, i, finish(i, i%int(c.k), sum))
		} else if y.get(i) != sum {
			b.Fatalf("%+v: element %d is %v, want %v", v, i, y.get(i), sum)
		}
	}
}

func TestPool(t *testing.T) {
	for _, typ := range append(slices.Clone(floats), kernels.U8, kernels.I8) {
		for kind := range 3 {
			if kind > 0 && typ > kernels.BF16 {
				continue // bytes have no mean
			}
			for _, c := range [][6]int64{{1, 7, 3, 2, 1, 1}, {2, 8, 5, 3, 2, 0}, {1, 9, 4, 3, 1, 1}} {
				t.Run(fmt.Sprint(typ, kind, c), func(t *testing.T) {
					b := newBench(t)
					n, h, channels, size, stride, pad := c[0], c[1], c[2], c[3], c[4], c[5]
					w := h + 2
					p := kernels.Pool{Type: typ, Average: kind > 0, CountPadding: kind == 2, Images: n, Height: h, Width: w, Channels: channels,
						OutHeight: outSize(h, size, stride, pad, 1) + 1, OutWidth: outSize(w, size, stride, pad, 1), Window: window(size, stride, pad, 1), PadEnd: [2]int64{pad, pad}}
					if (p.OutHeight-1)*stride-pad >= h {
						p.OutHeight-- // a window that sees nothing
					}
					x, y := b.normal(typ, n*h*w*channels, 1+19*float64(typ/kernels.U8)), b.empty(typ, n*p.OutHeight*p.OutWidth*channels)
					p.X, p.Y = x.at(), y.at()
					b.run(p)
					b.check(p, y, precision(typ), func(i int) float64 { return poolOf(p, x, int64(i)) })
				})
			}
		}
	}
}

func poolOf(p kernels.Pool, x *array, i int64) float64 {
	c, i := i%p.Channels, i/p.Channels
	col, i := i%p.OutWidth, i/p.OutWidth
	row, n := i%p.OutHeight, i/p.OutHeight
	most, sum, seen := math.Inf(-1), 0.0, 0.0
	for r := range p.Window.Size[0] {
		for s := range p.Window.Size[1] {
			yy, xx := row*p.Window.Stride[0]-p.Window.Pad[0]+r, col*p.Window.Stride[1]-p.Window.Pad[1]+s
			if yy >= 0 && yy < p.Height && xx >= 0 && xx < p.Width {
				v := x.get(int(((n*p.Height+yy)*p.Width+xx)*p.Channels + c))
				most, sum, seen = max(most, v), sum+v, seen+1
			} else if p.CountPadding && yy < p.Height+p.PadEnd[0] && xx < p.Width+p.PadEnd[1] {
				seen++
			}
		}
	}
	if p.Average {
		return sum / seen
	}
	return most
}
