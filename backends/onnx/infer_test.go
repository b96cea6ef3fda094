package onnx

import (
	"errors"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// shapeTest is one node between inputs and outputs.
type shapeTest struct {
	name   string
	op     string
	opset  int64
	inputs []msg // declared values, read in this order
	consts []msg // initializers, read after them
	attrs  []msg
	outs   int
	want   string // shapes and types of the outputs, or part of the refusal
}

func (tt shapeTest) model() []byte {
	g := testGraph{inputs: tt.inputs, inits: tt.consts}
	var reads, makes []string
	for _, v := range tt.inputs {
		var p valueProto
		if err := (&decoder{}).value(v, &p); err != nil {
			panic(err)
		}
		reads = append(reads, p.name)
	}
	for _, v := range tt.consts {
		var p tensorProto
		if err := (&decoder{}).tensor(v, &p); err != nil {
			panic(err)
		}
		reads = append(reads, p.name)
	}
	for i := range max(1, tt.outs) {
		makes = append(makes, "out"+formatInt(int64(i)))
		g.outputs = append(g.outputs, msg{}.text(1, makes[i]))
	}
	n := node(strings.TrimPrefix(tt.op, "ml."), "n", reads, makes, tt.attrs...)
	if strings.HasPrefix(tt.op, "ml.") {
		n = n.text(7, "ai.onnx.ml")
	}
	g.nodes = []msg{n}
	opset := tt.opset
	if opset == 0 {
		opset = 17
	}
	return model(opset, g)
}

func shapeTests() []shapeTest {
	x := func(dims ...any) []msg { return []msg{value("x", float32Kind, dims...)} }
	xy := func(a, b []any) []msg { return []msg{value("x", float32Kind, a...), value("y", float32Kind, b...)} }
	d := func(dims ...any) []any { return dims }
	ints := func(all ...int64) []int64 { return all }
	return []shapeTest{
		{name: "batch symbol through broadcast", op: "Add", inputs: xy(d("N", 3), d(1, 3)), want: "N×3 FP32"},
		{name: "broadcast of ranks", op: "Mul", inputs: xy(d("N", 1, 4), d(5, 1)), want: "N×5×4 FP32"},
		{name: "two symbols may differ", op: "Add", inputs: xy(d("N"), d("M")), want: "? FP32"},
		{name: "broadcast that cannot be", op: "Add", inputs: xy(d(2, 3), d(4)), want: "do not go together: [2 3] [4]"},
		{name: "comparison gives booleans", op: "Less", inputs: xy(d("N"), d("N")), want: "N BOOL"},
		{name: "where takes three", op: "Where", inputs: []msg{value("c", boolKind, "N", 1), value("x", float32Kind, 1, 4), value("y", float32Kind)}, want: "N×4 FP32"},
		{name: "cast", op: "Cast", inputs: x("N"), attrs: []msg{attr("to", 7)}, want: "N INT64"},
		{name: "cast to a type that is not offered", op: "Cast", opset: 19, inputs: x("N"), attrs: []msg{attr("to", 17)}, want: "element type FLOAT8E4M3FN"},
		{name: "mask of dropout", op: "Dropout", inputs: x("N", 2), outs: 2, want: "N×2 FP32, N×2 BOOL"},
		{name: "softmax axis", op: "Softmax", inputs: x("N", 2), attrs: []msg{attr("axis", 2)}, want: "axis 2 does not exist"},
		{name: "batched matrices", op: "MatMul", inputs: xy(d("N", 12, "S", 32), d("N", 12, 32, "S")), want: "N×12×S×S FP32"},
		{name: "matrix and vector", op: "MatMul", inputs: xy(d("N", 4), d(4)), want: "N FP32"},
		{name: "vector and matrix", op: "MatMul", inputs: xy(d(4), d("N", 4, 2)), want: "N×2 FP32"},
		{name: "matrices that do not fit", op: "MatMul", inputs: xy(d("N", 4), d(5, 2)), want: "do not go together"},
		{name: "product of a scalar", op: "MatMul", inputs: xy(d(), d(5, 2)), want: "do not go together"},
		{name: "transposed gemm", op: "Gemm", inputs: xy(d("N", 4), d(3, 4)), attrs: []msg{attr("transB", 1)}, want: "N×3 FP32"},
		{name: "gemm of rank 3", op: "Gemm", inputs: xy(d("N", 4, 2), d(3, 4)), want: "need 2 dimensions, they have 3 and 2"},
		{name: "einsum", op: "Einsum", inputs: xy(d("N", "S", 8), d("N", "T", 8)), attrs: []msg{attr("equation", "bsd,btd->bst")}, want: "N×S×T FP32"},
		{name: "einsum with dots", op: "Einsum", inputs: xy(d("N", 5, 3, 4), d(4, 6)), attrs: []msg{attr("equation", "...ij,jk->...ik")}, want: "N×5×3×6 FP32"},
		{name: "einsum without arrow", op: "Einsum", inputs: xy(d(3, 4), d(4, 6)), attrs: []msg{attr("equation", "ij,jk")}, want: "3×6 FP32"},
		{name: "einsum of the wrong rank", op: "Einsum", inputs: xy(d(3, 4), d(4)), attrs: []msg{attr("equation", "ij,jk->ik")}, want: "does not fit the shape [4] of input 1"},
		{name: "convolution", op: "Conv", inputs: x("N", 3, 224, 224), consts: []msg{floatTensor("w", 64, 3, 7, 7)},
			attrs: []msg{attr("strides", ints(2, 2)), attr("pads", ints(3, 3, 3, 3))}, want: "N×64×112×112 FP32"},
		{name: "convolution keeps unknown sizes that it does not change", op: "Conv", inputs: x("N", 8, "H", "W"), consts: []msg{floatTensor("w", 8, 1, 3, 3)},
			attrs: []msg{attr("group", 8), attr("pads", ints(1, 1, 0, 0))}, want: "N×8×?×? FP32"},
		{name: "same padding", op: "Conv", inputs: x("N", 8, "H", 9), consts: []msg{floatTensor("w", 8, 1, 3, 3)},
			attrs: []msg{attr("group", 8), attr("auto_pad", "SAME_UPPER"), attr("strides", ints(1, 2))}, want: "N×8×H×5 FP32"},
		{name: "dilated convolution", op: "Conv", inputs: x("N", 1, 10), consts: []msg{floatTensor("w", 2, 1, 3)}, attrs: []msg{attr("dilations", ints(2))}, want: "N×2×6 FP32"},
		{name: "channels that do not fit", op: "Conv", inputs: x("N", 4, 9, 9), consts: []msg{floatTensor("w", 8, 3, 3, 3)}, want: "do not go together"},
		{name: "window larger than the image", op: "Conv", inputs: x("N", 3, 2, 2), consts: []msg{floatTensor("w", 8, 3, 3, 3)}, want: "the window of 3 does not fit 2"},
		{name: "stride of 0", op: "Conv", inputs: x("N", 3, 9, 9), consts: []msg{floatTensor("w", 8, 3, 3, 3)}, attrs: []msg{attr("strides", ints(0, 1))}, want: "strides [0 1]: each must be between 1"},
		{name: "padding beyond all bounds", op: "Conv", inputs: x("N", 3, 9, 9), consts: []msg{floatTensor("w", 8, 3, 3, 3)}, attrs: []msg{attr("pads", ints(1<<62, 0, 1<<62, 0))}, want: "pads [4611686018427387904"},
		{name: "transposed convolution", op: "ConvTranspose", inputs: x("N", 8, 5, 5), consts: []msg{floatTensor("w", 8, 2, 3, 3)},
			attrs: []msg{attr("strides", ints(2, 2)), attr("pads", ints(1, 1, 1, 1)), attr("output_padding", ints(1, 1)), attr("group", 2)}, want: "N×4×10×10 FP32"},
		{name: "pooling with ceil", op: "MaxPool", inputs: x("N", 8, 6, 6), attrs: []msg{attr("kernel_shape", ints(3, 3)), attr("strides", ints(2, 2)), attr("ceil_mode", 1)}, outs: 2, want: "N×8×3×3 FP32, N×8×3×3 INT64"},
		{name: "ceil does not start in the padding", op: "AveragePool", inputs: x("N", 8, 4), attrs: []msg{attr("kernel_shape", ints(1)), attr("strides", ints(4)), attr("pads", ints(0, 1)), attr("ceil_mode", 1)}, want: "N×8×1 FP32"},
		{name: "global pooling", op: "GlobalAveragePool", inputs: x("N", 8, "H", "W"), want: "N×8×1×1 FP32"},
		{name: "resize by scales", op: "Resize", inputs: x("N", 3, 5, 5), consts: []msg{floatTensor("roi", 0), rawTensor("s", float32Kind, []int64{4}, packFloats([]float32{1, 1, 2, 1.5}))}, want: "N×3×10×7 FP32"},
		{name: "upsample", op: "Upsample", opset: 9, inputs: x("N", 3, 5), consts: []msg{rawTensor("s", float32Kind, []int64{3}, packFloats([]float32{1, 1, 2}))}, want: "N×3×10 FP32"},
		{name: "depth to space", op: "DepthToSpace", inputs: x("N", 8, 3, 4), attrs: []msg{attr("blocksize", 2)}, want: "N×2×6×8 FP32"},
		{name: "space to depth", op: "SpaceToDepth", inputs: x("N", 2, 6, 8), attrs: []msg{attr("blocksize", 2)}, want: "N×8×3×4 FP32"},
		{name: "batch norm with other channels", op: "BatchNormalization", inputs: x("N", 3, 4), consts: []msg{floatTensor("a", 4), floatTensor("b", 4), floatTensor("c", 4), floatTensor("d", 4)}, want: "do not go together"},
		{name: "training", op: "BatchNormalization", inputs: x("N", 4), consts: []msg{floatTensor("a", 4), floatTensor("b", 4), floatTensor("c", 4), floatTensor("d", 4)}, attrs: []msg{attr("training_mode", 1)}, want: "training_mode is not supported"},
		{name: "layer norm", op: "LayerNormalization", inputs: x("N", "S", 8), consts: []msg{floatTensor("a", 8)}, outs: 3, want: "N×S×8 FP32, N×S×1 FP32, N×S×1 FP32"},
		{name: "reduce with axes as attribute", op: "ReduceMean", inputs: x("N", "S", 8), attrs: []msg{attr("axes", ints(-1))}, want: "N×S×1 FP32"},
		{name: "reduce with axes as input", op: "ReduceSum", inputs: x("N", "S", 8), consts: []msg{intTensor("a", 1)}, attrs: []msg{attr("keepdims", 0)}, want: "N×8 FP32"},
		{name: "reduce all", op: "ReduceMax", inputs: x("N", 8), attrs: []msg{attr("keepdims", 0)}, want: "scalar FP32"},
		{name: "reduce none", op: "ReduceSum", inputs: x("N", 8), attrs: []msg{attr("noop_with_empty_axes", 1)}, want: "N×8 FP32"},
		{name: "axis twice", op: "ReduceMean", inputs: x("N", 8), attrs: []msg{attr("axes", ints(1, -1))}, want: "axis -1 is given twice"},
		{name: "arg max", op: "ArgMax", inputs: x("N", 8), attrs: []msg{attr("axis", 1), attr("keepdims", 0)}, want: "N INT64"},
		{name: "top k", op: "TopK", inputs: x("N", 8), consts: []msg{intTensor("k", 3)}, outs: 2, want: "N×3 FP32, N×3 INT64"},
		{name: "top of too few", op: "TopK", inputs: x("N", 8), consts: []msg{intTensor("k", 9)}, outs: 2, want: "k is 9, dimension 1 has 8 elements"},
		{name: "reshape keeps the batch by 0", op: "Reshape", inputs: x("N", 3, 4), consts: []msg{intTensor("s", 0, -1)}, want: "N×12 FP32"},
		{name: "reshape finds the batch for -1", op: "Reshape", inputs: x("N", 3, 4), consts: []msg{intTensor("s", -1, 12)}, want: "N×12 FP32"},
		{name: "reshape merges symbols", op: "Reshape", inputs: x("N", "S", 4), consts: []msg{intTensor("s", -1, 4)}, want: "N×S×4 FP32"},
		{name: "reshape loses what it cannot tell", op: "Reshape", inputs: x("N", 3), consts: []msg{intTensor("s", -1, 2)}, want: "?×2 FP32"},
		{name: "reshape to another size", op: "Reshape", inputs: x(2, 3), consts: []msg{intTensor("s", 4, 2)}, want: "6 elements of shape [2 3] cannot become [4 2]"},
		{name: "reshape with a remainder", op: "Reshape", inputs: x(2, 3), consts: []msg{intTensor("s", -1, 4)}, want: "cannot be divided"},
		{name: "reshape with two wild cards", op: "Reshape", inputs: x(2, 3), consts: []msg{intTensor("s", -1, -1)}, want: "two dimensions of -1"},
		{name: "reshape to a negative size", op: "Reshape", inputs: x(2, 3), consts: []msg{intTensor("s", -2, 3)}, want: "a dimension of -2"},
		{name: "flatten", op: "Flatten", inputs: x("N", 3, 4), want: "N×12 FP32"},
		{name: "squeeze by input", op: "Squeeze", inputs: x("N", 1, 4), consts: []msg{intTensor("a", 1)}, want: "N×4 FP32"},
		{name: "squeeze by attribute", op: "Squeeze", opset: 11, inputs: x("N", 1, 4), attrs: []msg{attr("axes", ints(-2))}, want: "N×4 FP32"},
		{name: "squeeze of 3", op: "Squeeze", inputs: x("N", 3), consts: []msg{intTensor("a", 1)}, want: "dimension 1 is 3 and cannot be removed"},
		{name: "squeeze of all that is 1", op: "Squeeze", inputs: x(1, 3, 1), want: "3 FP32"},
		{name: "squeeze of whatever is 1", op: "Squeeze", inputs: x("N", 1), want: "unranked FP32"},
		{name: "unsqueeze", op: "Unsqueeze", inputs: x("N", 3), consts: []msg{intTensor("a", 1, -1)}, want: "N×1×3×1 FP32"},
		{name: "transpose", op: "Transpose", inputs: x("N", "S", 8), attrs: []msg{attr("perm", ints(0, 2, 1))}, want: "N×8×S FP32"},
		{name: "transpose by no permutation", op: "Transpose", inputs: x("N", "S", 8), attrs: []msg{attr("perm", ints(0, 1))}, want: "no permutation"},
		{name: "concat", op: "Concat", inputs: xy(d("N", 3), d("N", 4)), attrs: []msg{attr("axis", 1)}, want: "N×7 FP32"},
		{name: "concat of other rows", op: "Concat", inputs: xy(d(2, 3), d(3, 4)), attrs: []msg{attr("axis", 1)}, want: "do not go together"},
		{name: "split in equal parts", op: "Split", inputs: x("N", 6), attrs: []msg{attr("axis", 1)}, outs: 3, want: "N×2 FP32, N×2 FP32, N×2 FP32"},
		{name: "split by sizes", op: "Split", inputs: x("N", 6), consts: []msg{intTensor("s", 1, 5)}, attrs: []msg{attr("axis", 1)}, outs: 2, want: "N×1 FP32, N×5 FP32"},
		{name: "split that loses some", op: "Split", inputs: x("N", 6), consts: []msg{intTensor("s", 1, 4)}, attrs: []msg{attr("axis", 1)}, outs: 2, want: "does not sum up to 6"},
		{name: "split with a rest", op: "Split", opset: 18, inputs: x("N", 7), attrs: []msg{attr("axis", 1), attr("num_outputs", 2)}, outs: 2, want: "N×4 FP32, N×3 FP32"},
		{name: "slice", op: "Slice", inputs: x("N", 10, "S"), consts: []msg{intTensor("a", 1, 0), intTensor("b", -1, 1<<62), intTensor("c", 1, 2), intTensor("d", 2, 1)}, want: "N×4×S FP32"},
		{name: "slice backwards", op: "Slice", inputs: x(10), consts: []msg{intTensor("a", -1), intTensor("b", -1<<63), intTensor("c", 0), intTensor("d", -3)}, want: "4 FP32"},
		{name: "slice by attributes", op: "Slice", opset: 9, inputs: x("N", 10), attrs: []msg{attr("starts", ints(2)), attr("ends", ints(5)), attr("axes", ints(1))}, want: "N×3 FP32"},
		{name: "slice by step 0", op: "Slice", inputs: x(10), consts: []msg{intTensor("a", 0), intTensor("b", 5), intTensor("c", 0), intTensor("d", 0)}, want: "a step is 0"},
		{name: "gather", op: "Gather", inputs: []msg{value("x", float32Kind, 30522, 384), value("i", int64Kind, "N", "S")}, want: "N×S×384 FP32"},
		{name: "gather nd", op: "GatherND", inputs: []msg{value("x", float32Kind, "N", 5, 7), value("i", int64Kind, "M", 2)}, want: "M×7 FP32"},
		{name: "gather elements", op: "GatherElements", inputs: []msg{value("x", float32Kind, 5, 7), value("i", int64Kind, "M", 2)}, want: "M×2 FP32"},
		{name: "expand", op: "Expand", inputs: x("N", 1), consts: []msg{intTensor("s", 2, 1, 5)}, want: "2×N×5 FP32"},
		{name: "tile", op: "Tile", inputs: x("N", 3), consts: []msg{intTensor("r", 1, 2)}, want: "N×6 FP32"},
		{name: "pad", op: "Pad", inputs: x("N", 3), consts: []msg{intTensor("p", 0, 1, 0, 2)}, want: "N×6 FP32"},
		{name: "pad with axes", op: "Pad", opset: 18, inputs: x("N", 3), consts: []msg{intTensor("p", 1, 2), floatTensor("v"), intTensor("a", 1)}, want: "N×6 FP32"},
		{name: "pads beyond all bounds", op: "Pad", inputs: x("N", 3), consts: []msg{intTensor("p", 0, 1<<62, 0, 1<<62)}, want: "are too large"},
		{name: "pads that remove everything", op: "Pad", inputs: x("N", 3), consts: []msg{intTensor("p", 0, -2, 0, -2)}, want: "remove more than all 3"},
		{name: "constant of shape", op: "ConstantOfShape", consts: []msg{intTensor("s", 2, 3)}, attrs: []msg{attr("value", intTensor("v", 7))}, want: "2×3 INT64"},
		{name: "constant of negative shape", op: "ConstantOfShape", consts: []msg{intTensor("s", 2, -3)}, want: "dimension 1 would be -3"},
		{name: "range", op: "Range", consts: []msg{intScalar("a", 2), intScalar("b", 9), intScalar("c", 3)}, want: "3 INT64"},
		{name: "range backwards over everything", op: "Range", consts: []msg{intScalar("a", 1<<62), intScalar("b", -1<<62), intScalar("c", -1)}, want: "too large"},
		{name: "one hot", op: "OneHot", inputs: []msg{value("i", int64Kind, "N")}, consts: []msg{intScalar("depth", 5), floatTensor("v", 2)}, want: "N×5 FP32"},
		{name: "non zero", op: "NonZero", inputs: x("N", 3), want: "2×? INT64"},
		{name: "quantize", op: "QuantizeLinear", inputs: x("N", 3), consts: []msg{floatTensor("s"), rawTensor("z", uint8Kind, nil, []byte{0})}, want: "N×3 UINT8"},
		{name: "dynamic quantize", op: "DynamicQuantizeLinear", inputs: x("N", 3), outs: 3, want: "N×3 UINT8, scalar FP32, scalar UINT8"},
		{name: "scaler", op: "ml.Scaler", inputs: x("N", 3), attrs: []msg{attr("scale", []float32{1})}, want: "N×3 FP32"},
		{name: "label encoder to strings", op: "ml.LabelEncoder", inputs: []msg{value("x", int64Kind, "N")}, attrs: []msg{attr("keys_int64s", ints(1)), attr("values_strings", names("a"))}, want: "N BYTES"},
		{name: "one hot encoder", op: "ml.OneHotEncoder", inputs: []msg{value("x", stringKind, "N", 2)}, attrs: []msg{attr("cats_strings", names("a", "b", "c"))}, want: "N×2×3 FP32"},
		{name: "linear classifier", op: "ml.LinearClassifier", inputs: x("N", 4), attrs: []msg{attr("coefficients", []float32{1}), attr("classlabels_ints", ints(0, 1))}, outs: 2, want: "N INT64, N×2 FP32"},
		{name: "tree classifier", op: "ml.TreeEnsembleClassifier", inputs: x("N", 4), attrs: []msg{attr("classlabels_strings", names("a", "b", "c"))}, outs: 2, want: "N BYTES, N×3 FP32"},
		{name: "tree regressor of one row", op: "ml.TreeEnsembleRegressor", inputs: x(4), attrs: []msg{attr("n_targets", 2)}, want: "1×2 FP32"},
		{name: "feature extractor", op: "ml.ArrayFeatureExtractor", inputs: x("N", 4), consts: []msg{intTensor("i", 2, 0)}, want: "N×2 FP32"},
		{name: "feature vectorizer", op: "ml.FeatureVectorizer", inputs: xy(d("N", 2), d("N", 3)), attrs: []msg{attr("inputdimensions", ints(2, 3))}, want: "N×5 FP32"},
		{name: "zip map", op: "ml.ZipMap", inputs: x("N", 2), attrs: []msg{attr("classlabels_int64s", ints(10, 20))}, want: "N×2 FP32"},
		{name: "zip map of other classes", op: "ml.ZipMap", inputs: x("N", 3), attrs: []msg{attr("classlabels_int64s", ints(10, 20))}, want: "2 labels for scores of shape [-1 3]"},
	}
}

func TestShapesAndTypes(t *testing.T) {
	for _, tt := range shapeTests() {
		t.Run(tt.name, func(t *testing.T) {
			g, err := load(t, tt.model())
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = describeAll(g.Outputs)
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("%s = %s, want %s", tt.op, got, tt.want)
			}
		})
	}
}

