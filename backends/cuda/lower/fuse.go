package lower

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// fuse joins operations: factors move into products, products around a softmax become attention, the
// layers before it one, what follows products and convolutions their epilogues, and rows of many tables are
// read at once.
func (l *lowering) fuse(g *onnx.Graph) {
	f := &fusion{program: &l.program, kept: map[*Buffer]bool{}, quantities: l.integral, formulas: map[*Op]*formula{}}
	for _, v := range g.Outputs {
		if t, ok := l.values[v]; ok {
			f.kept[t.Buffer] = true
		}
	}
	l.program.pruneBut(f.kept)
	for _, pass := range []func(*Op) bool{f.scale, f.attention, f.place, f.lookup, f.lookups, f.columns, f.bias, f.integer, f.epilogue, f.requantise, f.join, f.residual, f.chain} {
		f.each(pass)
	}
}

// fusion is a program with what is known of who uses its buffers.
type fusion struct {
	program *Program
	kept    map[*Buffer]bool // read by who runs the program
	readers map[*Buffer][]*Op
	writers map[*Buffer][]*Op

	quantities map[*Buffer]quantity
	formulas   map[*Op]*formula // of chains
}

// each tries a pass on every operation, in order, again and again where it succeeds.
func (f *fusion) each(pass func(*Op) bool) {
	f.refresh()
	for i := 0; i < len(f.program.Ops); i++ {
		o := f.program.Ops[i]
		for slices.Contains(f.program.Ops, o) && pass(o) {
			f.refresh()
			i = min(i, max(slices.Index(f.program.Ops, o), 0))
		}
	}
}

func (f *fusion) refresh() {
	f.readers, f.writers = map[*Buffer][]*Op{}, map[*Buffer][]*Op{}
	for _, o := range f.program.Ops {
		for _, t := range o.In {
			if t.Given() {
				f.readers[t.Buffer] = append(f.readers[t.Buffer], o)
			}
		}
		for _, t := range o.Out {
			f.writers[t.Buffer] = append(f.writers[t.Buffer], o)
		}
	}
}

// reader returns the one operation that reads what o writes, once.
func (f *fusion) reader(o *Op) *Op {
	b := o.Out[0].Buffer
	if f.kept[b] || len(f.readers[b]) != 1 || len(f.writers[b]) != 1 {
		return nil
	}
	return f.readers[b][0]
}

// writer returns the one operation that writes all of t, for readers of kind reads alone.
func (f *fusion) writer(t Tensor) *Op {
	if !t.Given() || len(f.writers[t.Buffer]) != 1 {
		return nil
	}
	return f.writers[t.Buffer][0]
}

func (f *fusion) remove(o *Op) {
	f.program.Ops = slices.DeleteFunc(f.program.Ops, func(other *Op) bool { return other == o })
}

// replace puts o where another operation was, and takes that one away.
func (f *fusion) replace(other, o *Op) {
	f.remove(o)
	f.program.Ops[slices.Index(f.program.Ops, other)] = o
}

// alike says that the same elements of a and b lie at the same places of their buffers, and fill them.
func alike(a, b Tensor) bool {
	if a.Type != b.Type || a.Buffer.Bytes != b.Buffer.Bytes || a.Offset != 0 || b.Offset != 0 || !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	for i, n := range a.Shape {
		if n > 1 && a.Strides[i] != b.Strides[i] {
			return false
		}
	}
	return a.order() != nil && bytesOf(a.Type, a.Shape) == a.Buffer.Bytes
}

// factor returns what a Map multiplies its operand with, if that is one known number.
func factor(o *Op) (x Tensor, by float32, ok bool) {
	m, isMap := o.Kind.(Map)
	if !isMap || m.Function != "Mul" && m.Function != "Div" {
		return x, 0, false
	}
	for i, t := range o.In {
		w := t.Buffer.Weight
		if w == nil || t.Buffer.Bytes != int64(t.Type.Size()) || !isFloat(t.Type) || m.Function == "Div" && i == 0 {
			continue
		}
		by = number(w.Data(), t.Type)
		if m.Function == "Div" {
			by = 1 / by
		}
		return o.In[1-i], by, alike(o.In[1-i], o.Out[0])
	}
	return x, 0, false
}

