package lower

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
)

// formula is what a chain computes: a function of others, a number, or the elements of a tensor.
type formula struct {
	function    string
	alpha, beta float32
	of          []*formula
	number      *float32
	tensor      Tensor // a view as Chain has them
}

// chain makes one operation of functions of elements that follow each other, and of those whose
// operands repeat.
func (f *fusion) chain(o *Op) bool {
	if f.formulas[o] != nil {
		return false
	}
	top, ok := f.formula(o)
	if !ok {
		return false
	}
	joined, repeats := false, false
	for i, operand := range top.operands() {
		repeats = repeats || operand.number != nil || !whole(operand.tensor)
		before := f.writer(o.In[i])
		if before == nil || !f.inlines(before, operand) {
			continue
		}
		was, inner := *operand, f.formulas[before]
		if inner == nil {
			inner, _ = f.formula(before)
		}
		*operand = *inner
		if _, _, ok := top.compile(); ok {
			joined = true
		} else {
			*operand = was
		}
	}
	steps, leaves, ok := top.compile()
	if !ok || !joined && (o.Name() != "Map" || o.Kind == (Map{}) || !repeats) {
		return false
	}
	out := o.Out[0]
	o.Kind, o.In = Chain{steps}, leaves
	o.Out[0] = Tensor{Buffer: out.Buffer, Type: out.Type, Offset: out.Offset, Shape: []int64{out.Elements()}, Strides: []int64{1}}
	f.formulas[o] = top
	f.program.pruneBut(f.kept)
	return true
}

// inlines says that what o reads by that operand may be computed where it is read: nobody else reads it,
// or it costs next to nothing, and it stands at the same places and is not to be rounded.
func (f *fusion) inlines(before *Op, operand *formula) bool {
	out := before.Out[0]
	once := !f.kept[out.Buffer] && len(f.readers[out.Buffer]) == 1
	if operand.number != nil || !whole(operand.tensor) || !once && before.Name() != "Dequantize" {
		return false
	}
	_, ok := f.formula(before)
	return ok && !rounds(before) && out.Offset == 0 && bytesOf(out.Type, out.Shape) == out.Buffer.Bytes
}

// rounds says that the result of an operation is another once it is of its type.
func rounds(o *Op) bool {
	switch out := o.Out[0].Type; {
	case o.Name() == "Quantize":
		return false
	case out == backends.Bool:
		return o.Kind == (Map{})
	case !isFloat(out):
		return true
	default:
		return o.Kind == (Map{}) && out.Size() < o.In[0].Type.Size() && isFloat(o.In[0].Type)
	}
}

// formula returns what an operation computes of each element.
func (f *fusion) formula(o *Op) (*formula, bool) {
	if known := f.formulas[o]; known != nil {
		return known, true
	}
	order := o.Out[0].order()
	if order == nil || o.Out[0].Elements() == 0 {
		return nil, false
	}
	switch k := o.Kind.(type) {
	case Map:
		return mapped(k, o, order)
	case Dequantize, Quantize:
		return quantising(o)
	}
	return nil, false
}

func mapped(k Map, o *Op, order []int) (*formula, bool) {
	top := &formula{function: k.Function, alpha: k.Alpha, beta: k.Beta}
	out := o.Out[0].Type
	if !isFloat(out) && out != backends.Bool && k.Function != "" {
		return nil, false
	}
	for _, t := range o.In {
		if !isFloat(t.Type) && t.Type != backends.Bool && k.Function != "" {
			return nil, false
		}
		if !isFloat(t.Type) && !isFloat(out) && out != t.Type {
			return nil, false // a conversion of integers
		}
		leaf, ok := leafOf(t, order)
		if !ok {
			return nil, false
		}
		top.of = append(top.of, leaf)
	}
	return top, true
}

// quantising returns what Quantize and Dequantize by one known number compute.
func quantising(o *Op) (*formula, bool) {
	x, bytes := o.In[0], o.In[0]
	if o.Name() == "Quantize" {
		bytes = o.Out[0]
	}
	s, ok := sourceOf(bytes, o.In[1], o.In[2])
	if !ok {
		return nil, false
	}
	leaf, ok := leafOf(x, []int{0, 1, 2})
	top := &formula{function: o.Name(), alpha: s.scale, beta: float32(s.zero), of: []*formula{leaf}}
	if o.Name() == "Quantize" {
		low, high := float32(0), float32(255)
		if bytes.Type == backends.Int8 {
			low, high = -128, 127
		}
		top.function = "Clip"
		top.alpha, top.beta = low, high
		top.of = []*formula{{function: "Quantize", alpha: s.scale, beta: float32(s.zero), of: []*formula{leaf}}}
	}
	return top, ok
}

// operands returns those of the operation that e has been read of.
func (e *formula) operands() []*formula {
	if e.of[0].function == "Quantize" {
		return e.of[0].of
	}
	return e.of
}

