package cpu

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// bagGraph is a graph that looks up rows of table, 7x5.
type bagGraph struct {
	sketch
	table *onnx.Value
}

func newBagGraph() *bagGraph {
	g := new(bagGraph)
	g.table = g.constant(wave("table", 3, 7, 5))
	return g
}

// rows adds the lookup of rows of the table.
func (g *bagGraph) rows(index *onnx.Value) *onnx.Value {
	return g.shaped("Gather", nil, slices.Concat(index.Shape, dims([]int64{5})), g.table, index)
}

// reduced adds a reduction of an axis of v.
func (g *bagGraph) reduced(op string, v *onnx.Value, axis, keep int64) *onnx.Value {
	axes := g.constant(integers64("axes", []int64{1}, axis))
	at := int(axis)
	if at < 0 {
		at += len(v.Shape)
	}
	shape := slices.Delete(slices.Clone(v.Shape), at, at+1)
	if keep != 0 {
		shape = slices.Insert(shape, at, onnx.Dim{Size: 1})
	}
	return g.shaped(op, onnx.Attrs{"keepdims": keep}, shape, v, axes)
}

// loop adds the loop that PyTorch makes of an EmbeddingBag.
func (g *bagGraph) loop(op string, index, starts, ends, count, weights *onnx.Value) *onnx.Value {
	yes := g.constant(backends.Tensor{Name: "yes", Datatype: backends.Bool, Shape: []int64{}, Data: []byte{1}})
	zero := g.constant(integers64("zero", []int64{1}, 0))
	one := g.constant(integers64("one", []int64{1}, 1))
	n := dims([]int64{-1})
	captured := []*onnx.Value{g.table, index, starts, ends, zero, one}
	if weights != nil {
		captured = append(captured, weights)
	}
	body := g.within(func() {
		i := g.input("i", backends.Int64)
		more := g.input("more", backends.Bool)
		at := func(v *onnx.Value) *onnx.Value {
			return g.shaped("Unsqueeze", nil, dims([]int64{1}), g.shaped("Gather", nil, dims(nil), v, i), zero)
		}
		rows := g.rows(g.shaped("Slice", nil, n, index, at(starts), at(ends), zero))
		if weights != nil {
			part := g.shaped("Slice", nil, n, weights, at(starts), at(ends), zero)
			rows = g.shaped("Mul", nil, rows.Shape, rows, g.shaped("Unsqueeze", nil, dims([]int64{-1, 1}), part, one))
		}
		g.output(g.node("Cast", onnx.Attrs{"to": int64(9)}, more))
		g.output(g.reduced(op, rows, 0, 0))
	})
	node := g.control("Loop", onnx.Attrs{"body": body}, captured, count, yes)
	v := node.Outputs[0]
	v.Datatype, v.Shape, v.HasShape = backends.FP32, dims([]int64{-1, 5}), true
	return v
}

