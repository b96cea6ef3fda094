package kernels

import (
	"math"
	"testing"
)

var testPools = []struct {
	name   string
	window Window
	h, w   int
	extra  int // positions beyond what the padding allows, as with ceil_mode
}{
	{"2x2 by 2", Window{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}}, 28, 30, 0},
	{"3x3 by 2 with pads", Window{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pads: [4]int{1, 1, 1, 1}}, 112, 75, 0},
	{"3x3 by 1", Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}, 9, 70, 0},
	{"rounded up", Window{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}}, 8, 8, 1},
	{"rounded up with pads", Window{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pads: [4]int{1, 1, 1, 1}}, 8, 8, 1},
	{"dilated", Window{Kernel: [2]int{2, 3}, Dilation: [2]int{3, 2}, Pads: [4]int{0, 1, 2, 2}}, 13, 17, 0},
	{"whole plane", Window{Kernel: [2]int{7, 5}}, 7, 5, 0},
	{"by 3", Window{Kernel: [2]int{1, 4}, Stride: [2]int{1, 3}, Pads: [4]int{0, 2, 0, 1}}, 1, 100, 0},
}

// naivePool computes the largest and the mean at each position.
func naivePool(w Window, countPadding bool, x, y Images) (largest []float32, means []float64) {
	w = w.normal()
	for plane := range y.N * y.C {
		for p := range y.H * y.W {
			top, sum, count := float32(math.Inf(-1)), 0.0, 0
			for i := range w.Kernel[0] {
				for j := range w.Kernel[1] {
					h := p/y.W*w.Stride[0] + i*w.Dilation[0] - w.Pads[0]
					v := p%y.W*w.Stride[1] + j*w.Dilation[1] - w.Pads[1]
					if h >= 0 && h < x.H && v >= 0 && v < x.W {
						value := x.plane(plane)[h*x.W+v]
						top, sum, count = max(top, value), sum+float64(value), count+1
					} else if countPadding && h < x.H+w.Pads[2] && v < x.W+w.Pads[3] {
						count++
					}
				}
			}
			largest, means = append(largest, top), append(means, sum/float64(count))
		}
	}
	return largest, means
}

func TestPoolsMatchTheirDefinition(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, threads := range []int{1, 3} {
			pool := newTestPool(t, threads)
			for i, test := range testPools {
				s := newSource(t, uint64(i))
				h, w := test.window.OutSize(test.h, test.w)
				h, w = h+test.extra, w+test.extra
				x := Images{s.values(6 * test.h * test.w), 2, 3, test.h, test.w}
				y := Images{s.values(6 * h * w), 2, 3, h, w}
				for _, countPadding := range []bool{false, true} {
					largest, means := naivePool(test.window, countPadding, x, y)
					MaxPool2D(pool, test.window, x, y)
					same(t, "max "+test.name, y.Data, largest)
					AveragePool2D(pool, test.window, countPadding, x, y)
					near(t, "average "+test.name, y.Data, means, 1e-6)
				}
			}
		}
	})
}

func TestMaxPoolKeepsNaN(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		pool := newTestPool(t, 1)
		w := Window{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pads: [4]int{1, 1, 1, 1}}
		s := newSource(t, 3)
		x := Images{s.odd(40 * 150), 1, 1, 40, 150}
		y := Images{s.values(20 * 75), 1, 1, 20, 75}
		MaxPool2D(pool, w, x, y)
		largest, _ := naivePool(w, false, x, y)
		equalButZeros(t, Max, y.Data, largest)
	})
}

func TestGlobalAveragePool(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 3)
		x := Images{s.values(2 * 3 * 7 * 7), 2, 3, 7, 7}
		means := s.values(6)
		GlobalAveragePool(means, x)
		for i := range means {
			near(t, "mean", means[i:i+1], []float64{sums64(x.plane(i)).mean}, 1e-6)
		}
	})
}
