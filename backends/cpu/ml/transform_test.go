package ml

import (
	"errors"
	"math"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestTransforms(t *testing.T) {
	e := math.E
	for _, row := range []struct {
		name string
		t    Transform
		in   []float64
		want []float64
	}{
		{"none", NoTransform, []float64{-3, 4}, []float64{-3, 4}},
		{"softmax of equals", Softmax, []float64{7, 7}, []float64{0.5, 0.5}},
		{"softmax one apart", Softmax, []float64{1, 0}, []float64{e / (1 + e), 1 / (1 + e)}},
		{"softmax of numbers whose exponentials overflow", Softmax, []float64{5000, 4999}, []float64{e / (1 + e), 1 / (1 + e)}},
		{"logistic of 0", Logistic, []float64{0, 0}, []float64{0.5, 0.5}},
		{"logistic of the far ends", Logistic, []float64{-1000, 1000}, []float64{0, 1}},
		{"softmax that leaves zero at zero", SoftmaxZero, []float64{1, 0, 1}, []float64{0.5, 0, 0.5}},
		{"probit of one half", Probit, []float64{0.5, 0.5}, []float64{0, 0}},
		{"probit, an approximation", Probit, []float64{0.975, 0.025}, []float64{1.9566, -1.9566}},
		{"probit of the ends", Probit, []float64{0, 1}, []float64{math.Inf(-1), math.Inf(1)}},
	} {
		wide := append([]float64(nil), row.in...)
		apply(row.t, wide)
		narrow := make([]float32, len(row.in))
		for i, v := range row.in {
			narrow[i] = float32(v)
		}
		apply(row.t, narrow)
		for i, want := range row.want {
			tolerance := 1e-6
			if row.t == Probit {
				tolerance = 1e-3
			}
			if !near(wide[i], want, tolerance) || !near(float64(narrow[i]), want, tolerance) {
				t.Errorf("%s: %v and %v, want %v", row.name, wide, narrow, row.want)
				break
			}
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for name, parse := range map[string]func() error{
		"transform":          func() error { _, err := ParseTransform("SOFT"); return err },
		"transform number":   func() error { _, err := NumberedTransform(5); return err },
		"negative transform": func() error { _, err := NumberedTransform(-1); return err },
		"aggregate":          func() error { _, err := ParseAggregate("sum"); return err },
		"aggregate number":   func() error { _, err := NumberedAggregate(4); return err },
		"norm":               func() error { _, err := ParseNorm("L3"); return err },
		"kernel":             func() error { _, err := ParseSVMKernel("GAUSS", nil); return err },
		"kernel parameters":  func() error { _, err := ParseSVMKernel("RBF", []float32{1}); return err },
	} {
		if err := parse(); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%s: %v, want an ErrInvalid", name, err)
		}
	}
}
