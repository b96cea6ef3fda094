package onnx

import "github.com/thrumserve/thrum/backends"

// Contrib is the domain of the operators that quantised models have beside those of ai.onnx.
const Contrib = "com.microsoft"

// contribRules are the shape rules of quantised operators. Their tensors stand among scales and zero
// points; on those alone the rule is that of the float operator.
func contribRules(add func(domain string, rule func(*call) error, ops ...string)) {
	add(Contrib, on(elementwise, 0, 3), "QLinearAdd", "QLinearMul")
	add(Contrib, on(elementwise, 0, 1, 4), "QLinearWhere")
	add(Contrib, sameShape, "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax")
	add(Contrib, pool, "QLinearAveragePool")
	add(Contrib, globalPool, "QLinearGlobalAveragePool")
	add(Contrib, quantizedConcat, "QLinearConcat")
	add(Contrib, quantizedGemm, "QGemm")
	add(Contrib, matMul, "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
}

// on returns a rule that sees only some inputs of a node.
func on(rule func(*call) error, inputs ...int) func(*call) error {
	return func(c *call) error { return rule(c.only(inputs)) }
}

// only returns a call of c's operator with those inputs alone.
func (c *call) only(inputs []int) *call {
	return &call{Node: c.Node.only(inputs), in: c.in}
}

// only returns a copy of n with those inputs alone.
func (n *Node) only(inputs []int) *Node {
	part := *n
	part.Inputs, part.Captured = nil, 0
	for _, i := range inputs {
		var v *Value
		if i < len(n.Inputs) {
			v = n.Inputs[i]
		}
		part.Inputs = append(part.Inputs, v)
	}
	return &part
}

// quantizedConcat joins every third input, each before its scale and zero point.
func quantizedConcat(c *call) error {
	inputs := concatenated(c.Node)
	if len(inputs) == 0 {
		return invalid(c.Node, "%d inputs: it needs a scale, a zero point and three for each tensor", len(c.Inputs))
	}
	return concat(c.only(inputs))
}

// concatenated returns which inputs of a QLinearConcat are joined, none if the number is wrong.
func concatenated(n *Node) []int {
	if len(n.Inputs)%3 != 2 {
		return nil
	}
	var all []int
	for i := 2; i < len(n.Inputs); i += 3 {
		all = append(all, i)
	}
	return all
}

// quantizedGemm gives bytes where the result has a zero point, FP32 otherwise.
func quantizedGemm(c *call) error {
	dt := backends.FP32
	if zero := c.input(8); zero != nil {
		dt = zero.Datatype
	}
	c.setType(0, dt)
	return gemm(c.only([]int{0, 3, 6}))
}

// contribRows are the row rules of quantised operators.
func contribRows(add func(domain string, rule func(*rowFlow) spread, ops ...string)) {
	add(Contrib, rowsElementwise, "QLinearAdd", "QLinearMul", "QLinearWhere", "QLinearLeakyRelu", "QLinearSigmoid")
	add(Contrib, rowsOfImages, "QLinearAveragePool", "QLinearGlobalAveragePool")
	add(Contrib, rowsQuantizedSoftmax, "QLinearSoftmax")
	add(Contrib, func(f *rowFlow) spread { return f.on(rowsConcatenated, concatenated(f.Node)...) }, "QLinearConcat")
	add(Contrib, func(f *rowFlow) spread { return f.on(rowsGemm, 0, 3, 6) }, "QGemm")
	add(Contrib, rowsMatMulToFloat, "MatMulIntegerToFloat")
}

// on applies a rule to some inputs. Of the others none may have rows.
func (f *rowFlow) on(rule func(*rowFlow) spread, inputs ...int) spread {
	part := *f
	part.call = f.call.only(inputs)
	for _, v := range f.Inputs {
		if v == nil {
			continue
		}
		seen := false
		for _, i := range inputs {
			seen = seen || i < len(f.Inputs) && f.Inputs[i] == v
		}
		if !seen && f.spread(v).kind != same {
			return spread{}
		}
	}
	if len(inputs) == 0 {
		return spread{}
	}
	return rule(&part)
}

// rowsQuantizedSoftmax has its opset as an attribute.
func rowsQuantizedSoftmax(f *rowFlow) spread {
	axis, ok := f.rows(0)
	opset := f.int("opset", 0)
	if !ok || !f.alone() || opset < 13 && axis >= f.position("axis", 1) || opset >= 13 && axis == f.position("axis", -1) {
		return spread{}
	}
	return along(axis)
}

// rowsMatMulToFloat is for products with one constant matrix.
func rowsMatMulToFloat(f *rowFlow) spread {
	axis, _ := f.rows(0)
	b, ok := f.shape(1)
	scale, known := f.shape(2)
	if !f.alone() || !ok || len(b) != 2 || !known || elements(scale) != 1 || axis >= len(f.Inputs[0].Shape)-1 {
		return spread{}
	}
	return along(axis)
}
