//go:build purego || !amd64

package kernels

func (t *Tree) exits(exits *Exits, codes []int8, rows int, _ *Masks) {
	t.exitsPortable(exits, codes, rows)
}

func addAt(sums *[BlockRows]float32, table []float32, exits *Exits, rows int) {
	addAtPortable(sums, table, exits, rows)
}

func narrow(codes *[BlockRows]int8, ranks *[BlockRows]int32, base int32) {
	narrowPortable(codes, ranks, base)
}

func (r *Ranking) ranks(ranks *[BlockRows]int32, n int, x []float32, stride int, missing int32) {
	r.ranksPortable(ranks, n, x, stride, missing)
}

func (t *RowTrees) exits(exits []uint8, row *Row, from int, _ bool) {
	t.exitsPortable(exits, row, from)
}
