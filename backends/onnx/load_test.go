package onnx

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/thrumserve/thrum/backends"
)

// perceptron is a small model that the tests below damage: y = relu(x·w + b).
func perceptron() testGraph {
	return testGraph{
		inputs:  []msg{value("x", float32Kind, "N", 4)},
		outputs: []msg{value("y", float32Kind, "N", 3)},
		inits:   []msg{floatTensor("w", 4, 3), floatTensor("b", 3)},
		nodes: []msg{
			node("Gemm", "dense", names("x", "w", "b"), names("h")),
			node("Relu", "act", names("h"), names("y")),
		},
	}
}

func TestLoadReadsAModel(t *testing.T) {
	g := mustLoad(t, model(17, perceptron()))
	if got := describe(g); got != "Gemm dense: N×4 FP32, 4×3 FP32, 3 FP32 -> N×3 FP32\nRelu act: N×3 FP32 -> N×3 FP32\n" {
		t.Errorf("Load = %s", got)
	}
	if g.Producer != "test" || g.Opsets[""] != 17 || g.Nodes[0].Opset != 17 {
		t.Errorf("Load = producer %q, opsets %v, node opset %d", g.Producer, g.Opsets, g.Nodes[0].Opset)
	}
	for i, v := range g.Values {
		if v.ID != i {
			t.Errorf("value %q: ID %d at index %d", v.Name, v.ID, i)
		}
	}
}

// describe prints the nodes with the shapes and types of what they read and make.
func describe(g *Graph) string {
	var b strings.Builder
	for _, n := range g.Nodes {
		fmt.Fprintf(&b, "%s %s: %s -> %s\n", n.Op, n.Name, describeAll(n.Inputs), describeAll(n.Outputs))
	}
	return b.String()
}

func describeAll(values []*Value) string {
	all := make([]string, len(values))
	for i, v := range values {
		if all[i] = "none"; v != nil {
			all[i] = describeShape(v) + " " + v.Datatype.String()
		}
	}
	return strings.Join(all, ", ")
}

func describeShape(v *Value) string {
	switch {
	case !v.HasShape:
		return "unranked"
	case len(v.Shape) == 0:
		return "scalar"
	}
	dims := make([]string, len(v.Shape))
	for i, d := range v.Shape {
		switch {
		case d.known():
			dims[i] = fmt.Sprint(d.Size)
		case d.isOpen():
			dims[i] = "?"
		default:
			dims[i] = d.Symbol
		}
	}
	return strings.Join(dims, "×")
}

func TestNodesAreSortedAndUnneededOnesDropped(t *testing.T) {
	g := perceptron()
	slices.Reverse(g.nodes)
	g.nodes = append(g.nodes, node("NoSuchOp", "dead", names("x"), names("z")), node("Relu", "dead too", names("x"), names("r")))
	got := mustLoad(t, model(17, g))
	if len(got.Nodes) != 2 || got.Nodes[0].Name != "dense" || got.Nodes[1].Name != "act" {
		t.Errorf("Load = %s", describe(got))
	}
}

func TestNodesGetUniqueNames(t *testing.T) {
	g := testGraph{inputs: []msg{value("x", float32Kind, 2)}, outputs: []msg{value("y", float32Kind, 2)},
		nodes: []msg{node("Relu", "", names("x"), names("a")), node("Relu", "", names("a"), names("b")), node("Relu", "same", names("b"), names("c")), node("Relu", "same", names("c"), names("y"))}}
	seen := map[string]bool{}
	for _, n := range mustLoad(t, model(17, g)).Nodes {
		if n.Name == "" || seen[n.Name] {
			t.Errorf("node name %q is empty or used twice", n.Name)
		}
		seen[n.Name] = true
	}
}

func TestInitializersThatAreInputsTooAreConstants(t *testing.T) {
	g := perceptron()
	g.inputs = append(g.inputs, value("w", float32Kind, 4, 3))
	got := mustLoad(t, model(17, g))
	if len(got.Inputs) != 1 || got.Nodes[0].Inputs[1].Const == nil {
		t.Errorf("Load = %d inputs, weights constant: %v", len(got.Inputs), got.Nodes[0].Inputs[1].Const != nil)
	}
}

