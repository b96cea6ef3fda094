package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// Blocks of all sizes are what portable Go makes of them. The values are multiples of a quarter, so
// that no sum is rounded.
func TestSpotsAreThePortableOnes(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		for _, p := range []Precision{FP32, BF16} {
			if leftStep(p, CurrentLevel()) != 1 || CurrentLevel() == AVX2 {
				continue
			}
			for rows := 1; rows <= maxSpots; rows++ {
				for _, cols := range []int{1, 15, 16, 17, 31, 32} {
					got, want := testSpots(t, p, rows, cols), testSpots(t, p, rows, cols)
					got.run(CurrentLevel())
					got.turn(CurrentLevel())
					want.portable()
					want.turnPortable()
					if !slices.Equal(got.dst, want.dst) {
						t.Fatalf("%v, %d x %d: %v, want %v", p, rows, cols, got.dst, want.dst)
					}
				}
			}
		}
	})
}

// testSpots returns a block of five units in planes of 60 positions.
func testSpots(t *testing.T, p Precision, rows, cols int) *spots {
	s := newSource(t, uint64(rows*100+cols))
	quarters := func(n int) []float32 {
		x := s.values(n)
		for i, v := range x {
			x[i] = float32(math.Round(float64(4*v))) / 4
		}
		return x
	}
	units := func(n int) []float32 {
		x := quarters(n)
		if p == BF16 {
			for i, odd := range quarters(n) {
				x[i] = pair(x[i], odd)
			}
		}
		return x
	}
	const k = 5
	b := &spots{
		precision: p, rows: rows, cols: cols, half: 20, plane: 30, panel: k * panelWidth,
		a: units(k * 60), b: units(2 * k * panelWidth), offsets: []int{0, 61, 125, 180, 239},
		bias: quarters(cols), sums: make([]float32, turnRows*spotCols), lo: -2, hi: 3,
	}
	b.next = b.b
	b.dst, b.residual = make([]float32, cols*b.plane), quarters(cols*b.plane)
	return b
}

// Every position of y is in one run, and the runs follow each other.
func TestSpotRunsCoverThePlane(t *testing.T) {
	for height := 1; height < 5; height++ {
		for width := 1; width < 60; width++ {
			for _, gap := range []int{0, 2} {
				t.Run(fmt.Sprint(height, width, gap), func(t *testing.T) {
					next := 0
					for _, r := range spotRuns([2]int{height, width}, width+gap) {
						if int(r.to) != next || r.rows < 1 || r.rows > maxSpots {
							t.Fatalf("%+v after %d positions", r, next)
						}
						for i := range int(r.rows) {
							at, row := int(r.at)+i, int(r.to)+i
							if i >= int(r.rows)/2 {
								at = int(r.at) + int(r.half) + i - int(r.rows)/2
							}
							if want := row/width*(width+gap) + row%width; at != want {
								t.Fatalf("%+v has position %d at %d, want %d", r, row, at, want)
							}
						}
						next += int(r.rows)
					}
					if next != height*width {
						t.Fatalf("%d positions, want %d", next, height*width)
					}
				})
			}
		}
	}
}