// scale moves the multiplication with a number into the product before it, or into the one behind it.
func (f *fusion) scale(o *Op) bool {
	x, by, ok := factor(o)
	if !ok || f.kept[o.Out[0].Buffer] {
		return false
	}
	if before := f.writer(x); before != nil && f.reader(before) == o {
		if g, isGemm := before.Kind.(Gemm); isGemm && before.Out[0].Buffer == x.Buffer && !before.In[2].Given() && !before.In[3].Given() && g.Activation.Function == "" {
			g.Alpha *= by
			before.Kind, before.Out[0].Buffer = g, o.Out[0].Buffer
			f.replace(o, before)
			return true
		}
	}
	behind := f.readers[o.Out[0].Buffer]
	if len(behind) != 1 {
		return false
	}
	g, isGemm := behind[0].Kind.(Gemm)
	if !isGemm || g.Activation.Function != "" || behind[0].In[2].Given() || behind[0].In[3].Given() {
		return false
	}
	for i := range 2 {
		if behind[0].In[i].Buffer == o.Out[0].Buffer {
			behind[0].In[i].Buffer = x.Buffer
			g.Alpha *= by
		}
	}
	behind[0].Kind = g
	f.remove(o)
	return true
}

// attention finds softmax(q·k + mask)·v.
func (f *fusion) attention(o *Op) bool {
	s, ok := o.Kind.(Softmax)
	if !ok || s.Log {
		return false
	}
	weighted, scores := f.reader(o), f.writer(o.In[0])
	if weighted == nil || scores == nil || f.reader(scores) != o || !whole(o.In[0]) {
		return false
	}
	mask := Tensor{}
	if m, isMap := scores.Kind.(Map); isMap && m.Function == "Add" && len(scores.Out[0].Shape) == 4 {
		sum := scores
		scores = nil
		for i, t := range sum.In {
			if before := f.writer(t); before != nil && before.Name() == "Gemm" && f.reader(before) == sum && alike(t, sum.Out[0]) && slices.Equal(before.Out[0].Shape, t.Shape) {
				scores, mask = before, sum.In[1-i]
				break
			}
		}
	}
	if scores == nil {
		return false
	}
	first, isFirst := scores.Kind.(Gemm)
	second, isSecond := weighted.Kind.(Gemm)
	if !isFirst || !isSecond || !plain(first, scores) || !plain(second, weighted) || second.Alpha != 1 {
		return false
	}
	p, q, k, v := weighted.In[0], scores.In[0], scores.In[1].permute(0, 1, 3, 2), weighted.In[1]
	if p.Buffer != o.Out[0].Buffer || !whole(p) || !slices.Equal(p.Shape, scores.Out[0].Shape) || k.Strides[3] != 1 || v.Strides[3] != 1 || !fits(q.Shape[3], v.Shape[3]) {
		return false
	}
	weighted.Kind, weighted.In = Attention{Scale: first.Alpha}, []Tensor{q, k, v, mask}
	f.program.pruneBut(f.kept)
	return true
}

// fits says that the kernel has room for heads of that width.
func fits(keys, values int64) bool {
	return keys == values && (keys == 32 || keys == 64 || keys == 128)
}

// plain says that a product has no epilogue.
func plain(g Gemm, o *Op) bool {
	return g.Activation.Function == "" && !o.In[2].Given() && !o.In[3].Given()
}

// whole says that t is all of its buffer, in order.
func whole(t Tensor) bool {
	return t.Offset == 0 && t.Dense() && bytesOf(t.Type, t.Shape) == t.Buffer.Bytes
}

// place lets an attention write its result in the order in which it is read.
func (f *fusion) place(o *Op) bool {
	if o.Name() != "Attention" {
		return false
	}
	next := f.reader(o)
	if next == nil || next.Kind != (Map{}) || next.In[0].Type != next.Out[0].Type || !whole(next.Out[0]) || next.Out[0].Elements() != o.Out[0].Elements() {
		return false
	}
	from, to, out := next.In[0], next.Out[0], o.Out[0]
	placed := out
	placed.Buffer, placed.Strides = to.Buffer, make([]int64, len(out.Shape))
	for i, n := range out.Shape {
		at := slices.IndexFunc(from.Strides, func(s int64) bool { return s == out.Strides[i] })
		if n == 1 {
			continue
		}
		for at >= 0 && from.Shape[at] == 1 {
			next := slices.Index(from.Strides[at+1:], out.Strides[i])
			if next < 0 {
				return false
			}
			at += 1 + next
		}
		if at < 0 || from.Shape[at] != n {
			return false
		}
		placed.Strides[i] = to.Strides[at]
	}
	if placed.Strides[3] != 1 && placed.Shape[3] > 1 {
		return false
	}
	o.Out[0] = placed
	f.replace(next, o)
	return true
}