func TestTensorsInEveryEncoding(t *testing.T) {
	packed := func(field int, all ...int64) msg {
		var b []byte
		for _, n := range all {
			b = protowire.AppendVarint(b, uint64(n))
		}
		return msg{}.bytes(field, b)
	}
	head := func(kind int64) msg { return msg{}.num(1, 2).num(2, kind).text(8, "c") }
	tests := []struct {
		name   string
		tensor msg
		want   backends.Datatype
		data   []byte
	}{
		{"floats packed", head(1).bytes(4, packFloats([]float32{1, 2})), backends.FP32, packFloats([]float32{1, 2})},
		{"floats in two packs", head(1).bytes(4, packFloats([]float32{1})).bytes(4, packFloats([]float32{2})), backends.FP32, packFloats([]float32{1, 2})},
		{"floats one by one", protowire.AppendFixed32(protowire.AppendTag(protowire.AppendFixed32(protowire.AppendTag(head(1), 4, protowire.Fixed32Type),
			math.Float32bits(1)), 4, protowire.Fixed32Type), math.Float32bits(2)), backends.FP32, packFloats([]float32{1, 2})},
		{"doubles packed", head(11).bytes(10, make([]byte, 16)), backends.FP64, make([]byte, 16)},
		{"bytes as varints", head(2).raw(packed(5, 255, 1)), backends.Uint8, []byte{255, 1}},
		{"negative bytes", head(3).raw(packed(5, -1, 1)), backends.Int8, []byte{255, 1}},
		{"halves as varints", head(10).raw(packed(5, 0x3c00, 0)), backends.FP16, []byte{0, 0x3c, 0, 0}},
		{"brain floats", head(16).raw(packed(5, 0x3f80, 0)), backends.BF16, []byte{0x80, 0x3f, 0, 0}},
		{"booleans", head(9).raw(packed(5, 1, 0)), backends.Bool, []byte{1, 0}},
		{"integers", head(6).raw(packed(5, -2, 3)), backends.Int32, []byte{254, 255, 255, 255, 3, 0, 0, 0}},
		{"long integers unpacked", head(7).num(7, -2).num(7, 3), backends.Int64, packInts([]int64{-2, 3}, 8)},
		{"unsigned", head(13).raw(packed(11, 2, 3)), backends.Uint64, packInts([]int64{2, 3}, 8)},
		{"strings", head(8).text(6, "a", ""), backends.Bytes, []byte{1, 0, 0, 0, 'a', 0, 0, 0, 0}},
		{"raw", head(1).bytes(9, packFloats([]float32{1, 2})), backends.FP32, packFloats([]float32{1, 2})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kind := slices.IndexFunc(datatypes, func(d struct {
				name string
				is   backends.Datatype
			}) bool {
				return d.is == tt.want
			})
			g := mustLoad(t, model(25, testGraph{inits: []msg{tt.tensor}, outputs: []msg{value("c", int64(kind), 2)}}))
			c := g.Outputs[0].Const
			if c == nil || c.Datatype != tt.want || !slices.Equal(c.Data, tt.data) {
				t.Errorf("tensor = %+v, want %v %v", c, tt.want, tt.data)
			}
		})
	}
}

// with returns the perceptron with a change.
func with(change func(g *testGraph)) []byte {
	g := perceptron()
	change(&g)
	return model(17, g)
}

