package kernels

import (
	"math"
	"testing"
)

// ulp returns the distance of got from want in units in the last place of want as a float32.
func ulp(got float32, want float64) float64 {
	g := float64(got)
	switch {
	case math.IsNaN(want) || math.IsNaN(g):
		if math.IsNaN(want) && math.IsNaN(g) {
			return 0
		}
		return math.Inf(1)
	case g == want || math.IsInf(float64(float32(want)), 0) && float32(want) == got:
		return 0
	case math.IsInf(g, 0) != math.IsInf(float64(float32(want)), 0):
		return math.Inf(1)
	}
	_, exponent := math.Frexp(want)
	return math.Abs(g-want) / math.Ldexp(1, max(exponent-24, -149))
}

var bounds = []struct {
	activation Activation
	ulps, abs  float64 // either is enough
}{
	{activation: Activation{Function: Exp}, ulps: 1},
	{activation: Activation{Function: Tanh}, ulps: 2},
	{activation: Activation{Function: Erf}, ulps: 2},
	{activation: Activation{Function: Sigmoid}, ulps: 3},
	{activation: Activation{Function: Silu}, ulps: 4, abs: 1e-40},
	{activation: Activation{Function: GeluErf}, ulps: 4, abs: 1e-7},
	{activation: Activation{Function: GeluTanh}, ulps: 4, abs: 1e-7},
	{activation: Activation{Function: Sqrt}, ulps: 0.5},
	{activation: Activation{Function: Reciprocal}, ulps: 0.5},
	{activation: Activation{Function: Log}, ulps: 1},
	{activation: Activation{Function: Softplus}, ulps: 1},
	{activation: Activation{Function: Elu, Alpha: 1.5}, ulps: 4},
}

func TestActivationsAreAsAccurateAsTheySay(t *testing.T) {
	const step = 16411 // a prime: every exponent, all kinds of mantissa
	x := make([]float32, 0, 1<<32/step)
	for bits := uint64(0); bits < 1<<32; bits += step {
		x = append(x, math.Float32frombits(uint32(bits)))
	}
	y := make([]float32, len(x))
	eachLevel(t, func(t *testing.T) {
		for _, bound := range bounds {
			Apply(y, x, bound.activation)
			f := bound.activation.exact()
			worst, at := 0.0, float32(0)
			for i := range x {
				want := f(float64(x[i]))
				if math.Abs(float64(y[i])-want) <= bound.abs {
					continue
				}
				if u := ulp(y[i], want); u > worst {
					worst, at = u, x[i]
				}
			}
			if worst > bound.ulps {
				t.Errorf("function %d: error %.3g ulp at %v, at most %v", bound.activation.Function, worst, at, bound.ulps)
			}
		}
	})
}

// simple are the functions that every level computes alike.
var simple = []Activation{
	{},
	{Function: Relu},
	{Function: Clip, Min: -0.25, Max: 0.5},
	{Function: Clip, Min: 1, Max: -1},
	{Function: LeakyRelu, Alpha: 0.01},
	{Function: LeakyRelu, Alpha: -2},
	{Function: HardSigmoid, Alpha: 0.2, Beta: 0.5},
	{Function: HardSwish},
	{Function: Sqrt},
	{Function: Abs},
	{Function: Neg},
	{Function: Reciprocal},
	{Function: Square},
}

func TestSimpleActivationsAreEqualAtEveryLevel(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, n := range lengths {
			s := newSource(t, uint64(n))
			x := s.odd(n)
			for _, a := range simple {
				want := make([]float32, n)
				applyPortable(want, x, a)
				y := s.values(n)
				Apply(y, x, a)
				equal(t, describe(a), y, want)
				inPlace := s.copyOf(x)
				Apply(inPlace, inPlace, a)
				equal(t, "in place "+describe(a), inPlace, want)
			}
		}
	})
}

// A value's result must not depend on where in a vector it stands.
func TestActivationsDoNotDependOnPosition(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		s := newSource(t, 7)
		x := s.odd(70)
		for f := range functions {
			a := Activation{Function: f, Alpha: 0.3, Beta: 0.2, Min: -1, Max: 0.5}
			all := s.values(len(x))
			Apply(all, x, a)
			for i := range x {
				one := s.values(1)
				Apply(one, x[i:i+1], a)
				equal(t, describe(a), one, all[i:i+1])
			}
		}
	})
}

func TestActivationsKeepNaN(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for f := range functions {
			y := []float32{0}
			Apply(y, []float32{float32(math.NaN())}, Activation{Function: f, Alpha: 1, Min: -1, Max: 1})
			if y[0] == y[0] {
				t.Errorf("function %d of NaN = %v, want NaN", f, y[0])
			}
		}
	})
}

func TestActivationsAtTheEnds(t *testing.T) {
	inf := math.Inf(1)
	tests := []struct {
		function Function
		x, want  float64
	}{
		{Relu, -inf, 0}, {Relu, inf, inf},
		{Elu, -inf, -1}, {Elu, inf, inf}, {Exp, -inf, 0}, {Exp, inf, inf}, {Exp, 89, inf}, {Exp, -104, 0}, {Exp, -104.1, 0},
		{Tanh, -inf, -1}, {Tanh, inf, 1},
		{Erf, -inf, -1}, {Erf, inf, 1},
		{Sigmoid, -inf, 0}, {Sigmoid, inf, 1},
		{Silu, -inf, 0}, {Silu, inf, inf}, {Silu, -3e38, 0},
		{GeluErf, -inf, 0}, {GeluErf, inf, inf}, {GeluErf, -3e38, 0},
		{GeluTanh, -inf, 0}, {GeluTanh, inf, inf}, {GeluTanh, -3e38, 0}, {GeluTanh, 3e38, 3e38},
		{Log, 0, -inf}, {Log, inf, inf},
	}
	eachLevel(t, func(t *testing.T) {
		for _, test := range tests {
			y := []float32{0}
			Apply(y, []float32{float32(test.x)}, Activation{Function: test.function, Alpha: 1})
			if y[0] != float32(test.want) {
				t.Errorf("function %d of %v = %v, want %v", test.function, test.x, y[0], test.want)
			}
		}
	})
}
