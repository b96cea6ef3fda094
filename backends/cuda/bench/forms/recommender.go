package forms

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
)

// Recommender is a recommendation model: numbers and one row of each of many tables in, whose products with
// each other go through a tower to one probability.
type Recommender struct {
	Dense  int
	Tables []int // rows of each
	Width  int   // of tables, and of the last layer below
	Below  []int // layers of numbers, without the last
	Above  []int // layers of products, without the last, which is of one
}

// Criteo has the tables of the data set of that name, of which the largest are cut off.
var Criteo = Recommender{
	Dense: 13, Width: 64, Below: []int{512, 256}, Above: []int{512, 256},
	Tables: []int{
		most, 36746, 17245, 7413, 20243, 3, 7114, 1441, 62, most, most, 345138, 10, 2209, 11267, 128, 4, 974, 14, most, most, most, 452104, 12606, 104, 35,
	},
}

const most = 1_000_000

// Kind implements Model.
func (Recommender) Kind() string { return "recommender" }

// Batch implements Model.
func (r Recommender) Batch(rows int) backends.Batch {
	return batch(
		numbers("dense", rows, r.Dense, int64(rows), int64(r.Dense)),
		indices("sparse", rows, len(r.Tables), func(i int) int { return r.Tables[i%len(r.Tables)] }),
	)
}

func (r Recommender) build(g *graph) {
	x := g.tower("below", g.input("dense", float32s, -1, r.Dense), r.Dense, append(r.Below[:len(r.Below):len(r.Below)], r.Width))
	sparse, one := g.input("sparse", int64s, -1, len(r.Tables)), g.integers(1)
	features := []string{g.node("Unsqueeze", nil, x, one)}
	for i, rows := range r.Tables {
		row := g.row(fmt.Sprintf("tables.%d", i), sparse, i, rows, r.Width)
		features = append(features, g.node("Unsqueeze", nil, row, one))
	}
	all := g.node("Concat", attributes{"axis": int64(1)}, features...)
	products := g.node("MatMul", nil, all, g.node("Transpose", attributes{"perm": []int64{0, 2, 1}}, all))
	n := len(features)
	pairs := pairs(n)
	chosen := g.node("Gather", attributes{"axis": int64(1)}, g.node("Reshape", nil, products, g.integers(0, int64(n*n))), g.integers(pairs...))
	y := g.node("Concat", attributes{"axis": int64(1)}, x, chosen)
	in := r.Width + len(pairs)
	y = g.tower("above", y, in, r.Above)
	if len(r.Above) > 0 {
		in = r.Above[len(r.Above)-1]
	}
	g.output(g.node("Sigmoid", nil, g.layer("last", y, in, 1)), float32s, -1, 1)
}

// row is one row of a table for each of the batch, by a column of indices.
func (g *graph) row(name, sparse string, column, rows, width int) string {
	index := g.node("Gather", attributes{"axis": int64(1)}, sparse, g.integer(int64(column)))
	return g.node("Gather", nil, g.weight(name, 0, 0.3, rows, width), index)
}

// pairs are the places of what is below the diagonal of n × n, and the first again until rows of them are
// of whole 16 bytes.
func pairs(n int) []int64 {
	var all []int64
	for i := range n {
		for j := range i {
			all = append(all, int64(i*n+j))
		}
	}
	for len(all)%8 != 0 {
		all = append(all, all[0])
	}
	return all
}

// tower is layers that are rectified.
func (g *graph) tower(name, x string, in int, layers []int) string {
	for i, out := range layers {
		x = g.node("Relu", nil, g.layer(fmt.Sprintf("%s.%d", name, i), x, in, out))
		in = out
	}
	return x
}
