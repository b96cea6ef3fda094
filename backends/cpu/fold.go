package cpu

import (
	"context"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// evaluate computes one node from constants: the evaluator that onnx.Graph.Fold asks for.
func (e *engine) evaluate(n *onnx.Node, inputs []*backends.Tensor) ([]*backends.Tensor, error) {
	s, err := build(n, e)
	if err != nil {
		return nil, err
	}
	r := &run{engine: e, ctx: context.Background(), limit: e.limit, values: make([]tensor, len(inputs)+len(n.Outputs))}
	for i, t := range inputs {
		if t == nil || s.in[i] < 0 {
			s.in[i] = -1
			continue
		}
		s.in[i] = i
		if err := r.values[i].importTensor(t); err != nil {
			return nil, err
		}
	}
	for i, slot := range s.out {
		if slot >= 0 {
			s.out[i] = len(inputs) + i
		}
	}
	if err := r.do(&s); err != nil {
		return nil, err
	}
	results := make([]*backends.Tensor, len(n.Outputs))
	for i, slot := range s.out {
		if slot >= 0 {
			t := r.values[slot].exportTensor(n.Outputs[i].Name)
			results[i] = &t
		}
	}
	return results, nil
}
