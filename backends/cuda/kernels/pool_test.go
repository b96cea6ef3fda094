package kernels_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// TestPoolBytes averages bytes, to bytes and to numbers.
func TestPoolBytes(t *testing.T) {
	for _, from := range []kernels.Type{kernels.U8, kernels.I8} {
		for _, to := range []kernels.Type{kernels.U8, kernels.I8, kernels.F32, kernels.F16, kernels.BF16} {
			for _, padding := range []bool{false, true} {
				t.Run(fmt.Sprint(from, " to ", to, ", padding counts ", padding), func(t *testing.T) {
					b := newBench(t)
					p := kernels.Pool{
						Type: from, Out: to, Average: true, CountPadding: padding, Images: 2, Height: 7, Width: 6, Channels: 5,
						OutHeight: 4, OutWidth: 3, Window: window(3, 2, 1, 1), PadEnd: [2]int64{1, 1},
						Scale: 0.04, Zero: 3, OutScale: 0.03, OutZero: -2,
					}
					x, y := b.whole(from, 2*7*6*5, -128, 128), b.empty(to, 2*4*3*5)
					p.X, p.Y = x.at(), y.at()
					b.run(p)
					within := precision(to)
					if to == kernels.U8 || to == kernels.I8 {
						within = 0 // but for what lies between two steps
					}
					b.check(p, y, within, func(i int) float64 {
						return averaged(p, x, i, y.get(i))
					})
				})
			}
		}
	}
}

// averaged returns element i of the mean of bytes: got, where that is one of two that are as near.
func averaged(p kernels.Pool, x *array, i int, got float64) float64 {
	c, q, r, n := int64(i)%p.Channels, int64(i)/p.Channels%p.OutWidth, int64(i)/p.Channels/p.OutWidth%p.OutHeight, int64(i)/p.Channels/p.OutWidth/p.OutHeight
	sum, seen := 0.0, 0.0
	for a := range p.Window.Size[0] {
		for b := range p.Window.Size[1] {
			yy, xx := r*p.Window.Stride[0]-p.Window.Pad[0]+a, q*p.Window.Stride[1]-p.Window.Pad[1]+b
			if yy >= 0 && yy < p.Height && xx >= 0 && xx < p.Width {
				sum += x.get(int(((n*p.Height+yy)*p.Width+xx)*p.Channels+c)) - float64(p.Zero)
				seen++
			} else if p.CountPadding && yy < p.Height+p.PadEnd[0] && xx < p.Width+p.PadEnd[1] {
				seen++
			}
		}
	}
	v := sum / seen * float64(p.Scale)
	if p.Out != kernels.U8 && p.Out != kernels.I8 {
		return v
	}
	steps, low, high := v/float64(p.OutScale), -128.0, 127.0
	if p.Out == kernels.U8 {
		low, high = 0, 255
	}
	near := math.Min(math.Max(math.RoundToEven(steps)+float64(p.OutZero), low), high)
	if between := math.Abs(steps - math.Floor(steps) - 0.5); between < 1e-4 && math.Abs(got-near) <= 1 {
		return got
	}
	return near
}

// TestPoolRoundsToEven has means that lie in the middle of two bytes.
func TestPoolRoundsToEven(t *testing.T) {
	b := newBench(t)
	x, y := b.empty(kernels.U8, 8).fill(func(i int) float64 { return []float64{0, 1, 1, 2, 2, 3, 255, 255}[i] }), b.empty(kernels.U8, 4)
	b.run(kernels.Pool{
		Type: kernels.U8, Out: kernels.U8, Average: true, Images: 4, Height: 1, Width: 2, Channels: 1, OutHeight: 1, OutWidth: 1,
		Window: kernels.Window{Size: [2]int64{1, 2}, Stride: [2]int64{1, 1}, Dilation: [2]int64{1, 1}}, Scale: 1, OutScale: 1, OutZero: 3, X: x.at(), Y: y.at(),
	})
	b.check("a mean", y, 0, func(i int) float64 { return []float64{3, 5, 5, 255}[i] })
}

func TestPoolRefuses(t *testing.T) {
	one := kernels.Pool{Type: kernels.U8, Average: true, Images: 1, Height: 1, Width: 1, Channels: 1, OutHeight: 1, OutWidth: 1, Window: window(1, 1, 0, 1)}
	for _, typ := range []kernels.Type{kernels.I32, kernels.Bool} {
		one.Out = typ
		if _, err := one.Launch(); err == nil {
			t.Errorf("means of bytes are made %v", typ)
		}
	}
	one.Average, one.Type = false, kernels.I32
	if _, err := one.Launch(); err == nil {
		t.Error("the largest of I32 is found")
	}
}
