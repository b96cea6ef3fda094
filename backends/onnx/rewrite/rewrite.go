// Package rewrite replaces patterns of nodes by other nodes. It has what any engine wants, Standard, and
// the means to write rules that only one engine wants.
package rewrite

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// Rule looks for one pattern that ends at n. If it is there, n becomes the node that computes all of
// it, and the answer is true; the nodes before it are left to who reads them still.
type Rule func(g *Graph, n *onnx.Node) bool

// Apply rewrites g by the rules, one after the other, and drops what nothing needs any more.
func Apply(g *onnx.Graph, rules []Rule) { apply(g, g, rules) }

// apply rewrites g, which is root or the body of a node in it, and then all bodies in g.
func apply(root, g *onnx.Graph, rules []Rule) {
	r := &Graph{Graph: g, root: root}
	show := r.hideOutside()
	r.refresh()
	for _, rule := range rules {
		for _, n := range slices.Clone(g.Nodes) {
			if rule(r, n) {
				r.refresh()
			}
		}
	}
	show()
	for _, n := range g.Nodes {
		for _, v := range n.Attrs {
			if body, ok := v.(*onnx.Graph); ok {
				apply(root, body, rules)
			}
		}
	}
}

// Graph is a graph that is rewritten, with what rules need to know of it.
type Graph struct {
	*onnx.Graph
	root    *onnx.Graph                  // has the values of all graphs
	readers map[*onnx.Value][]*onnx.Node // one entry for each time that a node reads the value, nil for an output
}

// hideOutside makes the values that a body reads of the graphs around it look like inputs: the nodes
// that produce them are not its own to rewrite. It returns what undoes that.
func (g *Graph) hideOutside() (show func()) {
	producers := map[*onnx.Value]*onnx.Node{}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			if v != nil && v.Producer != nil {
				producers[v] = v.Producer
			}
		}
	}
	for _, n := range g.Nodes {
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
func (g *Graph) refresh() {
	g.Nodes = g.Live()
	g.readers = map[*onnx.Value][]*onnx.Node{}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			g.readers[v] = append(g.readers[v], n)
		}
	}
	for _, v := range g.Outputs {
		g.readers[v] = append(g.readers[v], nil)
	}
}

// Reads returns how often v is read, by nodes and as an output of the graph.
func (g *Graph) Reads(v *onnx.Value) int { return len(g.readers[v]) }

// Private says that v is read once, by a node.
func (g *Graph) Private(v *onnx.Value) bool {
	return len(g.readers[v]) == 1 && g.readers[v][0] != nil
}

// Constant adds a constant to the graph.
func (g *Graph) Constant(t backends.Tensor) *onnx.Value {
	v := &onnx.Value{Name: t.Name, Datatype: t.Datatype, HasShape: true, Const: &t}
	for _, d := range t.Shape {
		v.Shape = append(v.Shape, onnx.Dim{Size: d})
	}
	g.number(v)
	return v
}

// Insert adds a node before the first of others; its outputs are new values.
func (g *Graph) Insert(n *onnx.Node, others []*onnx.Node) {
	for _, v := range n.Outputs {
		v.Producer = n
		g.number(v)
	}
	at := slices.IndexFunc(g.Nodes, func(have *onnx.Node) bool { return slices.Contains(others, have) })
	g.Nodes = slices.Insert(g.Nodes, at, n)
}

func (g *Graph) number(v *onnx.Value) {
	v.ID = len(g.root.Values)
	g.root.Values = append(g.root.Values, v)
}

// Newest is the opset in whose meaning rules make nodes of ai.onnx.
const Newest = 24

// Become makes n an operator of ai.onnx, with the same outputs, and returns true.
func Become(n *onnx.Node, op string, attrs onnx.Attrs, inputs ...*onnx.Value) bool {
	n.Domain, n.Op, n.Opset = "", op, Newest
	n.Attrs, n.Inputs = attrs, inputs
	return true
}

// Absorb makes n what the node before it was, with other attributes and inputs, and returns true.
func Absorb(n, before *onnx.Node, attrs onnx.Attrs, inputs ...*onnx.Value) bool {
	n.Domain, n.Op, n.Opset, n.Name = before.Domain, before.Op, before.Opset, before.Name
	n.Attrs, n.Inputs = attrs, inputs
	return true
}