// shapeArithmetic reshapes x by a target that is computed from its shape, as PyTorch exports
// x.view(x.size(0), -1, 2, x.size(1)).
func shapeArithmetic() testGraph {
	return testGraph{
		inputs:  []msg{value("x", float32Kind, "N", "S", 6)},
		outputs: []msg{value("y", float32Kind, "N", "?", 2, "S")},
		inits:   []msg{intScalar("zero", 0), intTensor("first", 0), intTensor("wild", -1), intTensor("two", 2), intScalar("one", 1)},
		nodes: []msg{
			node("Shape", "shape", names("x"), names("shape")),
			node("Gather", "rows", names("shape", "zero"), names("rows")),
			node("Gather", "words", names("shape", "one"), names("words")),
			node("Cast", "rows32", names("rows"), names("rows32"), attr("to", 6)),
			node("Cast", "rows64", names("rows32"), names("rows64"), attr("to", 7)),
			node("Unsqueeze", "rows1", names("rows64", "first"), names("rows1")),
			node("Unsqueeze", "words1", names("words", "first"), names("words1")),
			node("Concat", "target", names("rows1", "wild", "two", "words1"), names("target"), attr("axis", 0)),
			node("Reshape", "view", names("x", "target"), names("y")),
		},
	}
}

func TestBatchSymbolSurvivesShapeArithmetic(t *testing.T) {
	g := mustLoad(t, model(13, shapeArithmetic()))
	if got := describeAll(g.Outputs); got != "N×3×2×S FP32" {
		t.Errorf("Reshape = %s, want N×3×2×S FP32", got)
	}
}

