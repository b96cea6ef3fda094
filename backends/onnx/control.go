package onnx

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// subgraphs returns the graphs among the attributes.
func (n *Node) subgraphs() []*Graph {
	var all []*Graph
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		if g, ok := n.Attrs[name].(*Graph); ok {
			all = append(all, g)
		}
	}
	return all
}

// capture lists anew what the subgraphs of n read of the graphs around them.
func (n *Node) capture() {
	own := n.Arguments()
	seen := map[*Value]bool{}
	var captured []*Value
	for _, g := range n.subgraphs() {
		for _, v := range g.free() {
			if !seen[v] {
				seen[v] = true
				captured = append(captured, v)
			}
		}
	}
	n.Inputs, n.Captured = slices.Concat(own, captured), len(captured)
}

// free returns the values that g reads but neither has nor gets as inputs. Constants are
// everywhere.
func (g *Graph) free() []*Value {
	bound := map[*Value]bool{nil: true}
	for _, v := range g.Inputs {
		bound[v] = true
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			bound[v] = true
		}
	}
	var all []*Value
	read := func(values []*Value) {
		for _, v := range values {
			if !bound[v] && v.Const == nil {
				bound[v] = true
				all = append(all, v)
			}
		}
	}
	for _, n := range g.Nodes {
		read(n.Inputs)
	}
	read(g.Outputs)
	return all
}

// trim drops the nodes that are not needed, those of subgraphs first: what they read is then
// needed less.
func (g *Graph) trim() {
	for _, n := range g.Nodes {
		for _, sub := range n.subgraphs() {
			sub.trim()
			n.capture()
		}
	}
	g.prune()
}

// lists yields all lists of values in g and its subgraphs.
func (g *Graph) lists() iter.Seq[[]*Value] {
	return func(yield func([]*Value) bool) { g.eachList(yield) }
}

func (g *Graph) eachList(yield func([]*Value) bool) bool {
	if !yield(g.Inputs) {
		return false
	}
	for _, n := range g.Nodes {
		if !yield(n.Inputs) || !yield(n.Outputs) {
			return false
		}
		for _, sub := range n.subgraphs() {
			if !sub.eachList(yield) {
				return false
			}
		}
	}
	return yield(g.Outputs)
}

// eachNode yields all nodes of g and its subgraphs.
func (g *Graph) eachNode(yield func(*Node) bool) bool {
	for _, n := range g.Nodes {
		for _, sub := range n.subgraphs() {
			if !sub.eachNode(yield) {
				return false
			}
		}
		if !yield(n) {
			return false
		}
	}
	return true
}

// allNodes yields all nodes of g and its subgraphs, those of a subgraph before its own.
func (g *Graph) allNodes() iter.Seq[*Node] {
	return func(yield func(*Node) bool) { g.eachNode(yield) }
}

// ruleOf returns the rule of an operator. Those with subgraphs infer more nodes, so the table
// cannot hold them.
func ruleOf(n *Node) func(*call) error {
	if n.Domain == "" {
		switch n.Op {
		case "If":
			return choice
		case "Loop":
			return loop
		case "Scan":
			return scan
		}
	}
	return shapeRules[opID{n.Domain, n.Op}]
}

// within infers the nodes of a subgraph, whose inputs are known.
func (in *inference) within(g *Graph) error {
	outer := in.graph
	defer func() { in.graph = outer }()
	in.graph = g
	nodes := g.Nodes
	g.Nodes = make([]*Node, 0, len(nodes))
	return in.nodes(nodes)
}

// bind makes v, an input of a subgraph, a value like the one given, whose dimensions may
// differ each time. Where not even the rank is known the file's declaration tells it.
func (c *call) bind(g *Graph, v *Value, like Value) error {
	v.Datatype, v.Shape, v.HasShape = like.Datatype, slices.Clone(like.Shape), like.HasShape
	hint := g.hints[v]
	if hint == nil {
		return nil
	}
	if dt, err := datatype(hint.elem); hint.elem != 0 && (err != nil || dt != v.Datatype) {
		return invalid(c.Node, "the file declares element type %d for input %q of graph %q, it gets %v", hint.elem, v.Name, g.Name, v.Datatype)
	}
	if !v.HasShape && hint.hasShape {
		v.Shape, v.HasShape = unknownDims(len(hint.dims)), true
	}
	if v.HasShape && hint.hasShape && len(v.Shape) != len(hint.dims) {
		return invalid(c.Node, "the file declares %d dimensions for input %q of graph %q, it gets %d", len(hint.dims), v.Name, g.Name, len(v.Shape))
	}
	c.in.nameDims(v)
	return nil
}

