package lower

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

func lowerMatMul(c *call) error {
	a, b := c.in(0), c.in(1)
	shape := c.shape(0)
	if c.err != nil {
		return c.err
	}
	if !isFloat(a.Type) || a.Type != b.Type {
		return fmt.Errorf("it multiplies %v with %v", a.Type, b.Type)
	}
	if len(a.Shape) == 1 {
		a = c.shaped(a, 1, a.Shape[0])
	}
	if len(b.Shape) == 1 {
		b = c.shaped(b, b.Shape[0], 1)
	}
	out := c.product(a, b)
	return c.give(c.shaped(out, shape...))
}

// product multiplies matrices, of which the leading dimensions broadcast. The result is shaped
// [..., m, n].
func (c *call) product(a, b Tensor) Tensor {
	ra, rb := len(a.Shape), len(b.Shape)
	m, k, n := a.Shape[ra-2], a.Shape[ra-1], b.Shape[rb-1]
	lead := broadcast(a.Shape[:ra-2], b.Shape[:rb-2])
	shape := append(slices.Clone(lead), m, n)
	if backends.Elements(b.Shape[:rb-2]) == 1 { // one matrix for all rows
		rows := backends.Elements(a.Shape[:ra-1])
		return c.shaped(c.multiply(c.shaped(a, 1, 1, rows, k), c.shaped(b, 1, 1, k, n)), shape...)
	}
	outer, heads := int64(1), int64(1)
	if last := len(lead) - 1; last >= 0 {
		outer, heads = backends.Elements(lead[:last]), lead[last]
	}
	stretch := func(t Tensor) Tensor {
		last := t.Shape[len(t.Shape)-2:]
		return c.shaped(t.expand(append(slices.Clone(lead), last...)), outer, heads, last[0], last[1])
	}
	return c.shaped(c.multiply(stretch(a), stretch(b)), shape...)
}

// multiply multiplies a [b, h, m, k] with b [b, h, k, n].
func (c *call) multiply(a, b Tensor) Tensor {
	if a.Strides[3] != 1 && a.Shape[3] > 1 || negative(a) {
		a = c.dense(a)
	}
	if b.Strides[3] != 1 && b.Strides[2] != 1 || negative(b) {
		b = c.dense(b)
	}
	out := newTensor(a.Type, []int64{a.Shape[0], a.Shape[1], a.Shape[2], b.Shape[3]})
	return c.add(Gemm{Alpha: 1}, out, a, b, Tensor{}, Tensor{})
}

func negative(t Tensor) bool { return slices.Min(t.Strides) < 0 }

// broadcast returns the shape to which two stretch.
func broadcast(a, b []int64) []int64 {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i, n := range b {
		if at := len(a) - len(b) + i; out[at] == 1 {
			out[at] = n
		}
	}
	return out
}

func lowerGemm(c *call) error {
	a, b, shape := c.in(0), c.in(1), c.shape(0)
	if c.err != nil {
		return c.err
	}
	if !isFloat(a.Type) || a.Type != b.Type {
		return fmt.Errorf("it multiplies %v with %v", a.Type, b.Type)
	}
	if c.int("transA", 0) != 0 {
		a = a.permute(1, 0)
	}
	if c.int("transB", 0) != 0 {
		b = b.permute(1, 0)
	}
	out := c.shaped(c.product(a, b), shape...)
	if alpha := c.number("alpha", 1); alpha != 1 {
		out = c.apply(Map{Function: "Mul"}, out.Type, shape, out, c.scalar(alpha, out.Type))
	}
	if c.given(2) && c.number("beta", 1) != 0 {
		bias := c.in(2)
		if beta := c.number("beta", 1); beta != 1 {
			bias = c.apply(Map{Function: "Mul"}, bias.Type, bias.Shape, bias, c.scalar(beta, bias.Type))
		}
		out = c.apply(Map{Function: "Add"}, out.Type, shape, out, bias)
	}
	return c.give(out)
}