func TestKnownTargetsOfReshapeBecomeConstants(t *testing.T) {
	graph := shapeArithmetic()
	graph.nodes[7] = node("Concat", "target", names("rows1", "words1", "wild", "two"), names("target"), attr("axis", 0))
	graph.outputs = []msg{value("y", float32Kind, "N", "S", 3, 2)}
	g := mustLoad(t, model(13, graph))
	if len(g.Nodes) != 1 || g.Nodes[0].Inputs[1].Const == nil {
		t.Fatalf("Load = %s, want the Reshape alone", describe(g))
	}
	if got, want := vectorOf(g.Nodes[0].Inputs[1].Const), []int64{0, 0, -1, 2}; !sameNumbers(got, want) {
		t.Errorf("target = %+v, want %v", got, want)
	}
}

func TestTargetsWithTwoUnknownSizesAreLeftToTheRun(t *testing.T) {
	graph := shapeArithmetic()
	graph.nodes[7] = node("Concat", "target", names("words1", "rows1", "two", "three"), names("target"), attr("axis", 0))
	graph.inits = append(graph.inits, intTensor("three", 3))
	graph.outputs = []msg{value("y", float32Kind, "S", "N", 2, 3)}
	g := mustLoad(t, model(13, graph))
	if last := g.Nodes[len(g.Nodes)-1]; last.Op != "Reshape" || last.Inputs[1].Const != nil {
		t.Errorf("Load = %s, want a target that is computed", describe(g))
	}
}