// branch returns the nodes of the branch that an If always takes; nil if n is no If or its
// condition is not known before the run.
func (in *inference) branch(n *Node) ([]*Node, error) {
	if n.Op != "If" || n.Domain != "" {
		return nil, nil
	}
	cond := in.vector(n.Inputs[0])
	if cond == nil || len(cond.elems) != 1 || !cond.elems[0].known {
		return nil, nil
	}
	name := "else_branch"
	if cond.elems[0].n != 0 {
		name = "then_branch"
	}
	g, err := branchOf(n, name)
	if err != nil {
		return nil, err
	}
	for v, hint := range g.hints {
		in.graph.hints[v] = hint
	}
	nodes := slices.Clone(g.Nodes)
	for i, v := range g.Outputs {
		out := n.Outputs[i]
		if out == nil {
			continue
		}
		same := &Node{Op: "Identity", Name: fmt.Sprintf("%s/%d", n.Name, i), Opset: n.Opset,
			Inputs: []*Value{v}, Outputs: []*Value{out}, Attrs: Attrs{}}
		out.Producer = same
		nodes = append(nodes, same)
	}
	return nodes, nil
}

func branchOf(n *Node, name string) (*Graph, error) {
	g, ok := n.Attrs[name].(*Graph)
	if !ok || len(g.Inputs) > 0 || len(g.Outputs) != len(n.Outputs) {
		return nil, invalid(n, "%s needs no inputs and as many outputs as the node", name)
	}
	return g, nil
}

// choice is the rule of an If whose condition only the run knows.
func choice(c *call) error {
	var branches [2]*Graph
	for i, name := range []string{"then_branch", "else_branch"} {
		g, err := branchOf(c.Node, name)
		if err != nil {
			return err
		}
		if err := c.in.within(g); err != nil {
			return err
		}
		branches[i] = g
	}
	for i := range c.Outputs {
		a, b := branches[0].Outputs[i], branches[1].Outputs[i]
		if a.Datatype != b.Datatype {
			return invalid(c.Node, "output %d is %v in one branch and %v in the other", i, a.Datatype, b.Datatype)
		}
		c.setType(i, a.Datatype)
		c.setEither(i, *a, *b)
	}
	return nil
}

// setEither gives output i a shape that is a's or b's.
func (c *call) setEither(i int, a, b Value) {
	if !a.HasShape || !b.HasShape || len(a.Shape) != len(b.Shape) {
		return
	}
	dims := leaving(a.Shape)
	for j := range dims {
		if dims[j] != b.Shape[j] {
			dims[j] = unknown
		}
	}
	c.set(i, dims)
}

// leaving returns dimensions as they are known outside of the subgraph that they come from: a
// symbol that was made up there may stand for another size each time.
func leaving(dims []Dim) []Dim {
	out := slices.Clone(dims)
	for i, d := range out {
		if d.isOpen() {
			out[i] = unknown
		}
	}
	return out
}

// loop is the rule of Loop.
func loop(c *call) error {
	body, ok := c.Attrs["body"].(*Graph)
	args := c.Arguments()
	if !ok || len(args) < 2 || len(body.Inputs) != len(args) || len(body.Outputs) < len(args)-1 || len(c.Outputs) > len(body.Outputs)-1 {
		return invalid(c.Node, "the body needs an iteration number, a condition and the carried values, and gives a condition, the carried values and what is collected")
	}
	for i, d := range []backends.Datatype{backends.Int64, backends.Bool} {
		v := body.Inputs[i]
		if err := c.bind(body, v, Value{Datatype: d, Shape: body.scalarShape(v), HasShape: true}); err != nil {
			return err
		}
	}
	carried := args[2:]
	if err := c.carry(body, body.Inputs[2:], carried); err != nil {
		return err
	}
	if d := body.Outputs[0].Datatype; d != backends.Bool {
		return invalid(c.Node, "the body's condition is %v, it must be %v", d, backends.Bool)
	}
	if err := c.carriedOutputs(body.Outputs[1:], carried); err != nil {
		return err
	}
	for i, v := range body.Outputs[1+len(carried):] {
		c.collected(len(carried)+i, v, unknown, 0)
	}
	return nil
}

