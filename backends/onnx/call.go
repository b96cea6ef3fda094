package onnx

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// call is one node whose outputs are being inferred.
type call struct {
	*Node
	in *inference
}

// bindTypes checks the inputs' datatypes and sets the outputs' as far as the schema tells.
func (c *call) bindTypes(s *schema) error {
	bound := map[string]backends.Datatype{}
	for i, v := range c.Arguments() {
		if v == nil {
			continue
		}
		p := at(s.inputs, i)
		if dt, ok := shortTypes[p.typ]; ok && dt != v.Datatype {
			return invalid(c.Node, "input %d (%q) is %v, it must be %v", i, v.Name, v.Datatype, dt)
		}
		set, ok := s.types[p.typ]
		if !ok {
			continue
		}
		if !set.has(v.Datatype) {
			return invalid(c.Node, "input %d (%q) is %v, at this opset it can be %v", i, v.Name, v.Datatype, set)
		}
		if have, ok := bound[p.typ]; ok && have != v.Datatype {
			return invalid(c.Node, "input %d (%q) is %v, it must be %v as the inputs before it", i, v.Name, v.Datatype, have)
		}
		bound[p.typ] = v.Datatype
	}
	for i, v := range c.Outputs {
		if v == nil {
			continue
		}
		typ := at(s.outputs, i).typ
		v.Shape, v.HasShape, v.Datatype = nil, false, backends.Invalid
		if dt, ok := shortTypes[typ]; ok {
			v.Datatype = dt
		} else if dt, ok := bound[typ]; ok {
			v.Datatype = dt
		} else if dt, ok := s.types[typ].only(); ok {
			v.Datatype = dt
		}
	}
	return nil
}

// input returns input i, or nil if it is left out.
func (c *call) input(i int) *Value {
	if i < len(c.Inputs) {
		return c.Inputs[i]
	}
	return nil
}

// shape returns the shape of input i; false if it is left out or its rank is unknown.
func (c *call) shape(i int) ([]Dim, bool) {
	v := c.input(i)
	if v == nil || !v.HasShape {
		return nil, false
	}
	return v.Shape, true
}

// vector returns what is known of the content of input i, or nil if that is no short vector
// of integers.
func (c *call) vector(i int) *vector {
	v := c.input(i)
	if v == nil {
		return nil
	}
	if known := c.in.vector(v); known != nil || v.Const != nil {
		return known
	}
	n := elements(v.Shape)
	if !v.HasShape || len(v.Shape) > 1 || n < 0 || n > maxVector || readInt(v.Datatype) == nil {
		return nil
	}
	return &vector{elems: make([]scalar, n), isScalar: len(v.Shape) == 0}
}

// ints returns input i if all of it is known.
func (c *call) ints(i int) ([]int64, bool) {
	v := c.vector(i)
	if v == nil || !v.allKnown() {
		return nil, false
	}
	all := make([]int64, len(v.elems))
	for j, e := range v.elems {
		all[j] = e.n
	}
	return all, true
}

// output returns output i, or nil if it is not wanted.
func (c *call) output(i int) *Value {
	if i < len(c.Outputs) {
		return c.Outputs[i]
	}
	return nil
}

// set gives output i a shape.
func (c *call) set(i int, dims []Dim) {
	if v := c.output(i); v != nil {
		v.Shape, v.HasShape = slices.Clone(dims), true
	}
}

// setType gives output i a datatype.
func (c *call) setType(i int, dt backends.Datatype) {
	if v := c.output(i); v != nil {
		v.Datatype = dt
	}
}

// setVector says what is known of the content of output 0, and so its shape.
func (c *call) setVector(v *vector) {
	out := c.output(0)
	if v == nil || out == nil || len(v.elems) > maxVector || c.in.elems > maxVectors {
		return
	}
	c.in.elems += len(v.elems)
	switch out.Datatype {
	case backends.Int64, backends.Bool:
	case backends.Int32:
		v = v.wrapped()
	default:
		return
	}
	c.in.vectors[out] = v
	if v.isScalar {
		c.set(0, nil)
	} else {
		c.set(0, []Dim{fixed(int64(len(v.elems)))})
	}
}

func (c *call) int(name string, otherwise int64) int64 {
	if n, ok := c.Attrs[name].(int64); ok {
		return n
	}
	return otherwise
}

func (c *call) intList(name string) []int64 {
	all, _ := c.Attrs[name].([]int64)
	return all
}

func (c *call) string(name, otherwise string) string {
	if s, ok := c.Attrs[name].(string); ok {
		return s
	}
	return otherwise
}

// typeAttr returns the datatype that an attribute holds as an ONNX element type.
func (c *call) typeAttr(name string, otherwise backends.Datatype) (backends.Datatype, error) {
	kind, ok := c.Attrs[name].(int64)
	if !ok || kind == 0 {
		return otherwise, nil
	}
	dt, err := datatype(kind)
	if err != nil {
		return dt, refuse(kindOf(err), c.Node, "attribute %q: %w", name, err)
	}
	return dt, nil
}

// axis normalizes an axis of a tensor of that rank.
func (c *call) axis(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, invalid(c.Node, "axis %d does not exist in a tensor of %d dimensions", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// axes normalizes axes, none of which may come twice.
func (c *call) axes(all []int64, rank int) ([]int, error) {
	out := make([]int, 0, min(len(all), rank))
	for _, a := range all {
		axis, err := c.axis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, axis) {
			return nil, invalid(c.Node, "axis %d is given twice", a)
		}
		out = append(out, axis)
	}
	return out, nil
}

// mismatch is the refusal of shapes that do not go together.
func (c *call) mismatch() error {
	text := ""
	for i := range c.Inputs {
		if dims, ok := c.shape(i); ok {
			text += fmt.Sprintf(" %v", sizes(dims, -1))
		}
	}
	return invalid(c.Node, "the shapes of the inputs do not go together:%s (-1 varies)", text)
}
