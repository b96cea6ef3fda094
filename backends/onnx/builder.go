package onnx

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/thrumserve/thrum/backends"
)

// builder makes graphs of their messages.
type builder struct {
	opsets map[string]int64
	files  *externalFiles
	names  map[string]bool // of nodes, in the graph and its subgraphs
	serial int             // that made-up names end in
}

// scope holds the values that a graph's nodes may read.
type scope struct {
	values map[string]*Value
	outer  *scope
}

func (s *scope) find(name string) *Value {
	if v := s.values[name]; v != nil || s.outer == nil {
		return v
	}
	return s.outer.find(name)
}

func (s *scope) add(v *Value) error {
	if v.Name == "" {
		return damaged("a value has no name")
	}
	if s.values[v.Name] != nil {
		return backends.Errorf(backends.ErrInvalid, "value %q is produced twice", v.Name)
	}
	s.values[v.Name] = v
	return nil
}

// partial is a graph under construction.
type partial struct {
	*Graph
	*scope
	refused map[*Node]error // nodes that no engine gets, unless nothing needs them
}

// graph builds the graph of p inside outer, which is nil for the model's own.
func (b *builder) graph(p *graphProto, outer *scope) (*Graph, error) {
	if p.sparse > 0 {
		return nil, backends.Errorf(backends.ErrUnsupported, "graph %q: sparse initializers are not supported", p.name)
	}
	g := &partial{
		Graph:   &Graph{Name: p.name, hints: map[*Value]*valueProto{}},
		scope:   &scope{values: map[string]*Value{}, outer: outer},
		refused: map[*Node]error{},
	}
	for _, step := range []func(*graphProto, *partial) error{b.initializers, b.inputs, b.nodes, b.outputs} {
		if err := step(p, g); err != nil {
			return nil, err
		}
	}
	if err := g.sort(); err != nil {
		return nil, err
	}
	g.prune()
	for _, n := range g.Nodes {
		if err := g.refused[n]; err != nil {
			return nil, err
		}
	}
	return g.Graph, nil
}

func (b *builder) initializers(p *graphProto, g *partial) error {
	for _, t := range p.initializers {
		tensor, err := t.tensor(b.files)
		if err != nil {
			return backends.Errorf(kindOf(err), "initializer: %w", err)
		}
		v := constant(t.name, tensor)
		if err := g.add(v); err != nil {
			return err
		}
	}
	return nil
}

// constant returns a value that is t.
func constant(name string, t *backends.Tensor) *Value {
	return &Value{Name: name, Datatype: t.Datatype, Shape: fixedDims(t.Shape), HasShape: true, Const: t}
}

func (b *builder) inputs(p *graphProto, g *partial) error {
	seen := map[string]bool{}
	for _, in := range p.inputs {
		if seen[in.name] {
			return backends.Errorf(backends.ErrInvalid, "input %q is declared twice", in.name)
		}
		seen[in.name] = true
		v, err := g.input(in)
		if err != nil {
			return backends.Errorf(kindOf(err), "input %q: %w", in.name, err)
		}
		if init := g.values[in.name]; init != nil && g.outer == nil {
			if init.Datatype != v.Datatype {
				return backends.Errorf(backends.ErrInvalid, "input %q is declared as %v, its initializer is %v", in.name, v.Datatype, init.Datatype)
			}
			continue
		}
		if err := g.add(v); err != nil {
			return err
		}
		g.Inputs = append(g.Inputs, v)
	}
	if g.outer == nil {
		nameDims(g.Inputs)
	}
	return nil
}

// input converts the declaration of an input. What a subgraph's are is up to the node that
// has it: their declaration is a hint.
func (g *partial) input(p *valueProto) (*Value, error) {
	if g.outer == nil {
		return p.value()
	}
	if p.form != "" {
		return nil, backends.Errorf(backends.ErrUnsupported, "only tensors are supported, this is a %s", p.form)
	}
	v := &Value{Name: p.name}
	g.hints[v] = p
	return v, nil
}

// value converts the declaration of an input.
func (p *valueProto) value() (*Value, error) {
	if !p.isTensor {
		return nil, backends.Errorf(backends.ErrUnsupported, "only tensors are supported, this is a %s", cmp.Or(p.form, "value without a type"))
	}
	dt, err := datatype(p.elem)
	if err != nil {
		return nil, err
	}
	if !p.hasShape {
		return nil, backends.Errorf(backends.ErrUnsupported, "its number of dimensions is unknown: declare a shape")
	}
	v := &Value{Name: p.name, Datatype: dt, HasShape: true, Shape: make([]Dim, len(p.dims))}
	for i, d := range p.dims {
		if d.sized && d.size < -1 {
			return nil, backends.Errorf(backends.ErrInvalid, "dimension %d is %d", i, d.size)
		}
		v.Shape[i] = d.dim()
	}
	if size := backends.Elements(sizes(v.Shape, 1)); size < 0 || size > 1<<40 {
		return nil, backends.Errorf(backends.ErrInvalid, "shape %v is too large", sizes(v.Shape, -1))
	}
	return v, nil
}

func (d dimProto) dim() Dim {
	if d.sized && d.size >= 0 {
		return fixed(d.size)
	}
	if dim := symbolic(d.symbol); !dim.isOpen() {
		return dim
	}
	return unknown
}

