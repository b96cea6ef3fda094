//go:build cuda

package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/thrumserve/thrum/backends"
)

// form is the form of an encoder: a BERT without a head.
type form struct{ layers, width, heads, inner, words, sequence int }

// base is BERT-base.
var base = form{layers: 12, width: 768, heads: 12, inner: 3072, words: 30522, sequence: 128}

// batch returns so many rows of words.
func (f form) batch(rows int) backends.Batch {
	t := backends.Tensor{Name: "ids", Datatype: backends.Int64, Shape: []int64{int64(rows), int64(f.sequence)}}
	for range rows * f.sequence {
		t.Data = binary.LittleEndian.AppendUint64(t.Data, rand.Uint64N(uint64(f.words)))
	}
	return backends.Batch{Tensors: []backends.Tensor{t}}
}

// message is a message of protocol buffers that is being written.
type message []byte

func (m *message) number(field int, v uint64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3)
	*m = binary.AppendUvarint(*m, v)
}

func (m *message) bytes(field int, b []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|2)
	*m = binary.AppendUvarint(*m, uint64(len(b)))
	*m = append(*m, b...)
}

// graph writes an ONNX graph. The numbers of fields are those of onnx.proto.
type graph struct {
	message
	random *rand.Rand
	values int
}

const (
	float32s = 1 // element types of ONNX
	int64s   = 7
)

func (g *graph) initializer(kind uint64, shape []int, data []byte) string {
	g.values++
	name := fmt.Sprintf("w%d", g.values)
	var t message
	for _, n := range shape {
		t.number(1, uint64(n))
	}
	t.number(2, kind)
	t.bytes(8, []byte(name))
	t.bytes(9, data)
	g.bytes(5, t)
	return name
}

// weight is random numbers of a deviation that keeps values as large as they were.
func (g *graph) weight(shape ...int) string {
	n, deviation := 1, 1/math.Sqrt(float64(shape[0]))
	for _, s := range shape {
		n *= s
	}
	data := make([]byte, 0, 4*n)
	for range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(g.random.NormFloat64()*deviation)))
	}
	return g.initializer(float32s, shape, data)
}

func (g *graph) scalar(v float32) string {
	return g.initializer(float32s, nil, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
}

func (g *graph) integers(all ...int64) string {
	var data []byte
	for _, v := range all {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return g.initializer(int64s, []int{len(all)}, data)
}

// node adds a node with lists of integers as attributes, and returns the name of its output.
func (g *graph) node(op string, attributes map[string][]int64, inputs ...string) string {
	g.values++
	name := fmt.Sprintf("v%d", g.values)
	var n message
	for _, in := range inputs {
		n.bytes(1, []byte(in))
	}
	n.bytes(2, []byte(name))
	n.bytes(3, []byte(op+name))
	n.bytes(4, []byte(op))
	for key, values := range attributes {
		var a message
		a.bytes(1, []byte(key))
		if key == "axis" {
			a.number(3, uint64(values[0]))
			a.number(20, 2)
		} else {
			for _, v := range values {
				a.number(8, uint64(v))
			}
			a.number(20, 7)
		}
		n.bytes(5, a)
	}
	g.bytes(1, n)
	return name
}

func (g *graph) value(field int, name string, kind uint64, dims ...string) {
	var shape message
	for _, d := range dims {
		var dim message
		dim.bytes(2, []byte(d))
		shape.bytes(1, dim)
	}
	var tensor, typ, v message
	tensor.number(1, kind)
	tensor.bytes(2, shape)
	typ.bytes(1, tensor)
	v.bytes(1, []byte(name))
	v.bytes(2, typ)
	g.bytes(field, v)
}

// layer is a product with a matrix, and a bias.
func (g *graph) layer(x string, in, out int) string {
	return g.node("Add", nil, g.node("MatMul", nil, x, g.weight(in, out)), g.weight(out))
}

func (g *graph) norm(x string, width int) string {
	return g.node("LayerNormalization", nil, x, g.weight(width), g.weight(width))
}

// model writes the encoder, with random weights.
func (f form) model() []byte {
	g := &graph{random: rand.New(rand.NewPCG(1, 1))}
	size := f.width / f.heads
	x := g.node("Gather", nil, g.weight(f.words, f.width), "ids")
	x = g.norm(g.node("Add", nil, x, g.weight(1, f.sequence, f.width)), f.width)
	apart, together := g.integers(0, 0, int64(f.heads), int64(size)), g.integers(0, 0, int64(f.width))
	scale, last := g.scalar(float32(1/math.Sqrt(float64(size)))), map[string][]int64{"axis": {-1}}
	for range f.layers {
		var heads [3]string
		for i, perm := range [][]int64{{0, 2, 1, 3}, {0, 2, 3, 1}, {0, 2, 1, 3}} {
			heads[i] = g.node("Transpose", map[string][]int64{"perm": perm}, g.node("Reshape", nil, g.layer(x, f.width, f.width), apart))
		}
		scores := g.node("Mul", nil, g.node("MatMul", nil, heads[0], heads[1]), scale)
		y := g.node("MatMul", nil, g.node("Softmax", last, scores), heads[2])
		y = g.node("Reshape", nil, g.node("Transpose", map[string][]int64{"perm": {0, 2, 1, 3}}, y), together)
		x = g.norm(g.node("Add", nil, g.layer(y, f.width, f.width), x), f.width)
		y = g.node("Gelu", nil, g.layer(x, f.width, f.inner))
		x = g.norm(g.node("Add", nil, g.layer(y, f.inner, f.width), x), f.width)
	}
	g.bytes(2, []byte("encoder"))
	g.value(11, "ids", int64s, "batch", "words")
	g.value(12, x, float32s, "batch", "words", "width")
	var opset, m message
	opset.number(2, 20)
	m.number(1, 9)
	m.bytes(8, opset)
	m.bytes(7, g.message)
	return m
}
