package onnx

import (
	"reflect"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestSignature(t *testing.T) {
	g := mustLoad(t, model(17, testGraph{
		inputs:  []msg{value("x", float32Kind, nil, 4), value("city", stringKind, nil, 1)},
		outputs: []msg{msg{}.text(1, "label"), value("scores", float32Kind), msg{}.text(1, "same")},
		values:  nil,
		nodes: []msg{
			mlNode("TreeEnsembleClassifier", "trees", names("x"), names("label", "p"), attr("classlabels_strings", names("no", "yes"))),
			mlNode("ZipMap", "zip", names("p"), names("scores"), attr("classlabels_strings", names("no", "yes"))),
			node("Identity", "pass", names("city"), names("same")),
		},
	}.withOutput(1, msg{}.text(1, "scores").bytes(2, msg{}.bytes(4, nil)))))
	want := backends.Signature{
		Platform: "onnx_onnxv1",
		Batched:  true,
		Inputs: []backends.TensorSpec{
			{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 4}},
			{Name: "city", Datatype: backends.Bytes, Shape: []int64{-1, 1}},
		},
		Outputs: []backends.TensorSpec{
			{Name: "label", Datatype: backends.Bytes, Shape: []int64{-1}},
			{Name: "scores", Datatype: backends.FP32, Shape: []int64{-1, 2}, Labels: names("no", "yes")},
			{Name: "same", Datatype: backends.Bytes, Shape: []int64{-1, 1}},
		},
	}
	if got := g.Signature(); !reflect.DeepEqual(got, want) {
		t.Errorf("Signature = %+v, want %+v", got, want)
	}
}

func (g testGraph) withOutput(i int, v msg) testGraph {
	g.outputs[i] = v
	return g
}

