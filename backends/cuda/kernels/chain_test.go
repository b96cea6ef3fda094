package kernels_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// period returns the operand that t is, and what of t element i of n takes.
func (b *bench) period(t *array, n int64, shape string) (kernels.Period, func(i int64) int64) {
	p := kernels.Period{Address: t.at(), Type: t.Type, Divide: 1, Rows: 1, Columns: 1}
	most := int64(t.len())
	switch shape {
	case "dense":
		p.Columns = n
	case "row":
		p.Columns = most
	case "column":
		p.Divide, p.Rows, p.Stride = ceilOf(n, most), most, 1
	case "rows of matrices": // [a, 1, c] of [a, b, c]
		p.Columns = 8 * (1 + b.rand.Int64N(2))
		p.Divide, p.Rows, p.Stride = 3*p.Columns, most/p.Columns, p.Columns
	case "every other":
		p.Rows, p.Stride = ceilOf(most, 2), 2
	}
	return p, func(i int64) int64 { return i/p.Divide%p.Rows*p.Stride + i%p.Columns }
}

func ceilOf(a, b int64) int64 { return (a + b - 1) / b }

// TestChainReads holds what operands of every type and form give against what they hold.
func TestChainReads(t *testing.T) {
	for _, typ := range []kernels.Type{kernels.F32, kernels.F16, kernels.BF16, kernels.Bool, kernels.U8, kernels.I8, kernels.I32, kernels.I64} {
		for _, shape := range []string{"dense", "one", "row", "column", "rows of matrices", "every other"} {
			for _, n := range []int64{1, 8, 37, 5000} {
				b := newBench(t)
				high := 100
				if typ == kernels.Bool {
					high = 2
				}
				x := b.whole(typ, map[string]int64{"dense": n, "one": 1, "row": 8 * (1 + b.rand.Int64N(9)), "column": 1 + b.rand.Int64N(n), "every other": n}[shape]+
					map[string]int64{"rows of matrices": 16 * (1 + n/24)}[shape], 0, high)
				to := []kernels.Type{typ, kernels.F32}[b.rand.IntN(2)]
				y := b.empty(to, n)
				p, at := b.period(x, n, shape)
				c := kernels.Chain{N: n, Out: y.at(), Type: to, In: []kernels.Period{p}, Step: []kernels.Step{{From: [3]int{}, To: kernels.Result}}}
				b.run(c)
				b.check(c, y, 0, func(i int) float64 { return x.get(int(at(int64(i)))) })
			}
		}
	}
}

// TestChainComputes holds every function, alone and after others, against what Map computes.
func TestChainComputes(t *testing.T) {
	for _, typ := range floats {
		for _, name := range append(append(slices.Clone(ones), pairs...), "And", "Or", "Xor", "Less", "Equal", "Not") {
			b := newBench(t)
			n := int64(1 + b.rand.IntN(600))
			x, y, z := b.operand(name, typ, n), b.operand(name, typ, n), b.empty(typ, n)
			dense := func(a *array) kernels.Period {
				return kernels.Period{Address: a.at(), Type: typ, Divide: 1, Rows: 1, Columns: n}
			}
			// f(x, y) goes to the last register, its product with 2 to nobody, and -f(x, y) to the result.
			last := kernels.Registers - 1
			c := kernels.Chain{N: n, Out: z.at(), Type: typ, In: []kernels.Period{dense(x), dense(y)}, Step: []kernels.Step{
				{Function: name, Alpha: 0.3, Beta: 0.6, From: [3]int{0, 1}, To: last},
				{Function: "Mul", Alpha: 2, From: [3]int{kernels.ByAlpha, kernels.Result}, To: kernels.Result},
				{Function: "Neg", From: [3]int{last}, To: kernels.Result},
			}}
			b.run(c)
			b.check(c, z, precision(typ), func(i int) float64 {
				return -function(name, float64(float32(0.3)), float64(float32(0.6)), x.get(i), y.get(i))
			})
		}
	}
}

func TestChainOfLargeAngles(t *testing.T) {
	for _, name := range []string{"Sin", "Cos"} {
		b := newBench(t)
		const n = 50
		x, y := b.empty(kernels.F32, n), b.empty(kernels.F32, n)
		x.fill(func(int) float64 { return math.Ldexp(b.rand.NormFloat64(), b.rand.IntN(120)) })
		c := kernels.Chain{N: n, Out: y.at(), Type: kernels.F32, In: []kernels.Period{{Address: x.at(), Type: kernels.F32, Divide: 1, Rows: 1, Columns: n}},
			Step: []kernels.Step{{Function: name, From: [3]int{0}, To: kernels.Result}}}
		b.run(c)
		b.check(c, y, precision(kernels.F32), func(i int) float64 { return function(name, 0, 0, x.get(i), 0) })
	}
}

