package cpu

import (
	"fmt"

	"github.com/thrumserve/thrum/backends/onnx"
)

// operator says how nodes of one operator are built.
type operator struct {
	build builder
	since int64 // the oldest opset whose meaning of the operator build knows
}

// domain is a set of operators by name.
type domain map[string]operator

// domains lists what this engine runs.
var domains = map[string]domain{
	"": standard,
}

// standard is the domain ai.onnx.
var standard = domain{
	"Add":      {buildArithmetic, 7},
	"Identity": {buildIdentity, 1},
	"MatMul":   {buildMatMul, 1},
	"Relu":     {buildUnary, 6},
}

// build returns the kernel of n.
func build(n *onnx.Node, e *engine) (kernel, error) {
	op, ok := domains[n.Domain][n.Op]
	if !ok {
		return nil, unsupported(n, "there is no such operator")
	}
	if n.Opset < op.since {
		return nil, unsupported(n, fmt.Sprintf("it needs opset %d", op.since))
	}
	b := &node{Node: n, engine: e}
	k, err := op.build(b)
	if b.err != nil {
		err = b.err
	}
	if err != nil {
		return nil, fmt.Errorf("node %q (%s): %w", n.Name, n.Op, err)
	}
	return k, nil
}

func buildIdentity(*node) (kernel, error) {
	return func(_ *run, in, out []*tensor) error {
		out[0].share(in[0], in[0].shape)
		return nil
	}, nil
}
