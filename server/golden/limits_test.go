package golden

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestLimitsAtALowerPrecision(t *testing.T) {
	const hundred = `{"tolerance": {"abs": 1e-9, "rel": 1e-9}, "cases": [{"name": "a row",
		"inputs":  [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}],
		"outputs": [{"name": "sum", "datatype": "FP32", "shape": [2], "data": [3, 7]},
		            {"name": "count", "datatype": "INT64", "shape": [2], "data": [2, 2]}]}]}`
	for _, c := range []struct {
		situation string
		precision string
		p         backends.Predictor
		change    func(*Limits)
		want      string // part of the error; empty for none
	}{
		{"rounded", "bf16", sums(0.01, 2), nil, ""},
		{"rounded, where nothing is to be rounded", "fp32", sums(0.01, 2), nil, "tolerance"},
		{"rounded, where the model does not say", "", sums(0.01, 2), nil, "tolerance"},
		{"too far", "bf16", sums(0.4, 2), nil, `output "sum": distance is 0.07428 at precision bf16, and must be at most 0.04472: use a higher precision, or lower golden.min_cosine in model.yaml`},
		{"not too far for a lower one", "int8", sums(0.4, 2), nil, ""},
		{"too far for that, too", "int8", sums(1, 2), nil, `distance is 0.1857 at precision int8, and must be at most 0.1414`},
		{"an angle", "bf16", sums(-5, 2), nil, "and must be"},
		{"further than asked", "int8", sums(0.4, 2), func(l *Limits) { l.MinCosine = 0.9999 }, "at most 0.01414"},
		{"as far as asked", "bf16", sums(0.4, 2), func(l *Limits) { l.MinCosine = 0.99 }, ""},
		{"other labels", "int8", sums(0, 3), nil, `output "count": equal is 0 at precision int8, and must be at least 0.99`},
		{"other labels, as asked", "int8", sums(0, 3), func(l *Limits) { l.MinEqual = 0 }, ""},
		{"a limit of one's own at full precision", "fp32", sums(0, 2), func(l *Limits) { l.MinCosine = 1 }, ""},
	} {
		set, err := Read(write(t, hundred))
		if err != nil {
			t.Fatal(err)
		}
		limits, sig := LimitsAt(c.precision), sig
		sig.Precision = c.precision
		if c.change != nil {
			c.change(&limits)
		}
		accuracy, err := set.Check(t.Context(), sig, c.p, limits)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check = %v, want %q", c.situation, err, c.want)
		}
		if err != nil && !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%s: Check = %v, want an ErrInvalid", c.situation, err)
		}
		if err == nil && (accuracy.Cases != 1 || len(accuracy.Outputs) != 2 || accuracy.Outputs[0].Name != "sum") {
			t.Errorf("%s: Check = %+v, want what was measured of both outputs", c.situation, accuracy)
		}
	}
}

func TestTop1IsHeldOnlyWhereAsked(t *testing.T) {
	g := newGauge(0)
	g.add(fp32(2, 1, 1.001, 3, 4), fp32(2, 1.001, 1, 3, 4))
	o := accuracyOf(g)
	limits := LimitsAt("bf16")
	if err := limits.check(o, "bf16"); err != nil {
		t.Errorf("check = %v, want nil: a golden set has few rows", err)
	}
	limits.MinTop1 = 0.99
	if err := limits.check(o, "bf16"); err == nil || !strings.Contains(err.Error(), "top1 is 0.5 at precision bf16, and must be at least 0.99") {
		t.Errorf("check = %v, want an error about top1", err)
	}
}

func TestMaxDistanceIsThatOfTheAngle(t *testing.T) {
	for cosine, want := range map[float64]float64{0: math.Inf(1), 1: 0, 0.5: 1} {
		if got := (Limits{MinCosine: cosine}).MaxDistance(); math.Abs(got-want) > 1e-12 {
			t.Errorf("MaxDistance at %v = %v, want %v", cosine, got, want)
		}
	}
}
