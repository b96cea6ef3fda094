package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// winogradHere reports whether tiles are for this level.
func winogradHere() bool {
	wide := Conv{Channels: 64, Filters: 64, Window: Window{Kernel: [2]int{3, 3}}}
	return wide.Method([2]int{56, 56}, FP32) == Winograd4
}

// Whatever the sizes are, the results are those of float64. Random ones differ from run to run.
func TestWinogradMatchesFloat64(t *testing.T) {
	square := func(pads ...int) Window { return Window{Kernel: [2]int{3, 3}, Pads: [4]int(pads)} }
	type test struct {
		name    string
		conv    Conv
		n, h, w int
	}
	tests := []test{
		{"one tile", Conv{17, 33, 1, square(0, 0, 0, 0)}, 1, 4, 4},
		{"one value", Conv{16, 16, 1, square(0, 0, 0, 0)}, 1, 3, 3},
		{"one row of tiles", Conv{16, 16, 1, square(1, 1, 1, 1)}, 2, 2, 70},
		{"a run of one piece at the end", Conv{20, 40, 1, square(1, 1, 1, 1)}, 1, 28, 28},
		{"pieces of different widths", Conv{16, 31, 1, square(1, 1, 1, 1)}, 1, 9, 61},
		{"pads of different sizes", Conv{33, 17, 1, square(0, 2, 1, 3)}, 3, 11, 10},
		{"pads wider than the plane", Conv{16, 65, 1, square(7, 6, 5, 9)}, 1, 2, 1},
		{"deep", Conv{260, 16, 1, square(1, 1, 1, 1)}, 1, 6, 7},
		{"more runs than are transformed together", Conv{64, 16, 1, square(1, 1, 1, 1)}, 1, 66, 66},
	}
	for range 5 {
		tests = append(tests, test{"random", Conv{
			16 + rand.IntN(60), 16 + rand.IntN(60), 1, square(rand.IntN(3), rand.IntN(3), rand.IntN(3), rand.IntN(3)),
		}, 1 + rand.IntN(2), 3 + rand.IntN(30), 3 + rand.IntN(30)})
	}
	for _, test := range tests {
		s := newSource(t, rand.Uint64())
		weights := s.values(test.conv.Filters * test.conv.Channels * 9)
		x := Images{s.values(test.n * test.conv.Channels * test.h * test.w), test.n, test.conv.Channels, test.h, test.w}
		h, w := test.conv.OutSize(test.h, test.w)
		y := Images{nil, test.n, test.conv.Filters, h, w}
		size := test.n * test.conv.Filters * h * w
		for _, ep := range []Epilogue{
			{},
			{Activation: Activation{Function: HardSwish}},
			{RowBias: s.values(test.conv.Filters), Residual: s.values(size), Activation: Activation{Function: Relu}},
			{RowBias: s.values(test.conv.Filters), Residual: s.values(size), Activation: Activation{Function: HardSwish}},
		} {
			want := naiveConv(test.conv, weights, x, y, ep)
			bound := 4e-5 * max(1, slices.Max(want))
			eachLevel(t, func(t *testing.T) {
				for _, method := range []Method{Winograd2, Winograd4} {
					if !winogradHere() {
						continue
					}
					what := fmt.Sprintf("%s: tiles of %d, %+v, %d x %d x %d, %+v", test.name, method.tile(), test.conv, test.n, test.h, test.w, ep.Activation)
					packed := Memory(nil).PackConvBy(method, test.conv, weights, FP32)
					var first []float32
					for _, threads := range []int{1, 3} {
						y.Data = s.values(size)
						Conv2D(newTestPool(t, threads), packed, x, y, ep)
						near(t, what, y.Data, want, bound)
						if first != nil && !slices.Equal(first, y.Data) {
							t.Fatalf("%s: the bits depend on the number of threads", what)
						}
						first = slices.Clone(y.Data)
					}
					if ep.Residual != nil && packed.AddsInPlace() {
						y.Data = slices.Clone(ep.Residual)
						added := ep
						added.Residual = y.Data
						Conv2D(newTestPool(t, 2), packed, x, y, added)
						near(t, what+", in place", y.Data, want, bound)
					}
				}
			})
		}
	}
}

