package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// eachLevel runs the test at every level that this machine has.
func eachLevel(t *testing.T, f func(t *testing.T)) {
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

func newTestPool(t testing.TB, threads int) *Pool {
	p := NewPool(threads)
	t.Cleanup(p.Close)
	return p
}

// source makes random slices that can be made again from its seed.
type source struct{ *rand.Rand }

func newSource(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 1))} }

func (s source) values(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = s.Float32()*2 - 1
	}
	return x
}

// near fails unless got is within tol (absolute and relative) of want everywhere, NaN for NaN.
func near(t testing.TB, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		g := float64(got[i])
		if math.IsNaN(w) && math.IsNaN(g) || g == w {
			continue
		}
		if !(math.Abs(g-w) <= tol+tol*math.Abs(w)) {
			t.Fatalf("%s: [%d] = %v, want %v", what, i, g, w)
		}
	}
}

func same(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: [%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}

func describe(v any) string { return fmt.Sprintf("%+v", v) }
