package forms

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/thrumserve/thrum/backends"
)

// Chain is one operation again and again on a tensor of fixed shape, in and out of Float: BF16 or FP16.
type Chain struct {
	Name  string // of the operation, for people
	Float backends.Datatype
	Shape []int
	Times int

	// Operations are the multiplications and additions of one, and Bytes what one reads and writes at
	// least; whichever counts is given.
	Operations, Bytes float64

	Multiplies bool // it is a product of matrices, which libraries have

	link func(g *graph, i int, x string) string
}

// Kind implements Model.
func (Chain) Kind() string { return "chain" }

// Batch implements Model.
func (c Chain) Batch(int) backends.Batch {
	n, shape := 1, []int64{}
	for _, d := range c.Shape {
		n, shape = n*d, append(shape, int64(d))
	}
	t := backends.Tensor{Name: "x", Datatype: c.Float, Shape: shape, Data: make([]byte, 0, 2*n)}
	r := random(1)
	for range n {
		t.Data = binary.LittleEndian.AppendUint16(t.Data, half(r.Uint32(), c.Float))
	}
	return batch(t)
}

// half returns a number from 1 to 2, or from -2 to -1, whatever the bits.
func half(bits uint32, d backends.Datatype) uint16 {
	one, mantissa := uint16(0x3f80), uint16(0x7f)
	if d == backends.FP16 {
		one, mantissa = 0x3c00, 0x3ff
	}
	return one | uint16(bits)&mantissa | uint16(bits>>16)&0x8000
}

func (c Chain) build(g *graph) {
	kind := uint64(bfloat16s)
	if c.Float == backends.FP16 {
		kind = float16s
	}
	x := g.node("Cast", attributes{"to": int64(float32s)}, g.input("x", kind, c.Shape...))
	for i := range c.Times {
		x = c.link(g, i, x)
	}
	g.output(g.node("Cast", attributes{"to": int64(kind)}, x), kind, c.Shape...)
}

// Products is m × k by k × n, and back by n × k.
func Products(float backends.Datatype, m, k, n, times int) Chain {
	return Chain{
		Name: fmt.Sprintf("product %d × %d × %d", m, k, n), Float: float, Shape: []int{m, k}, Times: times, Multiplies: true,
		Operations: 2 * float64(m) * float64(k) * float64(n),
		link: func(g *graph, i int, x string) string {
			in, out := k, n
			if i%2 == 1 {
				in, out = n, k
			}
			return g.node("MatMul", nil, x, g.weight(fmt.Sprint("w", i), 0, 1/math.Sqrt(float64(in)), in, out))
		},
	}
}

// Attentions has queries, keys and values that are the same.
func Attentions(float backends.Datatype, rows, heads, words, size, times int) Chain {
	return Chain{
		Name: fmt.Sprintf("attention %d × %d heads of %d × %d", rows, heads, words, size), Float: float, Shape: []int{rows, heads, words, size}, Times: times,
		Operations: 4 * float64(rows) * float64(heads) * float64(words) * float64(words) * float64(size),
		link: func(g *graph, _ int, x string) string {
			scores := g.node("MatMul", nil, x, g.node("Transpose", attributes{"perm": []int64{0, 1, 3, 2}}, x))
			scores = g.node("Mul", nil, scores, g.scalar(1/math.Sqrt(float64(size))))
			return g.node("MatMul", nil, g.node("Softmax", attributes{"axis": int64(-1)}, scores), x)
		},
	}
}

// Norms normalises rows.
func Norms(float backends.Datatype, rows, width, times int) Chain {
	return Chain{
		Name: fmt.Sprintf("layer norm %d × %d", rows, width), Float: float, Shape: []int{rows, width}, Times: times, Bytes: 4 * float64(rows) * float64(width),
		link: func(g *graph, i int, x string) string { return g.norm(fmt.Sprint("n", i), x, width) },
	}
}

// Convolutions has as many channels before as behind.
func Convolutions(float backends.Datatype, images, side, channels, size, times int) Chain {
	return Chain{
		Name:  fmt.Sprintf("convolution %d × %d, %d images of %d × %d × %d", size, size, images, side, side, channels),
		Float: float, Shape: []int{images, channels, side, side}, Times: times, Multiplies: size == 1,
		Operations: 2 * float64(images) * float64(side*side) * float64(channels) * float64(channels) * float64(size*size),
		link: func(g *graph, i int, x string) string {
			return g.conv(fmt.Sprint("k", i), x, channels, channels, size, 1, math.Sqrt(0.5))
		},
	}
}

// Additions adds one to each of n numbers, once: additions that follow each other would be one pass over memory.
func Additions(float backends.Datatype, n int) Chain {
	return Chain{
		Name: fmt.Sprintf("addition, %d MiB", 2*n>>20), Float: float, Shape: []int{n}, Times: 1, Bytes: 4 * float64(n),
		link: func(g *graph, _ int, x string) string { return g.node("Add", nil, x, g.scalar(1)) },
	}
}
