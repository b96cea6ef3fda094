// Package lower turns a graph of which all shapes are known into operations of a device: what is
// launched, over which memory, in which order. It knows no driver and no addresses.
//
// A tensor is a view of a buffer, with a stride for each dimension: transpositions, slices and
// expansions cost nothing until something needs its operand dense, and images keep their channels
// last through a whole network whatever the order of dimensions that the graph speaks of.
package lower

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// Program is a graph made ready for one set of shapes of its inputs.
type Program struct {
	Ops     []*Op // in an order in which each comes after what it reads
	Inputs  []Tensor
	Outputs []Tensor // dense, of the datatypes that the graph gives

	// Names is, by output, what the graph gives in the place of numbers of classes, which are Int64; nil
	// for an output that is as the graph gives it.
	Names [][]string
}

// Buffer is memory of the device that is written once: by an operation, by the copy of an input,
// or at load, if it is a weight.
type Buffer struct {
	Bytes  int64
	Weight *Weight // nil for what a run computes
}

// Weight is what a buffer holds at load.
type Weight struct {
	Key  string        // equal for equal contents within a model
	Data func() []byte // computes them; Bytes long
}

// Tensor is a view of a buffer. Offset and Strides count elements; a stride may be zero or negative.
type Tensor struct {
	Buffer  *Buffer
	Type    backends.Datatype
	Offset  int64
	Shape   []int64
	Strides []int64
}

// Op is one operation. Kind says which, and how.
type Op struct {
	Node string // of the graph, for people
	Kind Kind
	In   []Tensor // those that are left out have no Buffer
	Out  []Tensor
}

// Kind is one of the types below.
type Kind interface{ kind() string }

// Name returns what an operation is called.
func (o *Op) Name() string { return o.Kind.kind() }

