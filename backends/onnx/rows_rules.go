package onnx

import (
	"slices"
	"strings"
)

// rowRules say where the rows of an operator's outputs are, given that some input is rowwise
// and none is mixed. An operator without a rule mixes rows.
var rowRules = func() map[opID]func(*rowFlow) spread {
	all := map[opID]func(*rowFlow) spread{}
	add := func(domain string, rule func(*rowFlow) spread, ops ...string) {
		for _, op := range ops {
			all[opID{domain, op}] = rule
		}
	}
	add("", rowsElementwise, "Abs", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
		"HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "PRelu", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid",
		"Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu", "Dropout", "Add", "And", "Div",
		"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub",
		"Sum", "Where", "Xor", "Not", "Neg", "Identity", "Cast", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh",
		"Tan", "Shrink", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor")
	add("", rowsOfFirst, "CastLike")
	add("", rowsQuantized, "QuantizeLinear", "DequantizeLinear")
	add("", rowsSoftmax, "Softmax", "LogSoftmax", "Hardmax")
	add("", rowsNormalized, "LayerNormalization", "RMSNormalization")
	add("", rowsReduced, "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
		"ReduceProd", "ReduceSum", "ReduceSumSquare")
	add("", rowsArgReduced, "ArgMax", "ArgMin")
	add("", rowsTopK, "TopK")
	add("", rowsCumSum, "CumSum")
	add("", rowsMatMul, "MatMul", "MatMulInteger")
	add("", rowsGemm, "Gemm")
	add("", rowsQLinearMatMul, "QLinearMatMul")
	add("", rowsEinsum, "Einsum")
	add("", rowsOfImages, "Conv", "ConvInteger", "ConvTranspose", "QLinearConv", "MaxPool", "AveragePool", "LpPool",
		"GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool",
		"LRN", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "DepthToSpace", "SpaceToDepth")
	add("", rowsResized, "Resize", "Upsample")
	add("", rowsReshaped, "Reshape", "Flatten", "Squeeze", "Unsqueeze")
	add("", rowsTransposed, "Transpose")
	add("", rowsConcatenated, "Concat")
	add("", rowsSplit, "Split")
	add("", rowsSliced, "Slice")
	add("", rowsGathered, "Gather")
	add("", rowsOfElements, "GatherElements", "ScatterElements")
	add("", rowsExpanded, "Expand")
	add("", rowsTiled, "Tile")
	add("", rowsPadded, "Pad")
	add("", rowsOneHot, "OneHot")
	add("", rowsTrilu, "Trilu")

	contribRows(add)

	const ml = "ai.onnx.ml"
	add(ml, rowsElementwise, "LabelEncoder", "CategoryMapper", "Binarizer")
	add(ml, rowsOfFeatures, "Imputer", "Normalizer", "Scaler", "ArrayFeatureExtractor", "FeatureVectorizer", "LinearClassifier",
		"SVMClassifier", "TreeEnsembleClassifier", "LinearRegressor", "SVMRegressor", "TreeEnsembleRegressor", "TreeEnsemble", "ZipMap")
	add(ml, rowsOfFirst, "OneHotEncoder")
	return all
}()

// rowsElementwise needs the rows in the same place of all inputs that have them, and nothing
// in that place of the others.
func rowsElementwise(f *rowFlow) spread {
	rank, right, rows := 0, 0, Dim{}
	for i, v := range f.Inputs {
		if v == nil {
			continue
		}
		rank = max(rank, len(v.Shape))
		axis, ok := f.rows(i)
		switch {
		case !v.HasShape || f.spread(v).kind == counting:
			return spread{}
		case ok && right == 0:
			right, rows = len(v.Shape)-axis, v.Shape[axis]
		case ok && (right != len(v.Shape)-axis || rows != v.Shape[axis]):
			return spread{}
		}
	}
	for _, v := range f.Inputs {
		if v != nil && f.spread(v).kind == same && len(v.Shape) >= right && v.Shape[len(v.Shape)-right].Size != 1 {
			return spread{}
		}
	}
	return along(rank - right)
}

// rowsOfFirst is for operators that treat every element of input 0 alike.
func rowsOfFirst(f *rowFlow) spread {
	axis, ok := f.rows(0)
	if !ok {
		return spread{}
	}
	return along(axis)
}

// rowsQuantized needs scales that are not those of single rows.
func rowsQuantized(f *rowFlow) spread {
	axis, ok := f.rows(0)
	scale, known := f.shape(1)
	if !ok || !known || !f.alone() || len(scale) > 1 || len(scale) == 1 && f.position("axis", 1) == axis {
		return spread{}
	}
	return along(axis)
}

func rowsSoftmax(f *rowFlow) spread {
	axis, ok := f.rows(0)
	if !ok {
		return spread{}
	}
	if f.Opset < 13 && axis >= f.position("axis", 1) || f.Opset >= 13 && axis == f.position("axis", -1) {
		return spread{}
	}
	return along(axis)
}

func rowsNormalized(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone() || axis >= f.position("axis", -1) {
		return spread{}
	}
	return along(axis)
}

func rowsReduced(f *rowFlow) spread {
	all, given, known := f.axesOf(1)
	axis, ok := f.rows(0)
	switch {
	case !ok || !known:
		return spread{}
	case !given && f.int("noop_with_empty_axes", 0) != 0:
		return along(axis)
	case !given:
		return spread{}
	}
	return f.without(all, axis)
}

// without is the spread of input 0 after a reduction over axes.
func (f *rowFlow) without(all []int64, axis int) spread {
	axes, err := f.axes(all, len(f.Inputs[0].Shape))
	if err != nil || len(axes) == 0 || slices.Contains(axes, axis) {
		return spread{}
	}
	if f.int("keepdims", 1) != 0 {
		return along(axis)
	}
	before := slices.DeleteFunc(axes, func(a int) bool { return a > axis })
	return along(axis - len(before))
}

func rowsArgReduced(f *rowFlow) spread {
	axis, ok := f.rows(0)
	if !ok {
		return spread{}
	}
	return f.without([]int64{f.int("axis", 0)}, axis)
}

func rowsTopK(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone() || f.position("axis", -1) == axis {
		return spread{}
	}
	return along(axis)
}

func rowsCumSum(f *rowFlow) spread {
	over, known := f.ints(1)
	axis, _ := f.rows(0)
	if !f.alone() || !known || len(over) != 1 || over[0] == int64(axis) || over[0]+int64(len(f.Inputs[0].Shape)) == int64(axis) {
		return spread{}
	}
	return along(axis)
}

// rowsMatMul counts dimensions from the right, where they meet: 1 are columns, 2 are rows of a
// matrix, further ones tell which matrix.
func rowsMatMul(f *rowFlow) spread {
	a, okA := f.shape(0)
	b, okB := f.shape(1)
	axisA, rowsA := f.rows(0)
	axisB, rowsB := f.rows(1)
	rightA, rightB := len(a)-axisA, len(b)-axisB
	rank := max(len(a), len(b))
	free := func(dims []Dim, right int) bool { return len(dims) < right || dims[len(dims)-right].Size == 1 }
	for i := range f.Inputs {
		if kind := f.spread(f.Inputs[i]).kind; i > 1 && kind != same || kind == counting {
			return spread{}
		}
	}
	switch {
	case !okA || !okB || len(a) < 2 || len(b) < 2:
	case rowsA && rowsB && rightA == rightB && rightA > 2 && a[axisA] == b[axisB]:
		return along(rank - rightA)
	case rowsA && !rowsB && (rightA == 2 || rightA > 2 && free(b, rightA)):
		return along(rank - rightA)
	case rowsB && !rowsA && (rightB == 1 || rightB > 2 && free(a, rightB)):
		return along(rank - rightB)
	}
	return spread{}
}

// rowsQLinearMatMul is for products with one constant matrix.
func rowsQLinearMatMul(f *rowFlow) spread {
	axis, _ := f.rows(0)
	b, ok := f.shape(3)
	scale, known := f.shape(1)
	if !f.alone() || !ok || len(b) != 2 || !known || elements(scale) != 1 || axis >= len(f.Inputs[0].Shape)-1 {
		return spread{}
	}
	return along(axis)
}

func rowsGemm(f *rowFlow) spread {
	axis, ok := f.rows(0)
	if !ok || axis != 0 && f.int("transA", 0) == 0 || axis != 1 && f.int("transA", 0) != 0 || f.spread(f.Inputs[1]).kind != same {
		return spread{}
	}
	c := f.input(2)
	added, lies := f.rows(2)
	switch {
	case c == nil, lies && added == 0 && len(c.Shape) == 2 && c.Shape[0] == f.Inputs[0].Shape[axis]:
	case f.spread(c).kind != same || !c.HasShape || len(c.Shape) == 2 && c.Shape[0].Size != 1:
		return spread{}
	}
	return along(0)
}

// rowsEinsum needs one letter for the rows: in every input that has them, in no other, and in
// the output.
func rowsEinsum(f *rowFlow) spread {
	equation := strings.ReplaceAll(f.string("equation", ""), " ", "")
	left, out, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if !explicit || strings.Contains(equation, ".") || len(terms) != len(f.Inputs) {
		return spread{}
	}
	letter := ""
	for i, term := range terms {
		if axis, ok := f.rows(i); ok && axis < len(term) {
			if letter != "" && letter != term[axis:axis+1] {
				return spread{}
			}
			letter = term[axis : axis+1]
		}
	}
	for i, term := range terms {
		want := 0
		if _, ok := f.rows(i); ok {
			want = 1
		}
		if letter == "" || strings.Count(term, letter) != want || f.spread(f.Inputs[i]).kind == counting {
			return spread{}
		}
	}
	if strings.Count(out, letter) != 1 {
		return spread{}
	}
	return along(strings.Index(out, letter))
}

// rowsOfImages is for operators that treat every image alike. The second output of a MaxPool
// counts positions over all images, and a BatchNormalization that trains looks at all of them.
func rowsOfImages(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone() || axis != 0 || f.output(1) != nil || f.int("training_mode", 0) != 0 {
		return spread{}
	}
	return along(0)
}

// rowsResized takes sizes that are copied from a shape.
func rowsResized(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone(3) || axis != 0 || !f.keeps(0) {
		return spread{}
	}
	return along(0)
}

// rowsReshaped finds the rows behind the same dimensions as before; they are outermost of all
// that follows, before and after.
func rowsReshaped(f *rowFlow) spread {
	out := f.output(0)
	if !f.alone(1) || !out.HasShape {
		return spread{}
	}
	axis, _ := f.rows(0)
	in := f.Inputs[0].Shape
	at := slices.IndexFunc(out.Shape, f.counts)
	if at < 0 || slices.ContainsFunc(in[:axis], func(d Dim) bool { return d == unknown }) || !slices.Equal(notOne(in[:axis]), notOne(out.Shape[:at])) {
		return spread{}
	}
	return along(at)
}

func notOne(dims []Dim) []Dim {
	return slices.DeleteFunc(slices.Clone(dims), func(d Dim) bool { return d.Size == 1 })
}

func rowsTransposed(f *rowFlow) spread {
	axis, ok := f.rows(0)
	perm := f.intList("perm")
	switch {
	case !ok:
		return spread{}
	case perm == nil:
		return along(len(f.Inputs[0].Shape) - 1 - axis)
	}
	return along(slices.Index(perm, int64(axis)))
}

func rowsConcatenated(f *rowFlow) spread {
	axis, _ := f.rows(0)
	for i := range f.Inputs {
		if other, ok := f.rows(i); !ok || other != axis || f.Inputs[i].Shape[axis] != f.Inputs[0].Shape[axis] {
			return spread{}
		}
	}
	if f.position("axis", 0) == axis {
		return spread{}
	}
	return along(axis)
}

func rowsSplit(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone() || f.position("axis", 0) == axis {
		return spread{}
	}
	return along(axis)
}

// rowsSliced needs all rows, in their order.
func rowsSliced(f *rowFlow) spread {
	axis, _ := f.rows(0)
	steps, known := f.ints(4)
	forward := f.input(4) == nil || known && !slices.ContainsFunc(steps, func(n int64) bool { return n != 1 })
	axes, known := f.ints(3)
	if f.intList("axes") != nil {
		axes, known = f.intList("axes"), true
	}
	normal, err := f.axes(axes, len(f.Inputs[0].Shape))
	elsewhere := known && err == nil && !slices.Contains(normal, axis)
	if !f.alone() || !elsewhere && !(forward && f.keeps(axis)) {
		return spread{}
	}
	return along(axis)
}

func rowsGathered(f *rowFlow) spread {
	data, okData := f.shape(0)
	at, okAt := f.shape(1)
	if !okData || !okAt {
		return spread{}
	}
	over := f.position("axis", 0)
	axis, rowsData := f.rows(0)
	index, rowsAt := f.rows(1)
	switch {
	case rowsAt && f.spread(f.Inputs[0]).kind == same:
		return along(over + index)
	case !rowsData || f.spread(f.Inputs[1]).kind != same || axis == over || axis >= len(data):
		return spread{}
	case axis < over:
		return along(axis)
	}
	return along(axis + len(at) - 1)
}

// rowsOfElements picks elements of a row, or replaces them, by positions in this row.
func rowsOfElements(f *rowFlow) spread {
	axis, _ := f.rows(0)
	for i, v := range f.Inputs {
		if other, ok := f.rows(i); !ok || other != axis || v.Shape[axis] != f.Inputs[0].Shape[axis] {
			return spread{}
		}
	}
	if f.position("axis", 0) == axis {
		return spread{}
	}
	return along(axis)
}

func rowsExpanded(f *rowFlow) spread {
	axis, _ := f.rows(0)
	out := f.output(0)
	if !f.alone(1) || !out.HasShape {
		return spread{}
	}
	after := axis + len(out.Shape) - len(f.Inputs[0].Shape)
	if after < 0 || out.Shape[after] != f.Inputs[0].Shape[axis] {
		return spread{}
	}
	return along(after)
}

func rowsTiled(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone() || !f.keeps(axis) {
		return spread{}
	}
	return along(axis)
}

// rowsPadded needs padding that is known to leave the rows alone.
func rowsPadded(f *rowFlow) spread {
	axis, _ := f.rows(0)
	pads, known := f.ints(1)
	if f.intList("pads") != nil {
		pads, known = f.intList("pads"), true
	}
	rank := len(f.Inputs[0].Shape)
	if !f.alone() || !known || f.input(3) != nil || len(pads) != 2*rank || pads[axis] != 0 || pads[axis+rank] != 0 {
		return spread{}
	}
	return along(axis)
}

func rowsOneHot(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone() {
		return spread{}
	}
	added := f.int("axis", -1)
	if added < 0 {
		added += int64(len(f.Inputs[0].Shape)) + 1
	}
	if int(added) <= axis {
		return along(axis + 1)
	}
	return along(axis)
}

func rowsTrilu(f *rowFlow) spread {
	axis, _ := f.rows(0)
	if !f.alone() || axis >= len(f.Inputs[0].Shape)-2 {
		return spread{}
	}
	return along(axis)
}

// rowsOfFeatures is for operators that take a row of features; without a second dimension the
// rows would be the features of one.
func rowsOfFeatures(f *rowFlow) spread {
	for i, v := range f.Inputs {
		axis, ok := f.rows(i)
		if f.spread(v).kind != same && (!ok || axis != 0 || len(v.Shape) < 2) {
			return spread{}
		}
	}
	return along(0)
}