func TestRefusals(t *testing.T) {
	first := func(n msg) []byte { return with(func(g *testGraph) { g.nodes[0] = n }) }
	weights := func(w msg) []byte { return with(func(g *testGraph) { g.inits[0] = w }) }
	input := func(v msg) []byte { return with(func(g *testGraph) { g.inputs[0] = v }) }
	tests := []struct {
		name string
		data []byte
		kind error
		text string
	}{
		{"empty file", nil, backends.ErrInvalid, "it holds no graph"},
		{"text file", []byte("hello, this is no model"), backends.ErrInvalid, "damaged"},
		{"group wire type", msg{0x0b}, backends.ErrInvalid, "wire type 3"},
		{"length beyond the file", msg{0x3a, 0xff, 0xff, 0xff, 0xff, 0x07}, backends.ErrInvalid, "longer than what is left"},
		{"two graphs", append(model(17, perceptron()), msg{}.bytes(7, perceptron().message())...), backends.ErrInvalid, "two graphs"},
		{"no IR version", msg{}.bytes(7, perceptron().message()), backends.ErrInvalid, "no IR version"},
		{"future IR version", append(model(17, perceptron()), msg{}.num(1, 99)...), backends.ErrUnsupported, "IR version 99 is newer"},
		{"old opset", model(6, perceptron()), backends.ErrUnsupported, "ai.onnx opset 6 is not supported: export with opset 7 to 28"},
		{"future opset", model(29, perceptron()), backends.ErrUnsupported, "ai.onnx opset 29 is not supported"},
		{"future ml opset", append(msg{}.num(1, 8).bytes(7, perceptron().message()), msg{}.bytes(8, msg{}.text(1, "ai.onnx.ml").num(2, 6))...), backends.ErrUnsupported, "ai.onnx.ml opset 6"},
		{"opset twice", append(model(17, perceptron()), msg{}.bytes(8, msg{}.text(1, "ai.onnx").num(2, 16))...), backends.ErrInvalid, "at opset 17 and at opset 16"},
		{"domain not imported", append(msg{}.num(1, 8).bytes(7, perceptron().message()), msg{}.bytes(8, msg{}.text(1, "ai.onnx.ml").num(2, 1))...), backends.ErrInvalid, "does not import the domain"},
		{"unknown operator", first(node("Foo", "n", names("x"), names("h"))), backends.ErrUnsupported, `operator Foo (node "n", ai.onnx opset 17): the operator is not supported`},
		{"foreign domain", first(node("FusedGemm", "n", names("x"), names("h")).text(7, "com.microsoft")), backends.ErrUnsupported, `operator FusedGemm (node "n", com.microsoft opset 0)`},
		{"operator newer than the opset", first(node("Gelu", "n", names("x"), names("h"))), backends.ErrInvalid, "exists from opset 20 on"},
		{"operator removed", first(node("Upsample", "n", names("x", "w"), names("h"))), backends.ErrInvalid, "removed in opset 10"},
		{"loop without its values", first(node("Loop", "n", names("x", "b"), names("h"), attr("body", perceptron()))), backends.ErrInvalid, "input 0 (\"x\") is FP32"},
		{"no operator", first(node("", "n", names("x"), names("h"))), backends.ErrInvalid, "has no operator"},
		{"too few inputs", first(node("Gemm", "n", names("x"), names("h"))), backends.ErrInvalid, "input 1 is missing"},
		{"required input left out", first(node("Gemm", "n", names("x", "", "b"), names("h"))), backends.ErrInvalid, "input 1 is missing"},
		{"too many inputs", first(node("Relu", "n", names("x", "w"), names("h"))), backends.ErrInvalid, "2 inputs, at most 1"},
		{"too many outputs", first(node("Relu", "n", names("x"), names("h", "z"))), backends.ErrInvalid, "2 outputs, at most 1"},
		{"undefined input", first(node("Relu", "n", names("nowhere"), names("h"))), backends.ErrInvalid, `operator Relu (node "n", ai.onnx opset 17): it reads "nowhere", which nothing produces`},
		{"undefined output", with(func(g *testGraph) { g.outputs[0] = value("nowhere", 1) }), backends.ErrInvalid, `output "nowhere" is produced by nothing`},
		{"no outputs", with(func(g *testGraph) { g.outputs = nil }), backends.ErrInvalid, "has no outputs"},
		{"output declared twice", with(func(g *testGraph) { g.outputs = append(g.outputs, g.outputs[0]) }), backends.ErrInvalid, "declared twice"},
		{"input declared twice", with(func(g *testGraph) { g.inputs = append(g.inputs, g.inputs[0]) }), backends.ErrInvalid, `input "x" is declared twice`},
		{"value produced twice", with(func(g *testGraph) { g.nodes = append(g.nodes, node("Relu", "again", names("x"), names("y"))) }), backends.ErrInvalid, `value "y" is produced twice`},
		{"node overwrites an initializer", first(node("Relu", "n", names("x"), names("w"))), backends.ErrInvalid, `value "w" is produced twice`},
		{"initializer twice", with(func(g *testGraph) { g.inits = append(g.inits, g.inits[0]) }), backends.ErrInvalid, `value "w" is produced twice`},
		{"sparse initializer", with(func(g *testGraph) { g.extra = msg{}.bytes(15, nil) }), backends.ErrUnsupported, "sparse initializers"},
		{"cycle", first(node("Add", "dense", names("x", "y"), names("h"))), backends.ErrInvalid, "cycle through the nodes act -> dense -> act"},
		{"node that reads itself", first(node("Add", "self", names("x", "h"), names("h"))), backends.ErrInvalid, "cycle through the nodes self -> self"},
		{"unknown attribute", first(node("Gemm", "n", names("x", "w"), names("h"), attr("speed", 1))), backends.ErrInvalid, `no attribute "speed"`},
		{"attribute of the wrong kind", first(node("Gemm", "n", names("x", "w"), names("h"), attr("alpha", 1))), backends.ErrInvalid, `attribute "alpha" is of kind INT, FLOAT expected`},
		{"attribute twice", first(node("Gemm", "n", names("x", "w"), names("h"), attr("transA", 0), attr("transA", 0))), backends.ErrInvalid, "given twice"},
		{"attribute missing", first(node("Cast", "n", names("x"), names("h"))), backends.ErrInvalid, `attribute "to" is missing`},
		{"attribute without a kind", first(node("Gemm", "n", names("x", "w"), names("h"), msg{}.text(1, "transA").num(3, 1))), backends.ErrUnsupported, "attributes of kind 0"},
		{"type that the operator does not take", input(value("x", int64Kind, "N", 4)), backends.ErrInvalid, "must be INT64 as the inputs before it"},
		{"string where numbers belong", input(value("x", stringKind, "N", 4)), backends.ErrInvalid, `input 0 ("x") is BYTES`},
		{"shapes that do not fit", input(value("x", float32Kind, "N", 5)), backends.ErrInvalid, `operator Gemm (node "dense", ai.onnx opset 17): the shapes of the inputs do not go together: [-1 5] [4 3] [3]`},
		{"declared output of another size", with(func(g *testGraph) { g.outputs[0] = value("y", float32Kind, "N", 7) }), backends.ErrInvalid, `value "y": the file declares shape [-1 7], inferred is [-1 3]`},
		{"declared output of another rank", with(func(g *testGraph) { g.outputs[0] = value("y", float32Kind, "N") }), backends.ErrInvalid, `value "y": the file declares shape [-1]`},
		{"declared output of another type", with(func(g *testGraph) { g.outputs[0] = value("y", int64Kind, "N", 3) }), backends.ErrInvalid, "declares element type 7, inferred is FP32"},
		{"declared value of another size", with(func(g *testGraph) { g.values = []msg{value("h", float32Kind, "N", 9)} }), backends.ErrInvalid, `value "h"`},
		{"input without a rank", input(shapeless("x", float32Kind)), backends.ErrUnsupported, "number of dimensions is unknown"},
		{"input without a type", input(msg{}.text(1, "x")), backends.ErrUnsupported, "only tensors"},
		{"sequence input", input(msg{}.text(1, "x").bytes(2, msg{}.bytes(4, nil))), backends.ErrUnsupported, `input "x": only tensors are supported, this is a sequence`},
		{"map input", input(msg{}.text(1, "x").bytes(2, msg{}.bytes(5, nil))), backends.ErrUnsupported, "this is a map"},
		{"optional input", input(msg{}.text(1, "x").bytes(2, msg{}.bytes(9, nil))), backends.ErrUnsupported, "this is a optional"},
		{"complex input", input(value("x", 14, 4)), backends.ErrUnsupported, "element type COMPLEX64"},
		{"INT4 weights", weights(rawTensor("w", 22, []int64{4, 3}, make([]byte, 6))), backends.ErrUnsupported, `tensor "w": element type INT4`},
		{"FP8 weights", weights(rawTensor("w", 17, []int64{4, 3}, make([]byte, 12))), backends.ErrUnsupported, "element type FLOAT8E4M3FN"},
		{"element type that does not exist", weights(rawTensor("w", 99, []int64{4, 3}, make([]byte, 12))), backends.ErrInvalid, "element type 99 does not exist"},
		{"element type undefined", weights(rawTensor("w", 0, []int64{4, 3}, make([]byte, 12))), backends.ErrInvalid, "element type 0 does not exist"},
		{"negative input dimension", input(value("x", float32Kind, -4, 4)), backends.ErrInvalid, "dimension 0 is -4"},
		{"input too large", input(value("x", float32Kind, math.MaxInt32, math.MaxInt32)), backends.ErrInvalid, "too large"},
		{"negative weights dimension", weights(rawTensor("w", float32Kind, []int64{-4, 3}, make([]byte, 48))), backends.ErrInvalid, "negative or too large"},
		{"dimensions overflow", weights(rawTensor("w", float32Kind, []int64{1 << 62, 1 << 62, 4}, make([]byte, 48))), backends.ErrInvalid, "negative or too large"},
		{"huge tensor in a small file", weights(rawTensor("w", float32Kind, []int64{1 << 20, 1 << 19}, make([]byte, 48))), backends.ErrInvalid, "48 bytes of data do not fit"},
		{"a billion dimensions", weights(msg{}.bytes(1, make([]byte, 1<<20)).num(2, 1).text(8, "w")), backends.ErrInvalid, "repeated more than 64 times"},
		{"a billion input dimensions", input(value("x", float32Kind, make([]any, 1000)...)), backends.ErrInvalid, "more than 64 dimensions"},
		{"weights cut short", weights(rawTensor("w", float32Kind, []int64{4, 3}, make([]byte, 47))), backends.ErrInvalid, "47 bytes of data do not fit shape [4 3]"},
		{"weights too long", weights(rawTensor("w", float32Kind, []int64{4, 3}, make([]byte, 49))), backends.ErrInvalid, "49 bytes"},
		{"weights without data", weights(msg{}.num(1, 4).num(1, 3).num(2, 1).text(8, "w")), backends.ErrInvalid, "0 bytes of data"},
		{"weights in segments", weights(floatTensor("w", 4, 3).bytes(3, nil)), backends.ErrUnsupported, "segments"},
		{"boolean that is 2", weights(rawTensor("w", boolKind, []int64{1}, []byte{2})), backends.ErrInvalid, "element 0 is 2, which is no boolean"},
		{"strings as raw data", weights(rawTensor("w", stringKind, []int64{1}, []byte{1, 0, 0, 0})), backends.ErrInvalid, "strings cannot be stored as raw data"},
		{"initializer that contradicts its input", with(func(g *testGraph) { g.inputs = append(g.inputs, value("w", int64Kind, 4, 3)) }), backends.ErrInvalid, "is declared as INT64, its initializer is FP32"},
		{"value without a name", with(func(g *testGraph) { g.inits = append(g.inits, floatTensor("", 1)) }), backends.ErrInvalid, "a value has no name"},
		{"name that is no text", with(func(g *testGraph) { g.nodes[0] = node("Relu", "\xff\xfe", names("x"), names("h")) }), backends.ErrInvalid, "not UTF-8"},
		{"name beyond all bounds", with(func(g *testGraph) {
			g.nodes[0] = node("Relu", strings.Repeat("n", maxName+1), names("x"), names("h"))
		}), backends.ErrInvalid, "a name of 65537 bytes, at most 65536"},
		{"cycle through a subgraph", with(func(g *testGraph) {
			g.inits = append(g.inits, rawTensor("c", boolKind, nil, []byte{1}))
			branch := testGraph{nodes: []msg{node("Relu", "", names("y"), names("z"))}, outputs: []msg{shapeless("z", 1)}}
			g.nodes[0] = node("If", "choice", names("c"), names("h"), attr("then_branch", branch), attr("else_branch", branch))
		}), backends.ErrInvalid, "cycle through the nodes act -> choice -> act"},
		{"subgraphs nested too deep", model(17, nested(maxDepth+1)), backends.ErrInvalid, "nested more than 8 deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := load(t, tt.data)
			if err == nil || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Load = %v, %v, want %v with %q", g, err, tt.kind, tt.text)
			}
		})
	}
}

