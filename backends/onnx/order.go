package onnx

import (
	"slices"
	"strings"
)

// walker visits nodes depth first, each after what it reads.
type walker struct {
	state map[*Node]visit
	path  []step // from the node asked for to the one being visited
	order []*Node
}

type visit uint8

const (
	unseen visit = iota
	onPath
	finished
)

// step is a node on the path and how many of its inputs have been followed.
type step struct {
	node     *Node
	followed int
}

// sort puts the nodes in an order in which each comes after what it reads, the file's own
// where that is one.
func (g *partial) sort() error {
	w := walker{state: make(map[*Node]visit, len(g.Nodes))}
	for _, n := range g.Nodes {
		w.state[n] = unseen
	}
	for _, n := range g.Nodes {
		if err := w.visit(n); err != nil {
			return err
		}
	}
	g.Nodes = w.order
	return nil
}

// visit appends n to the order, after everything that it reads. It keeps its own stack since
// a graph may be a million nodes deep.
func (w *walker) visit(n *Node) error {
	if err := w.enter(n); err != nil {
		return err
	}
	for len(w.path) > 0 {
		top := &w.path[len(w.path)-1]
		if top.followed == len(top.node.Inputs) {
			w.leave(top.node)
			continue
		}
		v := top.node.Inputs[top.followed]
		top.followed++
		if v == nil || v.Producer == nil {
			continue
		}
		if err := w.enter(v.Producer); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) enter(n *Node) error {
	state, local := w.state[n]
	switch {
	case !local || state == finished:
		return nil
	case state == onPath:
		return w.cycle(n)
	}
	w.state[n] = onPath
	w.path = append(w.path, step{node: n})
	return nil
}

func (w *walker) leave(n *Node) {
	w.state[n] = finished
	w.path = w.path[:len(w.path)-1]
	w.order = append(w.order, n)
}

// cycle names the nodes from n along the path back to n.
func (w *walker) cycle(n *Node) error {
	var names []string
	for _, s := range slices.Backward(w.path) {
		if names = append(names, s.node.Name); s.node == n {
			break
		}
	}
	if len(names) > 10 {
		names = append(names[:10], "...")
	}
	return invalid(n, "the graph has a cycle through the nodes %s", strings.Join(append(names, names[0]), " -> "))
}

// prune drops the nodes that no output needs.
func (g *Graph) prune() {
	needed := map[*Node]bool{}
	need := func(values []*Value) {
		for _, v := range values {
			if v != nil && v.Producer != nil && v.Const == nil {
				needed[v.Producer] = true
			}
		}
	}
	need(g.Outputs)
	for _, n := range slices.Backward(g.Nodes) {
		if needed[n] {
			need(n.Inputs)
		}
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool { return !needed[n] })
}

// tidy drops the nodes that are not needed any more, with their values, and numbers what is left.
func (g *Graph) tidy() {
	g.trim()
	g.Values = nil
	seen := map[*Value]bool{}
	for values := range g.lists() {
		for _, v := range values {
			if v != nil && !seen[v] {
				seen[v] = true
				v.ID = len(g.Values)
				g.Values = append(g.Values, v)
			}
		}
	}
	for _, v := range g.Values {
		if v.Const != nil {
			v.Producer = nil
		}
	}
}
