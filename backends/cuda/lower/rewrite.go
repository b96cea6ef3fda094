package lower

import (
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// Rewrite replaces patterns of nodes by one operator, before a graph is lowered for any shape.
func Rewrite(g *onnx.Graph) { rewrite.Apply(g, rewrite.Standard) }