// What tiles lose is bounded: the products of 256 channels are as near to those in float64 as they are
// without tiles by tiles of 2, and by tiles of 4 to some ten units in the last place of the largest.
func TestWinogradLosesLittle(t *testing.T) {
	conv := Conv{256, 16, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}
	s := newSource(t, rand.Uint64())
	weights, x := s.values(conv.Filters*conv.Channels*9), Images{s.values(conv.Channels * 20 * 20), 1, conv.Channels, 20, 20}
	y := Images{make([]float32, conv.Filters*20*20), 1, conv.Filters, 20, 20}
	want := naiveConv(conv, weights, x, y, Epilogue{})
	largest := slices.Max(want)
	eachLevel(t, func(t *testing.T) {
		if !winogradHere() {
			return
		}
		for method, bound := range map[Method]float64{Winograd2: 4e-6, Winograd4: 4e-5} {
			Conv2D(newTestPool(t, 2), Memory(nil).PackConvBy(method, conv, weights, FP32), x, y, Epilogue{})
			near(t, fmt.Sprint("tiles of ", method.tile()), y.Data, want, bound*largest)
		}
	})
}

// Both transformations are what portable Go makes of them, bit for bit where nothing is rounded.
func TestWinogradTransformationsAreThePortableOnes(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		if !winogradHere() {
			return
		}
		for _, m := range []int{2, 4} {
			s := newSource(t, uint64(m))
			whole := func(n int) []float32 {
				x := s.values(n)
				for i, v := range x {
					x[i] = float32(math.Round(float64(64 * v)))
				}
				return x
			}
			const planes, side = 300, 17
			const step = planes * panelWidth
			w := Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 2, 0, 1}}
			h, cols := w.OutSize(side, side)
			places := (m + 2) * (m + 2)
			x, products := whole(planes*side*side), whole(places*maxSpots*spotCols)
			for _, run := range newWinogradTiling(m, w, [2]int{side, side}, [2]int{h, cols}).runs {
				got, want := make([]float32, places*step), make([]float32, places*step)
				in := winogradIn{run: &run, src: x, width: side, plane: side * side, planes: planes, step: step, rows: make([]float32, places*panelWidth)}
				in.dst = want
				in.portable(m)
				in.dst = got
				in.transform(CurrentLevel(), m)
				for i := range got {
					if lane := i % panelWidth; lane%8 < run.tiles[lane/8] && got[i] != want[i] {
						t.Fatalf("tiles of %d, %+v: value %d is %v, want %v", m, run, i, got[i], want[i])
					}
				}
				out := winogradOut{src: products, tiles: run.rows}
				size := m * maxSpots * m * spotCols
				out.dst = make([]float32, size)
				out.portable(m)
				want, out.dst = out.dst, make([]float32, size)
				out.run(CurrentLevel(), m)
				if !slices.Equal(out.dst, want) {
					t.Fatalf("tiles of %d, %d of them: results differ", m, run.rows)
				}
			}
		}
	})
}

// Every result is in one tile of a run that the registers hold.
func TestWinogradTilingCoversThePlane(t *testing.T) {
	for _, m := range []int{2, 4} {
		for height := 1; height < 12; height++ {
			for width := 1; width < 70; width++ {
				seen := make([]int, height*width)
				for _, run := range newWinogradTiling(m, Window{}, [2]int{height, width}, [2]int{height, width}).runs {
					if run.rows < 1 || run.rows > maxSpots {
						t.Fatalf("%d x %d, tiles of %d: %+v", height, width, m, run)
					}
					for half, tiles := range run.tiles {
						if tiles > 7 || half*run.rows/2+tiles > run.rows {
							t.Fatalf("%d x %d, tiles of %d: %+v", height, width, m, run)
						}
						for row := run.top[half]; row < min(run.top[half]+m, height); row++ {
							for col := run.left[half]; col < min(run.left[half]+tiles*m, width); col++ {
								seen[row*width+col]++
							}
						}
					}
				}
				if slices.Min(seen) != 1 || slices.Max(seen) != 1 {
					t.Fatalf("%d x %d, tiles of %d: results are computed so often: %v", height, width, m, seen)
				}
			}
		}
	}
}

func TestWinogradAllocatesNothing(t *testing.T) {
	if detectingRaces || !winogradHere() {
		t.Skip("memory is given back to pools, which forget some of it where races are detected")
	}
	s := newSource(t, 1)
	conv := Conv{64, 32, 1, Window{Kernel: [2]int{3, 3}, Pads: [4]int{1, 1, 1, 1}}}
	packed := Memory(nil).PackConvBy(Winograd4, conv, s.values(64*32*9), FP32)
	x, y := Images{s.values(2 * 64 * 900), 2, 64, 30, 30}, Images{s.values(2 * 32 * 900), 2, 32, 30, 30}
	pool := newTestPool(t, 2)
	// Scratch memory may be collected in between.
	if got := testing.AllocsPerRun(20, func() { Conv2D(pool, packed, x, y, Epilogue{}) }); got > 0.5 {
		t.Errorf("%v allocations", got)
	}
}