// TestChainOfBytes adds two quantised tensors, as files spell it out: the longest of chains.
func TestChainOfBytes(t *testing.T) {
	for _, typ := range []kernels.Type{kernels.U8, kernels.I8} {
		for _, n := range []int64{5, 64, 1003} {
			t.Run(fmt.Sprint(typ, n), func(t *testing.T) {
				b := newBench(t)
				x, y, z := b.whole(typ, n, -128, 128), b.whole(typ, n, -128, 128), b.empty(typ, n)
				low, high := float32(0), float32(255)
				if typ == kernels.I8 {
					low, high = -128, 127
				}
				// Powers of two, so that sums are exact and ties are ties.
				c := kernels.Chain{N: n, Out: z.at(), Type: typ, In: []kernels.Period{
					{Address: x.at(), Type: typ, Divide: 1, Rows: 1, Columns: n}, {Address: y.at(), Type: typ, Divide: 1, Rows: 1, Columns: n},
				}, Step: []kernels.Step{
					{Function: "Dequantize", Alpha: 0.25, Beta: 7, From: [3]int{0}, To: 2},
					{Function: "Dequantize", Alpha: 0.5, Beta: -3, From: [3]int{1}, To: kernels.Result},
					{Function: "Add", From: [3]int{2, kernels.Result}, To: kernels.Result},
					{Function: "Relu", From: [3]int{kernels.Result}, To: kernels.Result},
					{Function: "Quantize", Alpha: 0.5, Beta: 11, From: [3]int{kernels.Result}, To: kernels.Result},
					{Function: "Clip", Alpha: low, Beta: high, From: [3]int{kernels.Result}, To: kernels.Result},
				}}
				b.run(c)
				b.check(c, z, 0, func(i int) float64 {
					sum := max((x.get(i)-7)/4+(y.get(i)+3)/2, 0)
					return min(max(math.RoundToEven(sum*2)+11, float64(low)), float64(high))
				})
			})
		}
	}
}

// TestChainChooses runs the most operands and steps that there may be.
func TestChainChooses(t *testing.T) {
	b := newBench(t)
	const n = 77
	yes := b.whole(kernels.Bool, n, 0, 2)
	var in []kernels.Period
	arrays := []*array{b.normal(kernels.F32, n, 1), b.normal(kernels.F16, n, 1), b.normal(kernels.BF16, n, 1)}
	for _, a := range append(arrays, yes) {
		in = append(in, kernels.Period{Address: a.at(), Type: a.Type, Divide: 1, Rows: 1, Columns: n})
	}
	steps := []kernels.Step{
		{Function: "Where", From: [3]int{3, 0, 1}, To: 4},
		{Function: "Where", Alpha: 5, Beta: -5, From: [3]int{3, kernels.ByAlpha, kernels.ByBeta}, To: 1},
		{Function: "Add", From: [3]int{4, 1}, To: kernels.Result},
		{Function: "Mul", From: [3]int{kernels.Result, 2}, To: kernels.Result},
	}
	for len(steps) < kernels.MaxSteps {
		steps = append(steps, kernels.Step{Function: "Add", Beta: 1, From: [3]int{kernels.Result, kernels.ByBeta}, To: kernels.Result})
	}
	y := b.empty(kernels.F32, n)
	c := kernels.Chain{N: n, Out: y.at(), Type: kernels.F32, In: in, Step: steps}
	b.run(c)
	b.check(c, y, precision(kernels.F32), func(i int) float64 {
		v := arrays[1].get(i) - 5
		if yes.get(i) != 0 {
			v = arrays[0].get(i) + 5
		}
		return v*arrays[2].get(i) + float64(len(steps)-4)
	})
}

func TestChainsThatAreRefused(t *testing.T) {
	in := kernels.Period{Address: 16, Divide: 1, Rows: 1, Columns: 1}
	step := kernels.Step{Function: "Abs", To: kernels.Result}
	for name, c := range map[string]kernels.Chain{
		"no elements":       {In: []kernels.Period{in}, Step: []kernels.Step{step}},
		"no operands":       {N: 1, Step: []kernels.Step{step}},
		"five operands":     {N: 1, In: slices.Repeat([]kernels.Period{in}, 5), Step: []kernels.Step{step}},
		"no steps":          {N: 1, In: []kernels.Period{in}},
		"thirteen steps":    {N: 1, In: []kernels.Period{in}, Step: slices.Repeat([]kernels.Step{step}, 13)},
		"an odd function":   {N: 1, In: []kernels.Period{in}, Step: []kernels.Step{{Function: "Add3"}}},
		"an odd place":      {N: 1, In: []kernels.Period{in}, Step: []kernels.Step{{To: 8}}},
		"no columns":        {N: 1, In: []kernels.Period{{Divide: 1, Rows: 1}}, Step: []kernels.Step{step}},
		"a negative stride": {N: 1, In: []kernels.Period{{Divide: 1, Rows: 1, Columns: 1, Stride: -1}}, Step: []kernels.Step{step}},
	} {
		if _, err := c.Launch(); err == nil {
			t.Errorf("%s: Launch gave no error", name)
		}
	}
}
