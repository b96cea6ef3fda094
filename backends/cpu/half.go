package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// buildWidened builds a node on FP16 or BF16 that has no kernel of its own: its values become
// FP32, are computed with, and are rounded back.
func buildWidened(n *node, op builder) (kernel, error) {
	wide := *n.Node
	wide.Inputs, wide.Outputs = slices.Clone(n.Inputs), slices.Clone(n.Outputs)
	w := &node{Node: &wide, engine: n.engine}
	var k widened
	var err error
	if k.widen, err = w.conversions(wide.Inputs, toFP32); err != nil {
		return nil, err
	}
	if k.narrow, err = w.conversions(wide.Outputs, fromFP32); err != nil {
		return nil, err
	}
	if k.inner, err = op(w); err == nil {
		err = w.err
	}
	n.taken = w.taken
	return k.kernel, err
}

// widened is a kernel on FP32 and what converts its inputs and outputs, nil where they stay.
type widened struct {
	inner         kernel
	widen, narrow []kernel
}

func (w widened) kernel(r *run, in, out []*tensor) error {
	wideIn, wideOut := slices.Clone(in), slices.Clone(out)
	for i, cast := range w.widen {
		if cast == nil || in[i] == nil {
			continue
		}
		wideIn[i] = r.scratch()
		if err := cast(r, in[i:i+1], wideIn[i:i+1]); err != nil {
			return err
		}
	}
	for i, cast := range w.narrow {
		if cast != nil && out[i] != nil {
			wideOut[i] = r.scratch()
		}
	}
	if err := w.inner(r, wideIn, wideOut); err != nil {
		return err
	}
	for i, cast := range w.narrow {
		if cast == nil || out[i] == nil {
			continue
		}
		if err := cast(r, wideOut[i:i+1], out[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func isHalf(v *onnx.Value) bool {
	return v != nil && (v.Datatype == backends.FP16 || v.Datatype == backends.BF16)
}

// hasHalves says whether a value of the node is FP16 or BF16.
func (n *node) hasHalves() bool {
	return slices.ContainsFunc(n.Inputs, isHalf) || slices.ContainsFunc(n.Outputs, isHalf)
}

func toFP32(d backends.Datatype) (from, to backends.Datatype)   { return d, backends.FP32 }
func fromFP32(d backends.Datatype) (from, to backends.Datatype) { return backends.FP32, d }

// conversions replaces each FP16 or BF16 value by one of FP32 and returns the kernels that
// convert those, nil for all others.
func (n *node) conversions(values []*onnx.Value, direction func(d backends.Datatype) (from, to backends.Datatype)) ([]kernel, error) {
	kernels := make([]kernel, len(values))
	for i, v := range values {
		if !isHalf(v) {
			continue
		}
		k, err := converter(n, v.Datatype, backends.FP32)
		if err != nil {
			return nil, err
		}
		wide := *v
		wide.Datatype = backends.FP32
		if v.Const != nil {
			if wide.Const, err = n.engine.converted(v.Const, k); err != nil {
				return nil, err
			}
		}
		values[i] = &wide
		from, to := direction(v.Datatype)
		if kernels[i], err = converter(n, from, to); err != nil {
			return nil, err
		}
	}
	return kernels, nil
}

// converted applies a conversion to a constant.
func (e *engine) converted(b *backends.Tensor, k kernel) (*backends.Tensor, error) {
	from, to := new(tensor), new(tensor)
	if err := from.importTensor(b); err != nil {
		return nil, err
	}
	if err := k(&run{engine: e, limit: e.limit}, []*tensor{from}, []*tensor{to}); err != nil {
		return nil, err
	}
	made := to.exportTensor(b.Name)
	return &made, nil
}