type (
	// Gemm is Out = Activation(Alpha·A·B + bias) + residual, where In is A [b, h, m, k], B [b, h, k, n],
	// bias [n] and residual, which lies as Out [b, h, m, n] does. The last stride of A, bias, residual and
	// Out is 1, and one of the last two of B.
	Gemm struct {
		Alpha      float32
		Activation Activation
		After      bool // the residual is added before the activation
	}

	// Conv is a convolution: In is images [n, h, w, c], weights [k, r, s, c/Groups], bias [k] and residual,
	// shaped as Out [n, p, q, k]; all are dense. With Depthwise weights are [r, s, c]. The epilogue is
	// that of Gemm.
	Conv struct {
		Window     Window
		Groups     int64
		Depthwise  bool
		Activation Activation
		After      bool
	}

	// Attention is softmax(Scale·Q·Kᵀ + mask)·V: In is Q [b, h, s, d], K and V [b, h, t, d], whose last
	// stride is 1, and a mask that stretches over [b, h, s, t]. Out is [b, h, s, d].
	Attention struct{ Scale float32 }

	// Norm normalises rows of the last dimension: In is X [rows, n], weight [n], bias [n] and a residual
	// [period, n], which is added before, again and again. With RootMeanSquare the mean is taken for zero.
	// The sum of X and the residual goes to the second of Out, if there is one.
	Norm struct {
		Epsilon        float32
		RootMeanSquare bool
	}

	// Softmax is of dense rows [rows, n]. With Log it is the logarithm of it.
	Softmax struct{ Log bool }

	// Map computes each element of Out from those of one to three operands, which have its shape. With
	// types that differ, it converts: the function "" does nothing else.
	Map struct {
		Function    string
		Alpha, Beta float32
	}

	// Chain computes each element of Out, which is dense, by steps, one after the other. In are views [z, a,
	// b, c] with strides [0, any, 0, 1] and as many elements as Out, which take the first registers. Places
	// are those of package kernels.
	Chain struct{ Steps []kernels.Step }

	// Reduce joins the middle dimension of a dense [outer, n, inner].
	Reduce struct{ Function string }

	// ArgReduce finds the position of the largest or smallest element along the middle dimension of
	// a dense [outer, n, inner], the first of equal ones or, with Last, the last.
	ArgReduce struct{ Smallest, Last bool }

	// Gather reads a table [outer, n, inner] at indices [count], negative ones from its end: Out is dense
	// [outer, count, inner].
	Gather struct{}

	// Lookup reads several tables at once: In is, for each, a table [rows, width] and indices [bags, length] of
	// Int64, dense. Each bag becomes the sum of its rows or, with Mean, their mean, in the part of Out that is the
	// table's: [bags, width], of which rows lie as far apart in all. Indices are as in Gather.
	Lookup struct{ Mean bool }

	// Pool slides a window over dense images [n, h, w, c]. Out is dense [n, p, q, c]. Bytes are averaged as
	// the numbers that they stand for by From; where Out is of bytes, they stand for means by To.
	Pool struct {
		Average      bool // the mean, instead of the largest
		CountPadding bool // the mean counts what lies outside
		Window       Window
		From, To     Affine
	}

	// Quantize computes round(x/scale)+zero of x, a dense [outer, n, inner], with a scale [n] in FP32 and a
	// zero point [n] in the datatype of Out, or none.
	Quantize struct{}

	// Dequantize computes (x-zero)·scale of what Quantize makes; the zero point is of the datatype of x.
	Dequantize struct{}

	// GemmInteger multiplies A [1, 1, m, k] of Uint8 or Int8 with B, which lies as [n, k] of Int8. Sums are
	// exact. In is A, B, and what Requantized takes.
	GemmInteger struct{ Requantized }

	// ConvInteger is Conv of images of Uint8 or Int8 with weights of Int8. Sums are exact, and images are
	// Pad, their zero point, where a window looks beyond them. In is images, weights, and what Requantized
	// takes.
	ConvInteger struct {
		Window    Window
		Groups    int64
		Depthwise bool
		Pad       int64
		Requantized
	}

	// Trees sends rows [n, features] in FP32 through a forest. Out is scores [n, targets] in FP32, Absent
	// where no leaf speaks of a target. The other operands are nodes, roots, ends, targets and weights, as package kernels lays them out.
	Trees struct {
		Aggregate string
		Count     int64
		Absent    float32
	}
)

// Affine says that a byte v stands for (v - Zero)·Scale.
type Affine struct {
	Scale float32
	Zero  int64
}

// Requantized is what becomes of sums of products of bytes: Activation(sum·scale + bias) + residual,
// where scale and bias are [n] of FP32, and the residual lies as Out does. Where Out is of eight bits,
// this is divided by Scale, rounded, and Zero is added.
type Requantized struct {
	Activation    Activation
	After         bool    // the residual is added before the activation
	ResidualScale float32 // of a residual of eight bits, which counts (v - ResidualZero)·ResidualScale
	ResidualZero  int64
	Scale         float32
	Zero          int64
}

// Window is how a convolution or a pooling slides: of height and width. Pad is before the first, and
// PadEnd after the last.
type Window struct{ Size, Stride, Pad, PadEnd, Dilation [2]int64 }

// Activation is a function that an epilogue applies.
type Activation struct {
	Function    string // "" for none; the name of a Map's
	Alpha, Beta float32
}

func (Gemm) kind() string        { return "Gemm" }
func (Conv) kind() string        { return "Conv" }
func (Attention) kind() string   { return "Attention" }
func (Norm) kind() string        { return "Norm" }
func (Softmax) kind() string     { return "Softmax" }
func (Map) kind() string         { return "Map" }
func (Chain) kind() string       { return "Chain" }
func (Reduce) kind() string      { return "Reduce" }
func (ArgReduce) kind() string   { return "ArgReduce" }
func (Gather) kind() string      { return "Gather" }
func (Lookup) kind() string      { return "Lookup" }
func (Pool) kind() string        { return "Pool" }
func (Quantize) kind() string    { return "Quantize" }
func (Dequantize) kind() string  { return "Dequantize" }
func (GemmInteger) kind() string { return "GemmInteger" }
func (ConvInteger) kind() string { return "ConvInteger" }
func (Trees) kind() string       { return "Trees" }