// nested has depth subgraphs within each other.
func nested(depth int) testGraph {
	g := testGraph{nodes: []msg{node("Relu", "", names("x"), names("y"))}, outputs: []msg{shapeless("y", 1)}}
	for range depth {
		g = testGraph{outputs: []msg{shapeless("y", 1)},
			inits: []msg{rawTensor("c", boolKind, nil, []byte{1})},
			nodes: []msg{node("If", "", names("c"), names("y"), attr("then_branch", g), attr("else_branch", g))}}
		g.nodes[0] = msg(slices.Clone(g.nodes[0]))
	}
	g.inputs = []msg{value("x", float32Kind, 2)}
	return g
}

func TestEveryTruncationIsRefused(t *testing.T) {
	data := model(17, perceptron())
	for n := range data {
		g, err := parse(data[:n], nil)
		if err == nil && g.Opsets["ai.onnx.ml"] != 0 {
			t.Errorf("parse of the first %d of %d bytes = %v, want an error", n, len(data), g)
		}
		if err != nil && !errors.Is(err, backends.ErrInvalid) && !errors.Is(err, backends.ErrUnsupported) {
			t.Errorf("parse of the first %d bytes: %v wraps no sentinel", n, err)
		}
	}
}

func TestHostileFilesCostLittleMemory(t *testing.T) {
	many := func(field int, part msg, n int) msg { return msg(slices.Repeat(msg{}.bytes(field, part), n)) }
	wrap := func(graph msg) []byte { return msg{}.num(1, 8).bytes(7, graph) }
	tests := []struct {
		name string
		data []byte
		text string
	}{
		{"nodes without end", wrap(many(1, nil, maxNodes+1)), "more than 262144 nodes"},
		{"values without end", wrap(many(13, nil, maxLinks+1)), "more than 1048576 values"},
		{"tensors without end", wrap(many(5, nil, maxLinks+1)), "more than 1048576 tensors"},
		{"attributes without end", wrap(msg{}.bytes(1, many(5, nil, maxLinks+1))), "more than 1048576 attributes"},
		{"inputs without end", wrap(msg{}.bytes(1, many(1, nil, maxLinks+1))), "more than 1048576 inputs"},
		{"external entries without end", wrap(msg{}.bytes(5, many(13, nil, maxLinks+1))), "more than 1048576 external"},
		{"functions without end", append(msg{}.num(1, 8), many(25, nil, maxNodes+1)...), "more than 262144 nodes and functions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := parse(tt.data, nil)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("parse = %v, want %q", err, tt.text)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 512<<20 {
				t.Errorf("parse of %d bytes allocated %d", len(tt.data), used)
			}
		})
	}
}

