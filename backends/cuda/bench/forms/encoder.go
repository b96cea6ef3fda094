package forms

import (
	"fmt"
	"math"

	"github.com/thrumserve/thrum/backends"
)

// Encoder is a BERT with a pooled answer: words [rows, Sequence] in, [rows, Width] out.
type Encoder struct{ Layers, Width, Heads, Inner, Words, Sequence int }

// Base is BERT-base, of 128 words.
var Base = Encoder{Layers: 12, Width: 768, Heads: 12, Inner: 3072, Words: 30522, Sequence: 128}

// Kind implements Model.
func (Encoder) Kind() string { return "encoder" }

// Batch implements Model.
func (e Encoder) Batch(rows int) backends.Batch {
	return batch(indices("ids", rows, e.Sequence, func(int) int { return e.Words }))
}

// Operations returns the multiplications and additions of the products for one row.
func (e Encoder) Operations() float64 {
	w, s := float64(e.Width), float64(e.Sequence)
	return float64(e.Layers)*s*(8*w*w+4*w*float64(e.Inner)+4*s*w) + 2*w*w
}

func (e Encoder) build(g *graph) {
	size := e.Width / e.Heads
	x := g.node("Gather", nil, g.weight("words", 0, 1, e.Words, e.Width), g.input("ids", int64s, -1, e.Sequence))
	x = g.norm("norm", g.node("Add", nil, x, g.weight("places", 0, 1, 1, e.Sequence, e.Width)), e.Width)
	apart, together := g.integers(0, 0, int64(e.Heads), int64(size)), g.integers(0, 0, int64(e.Width))
	scale := g.scalar(1 / math.Sqrt(float64(size)))
	order := func(x string, perm ...int64) string { return g.node("Transpose", attributes{"perm": perm}, x) }
	for i := range e.Layers {
		name := func(part string) string { return fmt.Sprintf("layers.%d.%s", i, part) }
		heads := func(part string) string {
			return g.node("Reshape", nil, g.layer(name(part), x, e.Width, e.Width), apart)
		}
		q, k, v := order(heads("q"), 0, 2, 1, 3), order(heads("k"), 0, 2, 3, 1), order(heads("v"), 0, 2, 1, 3)
		scores := g.node("Mul", nil, g.node("MatMul", nil, q, k), scale)
		y := g.node("MatMul", nil, g.node("Softmax", attributes{"axis": int64(-1)}, scores), v)
		y = g.node("Reshape", nil, order(y, 0, 2, 1, 3), together)
		x = g.norm(name("norm1"), g.node("Add", nil, g.layer(name("o"), y, e.Width, e.Width), x), e.Width)
		y = g.node("Gelu", nil, g.layer(name("inner"), x, e.Width, e.Inner))
		x = g.norm(name("norm2"), g.node("Add", nil, g.layer(name("outer"), y, e.Inner, e.Width), x), e.Width)
	}
	first := g.node("Gather", attributes{"axis": int64(1)}, x, g.integer(0))
	g.output(g.node("Tanh", nil, g.layer("pooled", first, e.Width, e.Width)), float32s, -1, e.Width)
}
