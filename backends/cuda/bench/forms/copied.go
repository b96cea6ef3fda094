package forms

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
)

// Copied is matrices of Side × Side in FP32, which Depth layers compute with, and of which one column is
// given out: what takes as long to be copied in as to be computed, at some depth.
type Copied struct{ Side, Depth int }

// Kind implements Model.
func (Copied) Kind() string { return "copied" }

// Batch implements Model.
func (c Copied) Batch(rows int) backends.Batch {
	return batch(numbers("x", rows, c.Side*c.Side, int64(rows), int64(c.Side), int64(c.Side)))
}

func (c Copied) build(g *graph) {
	x := g.input("x", float32s, -1, c.Side, c.Side)
	for i := range c.Depth {
		x = g.layer(fmt.Sprintf("layers.%d", i), x, c.Side, c.Side)
	}
	column := g.node("Gather", attributes{"axis": int64(2)}, x, g.integer(0))
	g.output(g.node("Relu", nil, column), float32s, -1, c.Side)
}