func sameNumbers(v *vector, want []int64) bool {
	if v == nil || len(v.elems) != len(want) {
		return false
	}
	for i, n := range want {
		if v.elems[i] != number(n) {
			return false
		}
	}
	return true
}

// TestShapeArithmeticValues computes with the shape [N 6], whose second size is known.
func TestShapeArithmeticValues(t *testing.T) {
	second := []msg{node("Shape", "", names("x"), names("s")), node("Gather", "", names("s", "one"), names("six"))}
	first := node("Gather", "", names("s", "zero"), names("n"))
	inits := []msg{intScalar("zero", 0), intScalar("one", 1), intScalar("four", 4), intScalar("minus", -1), intScalar("large", 1<<30-1), intTensor("axis", 0),
		intTensor("v", 10, 20, 30), intTensor("starts", 1), intTensor("ends", 3), rawTensor("yes", boolKind, nil, []byte{1})}
	tests := []struct {
		name  string
		nodes []msg
		want  []int64
	}{
		{"sum", []msg{node("Add", "", names("six", "four"), names("y"))}, []int64{10}},
		{"difference", []msg{node("Sub", "", names("six", "four"), names("y"))}, []int64{2}},
		{"product", []msg{node("Mul", "", names("six", "four"), names("y"))}, []int64{24}},
		{"quotient towards zero", []msg{node("Mul", "", names("six", "minus"), names("m")), node("Div", "", names("m", "four"), names("y"))}, []int64{-1}},
		{"a size minus itself", []msg{first, node("Sub", "", names("n", "n"), names("y"))}, []int64{0}},
		{"a size is never -1", []msg{first, node("Equal", "", names("n", "minus"), names("c")), node("Where", "", names("c", "one", "four"), names("y"))}, []int64{4}},
		{"a size equals itself", []msg{first, node("Equal", "", names("n", "n"), names("c")), node("Where", "", names("c", "one", "four"), names("y"))}, []int64{1}},
		{"-1 is never a size", []msg{first, node("Equal", "", names("minus", "n"), names("c")), node("Where", "", names("c", "one", "four"), names("y"))}, []int64{4}},
		{"32 bits wrap", []msg{node("Mul", "", names("large", "four"), names("l")), node("Cast", "", names("l"), names("i"), attr("to", 6)), node("Cast", "", names("i"), names("y"), attr("to", 7))}, []int64{-4}},
		{"negation", []msg{node("Neg", "", names("six"), names("y"))}, []int64{-6}},
		{"not and or", []msg{node("Not", "", names("yes"), names("no")), node("Or", "", names("yes", "no"), names("c")), node("Where", "", names("c", "one", "four"), names("y"))}, []int64{1}},
		{"least", []msg{node("Min", "", names("six", "four"), names("y"))}, []int64{4}},
		{"most", []msg{node("Max", "", names("six", "four"), names("y"))}, []int64{6}},
		{"slice", []msg{node("Slice", "", names("v", "starts", "ends"), names("w")), node("Add", "", names("w", "six"), names("y"))}, []int64{26, 36}},
		{"range", []msg{node("Range", "", names("zero", "six", "four"), names("y"))}, []int64{0, 4}},
		{"number of elements", []msg{node("Size", "", names("v"), names("k")), node("Add", "", names("k", "six"), names("y"))}, []int64{9}},
		{"product of a vector", []msg{node("ReduceProd", "", names("v"), names("p"), attr("keepdims", 0)), node("Add", "", names("p", "six"), names("y"))}, []int64{6006}},
		{"repetition", []msg{node("Unsqueeze", "", names("four", "axis"), names("t")), node("ConstantOfShape", "", names("t"), names("y"), attr("value", intTensor("", 9)))}, []int64{9, 9, 9, 9}},
		{"expansion", []msg{node("Unsqueeze", "", names("four", "axis"), names("t")), node("Expand", "", names("six", "t"), names("y"))}, []int64{6, 6, 6, 6}},
		{"vector to scalar and back", []msg{node("Unsqueeze", "", names("six", "axis"), names("t")), node("Squeeze", "", names("t", "axis"), names("u")), node("Reshape", "", names("u", "axis1"), names("y"))}, []int64{6}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := testGraph{inputs: []msg{value("x", float32Kind, "N", 6)}, outputs: []msg{msg{}.text(1, "y")},
				inits: append(inits, intTensor("axis1", 1)), nodes: append(append([]msg{}, second...), tt.nodes...)}
			got := mustLoad(t, model(13, g))
			if c := got.Outputs[0].Const; c == nil || !sameNumbers(vectorOf(c), tt.want) || len(got.Nodes) > 0 {
				t.Errorf("%s = %+v, want %v", describe(got), c, tt.want)
			}
		})
	}
}