func TestBatched(t *testing.T) {
	x := value("x", float32Kind, "N", 4)
	tests := []struct {
		name   string
		inputs []msg
		inits  []msg
		nodes  []msg
		want   bool
	}{
		{"rows in, rows out", []msg{x}, nil, []msg{node("Relu", "", names("x"), names("y"))}, true},
		{"fixed number of rows", []msg{value("x", float32Kind, 8, 4)}, nil, []msg{node("Relu", "", names("x"), names("y"))}, false},
		{"scalar input beside the rows", []msg{x, value("z", float32Kind)}, nil, []msg{node("Mul", "", names("x", "z"), names("y"))}, false},
		{"inputs with different symbols", []msg{x, value("z", float32Kind, "M", 4)}, nil, []msg{node("Relu", "", names("x"), names("y"))}, false},
		{"inputs with the same symbol or none", []msg{x, value("z", float32Kind, nil, 4)}, nil, []msg{node("Add", "", names("x", "z"), names("y"))}, true},
		{"mean over the rows", []msg{x}, []msg{intTensor("axes", 0)}, []msg{node("ReduceSum", "", names("x", "axes"), names("m")), node("Sub", "", names("x", "m"), names("y"))}, false},
		{"mean over the columns", []msg{x}, []msg{intTensor("axes", 1)}, []msg{node("ReduceSum", "", names("x", "axes"), names("m")), node("Sub", "", names("x", "m"), names("y"))}, true},
		{"softmax over the rows", []msg{x}, nil, []msg{node("Softmax", "", names("x"), names("y"), attr("axis", 0))}, false},
		{"softmax over the columns", []msg{x}, nil, []msg{node("Softmax", "", names("x"), names("y"), attr("axis", -1))}, true},
		{"normalization over everything", []msg{x}, []msg{floatTensor("s", 1, 4)}, []msg{node("LayerNormalization", "", names("x", "s"), names("y"), attr("axis", 0))}, false},
		{"normalization of each row", []msg{x}, []msg{floatTensor("s", 4)}, []msg{node("LayerNormalization", "", names("x", "s"), names("y"))}, true},
		{"running sum over the rows", []msg{x}, []msg{intScalar("axis", 0)}, []msg{node("CumSum", "", names("x", "axis"), names("y"))}, false},
		{"rows in reverse", []msg{x}, []msg{intTensor("a", -1), intTensor("b", -1<<63), intTensor("c", 0), intTensor("d", -1)}, []msg{node("Slice", "", names("x", "a", "b", "c", "d"), names("y"))}, false},
		{"all rows of a slice", []msg{x}, []msg{intTensor("a", 0), intTensor("b", 1<<62), intTensor("c", 0)}, []msg{node("Slice", "", names("x", "a", "b", "c"), names("y"))}, true},
		{"the first row for everybody", []msg{x}, []msg{intScalar("i", 0)}, []msg{node("Gather", "", names("x", "i"), names("r")), node("Add", "", names("x", "r"), names("y"))}, false},
		{"every row with every row", []msg{x}, nil, []msg{node("Transpose", "", names("x"), names("t")), node("MatMul", "", names("x", "t"), names("y"))}, false},
		{"product over the rows", []msg{x}, nil, []msg{node("Transpose", "", names("x"), names("t")), node("MatMul", "", names("t", "x"), names("y"))}, false},
		{"rows are not first in the output", []msg{x}, nil, []msg{node("Transpose", "", names("x"), names("y"))}, false},
		{"rows in the middle for a while", []msg{x}, nil, []msg{node("Transpose", "", names("x"), names("t")), node("Relu", "", names("t"), names("r")), node("Transpose", "", names("r"), names("y"))}, true},
		{"one scale for all rows", []msg{x}, nil, []msg{node("DynamicQuantizeLinear", "", names("x"), names("q", "s", "z")), node("DequantizeLinear", "", names("q", "s", "z"), names("y"))}, false},
		{"rows merged with columns", []msg{x}, []msg{intTensor("s", -1)}, []msg{node("Reshape", "", names("x", "s"), names("y"))}, false},
		{"shape of the rows", []msg{x}, nil, []msg{node("Shape", "", names("x"), names("s")), node("Reshape", "", names("x", "s"), names("y"))}, true},
		{"constant output", []msg{x}, []msg{floatTensor("w", 4)}, []msg{node("Identity", "", names("w"), names("y"))}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := mustLoad(t, model(17, testGraph{inputs: tt.inputs, inits: tt.inits, nodes: tt.nodes, outputs: []msg{msg{}.text(1, "y")}}))
			if got := g.Signature().Batched; got != tt.want {
				t.Errorf("Batched = %v, want %v: %s", got, tt.want, describe(g))
			}
		})
	}
}

