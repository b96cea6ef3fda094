package kernels_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

func TestGather(t *testing.T) {
	for _, typ := range []kernels.Type{kernels.F32, kernels.F16, kernels.BF16, kernels.U8, kernels.I64} {
		for _, index := range []kernels.Type{kernels.I32, kernels.I64} {
			for _, s := range [][4]int64{{1, 1, 1, 1}, {1, 30, 64, 9}, {3, 7, 5, 4}, {2, 9, 24, 300}} {
				for _, outside := range []bool{false, true} {
					b := newBench(t)
					outer, rows, inner, count := s[0], s[1], s[2], s[3]
					x, y := b.whole(typ, outer*rows*inner, 1, 100), b.empty(typ, outer*count*inner)
					indices := b.whole(index, count, int(-rows), int(rows))
					fault := b.whole(kernels.I32, 1, 0, 1)
					fault.before = nil
					if outside {
						indices.set(int(count)-1, float64(rows))
						indices.before = slices.Clone(indices.data)
					}
					g := kernels.Gather{Type: typ, Index: index, Outer: outer, Rows: rows, Inner: inner, Count: count, Table: x.at(), Y: y.at(), Indices: indices.at(), Fault: fault.at()}
					b.run(g)
					b.check(g, y, 0, func(i int) float64 {
						e, at := int64(i)%inner, int64(i)/inner
						row := int64(indices.get(int(at % count)))
						if row < 0 {
							row += rows
						}
						if row >= rows {
							return 0
						}
						return x.get(int((at/count*rows+row)*inner + e))
					})
					if (fault.get(0) == 1) != outside {
						t.Fatalf("%+v: the fault is %v", g, fault.get(0))
					}
				}
			}
		}
	}
}

func TestEmbeddingBags(t *testing.T) {
	for _, typ := range floats {
		for _, mean := range []bool{false, true} {
			for _, width := range []int64{1, 6, 64, 200} {
				b := newBench(t)
				const bags = 11
				stride := 3*width + int64(b.rand.IntN(4))*2
				out := b.empty(typ, bags*stride)
				var tables, indices []*array
				var lengths []int64
				var data []byte
				for i := range int64(3) {
					rows, length := int64(5+b.rand.IntN(40)), int64(1+b.rand.IntN(4))
					tables, indices, lengths = append(tables, b.normal(typ, rows*width, 1)), append(indices, b.whole(kernels.I64, bags*length, int(-rows), int(rows))), append(lengths, length)
					data = kernels.Bags{Table: tables[i].at(), Indices: indices[i].at(), Y: out.at() + uint64(i*width*typ.Size()), Rows: rows, Length: length}.Append(data)
				}
				descriptions := b.straight(kernels.U8, int64(len(data)))
				copy(descriptions.data, data)
				descriptions.before = bytes.Clone(data)
				e := kernels.EmbeddingBags{Type: typ, Tables: descriptions.at(), Count: 3, Bags: bags, Width: width, Stride: stride, Mean: mean}
				b.run(e)
				for i := range out.len() {
					bag, column := i/int(stride), i%int(stride)
					table := column / int(width)
					if table >= 3 {
						if !out.poisoned(i) {
							t.Fatalf("%+v: element %d between rows is written", e, i)
						}
						continue
					}
					want := 0.0
					for k := range int(lengths[table]) {
						row := int(indices[table].get(bag*int(lengths[table]) + k))
						if row < 0 {
							row += tables[table].len() / int(width)
						}
						want += tables[table].get(row*int(width) + column%int(width))
					}
					if mean {
						want /= float64(lengths[table])
					}
					if got := out.get(i); !(abs(got-want) <= precision(typ)*max(1, abs(want))) {
						t.Fatalf("%+v: bag %d column %d is %v, want %v", e, bag, column, got, want)
					}
				}
			}
		}
	}
}

func abs(v float64) float64 { return max(v, -v) }

func TestEmbeddingBagsReportAnIndexOfNoRow(t *testing.T) {
	b := newBench(t)
	table, out, fault := b.normal(kernels.F32, 8, 1), b.empty(kernels.F32, 4), b.whole(kernels.I32, 1, 0, 1)
	fault.before = nil
	indices := b.empty(kernels.I64, 2).fill(func(i int) float64 { return float64([]int{1, 2}[i]) })
	data := kernels.Bags{Table: table.at(), Indices: indices.at(), Y: out.at(), Rows: 2, Length: 2}.Append(nil)
	if len(data) != kernels.BagsSize {
		t.Fatalf("Append made %d bytes, want %d", len(data), kernels.BagsSize)
	}
	descriptions := b.straight(kernels.U8, int64(len(data)))
	copy(descriptions.data, data)
	e := kernels.EmbeddingBags{Tables: descriptions.at(), Count: 1, Bags: 1, Width: 4, Stride: 4, Fault: fault.at()}
	b.run(e)
	b.check(e, out, 0, func(i int) float64 { return table.get(4 + i) })
	if fault.get(0) != 1 {
		t.Errorf("the fault is %v, want 1", fault.get(0))
	}
}