// TestEmbeddingBags runs each graph as it is and fused, and counts the operators that are left.
func TestEmbeddingBags(t *testing.T) {
	index := integers64("x", []int64{4, 3}, 0, 6, -7, 2, 2, 2, -1, 3, 5, 4, 1, 0)
	flat := integers64("x", []int64{12}, 0, 6, -7, 2, 2, 2, -1, 3, 5, 4, 1, 0)
	fused := map[string]int{"EmbeddingBag": 1}
	tests := []struct {
		name  string
		in    backends.Tensor
		draw  func(g *bagGraph, x *onnx.Value) *onnx.Value
		wants map[string]int
	}{
		{"a sum", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.reduced("ReduceSum", g.rows(x), 1, 0)
		}, fused},
		{"a sum that keeps its dimension", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.reduced("ReduceSum", g.rows(x), -2, 1)
		}, fused},
		{"a mean", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.reduced("ReduceMean", g.rows(x), 1, 0)
		}, fused},
		{"one bag", flat, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.reduced("ReduceSum", g.rows(x), 0, 0)
		}, fused},
		{"with weights", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			weights := g.constant(wave("weights", 5, 4, 3, 1))
			weights.Shape = slices.Concat(x.Shape, dims([]int64{1}))
			rows := g.rows(x)
			return g.reduced("ReduceSum", g.shaped("Mul", nil, rows.Shape, rows, weights), 1, 0)
		}, fused},
		{"a sum over something else", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.reduced("ReduceSum", g.rows(x), 2, 0)
		}, map[string]int{"Gather": 1, "ReduceSum": 1}},
		{"a sum over the outer bags", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.reduced("ReduceSum", g.rows(x), 0, 0)
		}, map[string]int{"Gather": 1, "ReduceSum": 1}},
		{"weights for each value", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			rows := g.rows(x)
			return g.reduced("ReduceSum", g.shaped("Mul", nil, rows.Shape, rows, g.constant(wave("weights", 5, 5))), 1, 0)
		}, map[string]int{"Gather": 1, "Mul": 1, "ReduceSum": 1}},
		{"rows that somebody else reads", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			rows := g.rows(x)
			return g.node("Add", nil, g.reduced("ReduceSum", rows, 1, 1), g.reduced("ReduceMean", rows, 1, 1))
		}, map[string]int{"Gather": 1, "ReduceSum": 1, "ReduceMean": 1, "Add": 1}},
		{"several tables beside a matrix", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			column := g.shaped("Slice", nil, x.Shape[:1], g.shaped("Reshape", nil, dims([]int64{12}), x, g.constant(integers64("all", []int64{1}, 12))),
				g.constant(integers64("from", []int64{1}, 0)), g.constant(integers64("to", []int64{1}, 4)))
			matrix := g.constant(wave("dense", 8, 4, 3))
			return g.shaped("Concat", onnx.Attrs{"axis": int64(1)}, dims([]int64{4, 18}), g.reduced("ReduceSum", g.rows(x), 1, 0),
				matrix, g.rows(column), g.reduced("ReduceMean", g.rows(x), 1, 0))
		}, map[string]int{"Reshape": 1, "Slice": 1, "EmbeddingBags": 1}},
		{"a loop beside a sum", flat, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			bags := g.shaped("Reshape", nil, dims([]int64{5, 2}), g.shaped("Slice", nil, dims([]int64{10}), x, g.constant(integers64("from", []int64{1}, 2)), g.constant(integers64("to", []int64{1}, 12))),
				g.constant(integers64("shape", []int64{2}, 5, 2)))
			return g.shaped("Concat", onnx.Attrs{"axis": int64(-1)}, dims([]int64{5, 10}), drawBagLoop("ReduceSum", true)(g, x), g.reduced("ReduceSum", g.rows(bags), 1, 0))
		}, map[string]int{"Reshape": 1, "Slice": 1, "EmbeddingBags": 1}},
		{"one table beside a matrix", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.shaped("Concat", onnx.Attrs{"axis": int64(1)}, dims([]int64{4, 8}), g.reduced("ReduceSum", g.rows(x), 1, 0), g.constant(wave("dense", 8, 4, 3)))
		}, map[string]int{"EmbeddingBag": 1, "Concat": 1}},
		{"tables one below the other", index, func(g *bagGraph, x *onnx.Value) *onnx.Value {
			return g.shaped("Concat", onnx.Attrs{"axis": int64(0)}, dims([]int64{8, 5}), g.reduced("ReduceSum", g.rows(x), 1, 0), g.reduced("ReduceSum", g.rows(x), 1, 0))
		}, map[string]int{"EmbeddingBag": 2, "Concat": 1}},
		{"a loop over bags", flat, drawBagLoop("ReduceSum", false), fused},
		{"a loop of means", flat, drawBagLoop("ReduceMean", false), fused},
		{"a loop with weights", flat, drawBagLoop("ReduceSum", true), fused},
		{"a loop over something else", flat, drawBagLoop("ReduceMax", false), map[string]int{"Loop": 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := func(all []rewrite.Rule) (backends.Tensor, map[string]int) {
				g := newBagGraph()
				g.output(test.draw(g, g.input("x", backends.Int64, test.in.Shape...)))
				rewrite.Apply(&g.Graph, all)
				return execute(t, &g.sketch, test.in)
			}
			want, _ := run(nil)
			got, ops := run(allFusions)
			if !maps.Equal(ops, test.wants) {
				t.Errorf("fused to %v, want %v", ops, test.wants)
			}
			if !slices.Equal(got.Shape, want.Shape) {
				t.Fatalf("fused to shape %v, want %v", got.Shape, want.Shape)
			}
			for i, w := range floatsOf(want) {
				g := floatsOf(got)[i]
				if g != w && !(math.Abs(float64(g-w)) <= 1e-5) && (g == g || w == w) {
					t.Fatalf("element %d of the fused graph is %v, want %v", i, g, w)
				}
			}
		})
	}
}

// drawBagLoop draws bags of several sizes, none and all among them, in a loop.
func drawBagLoop(op string, weighted bool) func(g *bagGraph, x *onnx.Value) *onnx.Value {
	return func(g *bagGraph, x *onnx.Value) *onnx.Value {
		starts := g.constant(integers64("starts", []int64{5}, 0, 2, 2, 7, -5))
		ends := g.constant(integers64("ends", []int64{6}, 2, 2, 7, 12, 99, 3))
		count := g.constant(integers64("count", []int64{}, 5))
		var weights *onnx.Value
		if weighted {
			weights = g.constant(wave("weights", 9, 12))
		}
		return g.loop(op, x, starts, ends, count, weights)
	}
}

// execute runs a sketch and returns its output and what operators it has.
func execute(t *testing.T, s *sketch, in backends.Tensor) (backends.Tensor, map[string]int) {
	t.Helper()
	p, r := planOf(t, s)
	got, err := p.execute(t.Context(), r, []backends.Tensor{in}, p.outputs)
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]int{}
	for _, s := range p.steps {
		ops[s.op]++
	}
	return got[0], ops
}

