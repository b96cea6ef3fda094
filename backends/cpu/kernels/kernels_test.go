package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// eachLevel runs the test at every level that this machine has and kernels for float32 tell apart.
func eachLevel(t *testing.T, f func(t *testing.T)) { atLevels(t, AVX512, f) }

// everyLevel runs the test at every level that this machine has.
func everyLevel(t *testing.T, f func(t *testing.T)) { atLevels(t, Best(), f) }

func atLevels(t *testing.T, last Level, f func(t *testing.T)) {
	for _, l := range Levels() {
		if l > last {
			break
		}
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

// source makes random slices, in guarded memory, that can be made again from its seed.
type source struct {
	*rand.Rand
	t testing.TB
}

func newSource(t testing.TB, seed uint64) source { return source{rand.New(rand.NewPCG(seed, 1)), t} }

// values returns n values from -1 to 1.
func (s source) values(n int) []float32 {
	x := guarded(s.t, n)
	for i := range x {
		x[i] = s.Float32()*2 - 1
	}
	return x
}

// odd returns n values, many of them NaN, infinite, zero of either sign, tiny or large.
func (s source) odd(n int) []float32 {
	special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1e-42, -1e-42, 1e38, -1e38}
	x := s.values(n)
	for i := range x {
		if s.IntN(2) == 0 {
			x[i] = float32(special[s.IntN(len(special))])
		}
	}
	return x
}

// copyOf returns x in guarded memory.
func (s source) copyOf(x []float32) []float32 {
	y := guarded(s.t, len(x))
	copy(y, x)
	return y
}

// near fails unless got is within tol (absolute and relative) of want everywhere, NaN for NaN.
func near(t testing.TB, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if err := difference(got, want, tol); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// difference returns the first place where got is not within tol of want.
func difference(got []float32, want []float64, tol float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d values, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := float64(got[i])
		if math.IsNaN(w) && math.IsNaN(g) || g == w {
			continue
		}
		if !(math.Abs(g-w) <= tol+tol*math.Abs(w)) {
			return fmt.Errorf("[%d] = %v, want %v", i, g, w)
		}
	}
	return nil
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

// equal is same but for NaN, of which there are many.
func equal(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
			t.Fatalf("%s: [%d] of %d = %v, want %v", what, i, len(got), g, w)
		}
	}
}

// lengths are all small ones, odd larger ones and one beyond what assembly is given at a time.
var lengths = func() []int {
	var all []int
	for n := range 71 {
		all = append(all, n)
	}
	return append(all, 127, 255, 1025, chunk+17)
}()