// TestVectorsAreFollowedWithinABound adds a vector to itself again and again.
func TestVectorsAreFollowedWithinABound(t *testing.T) {
	g := testGraph{inits: []msg{rawTensor("v0", int64Kind, []int64{maxVector}, make([]byte, 8*maxVector))}, outputs: []msg{msg{}.text(1, "y")}}
	const rounds = 2*maxVectors/maxVector + 1
	for i := range rounds {
		last, next := "v"+formatInt(int64(i)), "v"+formatInt(int64(i+1))
		g.nodes = append(g.nodes, node("Add", "", names(last, last), names(next)))
	}
	g.nodes = append(g.nodes, node("Identity", "", names("v"+formatInt(rounds)), names("y")))
	got, err := parse(model(17, g), nil)
	if err != nil || got.Outputs[0].Const != nil || describeAll(got.Outputs) != formatInt(maxVector)+" INT64" {
		t.Errorf("parse = %v, output %s known: %v, want it left to the run", err, describeAll(got.Outputs), got.Outputs[0].Const != nil)
	}
}

func TestFileBounds(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir, "absent.onnx"); !errors.Is(err, backends.ErrInvalid) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of no file = %v", err)
	}
	if _, err := Load(filepath.Join(dir, "absent"), "model.onnx"); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Load in no folder = %v", err)
	}
	if _, err := Load(dir, "."); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Load of a folder = %v", err)
	}
	big := filepath.Join(dir, "big.onnx")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, "big.onnx"); err == nil || !strings.Contains(err.Error(), "keep the weights as external data") {
		t.Errorf("Load of a 2 GiB file = %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(model(17, perceptron()))
	f.Add(model(17, nested(3)))
	f.Add(model(13, shapeArithmetic()))
	f.Add(withFunction())
	for _, tt := range shapeTests() {
		f.Add(tt.model())
	}
	root, err := os.OpenRoot(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer root.Close()
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := parse(data, newExternalFiles(root))
		if err != nil {
			if !errors.Is(err, backends.ErrInvalid) && !errors.Is(err, backends.ErrUnsupported) {
				t.Errorf("parse: %v wraps no sentinel", err)
			}
			return
		}
		g.Signature()
		err = g.Fold(func(n *Node, _ []*backends.Tensor) ([]*backends.Tensor, error) {
			return zeros(n), nil
		})
		if err == nil {
			g.Signature()
		}
	})
}

// zeros returns what folding expects of n, filled with zeros.
func zeros(n *Node) []*backends.Tensor {
	out := make([]*backends.Tensor, len(n.Outputs))
	for i, v := range n.Outputs {
		if v == nil || elements(v.Shape) < 0 || elements(v.Shape) > 1<<20 {
			continue
		}
		size := v.Datatype.Size()
		if v.Datatype == backends.Bytes {
			size = 4 // an empty string
		}
		out[i] = &backends.Tensor{Datatype: v.Datatype, Shape: sizes(v.Shape, 0), Data: make([]byte, elements(v.Shape)*int64(size))}
	}
	return out
}
