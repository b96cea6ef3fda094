package forms

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

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

func (m *message) text(field int, s string) { m.bytes(field, []byte(s)) }

// Element types of ONNX. The numbers of fields here are those of onnx.proto.
const (
	float32s  = 1
	int64s    = 7
	float16s  = 10
	bfloat16s = 16
)

// graph is an ONNX graph that is being written.
type graph struct {
	message
	weights   *bufio.Writer
	written   int64
	inventory Inventory
	random    *rand.Rand
	values    int
}

// attributes are a node's: int64, []int64 or float32.
type attributes map[string]any

// weight is a tensor of random numbers around a mean, with that deviation.
func (g *graph) weight(name string, mean, deviation float64, shape ...int) string {
	n := 1
	for _, s := range shape {
		n *= s
	}
	g.inventory.Weights = append(g.inventory.Weights, Weight{Name: name, Shape: shape, Offset: g.written})
	t := tensor(name, float32s, shape)
	for _, e := range [][2]string{{"location", Weights}, {"offset", strconv.FormatInt(g.written, 10)}, {"length", strconv.Itoa(4 * n)}} {
		var entry message
		entry.text(1, e[0])
		entry.text(2, e[1])
		t.bytes(13, entry)
	}
	t.number(14, 1) // outside of this file
	g.bytes(5, t)
	width := float32(deviation * math.Sqrt(12)) // of a uniform distribution
	var b [8]byte
	for i := 0; i < n; i += 2 {
		u := g.random.Uint64()
		for k, bits := range [2]uint32{uint32(u), uint32(u >> 32)} {
			v := float32(mean) + width*(float32(bits>>8)/(1<<24)-0.5)
			binary.LittleEndian.PutUint32(b[4*k:], math.Float32bits(v))
		}
		_, _ = g.weights.Write(b[:4*min(2, n-i)]) // Flush says what failed
	}
	g.written += int64(4 * n)
	return name
}

func tensor(name string, kind uint64, shape []int) message {
	var t message
	for _, n := range shape {
		t.number(1, uint64(n))
	}
	t.number(2, kind)
	t.text(8, name)
	return t
}

// constant is a tensor in the graph itself.
func (g *graph) constant(kind uint64, shape []int, data []byte) string {
	g.values++
	name := fmt.Sprintf("c%d", g.values)
	t := tensor(name, kind, shape)
	t.bytes(9, data)
	g.bytes(5, t)
	return name
}

func (g *graph) scalar(v float64) string {
	return g.constant(float32s, nil, binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v))))
}

// integer is a scalar, and integers a list.
func (g *graph) integer(v int64) string {
	return g.constant(int64s, nil, binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

func (g *graph) integers(all ...int64) string {
	var data []byte
	for _, v := range all {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return g.constant(int64s, []int{len(all)}, data)
}

// node adds a node, and returns the name of its output.
func (g *graph) node(op string, attrs attributes, inputs ...string) string {
	g.values++
	name := fmt.Sprintf("v%d", g.values)
	var n message
	for _, in := range inputs {
		n.text(1, in)
	}
	n.text(2, name)
	n.text(3, op+name)
	n.text(4, op)
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		var a message
		a.text(1, key)
		switch v := attrs[key].(type) {
		case int64:
			a.number(3, uint64(v))
			a.number(20, 2)
		case []int64:
			for _, n := range v {
				a.number(8, uint64(n))
			}
			a.number(20, 7)
		default:
			panic(fmt.Sprintf("an attribute of type %T", v))
		}
		n.bytes(5, a)
	}
	g.bytes(1, n)
	return name
}

// input and output name values of the graph. A dimension below 0 is the number of rows.
func (g *graph) input(name string, kind uint64, dims ...int) string {
	return g.value(11, name, kind, dims)
}

func (g *graph) output(name string, kind uint64, dims ...int) { g.value(12, name, kind, dims) }

func (g *graph) value(field int, name string, kind uint64, dims []int) string {
	var shape message
	for _, d := range dims {
		var dim message
		if d < 0 {
			dim.text(2, "batch")
		} else {
			dim.number(1, uint64(d))
		}
		shape.bytes(1, dim)
	}
	var tensor, typ, v message
	tensor.number(1, kind)
	tensor.bytes(2, shape)
	typ.bytes(1, tensor)
	v.text(1, name)
	v.bytes(2, typ)
	g.bytes(field, v)
	return name
}

// layer is a product of rows with a matrix, and a bias.
func (g *graph) layer(name, x string, in, out int) string {
	y := g.node("MatMul", nil, x, g.weight(name+".weight", 0, 1/math.Sqrt(float64(in)), in, out))
	return g.node("Add", nil, y, g.weight(name+".bias", 0, 0.02, out))
}

func (g *graph) norm(name, x string, width int) string {
	return g.node("LayerNormalization", nil, x, g.weight(name+".weight", 1, 0.1, width), g.weight(name+".bias", 0, 0.1, width))
}

// file returns the ONNX file of the graph.
func (g *graph) file() []byte {
	g.text(2, g.inventory.Kind)
	var opset, m message
	opset.number(2, 20)
	m.number(1, 9)
	m.bytes(8, opset)
	m.bytes(7, g.message)
	return m
}
