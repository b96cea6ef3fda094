package kernels

import (
	"fmt"
	"slices"
)

// functions are what Map, Chain and epilogues compute. Their numbers are those of src/functions.h.
var functions = []string{
	"", "Abs", "Acos", "Asin", "Atan", "Ceil", "Clip", "Cos", "Dequantize", "Elu", "Erf", "Exp", "Floor", "Gelu", "GeluTanh", "HardSigmoid",
	"HardSwish", "IsNaN", "LeakyRelu", "Log", "Neg", "Not", "Quantize", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus",
	"Sqrt", "Swish", "Tanh",
	"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "Or", "PRelu", "Pow", "Sub", "Xor",
	"Where",
}

// epilogues are those that may follow a product or a convolution.
var epilogues = []string{"", "Relu", "Gelu", "GeluTanh", "Swish", "HardSwish", "Sigmoid", "Tanh", "Clip"}

// integral are those that are also computed of integers.
var integral = []string{
	"", "Abs", "Clip", "Neg", "Not", "Relu", "Sign",
	"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "Or", "Sub", "Xor", "Where",
}

// operands returns how many a function takes.
func operands(code int) int {
	switch {
	case functions[code] == "Where":
		return 3
	case code >= slices.Index(functions, "Add"):
		return 2
	}
	return 1
}

// Activation is a function that a product or a convolution applies to its sums: none, Relu, Gelu,
// GeluTanh, Swish (also called SiLU), HardSwish, Sigmoid, Tanh, or Clip between Alpha and Beta.
type Activation struct {
	Function    string
	Alpha, Beta float32
}

// Epilogue is what happens to the sums s of a product or a convolution: with Before
// Activation(s + bias + residual), else Activation(s + bias) + residual.
type Epilogue struct {
	Bias       uint64 // one for each column, of the operands' type; 0 for none
	Residual   uint64 // of the type of the result, and lying as it does; 0 for none
	Activation Activation
	Before     bool // the residual is added before the activation
}

func (e Epilogue) cells(to []uint64) ([]uint64, error) {
	if !slices.Contains(epilogues, e.Activation.Function) {
		return nil, fmt.Errorf("no epilogue computes %q", e.Activation.Function)
	}
	before := int64(0)
	if e.Before {
		before = 1
	}
	to = cells(to, e.Bias, e.Residual)
	to = cells(to, int64(slices.Index(functions, e.Activation.Function)), before)
	return cells(to, number(e.Activation.Alpha), number(e.Activation.Beta)), nil
}
