package kernels_test

import (
	"math"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

var (
	ones  = []string{"", "Abs", "Acos", "Asin", "Atan", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "GeluTanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt", "Swish", "Tanh"}
	pairs = []string{"Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub"}
	tests = []string{"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
)

func dense(shape []int64) []int64 {
	strides, n := make([]int64, len(shape)), int64(1)
	for i := range slices.Backward(shape) {
		strides[i] = n
		n *= shape[i]
	}
	return strides
}

func size(shape []int64) int64 {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return n
}

// offset is where element i of a shape lies.
func offset(i int64, shape, strides []int64) int64 {
	at := int64(0)
	for d := range slices.Backward(shape) {
		at += i % shape[d] * strides[d]
		i /= shape[d]
	}
	return at
}

// operand draws an array for a function, over which it is defined.
func (b *bench) operand(name string, t kernels.Type, n int64) *array {
	return b.empty(t, n).fill(func(int) float64 {
		v := b.rand.NormFloat64()
		switch name {
		case "Acos", "Asin":
			return 1.9*b.rand.Float64() - 0.95
		case "Log", "Sqrt", "Reciprocal", "Pow", "Div":
			return 0.25 + math.Abs(v)
		}
		return v
	})
}

func TestMapOfOneOperand(t *testing.T) {
	for _, name := range ones {
		for _, typ := range floats {
			for _, n := range []int64{1, 7, 64, 1001} {
				b := newBench(t)
				x, y := b.operand(name, typ, n), b.empty(typ, n)
				m := kernels.Map{Function: name, Alpha: 0.3, Beta: 0.6, Shape: []int64{n}, Out: kernels.View{Address: y.at(), Type: typ, Strides: []int64{1}},
					In: []kernels.View{{Address: x.at(), Type: typ, Strides: []int64{1}}}}
				b.run(m)
				b.check(m, y, precision(typ), func(i int) float64 {
					return function(name, float64(float32(0.3)), float64(float32(0.6)), x.get(i), 0)
				})
			}
		}
	}
}

func TestMapOfTwoOperandsBroadcasts(t *testing.T) {
	shapes := [][]int64{{5}, {3, 1, 7}, {2, 3, 4, 5, 3, 2}, {64, 65}}
	for _, name := range append(slices.Clone(pairs), tests...) {
		for _, typ := range append(slices.Clone(floats), kernels.I32, kernels.I64) {
			if typ > kernels.BF16 && (name == "Pow" || name == "PRelu") {
				continue
			}
			for _, shape := range shapes {
				b := newBench(t)
				to := typ
				if slices.Contains(tests, name) {
					to = kernels.Bool
				}
				operand := func() (*array, []int64) {
					strides := dense(shape)
					for d := range strides {
						if b.rand.IntN(4) == 0 {
							strides[d] = 0
						}
					}
					if typ > kernels.BF16 {
						return b.whole(typ, size(shape), 1, 9), strides
					}
					return b.operand(name, typ, size(shape)), strides
				}
				x, sx := operand()
				y, sy := operand()
				z := b.empty(to, size(shape))
				m := kernels.Map{Function: name, Shape: shape, Out: kernels.View{Address: z.at(), Type: to, Strides: dense(shape)},
					In: []kernels.View{{Address: x.at(), Type: typ, Strides: sx}, {Address: y.at(), Type: typ, Strides: sy}}}
				b.run(m)
				b.check(m, z, precision(typ), func(i int) float64 {
					v := function(name, 0, 0, x.get(int(offset(int64(i), shape, sx))), y.get(int(offset(int64(i), shape, sy))))
					if typ > kernels.BF16 && name == "Div" {
						return math.Trunc(v)
					}
					return v
				})
			}
		}
	}
}

func TestMapOfTwoOperandsInVectors(t *testing.T) {
	for _, name := range pairs {
		for _, typ := range floats {
			b := newBench(t)
			b.straightened = true
			x, y, z := b.operand(name, typ, 61), b.operand(name, typ, 61), b.empty(typ, 61)
			m := kernels.Map{Function: name, Shape: []int64{61}, Out: kernels.View{Address: z.at(), Type: typ, Strides: []int64{1}},
				In: []kernels.View{{Address: x.at(), Type: typ, Strides: []int64{1}}, {Address: y.at(), Type: typ, Strides: []int64{1}}}}
			b.run(m)
			b.check(m, z, precision(typ), func(i int) float64 { return function(name, 0, 0, x.get(i), y.get(i)) })
		}
	}
}

// TestMapOfLargeAngles has angles of which multiples of a right angle are taken with many digits.
func TestMapOfLargeAngles(t *testing.T) {
	for _, name := range []string{"Sin", "Cos"} {
		for _, typ := range []kernels.Type{kernels.F32, kernels.BF16} {
			for _, stride := range []int64{1, 2} {
				b := newBench(t)
				b.straightened = true
				x, y := b.empty(typ, 61*stride), b.empty(typ, 61)
				x.fill(func(int) float64 { return math.Ldexp(b.rand.NormFloat64(), b.rand.IntN(120)) })
				m := kernels.Map{Function: name, Shape: []int64{61}, Out: kernels.View{Address: y.at(), Type: typ, Strides: []int64{1}},
					In: []kernels.View{{Address: x.at(), Type: typ, Strides: []int64{stride}}}}
				b.run(m)
				b.check(m, y, precision(typ), func(i int) float64 { return function(name, 0, 0, x.get(i*int(stride)), 0) })
			}
		}
	}
}

func TestMapWithSpecialNumbers(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	special := []float64{nan, inf, -inf, 0, math.Copysign(0, -1), 1, -1, 65504}
	for _, name := range []string{"Max", "Min", "Add", "Equal", "Less", "GreaterOrEqual", "Relu", "Clip", "Sigmoid", "IsNaN", "Sign", "Neg"} {
		for _, typ := range floats {
			b := newBench(t)
			n := int64(len(special) * len(special))
			x := b.empty(typ, n).fill(func(i int) float64 { return special[i/len(special)] })
			y := b.empty(typ, n).fill(func(i int) float64 { return special[i%len(special)] })
			to := typ
			if slices.Contains([]string{"Equal", "Less", "GreaterOrEqual", "IsNaN"}, name) {
				to = kernels.Bool
			}
			z := b.empty(to, n)
			in := []kernels.View{{Address: x.at(), Type: typ, Strides: []int64{1}}, {Address: y.at(), Type: typ, Strides: []int64{1}}}
			if slices.Contains([]string{"Relu", "Clip", "Sigmoid", "IsNaN", "Sign", "Neg"}, name) {
				in = in[:1]
			}
			m := kernels.Map{Function: name, Alpha: -1, Beta: 2, Shape: []int64{n}, Out: kernels.View{Address: z.at(), Type: to, Strides: []int64{1}}, In: in}
			b.run(m)
			b.check(m, z, precision(typ), func(i int) float64 {
				v := function(name, -1, 2, x.get(i), y.get(i))
				if name == "Add" && typ == kernels.F16 && math.Abs(v) > 65519 {
					return math.Copysign(inf, v)
				}
				return v
			})
		}
	}
}

func TestMapConverts(t *testing.T) {
	all := []kernels.Type{kernels.F32, kernels.F16, kernels.BF16, kernels.Bool, kernels.U8, kernels.I8, kernels.I32, kernels.I64}
	for _, from := range all {
		for _, to := range all {
			b := newBench(t)
			low, high := -100, 100
			if from == kernels.U8 || to == kernels.U8 {
				low = 0
			}
			if from == kernels.Bool {
				low, high = 0, 2
			}
			x, y := b.whole(from, 35, low, high), b.empty(to, 35)
			shape := []int64{5, 7}
			m := kernels.Map{Shape: shape, Out: kernels.View{Address: y.at(), Type: to, Strides: dense(shape)},
				In: []kernels.View{{Address: x.at(), Type: from, Strides: []int64{1, 5}}}}
			b.run(m)
			b.check(m, y, 0, func(i int) float64 {
				v := x.get(i%7*5 + i/7)
				if to == kernels.Bool && v != 0 {
					return 1
				}
				return v
			})
		}
	}
}

func TestMapCopiesAnyView(t *testing.T) {
	for _, typ := range []kernels.Type{kernels.F32, kernels.F16, kernels.U8, kernels.I64} {
		for _, c := range []struct {
			name           string
			shape          []int64
			from, to       []int64
			fromAt, toAt   int64
			source, target int64
		}{
			{"images to channels last", []int64{2, 35, 6}, []int64{210, 1, 35}, []int64{210, 6, 1}, 0, 0, 420, 420},
			{"a large transposition", []int64{70, 65}, []int64{1, 70}, []int64{65, 1}, 0, 0, 4550, 4550},
			{"backwards", []int64{4, 9}, []int64{9, -1}, []int64{9, 1}, 8, 0, 36, 36},
			{"into a part", []int64{3, 4}, []int64{4, 1}, []int64{10, 1}, 0, 5, 12, 30},
			{"every other", []int64{5, 3}, []int64{6, 2}, []int64{3, 1}, 1, 0, 30, 15},
			{"six dimensions", []int64{2, 3, 2, 3, 2, 2}, []int64{1, 2, 6, 12, 36, 72}, []int64{72, 24, 12, 4, 2, 1}, 0, 0, 144, 144},
		} {
			b := newBench(t)
			x, y := b.whole(typ, c.source, 0, 120), b.empty(typ, c.target)
			m := kernels.Map{Shape: c.shape, Out: kernels.View{Address: y.at() + uint64(c.toAt*typ.Size()), Type: typ, Strides: c.to},
				In: []kernels.View{{Address: x.at() + uint64(c.fromAt*typ.Size()), Type: typ, Strides: c.from}}}
			b.run(m)
			written := map[int64]int64{}
			for i := range size(c.shape) {
				written[c.toAt+offset(i, c.shape, c.to)] = c.fromAt + offset(i, c.shape, c.from)
			}
			for i := range y.len() {
				from, ok := written[int64(i)]
				if ok && y.get(i) != x.get(int(from)) {
					t.Fatalf("%s of %v: element %d is %v, want %v", c.name, typ, i, y.get(i), x.get(int(from)))
				}
				if !ok && slices.ContainsFunc(y.data[int64(i)*typ.Size():int64(i+1)*typ.Size()], func(v byte) bool { return v != 0xff }) {
					t.Fatalf("%s of %v: element %d is written", c.name, typ, i)
				}
			}
		}
	}
}

func TestMapChooses(t *testing.T) {
	for _, typ := range append(slices.Clone(floats), kernels.I32, kernels.I64) {
		b := newBench(t)
		shape := []int64{6, 11}
		c, x, y, z := b.whole(kernels.Bool, 66, 0, 2), b.whole(typ, 11, -50, 50), b.whole(typ, 6, -50, 50), b.empty(typ, 66)
		m := kernels.Map{Function: "Where", Shape: shape, Out: kernels.View{Address: z.at(), Type: typ, Strides: []int64{11, 1}}, In: []kernels.View{
			{Address: c.at(), Type: kernels.Bool, Strides: []int64{11, 1}}, {Address: x.at(), Type: typ, Strides: []int64{0, 1}}, {Address: y.at(), Type: typ, Strides: []int64{1, 0}}}}
		b.run(m)
		b.check(m, z, 0, func(i int) float64 {
			if c.get(i) != 0 {
				return x.get(i % 11)
			}
			return y.get(i / 11)
		})
	}
}

func TestMapOfTruths(t *testing.T) {
	for _, name := range []string{"And", "Or", "Xor", "Not", "Equal"} {
		b := newBench(t)
		x, y, z := b.whole(kernels.Bool, 40, 0, 2), b.whole(kernels.Bool, 40, 0, 2), b.empty(kernels.Bool, 40)
		in := []kernels.View{{Address: x.at(), Type: kernels.Bool, Strides: []int64{1}}, {Address: y.at(), Type: kernels.Bool, Strides: []int64{1}}}
		if name == "Not" {
			in = in[:1]
		}
		m := kernels.Map{Function: name, Shape: []int64{40}, Out: kernels.View{Address: z.at(), Type: kernels.Bool, Strides: []int64{1}}, In: in}
		b.run(m)
		b.check(m, z, 0, func(i int) float64 { return function(name, 0, 0, x.get(i), y.get(i)) })
	}
}

func TestRefusals(t *testing.T) {
	one := kernels.View{Address: 16, Type: kernels.F32, Strides: []int64{1}}
	whole := kernels.View{Address: 16, Type: kernels.I32, Strides: []int64{1}}
	for name, k := range map[string]kernel{
		"an unknown function":      kernels.Map{Function: "Erode", Shape: []int64{1}, Out: one, In: []kernels.View{one}},
		"too few operands":         kernels.Map{Function: "Add", Shape: []int64{1}, Out: one, In: []kernels.View{one}},
		"a sine of integers":       kernels.Map{Function: "Sin", Shape: []int64{1}, Out: whole, In: []kernels.View{whole}},
		"nothing to do":            kernels.Map{Function: "Sin", Shape: []int64{0}, Out: one, In: []kernels.View{one}},
		"strides of another shape": kernels.Map{Function: "Sin", Shape: []int64{2, 2}, Out: one, In: []kernels.View{one}},
		"heads of 48":              kernels.Attention{Batch: 1, Heads: 1, Queries: 1, Keys: 1, Size: 48},
		"indices of f32":           kernels.Gather{Index: kernels.F32, Outer: 1, Rows: 1, Inner: 1, Count: 1},
		"more than there are":      kernels.TopK{Rows: 1, Columns: 3, K: 4},
		"more than can be found":   kernels.TopK{Rows: 1, Columns: 1000, K: kernels.MaxTop + 1},
		"too many targets":         kernels.Trees{Aggregate: "SUM", Rows: 1, Features: 1, Count: 1, Targets: kernels.MaxTargets + 1},
		"an unknown aggregate":     kernels.Trees{Aggregate: "MEDIAN", Rows: 1, Features: 1, Count: 1, Targets: 1},
		"quantising to i32":        kernels.Quantize{From: kernels.F32, To: kernels.I32, Outer: 1, Count: 1, Inner: 1},
		"an unknown reduction":     kernels.Reduce{Function: "Median", Outer: 1, Count: 1, Inner: 1},
	} {
		if l, err := k.Launch(); err == nil {
			t.Errorf("%s: Launch() = %+v, want an error", name, l)
		}
	}
}

func TestProductsThatAreRefused(t *testing.T) {
	one := kernels.Slide{Images: 1, Height: 1, Width: 1, Channels: 3, OutHeight: 1, OutWidth: 1, OutChannels: 4, Groups: 1, Window: window(1, 1, 0, 1)}
	groups, padding := one, one
	groups.Groups, padding.Window = 2, window(1, 1, -1, 1)
	for name, k := range map[string]product{
		"a product of integers":      kernels.Gemm{Type: kernels.I32, M: 1, N: 1, K: 1, Batch: [2]int64{1, 1}},
		"tf32 of f16":                kernels.Gemm{Type: kernels.F16, TF32: true, M: 1, N: 1, K: 1, Batch: [2]int64{1, 1}},
		"an epilogue of sines":       kernels.Gemm{M: 1, N: 1, K: 1, Batch: [2]int64{1, 1}, Epilogue: kernels.Epilogue{Activation: kernels.Activation{Function: "Sin"}}},
		"more matrices than a grid":  kernels.Gemm{M: 1, N: 1, K: 1, Batch: [2]int64{1 << 10, 1 << 10}},
		"groups that divide nothing": kernels.Conv{Slide: groups},
		"padding below zero":         kernels.Conv{Slide: padding},
		"a convolution of i32":       kernels.ConvInt8{Slide: one, Type: kernels.I32},
		"padding below zero of i8":   kernels.ConvInt8{Slide: padding, Type: kernels.I8},
		"a product of f32 and i8":    kernels.GemmInt8{A: kernels.F32, M: 1, N: 1, K: 1},
		"nothing of i8":              kernels.GemmInt8{A: kernels.U8, M: 1, N: 1},
		"sums that become i64":       kernels.ConvInt8{Slide: one, Type: kernels.U8, Requantized: kernels.Requantized{Out: kernels.I64}},
		"a residual of i64":          kernels.GemmInt8{A: kernels.U8, M: 1, N: 1, K: 1, Requantized: kernels.Requantized{Residual: 16, ResidualType: kernels.I64}},
	} {
		if l, err := k.Launches(); err == nil {
			t.Errorf("%s: Launches() = %+v, want an error", name, l)
		}
		k.PartsBytes() // says something, whatever it is asked
	}
}
