package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
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

// fusion looks for one pattern that ends at n. If it is there, n becomes the node that
// computes all of it, and the answer is true; the nodes before it are left to who reads them
// still.
type fusion func(r *rewriting, n *onnx.Node) bool

// allFusions are in the order in which they look: first what makes one operator of many, then
// what one kernel computes of several operators.
var allFusions = []fusion{
	fuseDynamicConv, fuseDynamicConvBias, fuseByteTable,
	fuseBagLoop, fuseEmbeddingBag, fuseEmbeddingBags, fuseGelu, fuseGeluTanh, fuseSilu, fuseHardSigmoid, fuseHardSwish, fuseLayerNorm,
	fuseBatchNorm, fuseLinear, fuseFlatTranspose, fuseTransposes,
	fuseScaledInput, fuseTransposedInput, fuseScaledInput, fuseScale, fuseTransposedOutput, fuseMask,
	fuseAttention, fuseHeads, fuseProjections,
	fuseResidual, fuseActivation,
}

// fuse rewrites g by the fusions, one after the other.
func fuse(g *onnx.Graph, all []fusion) { fuseWithin(g, g, all) }

// fuseWithin rewrites g, which is root or the body of a node in it, and then all bodies in g.
func fuseWithin(root, g *onnx.Graph, all []fusion) {
	r := &rewriting{root: root, graph: g}
	show := r.hideOutside()
	r.refresh()
	for _, f := range all {
		for _, n := range slices.Clone(g.Nodes) {
			if f(r, n) {
				r.refresh()
			}
		}
	}
	show()
	for _, n := range g.Nodes {
		for _, v := range n.Attrs {
			if body, ok := v.(*onnx.Graph); ok {
				fuseWithin(root, body, all)
			}
		}
	}
}

// rewriting is a graph with what fusions need to know of it.
type rewriting struct {
	root    *onnx.Graph                  // has the values of all graphs
	graph   *onnx.Graph                  // that is rewritten
	readers map[*onnx.Value][]*onnx.Node // one entry for each time that a node reads the value
}

// hideOutside makes the values that a body reads of the graphs around it look like inputs: the nodes
// that produce them are not its own to rewrite. It returns what undoes that.
func (r *rewriting) hideOutside() (show func()) {
	producers := map[*onnx.Value]*onnx.Node{}
	for _, n := range r.graph.Nodes {
		for _, v := range n.Inputs {
			if v != nil && v.Producer != nil {
				producers[v] = v.Producer
			}
		}
	}
	for _, n := range r.graph.Nodes {
		for _, v := range n.Outputs {
			delete(producers, v)
		}
	}
	for v := range producers {
		v.Producer = nil
	}
	return func() {
		for v, n := range producers {
			v.Producer = n
		}
	}
}

// refresh drops nodes that nothing needs and finds out anew who reads what.
func (r *rewriting) refresh() {
	r.graph.Nodes = liveNodes(r.graph)
	r.readers = map[*onnx.Value][]*onnx.Node{}
	for _, n := range r.graph.Nodes {
		for _, v := range n.Inputs {
			r.readers[v] = append(r.readers[v], n)
		}
	}
	for _, v := range r.graph.Outputs {
		r.readers[v] = append(r.readers[v], nil)
	}
}

// private says that v is read once, by a node.
func (r *rewriting) private(v *onnx.Value) bool {
	return len(r.readers[v]) == 1 && r.readers[v][0] != nil
}

// constant adds a constant to the graph.
func (r *rewriting) constant(t backends.Tensor) *onnx.Value {
	v := &onnx.Value{ID: len(r.root.Values), Name: t.Name, Datatype: t.Datatype, HasShape: true, Const: &t}
	for _, d := range t.Shape {
		v.Shape = append(v.Shape, onnx.Dim{Size: d})
	}
	r.root.Values = append(r.root.Values, v)
	return v
}

// become makes n an operator of ai.onnx, with the same outputs.
func become(n *onnx.Node, op string, attrs onnx.Attrs, inputs ...*onnx.Value) bool {
	n.Domain, n.Op, n.Opset = "", op, newestOpset
	n.Attrs, n.Inputs = attrs, inputs
	return true
}

// absorb makes n what the layer before it was, with other attributes and inputs.
func absorb(n, layer *onnx.Node, attrs onnx.Attrs, inputs ...*onnx.Value) bool {
	n.Domain, n.Op, n.Opset, n.Name = layer.Domain, layer.Op, layer.Opset, layer.Name
	n.Attrs, n.Inputs = attrs, inputs
	return true
}

// newestOpset is the opset in whose meaning fusions make nodes of ai.onnx.
const newestOpset = 24

// made returns the node that produces v, if it is one of the operators.
func made(v *onnx.Value, ops ...string) *onnx.Node {
	if v == nil || v.Producer == nil || v.Const != nil || v.Producer.Domain != "" || !slices.Contains(ops, v.Producer.Op) {
		return nil
	}
	return v.Producer
}

// scalar returns the one element of an FP32 constant.
func scalar(v *onnx.Value) (float32, bool) {
	if v == nil || v.Const == nil || v.Datatype != backends.FP32 || v.Const.Elements() != 1 {
		return 0, false
	}
	t := new(tensor)
	if t.importTensor(v.Const) != nil {
		return 0, false
	}
	return view[float32](t)[0], true
}

// is says that v is a constant of about that value.
func is(v *onnx.Value, want float64) bool {
	have, ok := scalar(v)
	return ok && math.Abs(float64(have)-want) <= 1e-3*math.Abs(want)
}

// other returns the input of a node of two that is not v; nil if neither or both are.
func other(n *onnx.Node, v *onnx.Value) *onnx.Value {
	if n == nil || len(n.Inputs) != 2 || n.Inputs[0] == n.Inputs[1] {
		return nil
	}
	switch v {
	case n.Inputs[0]:
		return n.Inputs[1]
	case n.Inputs[1]:
		return n.Inputs[0]
	}
	return nil
}

// times returns v if the node that makes x is v·factor, in either order, or v/(1/factor).
func times(x *onnx.Value, factor float64) *onnx.Value {
	if n := made(x, "Mul"); n != nil {
		for i, v := range n.Inputs {
			if is(v, factor) {
				return n.Inputs[1-i]
			}
		}
	}
	if n := made(x, "Div"); n != nil && is(n.Inputs[1], 1/factor) {
		return n.Inputs[0]
	}
	return nil
}

// plus returns v if the node that makes x is v+term, in either order.
func plus(x *onnx.Value, term float64) *onnx.Value {
	if n := made(x, "Add"); n != nil {
		for i, v := range n.Inputs {
			if is(v, term) {
				return n.Inputs[1-i]
			}
		}
	}
	return nil
}

// isFP32 says that v is a value of the run of type FP32.
func isFP32(v *onnx.Value) bool { return v != nil && v.Datatype == backends.FP32 }