// Elements returns how many elements t has.
func (t Tensor) Elements() int64 { return backends.Elements(t.Shape) }

// Given says that t is there.
func (t Tensor) Given() bool { return t.Buffer != nil }

// dense returns strides without gaps, the last dimension innermost.
func dense(shape []int64) []int64 {
	strides, n := make([]int64, len(shape)), int64(1)
	for i := range slices.Backward(shape) {
		strides[i] = n
		n *= shape[i]
	}
	return strides
}

// Dense says that the elements of t follow each other in the order of its shape.
func (t Tensor) Dense() bool {
	n := int64(1)
	for i := range slices.Backward(t.Shape) {
		if t.Shape[i] != 1 && t.Strides[i] != n {
			return false
		}
		n *= t.Shape[i]
	}
	return true
}

// permute returns t with its dimensions in another order.
func (t Tensor) permute(perm ...int) Tensor {
	p := t
	p.Shape, p.Strides = make([]int64, len(perm)), make([]int64, len(perm))
	for i, from := range perm {
		p.Shape[i], p.Strides[i] = t.Shape[from], t.Strides[from]
	}
	return p
}

// narrow returns n elements of t along an axis, from one on, step apart.
func (t Tensor) narrow(axis int, from, n, step int64) Tensor {
	v := t
	v.Shape, v.Strides = slices.Clone(t.Shape), slices.Clone(t.Strides)
	v.Offset += from * t.Strides[axis]
	v.Shape[axis], v.Strides[axis] = n, t.Strides[axis]*step
	return v
}

// expand returns t stretched to a shape, which it broadcasts to.
func (t Tensor) expand(shape []int64) Tensor {
	v := t
	v.Shape, v.Strides = slices.Clone(shape), make([]int64, len(shape))
	skip := len(shape) - len(t.Shape)
	for i := range t.Shape {
		if t.Shape[i] == shape[skip+i] {
			v.Strides[skip+i] = t.Strides[i]
		}
	}
	return v
}

// reshape returns t in another shape of as many elements, and false if its memory has to be put in
// order before.
func (t Tensor) reshape(shape []int64) (Tensor, bool) {
	v := t
	v.Shape, v.Strides = slices.Clone(shape), make([]int64, len(shape))
	if t.Dense() || t.Elements() == 0 {
		v.Strides = dense(shape)
		return v, true
	}
	runs := t.runs()
	at := len(shape) - 1
	for _, r := range slices.Backward(runs) {
		n, stride := int64(1), r.stride
		for at >= 0 && (n < r.size || shape[at] == 1) {
			v.Strides[at] = stride
			n *= shape[at]
			stride *= shape[at]
			at--
		}
		if n != r.size {
			return Tensor{}, false
		}
	}
	return v, true
}

// run is dimensions that follow each other in memory at one distance.
type run struct{ size, stride int64 }

// runs joins the dimensions of t as far as they go.
func (t Tensor) runs() []run {
	var all []run
	for i, n := range t.Shape {
		if n == 1 {
			continue
		}
		if last := len(all) - 1; last >= 0 && all[last].stride == n*t.Strides[i] {
			all[last] = run{all[last].size * n, t.Strides[i]}
			continue
		}
		all = append(all, run{n, t.Strides[i]})
	}
	return all
}

// order returns the dimensions of t from the outermost in memory to the innermost; nil if they
// overlap or have gaps, so that there is no order to keep.
func (t Tensor) order() []int {
	order := make([]int, len(t.Shape))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case t.Strides[a] > t.Strides[b]:
			return -1
		case t.Strides[a] < t.Strides[b]:
			return 1
		}
		return 0
	})
	if !t.permute(order...).Dense() {
		return nil
	}
	return order
}
