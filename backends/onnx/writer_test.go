package onnx

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/thrumserve/thrum/backends"
)

// msg is a protobuf message being written.
type msg []byte

func (m msg) num(field int, n int64) msg {
	m = protowire.AppendTag(m, protowire.Number(field), protowire.VarintType)
	return protowire.AppendVarint(m, uint64(n))
}

func (m msg) bytes(field int, b []byte) msg {
	m = protowire.AppendTag(m, protowire.Number(field), protowire.BytesType)
	return protowire.AppendBytes(m, b)
}

func (m msg) text(field int, texts ...string) msg {
	for _, s := range texts {
		m = m.bytes(field, []byte(s))
	}
	return m
}

func (m msg) all(field int, parts []msg) msg {
	for _, p := range parts {
		m = m.bytes(field, p)
	}
	return m
}

// ONNX element types.
const (
	float32Kind = 1
	uint8Kind   = 2
	int64Kind   = 7
	stringKind  = 8
	boolKind    = 9
)

func rawTensor(name string, kind int64, dims []int64, raw []byte) msg {
	var m msg
	for _, d := range dims {
		m = m.num(1, d)
	}
	return m.num(2, kind).text(8, name).bytes(9, raw)
}

func floatTensor(name string, dims ...int64) msg {
	return rawTensor(name, float32Kind, dims, make([]byte, 4*max(0, backends.Elements(dims))))
}

func intTensor(name string, all ...int64) msg {
	return rawTensor(name, int64Kind, []int64{int64(len(all))}, packInts(all, 8))
}

func intScalar(name string, n int64) msg {
	return rawTensor(name, int64Kind, nil, packInts([]int64{n}, 8))
}

// value declares a value; a dimension is an int, a string (a symbol) or nil (unknown).
func value(name string, kind int64, dims ...any) msg {
	var shape msg
	for _, d := range dims {
		var dim msg
		switch d := d.(type) {
		case int:
			dim = dim.num(1, int64(d))
		case string:
			dim = dim.text(2, d)
		}
		shape = shape.bytes(1, dim)
	}
	tensor := msg{}.num(1, kind).bytes(2, shape)
	return msg{}.text(1, name).bytes(2, msg{}.bytes(1, tensor))
}

func shapeless(name string, kind int64) msg {
	return msg{}.text(1, name).bytes(2, msg{}.bytes(1, msg{}.num(1, kind)))
}

// node writes a node of the standard domain.
func node(op, name string, inputs, outputs []string, attrs ...msg) msg {
	return msg{}.text(1, inputs...).text(2, outputs...).text(3, name).text(4, op).all(5, attrs)
}

func mlNode(op, name string, inputs, outputs []string, attrs ...msg) msg {
	return node(op, name, inputs, outputs, attrs...).text(7, "ai.onnx.ml")
}

func attr(name string, v any) msg {
	m := msg{}.text(1, name)
	switch v := v.(type) {
	case int:
		return m.num(3, int64(v)).num(20, 2)
	case string:
		return m.text(4, v).num(20, 3)
	case msg: // a tensor
		return m.bytes(5, v).num(20, 4)
	case []int64:
		for _, n := range v {
			m = m.num(8, n)
		}
		return m.num(20, 7)
	case []string:
		return m.text(9, v...).num(20, 8)
	case []float32:
		return m.bytes(7, packFloats(v)).num(20, 6)
	case testGraph:
		return m.bytes(6, v.message()).num(20, 5)
	}
	panic("no such attribute")
}

// testGraph is a graph to be written; extra holds further fields.
type testGraph struct {
	nodes, inits, inputs, outputs, values []msg
	extra                                 msg
}

func (g testGraph) message() msg {
	return msg{}.all(1, g.nodes).text(2, "g").all(5, g.inits).all(11, g.inputs).all(12, g.outputs).all(13, g.values).raw(g.extra)
}

func (m msg) raw(more msg) msg { return append(m, more...) }

func model(opset int64, g testGraph) []byte {
	standard := msg{}.text(1, "").num(2, opset)
	ml := msg{}.text(1, "ai.onnx.ml").num(2, 3)
	return msg{}.num(1, 8).text(2, "test").bytes(7, g.message()).bytes(8, standard).bytes(8, ml)
}

// names is a list of names.
func names(all ...string) []string { return all }

// load writes a model file and loads it.
func load(t *testing.T, data []byte) (*Graph, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return Load(dir, "model.onnx")
}

func mustLoad(t *testing.T, data []byte) *Graph {
	t.Helper()
	g, err := load(t, data)
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	return g
}
