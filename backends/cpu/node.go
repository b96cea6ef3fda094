package cpu

import (
	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// kernel computes the outputs of one node. in and out are in the node's order; an optional
// input that is left out and an output after the first that nobody wants are nil. A kernel gives each output
// memory with run.makeTensor, or makes it a view of an input with tensor.share; it never
// writes to an input and keeps neither slice. It may be called by many goroutines at once,
// each with a run of its own.
type kernel func(r *run, in, out []*tensor) error

// builder prepares the kernel of one node: it checks attributes, types and opset, and does
// all work that depends on them and on constant inputs alone. A node that this engine does
// not know how to run is an ErrUnsupported, from node.unsupported.
type builder func(n *node) (kernel, error)

// node is an operator to build, with readers of its attributes. The first attribute of a
// wrong type is remembered and refuses the node after its builder has returned.
type node struct {
	*onnx.Node
	engine *engine
	taken  []int // inputs that the kernel does not need
	bodies []*body
	build  func(*onnx.Node, *engine) (step, error) // of the nodes in its subgraphs
	err    error
}

func attribute[T any](n *node, name string, otherwise T) T {
	v, ok := n.Attrs[name]
	if !ok {
		return otherwise
	}
	t, ok := v.(T)
	if !ok && n.err == nil {
		n.err = backends.Errorf(backends.ErrInvalid, "attribute %q is a %T, not a %T", name, v, otherwise)
	}
	return t
}

func (n *node) has(name string) bool { return n.Attrs[name] != nil }

func (n *node) int(name string, otherwise int) int {
	return int(attribute(n, name, int64(otherwise)))
}

func (n *node) float(name string, otherwise float32) float32 { return attribute(n, name, otherwise) }

func (n *node) string(name, otherwise string) string { return attribute(n, name, otherwise) }

// ints returns the attribute, or nil if there is none.
func (n *node) ints(name string) []int {
	if !n.has(name) {
		return nil
	}
	return convertInts(attribute[[]int64](n, name, nil))
}

func (n *node) floats(name string) []float32 { return attribute[[]float32](n, name, nil) }

func (n *node) strings(name string) []string { return attribute[[]string](n, name, nil) }

func (n *node) tensor(name string) *backends.Tensor {
	return attribute[*backends.Tensor](n, name, nil)
}

// input reports the datatype of input i, or Invalid if it is left out.
func (n *node) input(i int) backends.Datatype {
	if !n.given(i) {
		return backends.Invalid
	}
	return n.Inputs[i].Datatype
}

// given says whether input i is there.
func (n *node) given(i int) bool { return i < len(n.Inputs) && n.Inputs[i] != nil }

// output reports the datatype of output i, or Invalid if nobody wants it.
func (n *node) output(i int) backends.Datatype {
	if i >= len(n.Outputs) || n.Outputs[i] == nil {
		return backends.Invalid
	}
	return n.Outputs[i].Datatype
}

// constant returns the value of input i where it is known at load, else nil.
func (n *node) constant(i int) *tensor {
	if !n.given(i) || n.Inputs[i].Const == nil {
		return nil
	}
	t := new(tensor)
	if err := t.importTensor(n.Inputs[i].Const); err != nil {
		n.fail(err)
		return nil
	}
	return t
}

// take is like constant and promises that the kernel does without the input, so that a weight
// which has been packed is not kept twice. The kernel sees nil in its place.
func (n *node) take(i int) *tensor {
	t := n.constant(i)
	if t != nil {
		n.taken = append(n.taken, i)
	}
	return t
}

func (n *node) fail(err error) {
	if n.err == nil {
		n.err = err
	}
}

// unsupported refuses the node; format says what about it cannot be run.
func (n *node) unsupported(format string, args ...any) error {
	return onnx.Unsupported(n.Node, format, args...)
}

// list is a list of integers that an operator takes: an attribute, a constant or an input.
// It is nil where it is left out.
type list func(in []*tensor) ([]int, error)

// list returns the reader of the attribute called name, which older opsets have, or else of
// input i.
func (n *node) list(name string, i int) list {
	fixed := func(v []int) list { return func([]*tensor) ([]int, error) { return v, nil } }
	if n.has(name) || !n.given(i) {
		return fixed(n.ints(name))
	}
	if c := n.constant(i); c != nil {
		v, err := c.ints()
		n.fail(err)
		return fixed(v)
	}
	return func(in []*tensor) ([]int, error) { return in[i].list() }
}
