package lower

import (
	"fmt"
	"math"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

func viewOf(offset int64, shape, strides []int64) Tensor {
	return Tensor{Buffer: &Buffer{Bytes: 1 << 20}, Type: backends.FP32, Offset: offset, Shape: shape, Strides: strides}
}

// TestPeriodic holds views against what they are read as: the same elements in the same order.
func TestPeriodic(t *testing.T) {
	for _, c := range []struct {
		situation      string
		shape, strides []int64
		want           bool
	}{
		{"one", []int64{}, []int64{}, true},
		{"dense", []int64{2, 3, 4}, []int64{12, 4, 1}, true},
		{"a number for all", []int64{2, 3, 4}, []int64{0, 0, 0}, true},
		{"a row", []int64{2, 3, 4}, []int64{0, 0, 1}, true},
		{"a matrix, again and again", []int64{2, 3, 4}, []int64{0, 4, 1}, true},
		{"a column", []int64{2, 3, 4}, []int64{3, 1, 0}, true},
		{"channels", []int64{2, 3, 4}, []int64{0, 1, 0}, true},
		{"a row for each of several matrices", []int64{2, 3, 4}, []int64{4, 0, 1}, true},
		{"the same of fewer", []int64{5, 2, 3, 4}, []int64{0, 4, 0, 1}, true},
		{"rows with gaps", []int64{6, 4}, []int64{9, 1}, true},
		{"every other", []int64{6}, []int64{2}, true},
		{"turned", []int64{3, 4}, []int64{1, 3}, false},
		{"backwards", []int64{4}, []int64{-1}, false},
		{"too many turns", []int64{2, 2, 2, 2, 2}, []int64{8, 0, 4, 0, 1}, false},
	} {
		x := viewOf(5, c.shape, c.strides)
		got, ok := periodic(x)
		if ok != c.want {
			t.Errorf("%s: periodic = %v, want %v", c.situation, ok, c.want)
		}
		if ok && fmt.Sprint(places(got)) != fmt.Sprint(places(x)) {
			t.Errorf("%s: elements %v, want %v", c.situation, places(got), places(x))
		}
	}
}

func leaf() *formula { return &formula{tensor: viewOf(0, []int64{1, 1, 1, 8}, []int64{0, 0, 0, 1})} }

func apply(function string, of ...*formula) *formula { return &formula{function: function, of: of} }

func constantly(v float32) *formula { return &formula{number: &v} }

// TestCompile runs what formulas become, with the numbers 1, 2, … in their tensors.
func TestCompile(t *testing.T) {
	x, y := leaf(), leaf()
	deep := apply("Abs", x)
	for range kernels.MaxSteps {
		deep = apply("Add", deep, constantly(1))
	}
	for _, c := range []struct {
		situation string
		e         *formula
		want      float64 // NaN for what does not become a chain
		steps     int
	}{
		{"a function", apply("Neg", x), -1, 1},
		{"the same twice", apply("Mul", x, x), 1, 1},
		{"a number before", apply("Sub", constantly(5), x), 4, 1},
		{"one after the other", apply("Sub", apply("Add", x, constantly(3)), y), 2, 2},
		{"what comes second is computed", apply("Sub", y, apply("Add", y, constantly(3))), -3, 2},
		{"both are computed", apply("Sub", apply("Add", x, y), apply("Mul", y, constantly(10))), 3 - 20, 3},
		{"both are, of both", apply("Sub", apply("Div", apply("Add", x, y), apply("Sub", y, x)), apply("Mul", apply("Add", y, x), apply("Add", y, y))), 3 - 12, 7},
		{"a choice of two numbers", apply("Where", apply("Greater", y, x), constantly(7), constantly(8)), 7, 2},
		{"a choice of what is computed", apply("Where", apply("Less", y, x), apply("Neg", x), apply("Neg", y)), -2, 4},
		{"three numbers", apply("Where", constantly(1), constantly(7), constantly(8)), math.NaN(), 0},
		{"no tensor", apply("Neg", constantly(1)), math.NaN(), 0},
		{"five tensors", apply("Add", apply("Add", apply("Add", leaf(), leaf()), apply("Add", leaf(), leaf())), leaf()), math.NaN(), 0},
		{"more steps than a chain has", deep, math.NaN(), 0},
		{"more registers than there are", apply("Add", apply("Add", leaf(), leaf()), apply("Add", apply("Add", leaf(), leaf()), apply("Where", apply("Abs", leaf()), apply("Abs", leaf()), apply("Abs", leaf())))), math.NaN(), 0},
	} {
		steps, leaves, ok := c.e.compile()
		if ok != (c.want == c.want) {
			t.Errorf("%s: compile = %v, %v", c.situation, steps, ok)
		}
		if !ok {
			continue
		}
		in := make([][]float64, len(leaves))
		for i, l := range leaves {
			in[i] = []float64{1}
			if l.Buffer == y.tensor.Buffer {
				in[i][0] = 2
			}
		}
		if got := chained(Chain{steps}, in, 0); got != c.want || len(steps) != c.steps {
			t.Errorf("%s: %v by %d steps, want %v by %d: %+v", c.situation, got, len(steps), c.want, c.steps, steps)
		}
	}
}