// nameDims gives every unknown dimension of the inputs a symbol. First dimensions that may
// count the same rows get the same one: Signature promises that they do.
func nameDims(inputs []*Value) {
	batch := batchSymbol(inputs)
	for _, v := range inputs {
		for i := range v.Shape {
			d := &v.Shape[i]
			switch {
			case d.Size >= 0 || d.Symbol != "":
			case i == 0 && batch != "":
				d.Symbol = batch
			default:
				d.Symbol = fmt.Sprintf("%s[%d]", v.Name, i)
			}
		}
	}
}

// batchSymbol returns the symbol that the first dimensions of all inputs share or may share,
// or "".
func batchSymbol(inputs []*Value) string {
	symbol := ""
	for _, v := range inputs {
		if len(v.Shape) == 0 || v.Shape[0].Size >= 0 {
			return ""
		}
		s := v.Shape[0].Symbol
		if s != "" && symbol != "" && s != symbol {
			return ""
		}
		symbol = cmp.Or(symbol, s)
	}
	if len(inputs) == 0 {
		return ""
	}
	return cmp.Or(symbol, "batch")
}

// nodes makes the nodes and their outputs, then links their inputs and reads their attributes.
func (b *builder) nodes(p *graphProto, g *partial) error {
	for _, np := range p.nodes {
		n := &Node{Op: np.op, Domain: np.domain, Name: b.uniqueName(np), Opset: np.opset}
		if n.Opset == 0 {
			n.Opset = b.opsets[np.domain]
		}
		if np.op == "" {
			return damaged("node %q has no operator", np.name)
		}
		g.Nodes = append(g.Nodes, n)
		for _, name := range np.outputs {
			if name == "" {
				n.Outputs = append(n.Outputs, nil)
				continue
			}
			v := &Value{Name: name, Producer: n}
			if err := g.add(v); err != nil {
				return invalid(n, "%w", err)
			}
			n.Outputs = append(n.Outputs, v)
		}
	}
	for i, np := range p.nodes {
		if err := b.link(np, g.Nodes[i], g); err != nil {
			return err
		}
	}
	for _, hint := range p.values {
		if v := g.values[hint.name]; v != nil && v.Producer != nil {
			g.hints[v] = hint
		}
	}
	return nil
}

func (b *builder) uniqueName(np *nodeProto) string {
	name := cmp.Or(np.name, np.op)
	for b.names[name] {
		b.serial++
		name = fmt.Sprintf("%s_%d", cmp.Or(np.name, np.op), b.serial)
	}
	b.names[name] = true
	return name
}

func (b *builder) link(np *nodeProto, n *Node, g *partial) error {
	for _, name := range np.inputs {
		if name == "" {
			n.Inputs = append(n.Inputs, nil)
			continue
		}
		v := g.find(name)
		if v == nil {
			return invalid(n, "it reads %q, which nothing produces", name)
		}
		n.Inputs = append(n.Inputs, v)
	}
	s, err := schemaOf(n)
	if err != nil {
		g.refused[n] = err
		return nil
	}
	if err := b.attrs(np, n, g); err != nil {
		return err
	}
	n.capture()
	if err := s.check(n); err != nil {
		g.refused[n] = err
	}
	return nil
}

func (b *builder) attrs(np *nodeProto, n *Node, g *partial) error {
	n.Attrs = Attrs{}
	for _, a := range np.attrs {
		if _, ok := n.Attrs[a.name]; ok {
			return invalid(n, "attribute %q is given twice", a.name)
		}
		value, err := b.attr(a, g)
		if err != nil {
			return refuse(kindOf(err), n, "attribute %q: %w", a.name, err)
		}
		n.Attrs[a.name] = value
	}
	return nil
}

func (b *builder) attr(a *attrProto, g *partial) (any, error) {
	switch {
	case a.ref != "":
		return nil, backends.Errorf(backends.ErrInvalid, "it refers to %q outside a function", a.ref)
	case a.kind == 1:
		return a.f, nil
	case a.kind == 2:
		return a.i, nil
	case a.kind == 3:
		return string(a.s), nil
	case a.kind == 4 && a.t != nil:
		return a.t.tensor(b.files)
	case a.kind == 5 && a.g != nil:
		return b.graph(a.g, g.scope)
	case a.kind == 6:
		return floats(a.floats), nil
	case a.kind == 7:
		return a.ints, nil
	case a.kind == 8:
		return texts(a.strings), nil
	case a.kind == 9:
		return b.tensors(a.tensors)
	}
	return nil, backends.Errorf(backends.ErrUnsupported, "attributes of kind %d are not supported", a.kind)
}

func (b *builder) tensors(all []*tensorProto) ([]*backends.Tensor, error) {
	out := make([]*backends.Tensor, len(all))
	for i, t := range all {
		var err error
		if out[i], err = t.tensor(b.files); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func floats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

func texts(all [][]byte) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = string(s)
	}
	return out
}

func (b *builder) outputs(p *graphProto, g *partial) error {
	if len(p.outputs) == 0 {
		return backends.Errorf(backends.ErrInvalid, "graph %q has no outputs", p.name)
	}
	seen := map[*Value]bool{}
	for _, out := range p.outputs {
		v := g.find(out.name)
		if v == nil {
			return backends.Errorf(backends.ErrInvalid, "output %q is produced by nothing", out.name)
		}
		if seen[v] && g.outer == nil {
			return backends.Errorf(backends.ErrInvalid, "output %q is declared twice", out.name)
		}
		seen[v] = true
		g.Outputs = append(g.Outputs, v)
		if v.Producer != nil {
			g.hints[v] = out
		}
	}
	return nil
}