func TestBroadcastOfTwoDimensions(t *testing.T) {
	n, m := Dim{Size: -1, Symbol: "N"}, Dim{Size: -1, Symbol: "M"}
	tests := []struct {
		name       string
		a, b, want Dim
		fails      bool
	}{
		{"equal sizes", fixed(3), fixed(3), fixed(3), false},
		{"one stretches", fixed(1), fixed(3), fixed(3), false},
		{"different sizes", fixed(2), fixed(3), fixed(2), true},
		{"none of one", fixed(0), fixed(1), fixed(0), false},
		{"equal symbols", n, n, n, false},
		{"symbol and one", n, fixed(1), n, false},
		{"symbol that must be 1 or 3", n, fixed(3), fixed(3), false},
		{"different symbols", n, m, unknown, false},
		{"nothing known", unknown, n, unknown, false},
		{"positions of a sequence", atMost(512, "N"), n, n, false},
		{"positions of another sequence", atMost(512, "M"), n, unknown, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, pair := range [][2]Dim{{tt.a, tt.b}, {tt.b, tt.a}} {
				got, ok := broadcastDim(pair[0], pair[1])
				if ok == tt.fails || ok && got != tt.want {
					t.Errorf("broadcastDim(%v) = %v, %v, want %v", pair, got, ok, tt.want)
				}
			}
		})
	}
}

