// Package onnx turns an ONNX file into a checked, typed graph. It knows no device: an engine
// takes the graph from here and makes a plan of it.
package onnx

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// Graph is a checked model: every node's operator is known at its opset, every value is typed,
// nodes stand in an order in which each comes after what it reads.
type Graph struct {
	Name     string
	Producer string           // such as "pytorch 2.15.0"
	Opsets   map[string]int64 // by domain; "" is ai.onnx
	Inputs   []*Value         // without those that are only initializers
	Outputs  []*Value
	Nodes    []*Node
	Values   []*Value // all, those of subgraphs too, Values[i].ID == i; a subgraph has none

	hints   map[*Value]*valueProto // what the file declares of values that nodes or a subgraph's callers produce
	vectors map[*Value]*vector     // what the last inference knows of small integer values
}

// Live returns the nodes that an output needs, in order.
func (g *Graph) Live() []*Node {
	needed := map[*Value]bool{}
	for _, v := range g.Outputs {
		needed[v] = true
	}
	var live []*Node
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(v *Value) bool { return v != nil && v.Const == nil && needed[v] }) {
			continue
		}
		live = append(live, n)
		for _, v := range n.Inputs {
			needed[v] = true
		}
	}
	slices.Reverse(live)
	return live
}

// Value is an edge of the graph: a tensor that a node, an input or an initializer produces.
type Value struct {
	ID       int // index in Graph.Values
	Name     string
	Datatype backends.Datatype
	Shape    []Dim            // meaningful if HasShape
	HasShape bool             // false where even the rank is unknown before the run
	Const    *backends.Tensor // the value itself, where it is known at load
	Producer *Node            // nil for inputs and initializers
	Labels   []string         // what the columns stand for, from a ZipMap
}

// Dim is one dimension: a size, or a name for a size that is not known before the run.
type Dim struct {
	Size int64 // -1 if not known

	// Equal symbols are equal sizes wherever the model's inputs keep what the file says of
	// them; what depends on that for safety checks it at run time. One with a question mark
	// was made up and means nothing to people. May be empty.
	Symbol string
}

// Node is one application of an operator.
type Node struct {
	Op      string
	Domain  string   // "" is ai.onnx
	Name    string   // unique in the graph, made up where the file has none
	Opset   int64    // of the domain, as the model imports it, or the function that held the node
	Inputs  []*Value // nil where an optional input is left out
	Outputs []*Value // nil where an optional output is not wanted
	Attrs   Attrs

	// Captured counts the last of Inputs: those that the file does not list because only
	// the node's subgraphs read them.
	Captured int
}

// Arguments returns the inputs that the file lists.
func (n *Node) Arguments() []*Value { return n.Inputs[:len(n.Inputs)-n.Captured] }

// Attrs are a node's attributes by name. A value is an int64, float32, string,
// *backends.Tensor, *Graph, or a slice of one of the first four. Only If, Loop and Scan have a
// *Graph. Its nodes read values of the graphs around it too; its values are numbered with those
// of the outermost graph, whose Values has them all.
type Attrs map[string]any