// epilogues are the functions that products and convolutions apply to their results.
var epilogues = []string{"Relu", "Gelu", "GeluTanh", "Swish", "HardSwish", "Sigmoid", "Tanh", "Clip"}

// bias is epilogue for a product with weights of eight bits, until it has its bias.
func (f *fusion) bias(o *Op) bool {
	if _, ok := o.Kind.(Gemm); !ok || f.quantities[o.In[1].Buffer].value.Buffer == nil || o.In[2].Given() {
		return false
	}
	next := f.reader(o)
	if next == nil || next.Kind != (Map{Function: "Add"}) {
		return false
	}
	for i, t := range next.In {
		if t.Buffer == o.Out[0].Buffer && next.In[1-i].Buffer.Weight != nil {
			return f.epilogue(o)
		}
	}
	return false
}

// ending is what an operation does to its sums: which function it applies to them, and which operands
// are its bias and its residual.
type ending struct {
	activation     Activation
	after          bool
	bias, residual int
}

// endingOf returns what products and convolutions do to their sums.
func endingOf(o *Op) (ending, bool) {
	if r, ok := requantized(o); ok && isFloat(o.Out[0].Type) {
		return ending{r.Activation, r.After, 3, 4}, true
	}
	switch k := o.Kind.(type) {
	case Gemm:
		return ending{k.Activation, k.After, 2, 3}, true
	case Conv:
		return ending{k.Activation, k.After, 2, 3}, true
	}
	return ending{}, false
}

// end has an operation do to its sums what e says.
func (e ending) end(o *Op) {
	switch k := o.Kind.(type) {
	case Gemm:
		k.Activation, k.After = e.activation, e.after
		o.Kind = k
	case Conv:
		k.Activation, k.After = e.activation, e.after
		o.Kind = k
	default:
		r, _ := requantized(o)
		r.Activation, r.After = e.activation, e.after
		o.Kind = withRequantized(k, r)
	}
}

// epilogue moves the addition of a row, an activation or the addition of a residual into the product
// or convolution before it.
func (f *fusion) epilogue(o *Op) bool {
	e, ok := endingOf(o)
	if !ok {
		return false
	}
	next := f.reader(o)
	if next == nil || len(next.Out) != 1 {
		return false
	}
	m, isMap := next.Kind.(Map)
	at := slices.IndexFunc(next.In, func(t Tensor) bool { return t.Buffer == o.Out[0].Buffer })
	if !isMap || !alike(next.In[at], next.Out[0]) {
		return false
	}
	bias, residual, out := o.In[e.bias].Given(), o.In[e.residual].Given(), next.Out[0]
	switch {
	case slices.Contains(epilogues, m.Function) && len(next.In) == 1:
		if e.activation.Function != "" || residual && !e.after {
			return false
		}
		e.activation = Activation(m)
	case m.Function == "Add" && !bias && !residual && e.activation.Function == "" && isRow(next.In[1-at], out, o.Out[0].Shape[3]):
		row := next.In[1-at]
		o.In[e.bias] = Tensor{Buffer: row.Buffer, Type: row.Type, Offset: row.Offset, Shape: o.Out[0].Shape[3:], Strides: []int64{1}}
	case m.Function == "Add" && !residual && alike(next.In[1-at], out):
		o.In[e.residual] = o.Out[0]
		o.In[e.residual].Buffer = next.In[1-at].Buffer
		e.after = e.activation.Function == ""
	default:
		return false
	}
	e.end(o)
	o.Out[0].Buffer = out.Buffer
	f.replace(next, o)
	return true
}

// isRow says that t is one row of n elements for each of those that follow each other in out.
func isRow(t, out Tensor, n int64) bool {
	if t.Type != out.Type {
		return false
	}
	for i, size := range out.Shape {
		switch {
		case size == 1:
		case out.Strides[i] < n && t.Strides[i] != out.Strides[i], out.Strides[i] >= n && t.Strides[i] != 0:
			return false
		}
	}
	return n > 1 || t.Elements() > 0
}

