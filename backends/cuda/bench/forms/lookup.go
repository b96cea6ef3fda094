package forms

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
)

// Lookup is the tables of a Recommender and nothing else: rows of them beside each other, or sums of Length
// rows of each if that is not 0.
type Lookup struct {
	Recommender
	Length int
}

// Kind implements Model.
func (Lookup) Kind() string { return "lookup" }

// Batch implements Model.
func (l Lookup) Batch(rows int) backends.Batch {
	if l.Length == 0 {
		return batch(l.Recommender.Batch(rows).Tensors[1])
	}
	t := indices("sparse", rows, len(l.Tables)*l.Length, func(i int) int { return l.Tables[i/l.Length] })
	t.Shape = []int64{int64(rows), int64(len(l.Tables)), int64(l.Length)}
	return batch(t)
}

func (l Lookup) build(g *graph) {
	dims := []int{-1, len(l.Tables)}
	if l.Length > 0 {
		dims = append(dims, l.Length)
	}
	sparse := g.input("sparse", int64s, dims...)
	var all []string
	for i, rows := range l.Tables {
		x := g.row(fmt.Sprintf("tables.%d", i), sparse, i, rows, l.Width)
		if l.Length > 0 {
			x = g.node("ReduceSum", attributes{"keepdims": int64(0)}, x, g.integers(1))
		}
		all = append(all, x)
	}
	g.halves(g.node("Concat", attributes{"axis": int64(1)}, all...), -1, len(all)*l.Width)
}

// halves gives x out in FP16, which costs nothing where that is what is computed in.
func (g *graph) halves(x string, dims ...int) {
	g.output(g.node("Cast", attributes{"to": int64(float16s)}, x), float16s, dims...)
}

// Rows is one table as large as those of a Recommender together, and as many rows of it: what a Lookup can be
// at best.
type Rows struct{ Recommender }

// Kind implements Model.
func (Rows) Kind() string { return "rows" }

func (r Rows) height() int {
	n := 0
	for _, rows := range r.Tables {
		n += rows
	}
	return n
}

// Batch implements Model.
func (r Rows) Batch(rows int) backends.Batch {
	t := r.Recommender.Batch(rows).Tensors[1]
	from, all := 0, make([]int, len(r.Tables))
	for i, n := range r.Tables {
		all[i], from = from, from+n
	}
	return batch(shifted(t, all))
}

func (r Rows) build(g *graph) {
	sparse := g.input("sparse", int64s, -1, len(r.Tables))
	g.halves(g.node("Gather", nil, g.weight("table", 0, 0.3, r.height(), r.Width), sparse), -1, len(r.Tables), r.Width)
}
