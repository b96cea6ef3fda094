package golden

import (
	"cmp"
	"fmt"
	"math"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// Limits say how far a model's answers may be from the reference's. A limit of 0 is none.
type Limits struct {
	// Elementwise holds each floating-point element to the set's tolerance, and all others to
	// be equal: a set's tolerance is meant for a model in FP32.
	Elementwise bool

	MinCosine float64 // of every output's MinCosine; its Distance is then bounded, too: see MaxDistance
	MinEqual  float64 // of every output's Equal
	MinTop1   float64 // of every output's Top1
}

// LimitsAt returns the limits for a model that computes in a precision, as its signature says:
// elementwise for fp32, and where the model does not say; at a lower one a cosine of 0.999, of
// int8 0.99, and 99 of 100 elements that are no floating-point numbers equal.
func LimitsAt(precision string) Limits {
	switch precision {
	case "", "fp32", "fp64":
		return Limits{Elementwise: true}
	case "int8":
		return Limits{MinCosine: 0.99, MinEqual: 0.99}
	}
	return Limits{MinCosine: 0.999, MinEqual: 0.99}
}

// MaxDistance returns the largest Distance that l allows: the one of an answer that is as long as
// the reference and has MinCosine to it. It is infinite without MinCosine.
//
// A cosine alone says nothing of an answer that is too large by a factor, and nothing of a single
// number.
func (l Limits) MaxDistance() float64 {
	if l.MinCosine == 0 {
		return math.Inf(1)
	}
	return math.Sqrt(2 * (1 - l.MinCosine))
}

// check reports the first figure that l does not allow.
func (l Limits) check(o catalog.OutputAccuracy, precision string) error {
	for _, f := range o.Figures {
		least, most, setting := 0.0, math.Inf(1), ""
		switch f.Kind {
		case MinCosine:
			least, setting = l.MinCosine, "golden.min_cosine"
		case Distance:
			most, setting = l.MaxDistance(), "golden.min_cosine"
		case Equal:
			least, setting = l.MinEqual, "golden.min_equal"
		case Top1:
			least, setting = l.MinTop1, "golden.min_top1"
		}
		bound := fmt.Sprintf("at least %.4g", least)
		if f.Value > most {
			bound = fmt.Sprintf("at most %.4g", most)
		} else if least == 0 || f.Value >= least {
			continue
		}
		return backends.Errorf(backends.ErrInvalid, "golden set: output %q: %s is %.4g at precision %s, and must be %s: use a higher precision, or lower %s in model.yaml",
			o.Name, f.Kind, f.Value, cmp.Or(precision, "unknown"), bound, setting)
	}
	return nil
}