// join makes one layer of those that have the same input and whose results only attentions read.
func (f *fusion) join(o *Op) bool {
	if !isLayer(o) || !f.attends(o) {
		return false
	}
	var layers []*Op
	for _, other := range f.readers[o.In[0].Buffer] {
		if isLayer(other) && f.attends(other) && sameView(other.In[0], o.In[0]) && other.Kind == o.Kind && other.In[2].Given() == o.In[2].Given() {
			layers = append(layers, other)
		}
	}
	if len(layers) < 2 || layers[0] != o {
		return false
	}
	total := int64(0)
	for _, layer := range layers {
		total += layer.Out[0].Shape[3]
	}
	rows := o.Out[0].Shape[2]
	out := newTensor(o.Out[0].Type, []int64{1, 1, rows, total})
	weights, biases, from := []Tensor{}, []Tensor{}, int64(0)
	for _, layer := range layers {
		weights, biases = append(weights, layer.In[1]), append(biases, layer.In[2])
		f.move(layer.Out[0].Buffer, out.Buffer, layer.Out[0].Shape[3], total, from)
		from += layer.Out[0].Shape[3]
		if layer != o {
			f.remove(layer)
		}
	}
	o.In[1] = joined(weights, 3)
	if o.In[2].Given() {
		o.In[2] = joined(biases, 0)
	}
	o.Out[0] = out
	return true
}

// isLayer says that o multiplies rows with a known matrix.
func isLayer(o *Op) bool {
	g, ok := o.Kind.(Gemm)
	return ok && g.Activation.Function == "" && !o.In[3].Given() && o.In[1].Buffer.Weight != nil && (!o.In[2].Given() || o.In[2].Buffer.Weight != nil) &&
		o.Out[0].Shape[0] == 1 && o.Out[0].Shape[1] == 1
}

func sameView(a, b Tensor) bool {
	return a.Buffer == b.Buffer && a.Offset == b.Offset && slices.Equal(a.Shape, b.Shape) && slices.Equal(a.Strides, b.Strides)
}

// attends says that attentions alone read the result of o, part by part of its rows.
func (f *fusion) attends(o *Op) bool {
	b, n := o.Out[0].Buffer, o.Out[0].Shape[3]
	if f.kept[b] || len(f.writers[b]) != 1 {
		return false
	}
	for _, r := range f.readers[b] {
		if r.Name() != "Attention" {
			return false
		}
		for _, t := range r.In {
			if t.Given() && t.Buffer == b && !inRows(t, n) {
				return false
			}
		}
	}
	return len(f.readers[b]) > 0
}

// inRows says that each dimension of t stays in a row of n elements, or goes from row to row.
func inRows(t Tensor, n int64) bool {
	for i, size := range t.Shape {
		if s := t.Strides[i]; size > 1 && s%n != 0 && s*size > n {
			return false
		}
	}
	return true
}

// move has the readers of rows of n elements read them among those of total, from one column on.
func (f *fusion) move(old, to *Buffer, n, total, from int64) {
	for _, r := range f.readers[old] {
		for i := range r.In {
			t := &r.In[i]
			if !t.Given() || t.Buffer != old {
				continue
			}
			t.Buffer, t.Offset = to, t.Offset/n*total+t.Offset%n+from
			t.Strides = slices.Clone(t.Strides)
			for k, s := range t.Strides {
				if s != 0 && s%n == 0 {
					t.Strides[k] = s / n * total
				}
			}
		}
	}
}

// joined returns weights side by side along an axis.
func joined(parts []Tensor, axis int) Tensor {
	shape, key := slices.Clone(parts[0].Shape), "joined"
	shape[axis] = 0
	for _, p := range parts {
		shape[axis] += p.Shape[axis]
		key += fmt.Sprintf(" (%s)", layoutKey(p))
	}
	return NewWeight(key, parts[0].Type, shape, func() []byte {
		width := int64(parts[0].Type.Size())
		inner, outer := backends.Elements(shape[axis+1:])*width, backends.Elements(shape[:axis])
		var data []byte
		var all [][]byte
		for _, p := range parts {
			all = append(all, gather(p))
		}
		for row := range outer {
			for i, p := range parts {
				n := p.Shape[axis] * inner
				data = append(data, all[i][row*n:(row+1)*n]...)
			}
		}
		return data
	})
}
