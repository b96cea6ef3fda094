package lower

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// call is a node that is being lowered. The first operand that cannot be had is remembered.
type call struct {
	*lowering
	*onnx.Node
	out []Tensor
	err error
}

// given says whether input i is there.
func (c *call) given(i int) bool { return i < len(c.Inputs) && c.Inputs[i] != nil }

// value returns input i of the graph, or nil.
func (c *call) value(i int) *onnx.Value {
	if !c.given(i) {
		return nil
	}
	return c.Inputs[i]
}

// in returns input i, an empty one if it is left out.
func (c *call) in(i int) Tensor {
	if !c.given(i) {
		return Tensor{}
	}
	t, err := c.tensor(c.Inputs[i])
	if err != nil && c.err == nil {
		c.err = err
	}
	return t
}

// give sets the outputs.
func (c *call) give(out ...Tensor) error {
	c.out = out
	return c.err
}

// shape returns the shape of output i.
func (c *call) shape(i int) []int64 {
	s, err := shapeOf(c.Outputs[i])
	if err != nil && c.err == nil {
		c.err = err
	}
	return s
}

// wants says whether somebody reads output i.
func (c *call) wants(i int) bool { return i < len(c.Outputs) && c.Outputs[i] != nil }

func attribute[T any](c *call, name string, otherwise T) T {
	if v, ok := c.Attrs[name].(T); ok {
		return v
	}
	return otherwise
}

func (c *call) int(name string, otherwise int64) int64 { return attribute(c, name, otherwise) }

func (c *call) number(name string, otherwise float32) float32 { return attribute(c, name, otherwise) }

func (c *call) text(name, otherwise string) string { return attribute(c, name, otherwise) }

// list returns the integers of an attribute or, if there is none, of input i, which must be a
// constant; nil if both are left out.
func (c *call) list(name string, i int) []int64 {
	if all, ok := c.Attrs[name].([]int64); ok {
		return all
	}
	if i < 0 || !c.given(i) {
		return nil
	}
	all, ok := rewrite.Integers(c.Inputs[i])
	if !ok && c.err == nil {
		c.err = fmt.Errorf("input %d (%q) is not known when the model is loaded", i, c.Inputs[i].Name)
	}
	return all
}

// axis returns an axis of a tensor of that rank, counted from the front.
func axis(a int64, rank int) int {
	if a < 0 {
		a += int64(rank)
	}
	return int(a)
}

// around returns the product of the dimensions before an axis, its own, and of those behind it.
func around(shape []int64, axis int) (outer, n, inner int64) {
	return backends.Elements(shape[:axis]), shape[axis], backends.Elements(shape[axis+1:])
}
