package cpu

import (
	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// Fold computes on this processor what is known of g at load, for the engine of another device;
// see onnx.Graph.Fold. Nodes for which keep is true stay.
func Fold(g *onnx.Graph, keep func(*onnx.Node) bool) error {
	e := &engine{pool: kernels.NewPool(1), limit: MaxTensorBytes, iterations: MaxIterations}
	defer e.close()
	return g.Fold(func(n *onnx.Node, inputs []*backends.Tensor) ([]*backends.Tensor, error) {
		if keep(n) {
			return nil, onnx.Unsupported(n, "it stays")
		}
		return e.evaluate(n, inputs)
	})
}