func TestPositionsOfASequenceHaveItsLength(t *testing.T) {
	g := testGraph{
		inputs:  []msg{value("x", float32Kind, "N", "S", 8)},
		outputs: []msg{msg{}.text(1, "y"), msg{}.text(1, "range")},
		inits:   []msg{floatTensor("table", 512, 8), intTensor("zero", 0), intTensor("one", 1), intScalar("start", 0), intScalar("step", 1)},
		nodes: []msg{
			node("Shape", "", names("x"), names("length"), attr("start", 1), attr("end", 2)),
			node("Slice", "", names("table", "zero", "length", "zero", "one"), names("positions")),
			node("Add", "", names("x", "positions"), names("y")),
			node("Squeeze", "", names("length"), names("n")),
			node("Range", "", names("start", "n", "step"), names("range")),
		},
	}
	if got := describeAll(mustLoad(t, model(17, g)).Outputs); got != "N×S×8 FP32, S INT64" {
		t.Errorf("outputs = %s", got)
	}
}

func TestIndexBeyondTheShape(t *testing.T) {
	g := testGraph{inputs: []msg{value("x", float32Kind, "N", 6)}, outputs: []msg{msg{}.text(1, "y")}, inits: []msg{intScalar("two", 2)},
		nodes: []msg{node("Shape", "", names("x"), names("s")), node("Gather", "pick", names("s", "two"), names("y"))}}
	if _, err := load(t, model(13, g)); err == nil || !strings.Contains(err.Error(), "index 2 is outside of 2 elements") {
		t.Errorf("Load = %v", err)
	}
}

