package onnx

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// functionID names a model-local function.
type functionID struct{ domain, name, overload string }

// inliner replaces calls of a model's functions by the nodes of their bodies.
type inliner struct {
	functions map[functionID]*functionProto
	calls     int     // makes the names in each body unique
	d         decoder // counts what the bodies add, against the same bounds as the file
	active    []functionID
}

func inlineFunctions(m *modelProto) error {
	if len(m.functions) == 0 {
		return nil
	}
	x := &inliner{functions: map[functionID]*functionProto{}}
	for _, fn := range m.functions {
		id := functionID{fn.domain, fn.name, fn.overload}
		if x.functions[id] != nil {
			return backends.Errorf(backends.ErrInvalid, "function %s of %s is defined twice", fn.name, domainName(fn.domain))
		}
		if err := checkOpsets(fn.opsets); err != nil {
			return backends.Errorf(kindOf(err), "function %s: %w", fn.name, err)
		}
		x.functions[id] = fn
	}
	return x.graph(m.graph)
}

func (x *inliner) graph(g *graphProto) error {
	nodes, err := x.nodes(g.nodes)
	g.nodes = nodes
	return err
}

func (x *inliner) nodes(all []*nodeProto) ([]*nodeProto, error) {
	out := make([]*nodeProto, 0, len(all))
	for _, n := range all {
		id := functionID{n.domain, n.op, n.overload}
		fn := x.functions[id]
		if fn == nil {
			for _, a := range n.attrs {
				if a.g != nil {
					if err := x.graph(a.g); err != nil {
						return nil, err
					}
				}
			}
			out = append(out, n)
			continue
		}
		body, err := x.call(id, fn, n)
		if err != nil {
			return nil, backends.Errorf(kindOf(err), "function %s (node %q): %w", n.op, n.name, err)
		}
		out = append(out, body...)
	}
	return out, nil
}

// call returns the nodes of fn with the names and attributes of the call n put in.
func (x *inliner) call(id functionID, fn *functionProto, n *nodeProto) ([]*nodeProto, error) {
	if slices.Contains(x.active, id) {
		return nil, backends.Errorf(backends.ErrInvalid, "it calls itself")
	}
	if len(x.active) == maxDepth {
		return nil, backends.Errorf(backends.ErrInvalid, "functions are nested more than %d deep", maxDepth)
	}
	if len(n.inputs) > len(fn.inputs) || len(n.outputs) > len(fn.outputs) {
		return nil, backends.Errorf(backends.ErrInvalid, "%d inputs and %d outputs, it has %d and %d",
			len(n.inputs), len(n.outputs), len(fn.inputs), len(fn.outputs))
	}
	x.active = append(x.active, id)
	defer func() { x.active = x.active[:len(x.active)-1] }()
	x.calls++
	b := &body{inliner: x, fn: fn, prefix: fmt.Sprintf("%s_%d/", fn.name, x.calls), names: map[string]string{"": ""}, attrs: map[string]*attrProto{}}
	nodes, err := b.instance(n)
	if err != nil {
		return nil, err
	}
	return x.nodes(nodes)
}

// body is one function at one call.
type body struct {
	*inliner
	fn     *functionProto
	prefix string
	names  map[string]string // what the function's inputs and outputs are called outside
	attrs  map[string]*attrProto
}

func (b *body) instance(n *nodeProto) ([]*nodeProto, error) {
	for _, a := range slices.Concat(b.fn.defaults, n.attrs) {
		b.attrs[a.name] = a
	}
	for i, name := range b.fn.inputs {
		if b.names[name] = ""; i < len(n.inputs) {
			b.names[name] = n.inputs[i]
		}
	}
	var passed []*nodeProto
	for i, name := range b.fn.outputs {
		switch {
		case i >= len(n.outputs) || n.outputs[i] == "":
		case slices.Contains(b.fn.inputs, name):
			passed = append(passed, &nodeProto{op: "Identity", opset: b.fn.opsets[""], name: b.prefix + "Identity",
				inputs: []string{b.names[name]}, outputs: []string{n.outputs[i]}})
		default:
			b.names[name] = n.outputs[i]
		}
	}
	nodes, err := b.copyNodes(b.fn.nodes)
	return append(nodes, passed...), err
}

func (b *body) rename(names []string) ([]string, error) {
	out := make([]string, len(names))
	for i, name := range names {
		if err := b.d.count(&b.d.links, maxLinks, "inputs and outputs of functions"); err != nil {
			return nil, err
		}
		out[i] = b.renamed(name)
	}
	return out, nil
}

func (b *body) renamed(name string) string {
	if outside, ok := b.names[name]; ok {
		return outside
	}
	return b.prefix + name
}

func (b *body) copyNodes(all []*nodeProto) ([]*nodeProto, error) {
	out := make([]*nodeProto, 0, len(all))
	for _, n := range all {
		if err := b.d.count(&b.d.nodes, maxNodes, "nodes in functions"); err != nil {
			return nil, err
		}
		c := *n
		c.name, c.opset = b.prefix+cmp.Or(n.name, n.op), b.fn.opsets[n.domain]
		var err error
		if c.inputs, err = b.rename(n.inputs); err != nil {
			return nil, err
		}
		if c.outputs, err = b.rename(n.outputs); err != nil {
			return nil, err
		}
		if c.attrs, err = b.copyAttrs(n.attrs); err != nil {
			return nil, err
		}
		out = append(out, &c)
	}
	return out, nil
}

// copyAttrs puts in the attributes of the call; one that the call leaves out is left out.
func (b *body) copyAttrs(all []*attrProto) ([]*attrProto, error) {
	var out []*attrProto
	for _, a := range all {
		if err := b.d.count(&b.d.links, maxLinks, "attributes in functions"); err != nil {
			return nil, err
		}
		c := *a
		if a.ref != "" {
			given := b.attrs[a.ref]
			if given == nil {
				continue
			}
			c = *given
			c.name = a.name
		} else if a.g != nil {
			g, err := b.copyGraph(a.g)
			if err != nil {
				return nil, err
			}
			c.g = g
		}
		out = append(out, &c)
	}
	return out, nil
}

func (b *body) copyGraph(g *graphProto) (*graphProto, error) {
	c := &graphProto{name: g.name, sparse: g.sparse}
	var err error
	if c.nodes, err = b.copyNodes(g.nodes); err != nil {
		return nil, err
	}
	for _, t := range g.initializers {
		if err := b.d.count(&b.d.links, maxLinks, "initializers in functions"); err != nil {
			return nil, err
		}
		renamed := *t
		renamed.name = b.renamed(t.name)
		c.initializers = append(c.initializers, &renamed)
	}
	for _, list := range []struct{ from, to *[]*valueProto }{{&g.inputs, &c.inputs}, {&g.outputs, &c.outputs}} {
		for _, v := range *list.from {
			if err := b.d.count(&b.d.links, maxLinks, "values in functions"); err != nil {
				return nil, err
			}
			renamed := *v
			renamed.name = b.renamed(v.name)
			*list.to = append(*list.to, &renamed)
		}
	}
	return c, nil
}
