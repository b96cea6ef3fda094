package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// fusions is the domain of the nodes that fusions make. A file cannot import it.
const fusions = "thrum"

// fused are the operators of that domain.
var fused = domain{
	"ByteTable":          {buildByteTable, 1},
	"ConvIntegerToFloat": {buildConvIntegerToFloat, 1},
	"EmbeddingBag":       {buildEmbeddingBag, 1},
	"EmbeddingBags":      {buildEmbeddingBags, 1},
	"Attend":             {buildAttend, 1},
	"Linear":             {buildLinear, 1},
	"Product":            {buildProduct, 1},
}

// Attributes that fusions give to nodes. No file can hold them: a file's attributes have
// other types.
const (
	fusedActivation = "thrum.activation" // a kernels.Activation of the result
	fusedResidual   = "thrum.residual"   // there if the last input is added to the result
)

// allFusions are in the order in which they look: first what makes one operator of many, then
// what one kernel computes of several operators.
var allFusions = slices.Concat(
	[]rewrite.Rule{fuseDynamicConv, fuseDynamicConvBias, fuseByteTable, fuseBagLoop, fuseEmbeddingBag, fuseEmbeddingBags},
	rewrite.Standard,
	[]rewrite.Rule{
		fuseLinear, fuseFlatTranspose, fuseTransposes,
		fuseScaledInput, fuseTransposedInput, fuseScaledInput, fuseScale, fuseTransposedOutput, fuseMask,
		fuseAttention, fuseHeads, fuseProjections,
		fuseResidual, fuseActivation,
	},
)
