package cpu

import "slices"

// maxSpecial bounds the bytes of values that a bucket keeps because they depend on the shapes of
// the inputs alone.
const maxSpecial = 4 << 20

// special is what a plan becomes for certain shapes of the inputs: values that depend on them
// alone are constants, and the steps that compute them are left out.
type special struct {
	needed    []bool         // steps; nil for all
	constants map[int]tensor // by slot
}

// dataless lists operators whose results have shapes that depend on the shapes of the inputs and
// on nothing else.
var dataless = map[string]bool{
	"Abs": true, "Add": true, "And": true, "ArgMax": true, "ArgMin": true, "Attend": true, "AveragePool": true,
	"BatchNormalization": true, "Cast": true, "CastLike": true, "Ceil": true, "Clip": true, "Concat": true,
	"Conv": true, "ConvTranspose": true, "Cos": true, "Div": true, "Elu": true, "Equal": true, "Erf": true,
	"Exp": true, "Flatten": true, "Floor": true, "GRU": true, "Gather": true, "GatherElements": true,
	"GatherND": true, "Gelu": true, "Gemm": true, "GlobalAveragePool": true, "GlobalMaxPool": true,
	"Greater": true, "GreaterOrEqual": true, "HardSigmoid": true, "HardSwish": true, "Identity": true,
	"InstanceNormalization": true, "IsInf": true, "IsNaN": true, "LSTM": true, "LayerNormalization": true,
	"LeakyRelu": true, "Less": true, "LessOrEqual": true, "Linear": true, "Log": true, "LogSoftmax": true,
	"MatMul": true, "Max": true, "MaxPool": true, "Mean": true, "Min": true, "Mod": true, "Mul": true,
	"Neg": true, "Not": true, "Or": true, "PRelu": true, "Pow": true, "Product": true, "RMSNormalization": true,
	"Reciprocal": true, "Relu": true, "ScatterElements": true, "ScatterND": true, "Sigmoid": true, "Sign": true,
	"Sin": true, "Softmax": true, "Softplus": true, "Sqrt": true, "Sub": true, "Sum": true, "Swish": true,
	"Tanh": true, "Transpose": true, "Where": true, "Xor": true,
}

// dataless1 lists those for which the elements of the first input do not matter, but of others may.
var dataless1 = map[string]bool{
	"Expand": true, "Pad": true, "ReduceL1": true, "ReduceL2": true, "ReduceLogSum": true, "ReduceLogSumExp": true,
	"ReduceMax": true, "ReduceMean": true, "ReduceMin": true, "ReduceProd": true, "ReduceSum": true, "ReduceSumSquare": true,
	"Reshape": true, "Resize": true, "Slice": true, "Split": true, "Squeeze": true, "Tile": true, "TopK": true,
	"Trilu": true, "Unsqueeze": true,
}

// dependence says what of a value depends on the elements of the inputs, not on their shapes alone.
type dependence struct{ elements, shape bool }

// findFixed finds the steps whose results depend on the shapes of the inputs alone, and their
// results that other steps or the outputs read.
func (p *plan) findFixed() {
	values := make([]dependence, p.slots)
	for _, in := range p.inputs {
		values[in.slot].elements = true
	}
	p.fixed, p.kept = make([]bool, len(p.steps)), make([]bool, p.slots)
	made := make([]bool, p.slots) // by a fixed step
	for i := range p.steps {
		s := &p.steps[i]
		d := s.dependence(values)
		p.fixed[i] = d == dependence{}
		for _, slot := range s.out {
			if slot >= 0 {
				values[slot], made[slot] = d, p.fixed[i]
			}
		}
		for _, slot := range s.in {
			if slot >= 0 && made[slot] && !p.fixed[i] {
				p.kept[slot] = true
			}
		}
	}
	for _, o := range p.outputs {
		p.kept[o.slot] = made[o.slot]
	}
}

// dependence returns what the results of s depend on, given the same of all values before it.
func (s *step) dependence(values []dependence) dependence {
	var first, rest dependence
	for i, slot := range s.in {
		of := &rest
		if i == 0 {
			of = &first
		}
		if slot >= 0 {
			of.elements = of.elements || values[slot].elements
			of.shape = of.shape || values[slot].shape
		}
	}
	d := dependence{first.elements || rest.elements, first.shape || rest.shape}
	switch {
	case len(s.bodies) > 0:
		return dependence{d.elements || d.shape, d.elements || d.shape}
	case s.op == "Shape" || s.op == "Size":
		return dependence{d.shape, d.shape}
	case dataless[s.op]:
	case dataless1[s.op]:
		d.shape = d.shape || rest.elements
	default:
		d.shape = d.shape || d.elements
	}
	d.elements = d.elements || d.shape
	return d
}

// watch collects what the fixed steps of an execution compute, until it is too much.
type watch struct {
	constants map[int]tensor // by slot
	bytes     int
}

// saw notes the results of a step that has run.
func (p *plan) saw(r *run, w *watch, s *step) {
	for _, slot := range s.out {
		if slot < 0 || !p.kept[slot] {
			continue
		}
		t := &r.values[slot]
		w.bytes += len(t.raw) + len(t.strings)*maxSpecial
		if w.bytes <= maxSpecial {
			c := tensor{dtype: t.dtype, shape: slices.Clone(t.shape), raw: append(alignedMemory(len(t.raw))[:0], t.raw...)}
			c.keepNumbers()
			w.constants[slot] = c
		}
	}
}

// specialise returns what the plan becomes after an execution that has been watched: the same
// where that would keep too much.
func (p *plan) specialise(w *watch, k *bucket) *special {
	if w.bytes > maxSpecial {
		return &special{needed: k.needed}
	}
	s := &special{needed: make([]bool, len(p.steps)), constants: w.constants}
	for i := range p.steps {
		s.needed[i] = !p.fixed[i] && (k.needed == nil || k.needed[i])
	}
	return s
}

// set gives r the constants.
func (s *special) set(r *run) {
	for slot, c := range s.constants {
		t := &r.values[slot]
		*t = tensor{dtype: c.dtype, shape: append(t.shape[:0], c.shape...), raw: c.raw, numbers: c.numbers}
	}
}