func TestIfWithAKnownConditionIsItsBranch(t *testing.T) {
	branch := func(op string) testGraph {
		return testGraph{nodes: []msg{node(op, "", names("x"), names("z"))}, outputs: []msg{shapeless("z", float32Kind)}}
	}
	// The condition is "x has one column", which the declared shape decides.
	graph := func(columns int) testGraph {
		return testGraph{inputs: []msg{value("x", float32Kind, "N", columns)}, outputs: []msg{shapeless("y", float32Kind)}, inits: []msg{intScalar("one", 1)},
			nodes: []msg{
				node("Shape", "", names("x"), names("s")), node("Gather", "", names("s", "one"), names("n")), node("Equal", "", names("n", "one"), names("c")),
				node("If", "choice", names("c"), names("y"), attr("then_branch", branch("Relu")), attr("else_branch", branch("Sigmoid"))),
			}}
	}
	for columns, op := range map[int]string{1: "Relu", 2: "Sigmoid"} {
		g := mustLoad(t, model(13, graph(columns)))
		if len(g.Nodes) != 2 || g.Nodes[0].Op != op || g.Nodes[1].Op != "Identity" || g.Outputs[0].Producer != g.Nodes[1] {
			t.Errorf("If over %d columns = %s, want %s", columns, describe(g), op)
		}
	}
}

func TestDeclaredRankIsTakenWhereNothingElseIsKnown(t *testing.T) {
	g := testGraph{inputs: []msg{value("x", float32Kind, "N", 1)}, outputs: []msg{value("y", float32Kind, 7)}, nodes: []msg{node("Squeeze", "", names("x"), names("y"))}}
	if got := describeAll(mustLoad(t, model(13, g)).Outputs); got != "? FP32" {
		t.Errorf("Squeeze = %s, want one dimension whose declared size is not believed", got)
	}
}

func TestUnsupportedNamesOperatorNodeAndOpset(t *testing.T) {
	err := Unsupported(&Node{Op: "Foo", Name: "x", Opset: 17}, "no kernel for %v", backends.FP64)
	if want := `operator Foo (node "x", ai.onnx opset 17): no kernel for FP64`; err.Error() != want || !errors.Is(err, backends.ErrUnsupported) {
		t.Errorf("Unsupported = %q, want %q", err, want)
	}
}