// TestRowsApart has models whose answers would depend on what else is in the batch, by ways of
// which a single operator does not tell, and models that only look like that.
func TestRowsApart(t *testing.T) {
	x := value("x", float32Kind, "N", 4)
	count := []msg{node("Shape", "", names("x"), names("shape")), node("Gather", "", names("shape", "zero"), names("n"))}
	numbers := append(count[:2:2],
		node("Range", "", names("zero", "n", "one"), names("r")),
		node("Unsqueeze", "", names("r", "behind"), names("rows")))
	ints := []msg{intScalar("zero", 0), intScalar("one", 1), intScalar("three", 3), intScalar("four", 4), intTensor("behind", 1),
		intTensor("flat", -1), intTensor("columns", -1, 4), intTensor("each", 0, 1, 2, 3), intTensor("five", 0, 1, 2, 3, 4),
		intTensor("front", 0), intTensor("minus", -1), intTensor("single", 1, -1), intTensor("pads", 1, 0, 0, 0), intTensor("first", 0)}
	after := func(before []msg, nodes ...msg) []msg { return append(before[:len(before):len(before)], nodes...) }
	address := func(size, within string) []msg {
		return after(numbers,
			node("Mul", "", names("rows", size), names("begin")),
			node("Add", "", names("begin", within), names("at")),
			node("Reshape", "", names("x", "flat"), names("all")),
			node("Gather", "", names("all", "at"), names("y")))
	}
	tests := []struct {
		name  string
		nodes []msg
		want  bool
	}{
		{"times the number of rows", after(count, node("Cast", "", names("n"), names("f"), attr("to", float32Kind)), node("Mul", "", names("x", "f"), names("y"))), false},
		{"plus the number of the row", after(numbers, node("Cast", "", names("rows"), names("f"), attr("to", float32Kind)), node("Add", "", names("x", "f"), names("y"))), false},
		{"softmax over all, in one row for a while", []msg{node("Reshape", "", names("x", "single"), names("a")), node("Softmax", "", names("a"), names("b")), node("Reshape", "", names("b", "columns"), names("y"))}, false},
		{"softmax over columns, behind a dimension of one", []msg{node("Unsqueeze", "", names("x", "front"), names("a")), node("Softmax", "", names("a"), names("b")), node("Squeeze", "", names("b", "front"), names("y"))}, true},
		{"rows as the positions of a convolution", []msg{
			node("Transpose", "", names("x"), names("a")), node("Unsqueeze", "", names("a", "front"), names("b")),
			node("MaxPool", "", names("b"), names("c"), attr("kernel_shape", []int64{3}), attr("pads", []int64{1, 1})),
			node("Squeeze", "", names("c", "front"), names("d")), node("Transpose", "", names("d"), names("y"))}, false},
		{"rows as channels", []msg{node("Unsqueeze", "", names("x", "front"), names("a")),
			node("MaxPool", "", names("a"), names("b"), attr("kernel_shape", []int64{1})), node("Squeeze", "", names("b", "front"), names("y"))}, false},
		{"best of the rows", after(count, node("Unsqueeze", "", names("n", "front"), names("k")), node("TopK", "", names("x", "k"), names("y", "i"), attr("axis", 0))), false},
		{"another row that the row names", []msg{node("Cast", "", names("x"), names("i"), attr("to", int64Kind)), node("Gather", "", names("i", "zero"), names("j"), attr("axis", 1)), node("Gather", "", names("x", "j"), names("y"))}, false},
		{"rows that others overwrite", []msg{node("Cast", "", names("x"), names("i"), attr("to", int64Kind)), node("Gather", "", names("i", "first"), names("j"), attr("axis", 1)), node("ScatterND", "", names("x", "j", "x"), names("y"))}, false},
		{"how many elements are not zero", []msg{node("NonZero", "", names("x"), names("a")), node("Shape", "", names("a"), names("b")), node("Gather", "", names("b", "one"), names("c")),
			node("Cast", "", names("c"), names("f"), attr("to", float32Kind)), node("Add", "", names("x", "f"), names("y"))}, false},
		{"rows moved by padding", []msg{node("Pad", "", names("x", "pads"), names("a")), node("Slice", "", names("a", "front", "minus", "front"), names("y"))}, false},
		{"columns by number of the column", []msg{node("Gather", "", names("x", "each"), names("y"), attr("axis", 1))}, true},
		{"elements of the row by address", address("four", "each"), true},
		{"an element of the next row by address", address("four", "five"), false},
		{"addresses that rows share", address("three", "each"), false},
		{"an element of the row by number and place", after(numbers, node("ArgMax", "", names("x"), names("best"), attr("axis", 1)),
			node("Concat", "", names("rows", "best"), names("at"), attr("axis", 1)), node("GatherND", "", names("x", "at"), names("y"))), true},
		{"an element of the row that a row names", after(numbers, node("ArgMax", "", names("x"), names("best"), attr("axis", 1)),
			node("Concat", "", names("best", "best"), names("at"), attr("axis", 1)), node("GatherND", "", names("x", "at"), names("y"))), false},
		{"an element by the row's number", after(numbers,
			node("Concat", "", names("rows", "rows"), names("at"), attr("axis", 1)), node("GatherND", "", names("x", "at"), names("y"))), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := mustLoad(t, model(17, testGraph{inputs: []msg{x}, inits: ints, nodes: tt.nodes, outputs: []msg{msg{}.text(1, "y")}}))
			if got := g.Signature().Batched; got != tt.want {
				t.Errorf("Batched = %v, want %v: %s", got, tt.want, describe(g))
			}
		})
	}
}