// scalarShape returns the shape of an input of one element, of which files make a scalar or a
// vector.
func (g *Graph) scalarShape(v *Value) []Dim {
	if hint := g.hints[v]; hint != nil && hint.hasShape && len(hint.dims) == 1 {
		return []Dim{fixed(1)}
	}
	return []Dim{}
}

// carry binds the inputs of a body to values that are carried from one iteration to the next,
// and infers it.
func (c *call) carry(body *Graph, inputs, initial []*Value) error {
	for i, v := range initial {
		if v == nil {
			return invalid(c.Node, "carried value %d is missing", i)
		}
		if err := c.bind(body, inputs[i], Value{Datatype: v.Datatype}); err != nil {
			return err
		}
	}
	return c.in.within(body)
}

// carriedOutputs sets the node's first outputs: the carried values as they are in the end.
func (c *call) carriedOutputs(results, initial []*Value) error {
	for i, first := range initial {
		if d := results[i].Datatype; d != first.Datatype {
			return invalid(c.Node, "carried value %d becomes %v in the body, it must stay %v", i, d, first.Datatype)
		}
		c.setType(i, first.Datatype)
		c.setEither(i, *first, *results[i])
	}
	return nil
}

// collected sets output i: what the body gives as v, once for each of count iterations, along
// an axis of its own.
func (c *call) collected(i int, v *Value, count Dim, axis int) {
	c.setType(i, v.Datatype)
	if v.HasShape {
		c.set(i, slices.Insert(leaving(v.Shape), axis, count))
	}
}

// scan is the rule of Scan.
func scan(c *call) error {
	if c.Opset < 9 {
		return Unsupported(c.Node, "it is supported from opset 9 on")
	}
	body, ok := c.Attrs["body"].(*Graph)
	args, n := c.Arguments(), c.int("num_scan_inputs", 0)
	states := len(args) - int(n)
	if !ok || n < 1 || states < 0 || len(body.Inputs) != len(args) || len(body.Outputs) < states || len(c.Outputs) > len(body.Outputs) {
		return invalid(c.Node, "the body needs the states and %d slices, and gives the states and what is collected", n)
	}
	count := unknown
	for i, v := range args[states:] {
		slice, steps, err := c.sliceOf(v, i)
		if err != nil {
			return err
		}
		if count, ok = unify(count, steps); !ok {
			return c.mismatch()
		}
		if err := c.bind(body, body.Inputs[states+i], slice); err != nil {
			return err
		}
	}
	if err := c.carry(body, body.Inputs, args[:states]); err != nil {
		return err
	}
	if err := c.carriedOutputs(body.Outputs, args[:states]); err != nil {
		return err
	}
	return c.scanOutputs(body.Outputs[states:], states, count)
}

// sliceOf returns what a body sees of scan input i in one iteration, and how many there are.
func (c *call) sliceOf(v *Value, i int) (Value, Dim, error) {
	if v == nil {
		return Value{}, unknown, invalid(c.Node, "scan input %d is missing", i)
	}
	slice := Value{Datatype: v.Datatype}
	if !v.HasShape {
		return slice, unknown, nil
	}
	axis, err := c.axis(entry(c.intList("scan_input_axes"), i), len(v.Shape))
	if err != nil {
		return slice, unknown, err
	}
	slice.Shape, slice.HasShape = slices.Delete(slices.Clone(v.Shape), axis, axis+1), true
	return slice, v.Shape[axis], nil
}

func (c *call) scanOutputs(results []*Value, first int, count Dim) error {
	for i, v := range results {
		axis := 0
		if v.HasShape {
			var err error
			if axis, err = c.axis(entry(c.intList("scan_output_axes"), i), len(v.Shape)+1); err != nil {
				return err
			}
		}
		c.collected(first+i, v, count, axis)
	}
	return nil
}

// entry returns element i of a list that may be left out.
func entry(all []int64, i int) int64 {
	if i < len(all) {
		return all[i]
	}
	return 0
}