func TestAnIndexOutsideOfTheTableIsNamed(t *testing.T) {
	for _, d := range []backends.Datatype{backends.Int32, backends.Int64} {
		for _, op := range []string{"Gather", "EmbeddingBag", "EmbeddingBags"} {
			g := newBagGraph()
			x := g.input("x", d, 2, 3)
			v := g.rows(x)
			if op != "Gather" {
				v = g.reduced("ReduceSum", v, 1, 0)
			}
			if op == "EmbeddingBags" {
				v = g.shaped("Concat", onnx.Attrs{"axis": int64(1)}, dims([]int64{2, 10}), v, g.reduced("ReduceSum", g.rows(x), 1, 0))
			}
			g.output(v)
			rewrite.Apply(&g.Graph, allFusions)
			p, r := planOf(t, &g.sketch)
			for _, wrong := range []int64{7, -8, math.MaxInt32, math.MinInt32} {
				in := integers64("x", []int64{2, 3}, 0, 1, 2, 3, wrong, wrong)
				if d == backends.Int32 {
					in.Datatype, in.Data = d, halved(in.Data)
				}
				_, err := p.execute(t.Context(), r, []backends.Tensor{in}, p.outputs)
				if want := fmt.Sprintf(`indices "x": index %d, element 4, is outside of [-7, 7)`, wrong); !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), want) {
					t.Errorf("%s of %d: %v, want %s", op, wrong, err, want)
				}
			}
		}
	}
}

// halved returns the INT64 in data as INT32.
func halved(data []byte) []byte {
	var all []byte
	for i := 0; i < len(data); i += 8 {
		all = append(all, data[i:i+4]...)
	}
	return all
}

// Slices of any number of bytes are looked up, of tables of any size.
func TestGatherOfAnything(t *testing.T) {
	for _, d := range []backends.Datatype{backends.Uint8, backends.FP16, backends.Int32, backends.FP64} {
		for _, shape := range [][]int64{{5, 3}, {5, 4}, {5, 2, 6}, {5}, {5, 0}, {1, 5, 4}, {2, 5, 4}} {
			var s sketch
			size := int64(d.Size())
			table := backends.Tensor{Name: "table", Datatype: d, Shape: shape, Data: make([]byte, backends.Elements(shape)*size)}
			for i := range table.Data {
				table.Data[i] = byte(i * 7)
			}
			axis, outer := int64(0), int64(1)
			if len(shape) == 3 && shape[1] == 5 {
				axis, outer = 1, shape[0]
			}
			x := s.input("x", backends.Int64, 4)
			s.output(s.shaped("Gather", onnx.Attrs{"axis": axis}, nil, s.constant(table), x))
			got, _ := execute(t, &s, integers64("x", []int64{4}, 4, 0, -5, -1))
			var want []byte
			for o := range outer {
				width := int64(len(table.Data)) / outer / 5
				for _, i := range []int64{4, 0, 0, 4} {
					want = append(want, table.Data[(o*5+i)*width:][:width]...)
				}
			}
			if !slices.Equal(got.Data, want) {
				t.Errorf("rows of %v %v are %x, want %x", d, shape, got.Data, want)
			}
		}
	}
}

// At a lower precision large tables are rounded, whoever reads them, and small ones are not.
func TestTablesArePackedAtThePrecision(t *testing.T) {
	for _, test := range []struct {
		precision kernels.Precision
		rows      int64
		rounded   bool
	}{{kernels.FP32, 1000, false}, {kernels.BF16, 1000, true}, {kernels.Int8, 1000, true}, {kernels.BF16, 10, false}} {
		for _, op := range []string{"Gather", "EmbeddingBag"} {
			const width = 33
			g := new(bagGraph)
			g.table = g.constant(wave("table", 3, test.rows, width))
			v := g.shaped("Gather", nil, dims([]int64{2, 3, width}), g.table, g.input("x", backends.Int64, 2, 3))
			if op == "EmbeddingBag" {
				v = g.reduced("ReduceSum", v, 1, 0)
			}
			g.output(v)
			rewrite.Apply(&g.Graph, allFusions)
			e := testEngine(t)
			e.precision.asked = test.precision
			p, err := newPlan(&g.Graph, e)
			if err != nil {
				t.Fatal(err)
			}
			if e.precision.used != test.rounded {
				t.Errorf("%s at %v: used = %v", op, test.precision, e.precision.used)
			}
			if _, kept := p.constants[g.table.ID]; kept == test.rounded {
				t.Errorf("%s at %v: the table is kept = %v", op, test.precision, kept)
			}
			got, err := p.execute(t.Context(), p.newRun(e), []backends.Tensor{integers64("x", []int64{2, 3}, 1, -1, 2, 3, 3, 0)}, p.outputs)
			if err != nil {
				t.Fatal(err)
			}
			values := floatsOf(*g.table.Const)
			want := values[width : 2*width]
			if op == "EmbeddingBag" {
				want = slices.Clone(want)
				for j := range want {
					want[j] += values[len(values)-width+j] + values[2*width+j]
				}
			}
			for j, w := range want {
				if d := math.Abs(float64(floatsOf(got[0])[j] - w)); d > 0.03 || !test.rounded && d > 1e-6 {
					t.Fatalf("%s at %v: element %d is %v, want %v", op, test.precision, j, floatsOf(got[0])[j], w)
				}
			}
		}
	}
}
