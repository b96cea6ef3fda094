package cpu

import (
	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// parsePrecision returns the precision of a name that a model's options give.
func parsePrecision(name string) (kernels.Precision, error) {
	p, err := kernels.ParsePrecision(name)
	if err != nil {
		return p, backends.Errorf(backends.ErrInvalid, "precision %q: use fp32, bf16 or int8", name)
	}
	return p, nil
}

// precision is what a model's products are computed in.
type precision struct {
	asked kernels.Precision
	used  bool // by a step
}

// ofWeights returns the precision of the products that a step has with constants. It is called
// while the step is built.
func (p *precision) ofWeights() kernels.Precision {
	p.used = true
	return p.asked
}

// ofValues returns the precision of the products that a step has of two values of the run. With
// bytes they are in FP32: a matrix that is quantised anew for each product costs more than it
// gains, and errs more than one whose columns are known.
func (p *precision) ofValues() kernels.Precision {
	if p.asked == kernels.Int8 {
		return kernels.FP32
	}
	p.used = true
	return p.asked
}

// check reports, as an ErrInvalid, a precision that no step uses.
func (p *precision) check() error {
	if p.asked == kernels.FP32 || p.used {
		return nil
	}
	return backends.Errorf(backends.ErrInvalid, "precision %v does nothing: this model has no product that could be computed in it; leave it out", p.asked)
}
