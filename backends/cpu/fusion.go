package cpu

import "github.com/thrumserve/thrum/backends/onnx"

// Attributes that fusions give to nodes. No file can hold them: a file's attributes have
// other types.
const (
	fusedActivation = "thrum.activation" // a kernels.Activation of the result
	fusedResidual   = "thrum.residual"   // there if the last input is added to the result
)

// fuse rewrites patterns of g that one kernel computes.
func fuse(*onnx.Graph) {}