// leafOf returns the elements of t in the order in which those of a result lie, whose dimensions are
// in that order.
func leafOf(t Tensor, order []int) (*formula, bool) {
	if w := t.Buffer.Weight; w != nil && t.Buffer.Bytes == int64(t.Type.Size()) && isFloat(t.Type) {
		v := number(w.Data(), t.Type)
		return &formula{number: &v}, true
	}
	if len(t.Shape) != len(order) || t.Offset < 0 {
		return nil, false
	}
	view, ok := periodic(t.permute(order...))
	return &formula{tensor: view}, ok
}

// periodic returns t as Chain takes its operands: [z, a, b, c] with strides [0, any, 0, 1].
func periodic(t Tensor) (Tensor, bool) {
	v := t
	v.Shape, v.Strides = []int64{1, 1, 1, 1}, []int64{0, 0, 0, 1}
	at := 3
	for _, r := range slices.Backward(t.runs()) {
		switch {
		case r.stride == 1 && at == 3:
		case r.stride == 0 && at >= 2:
			at = 2
		case r.stride > 0 && at >= 1:
			at = 1
		case r.stride == 0 && at >= 0:
			at = 0
		default:
			return t, false
		}
		v.Shape[at], v.Strides[at] = r.size, r.stride
		at--
	}
	return v, true
}

// compile returns the steps that compute a formula, and its tensors; false if that takes more than a chain
// has.
func (e *formula) compile() ([]kernels.Step, []Tensor, bool) {
	c := &compiler{}
	c.collect(e)
	if len(c.leaves) < 1 || len(c.leaves) > kernels.MaxOperands {
		return nil, nil, false
	}
	for range c.leaves {
		c.taken = append(c.taken, true)
	}
	c.taken = append(c.taken, make([]bool, kernels.Registers-len(c.leaves))...)
	c.emit(e, kernels.Result)
	return c.steps, c.leaves, !c.failed && len(c.steps) <= kernels.MaxSteps
}

// compiler is a chain half way.
type compiler struct {
	leaves []Tensor
	steps  []kernels.Step
	taken  []bool // registers
	failed bool
}

func (c *compiler) collect(e *formula) {
	if e.of == nil && e.number == nil && c.register(e.tensor) < 0 {
		c.leaves = append(c.leaves, e.tensor)
	}
	for _, a := range e.of {
		c.collect(a)
	}
}

func (c *compiler) register(t Tensor) int {
	return slices.IndexFunc(c.leaves, func(l Tensor) bool { return l.Type == t.Type && sameView(l, t) })
}

// emit adds the steps that compute e, whose last one also writes a place.
func (c *compiler) emit(e *formula, to int) {
	s := kernels.Step{Function: e.function, Alpha: e.alpha, Beta: e.beta, To: to}
	last := -1 // of the operands that are computed: it stays where it is
	for i, a := range e.of {
		if a.of != nil {
			last = i
		}
	}
	var freed []int
	numbers := 0
	for i, a := range e.of {
		switch {
		case a.number != nil && numbers == 0:
			s.From[i], s.Alpha, numbers = kernels.ByAlpha, *a.number, 1
		case a.number != nil:
			s.From[i], s.Beta = kernels.ByBeta, *a.number
			numbers++
		case a.of == nil:
			s.From[i] = c.register(a.tensor)
		case i == last:
			s.From[i] = kernels.Result
			c.emit(a, kernels.Result)
		default:
			at := slices.Index(c.taken, false)
			if at < 0 {
				c.failed = true
				return
			}
			c.taken[at] = true
			c.emit(a, at)
			s.From[i], freed = at, append(freed, at)
		}
	}
	c.failed = c.failed || numbers > 2 || numbers == len(e.of)
	for _, at := range freed {
		c.taken[at] = false
	}
	c.steps = append(c.steps, s)
}

// residual lets a normalisation add up what it normalises.
func (f *fusion) residual(o *Op) bool {
	if o.Name() != "Norm" || o.In[3].Given() {
		return false
	}
	x, sum := o.In[0], f.writer(o.In[0])
	if sum == nil || sum.Kind != (Map{Function: "Add"}) || !whole(x) || x.Elements() != sum.Out[0].Elements() || !isWeight(o.In[1]) || o.In[2].Given() && !isWeight(o.In[2]) {
		return false
	}
	order := sum.Out[0].order()
	if order == nil {
		return false
	}
	for i, t := range sum.In {
		dense, other := t.permute(order...), sum.In[1-i].permute(order...)
		part, ok := periodic(other)
		n := part.Shape[3]
		if !dense.Dense() || !ok || n%x.Shape[1] != 0 || part.Elements()/part.Shape[0]/part.Shape[2] != n || t.Type != x.Type || other.Type != x.Type {
			continue
		}
		out := o.Out
		if f.kept[x.Buffer] || len(f.readers[x.Buffer]) > 1 {
			out = append(out, x)
		}
		rows := func(of Tensor, n int64) Tensor {
			return Tensor{Buffer: of.Buffer, Type: of.Type, Offset: of.Offset, Shape: []int64{n, x.Shape[1]}, Strides: []int64{x.Shape[1], 1}}
		}
		o.In[0], o.In[3], o.Out = rows(t, x.Shape[0]), rows(part, n/x.Shape[1]), out
		f.replace(sum, o)
		return true
	}
	return false
}
