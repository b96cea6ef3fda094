package cuda

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// binding is where what a program speaks of lies on a device.
type binding struct {
	address func(*lower.Buffer) uint64
	fault   uint64 // an I32 that becomes 1 where an index is of no row; 0 for none
	tf32    bool   // products of FP32 may be taken as tf32

	processors int64                  // multiprocessors of the device; 0 for products whose depth is not divided
	parts      func(*lower.Op) uint64 // memory for what partsOf counts; nil for none
	// place brings what a launch reads besides to the device; nil where launches are only tried.
	place func(data []byte) (at uint64, err error)
}

var types = map[backends.Datatype]kernels.Type{
	backends.FP32: kernels.F32, backends.FP16: kernels.F16, backends.BF16: kernels.BF16, backends.Bool: kernels.Bool,
	backends.Uint8: kernels.U8, backends.Int8: kernels.I8, backends.Int32: kernels.I32, backends.Int64: kernels.I64,
}

// at returns the address of the first element of t, 0 if t is left out.
func (b binding) at(t lower.Tensor) uint64 {
	if !t.Given() {
		return 0
	}
	return b.address(t.Buffer) + uint64(t.Offset*int64(t.Type.Size()))
}

// launches returns the launches of a program: one for each operation, and a second one where the depth of
// a product is divided. What no kernel does is an ErrUnsupported that names the operation and the node.
func (b binding) launches(p *lower.Program) ([]kernels.Launch, error) {
	var all []kernels.Launch
	for _, o := range p.Ops {
		if o.Out[0].Elements() == 0 {
			continue
		}
		launches, err := b.operation(o)
		if err != nil {
			return nil, backends.Errorf(backends.ErrUnsupported, "operation %s (node %q): %w", o.Name(), o.Node, err)
		}
		all = append(all, launches...)
	}
	return all, nil
}

// divided is an operation that may be several launches.
type divided interface {
	PartsBytes() int64
	Launches() ([]kernels.Launch, error)
}

// divided returns o if its depth may be divided, nil if it is of another kind.
func (b binding) divided(o *lower.Op) divided {
	switch k := o.Kind.(type) {
	case lower.Gemm:
		return b.gemm(k, o)
	case lower.Conv:
		return b.conv(k, o)
	case lower.GemmInteger:
		return b.gemmInteger(k, o)
	case lower.ConvInteger:
		return b.convInteger(k, o)
	}
	return nil
}

// partsOf returns the bytes that an operation needs besides its operands.
func (b binding) partsOf(o *lower.Op) int64 {
	if d := b.divided(o); d != nil && o.Out[0].Elements() > 0 {
		return d.PartsBytes()
	}
	return 0
}

func (b binding) room(o *lower.Op) kernels.Room {
	r := kernels.Room{Processors: b.processors}
	if b.parts != nil {
		r.Parts = b.parts(o)
	}
	return r
}

// operation returns the launches of one operation.
func (b binding) operation(o *lower.Op) ([]kernels.Launch, error) {
	for _, t := range append(o.In[:len(o.In):len(o.In)], o.Out...) {
		if _, ok := types[t.Type]; t.Given() && !ok {
			return nil, fmt.Errorf("no kernel computes %v", t.Type)
		}
	}
	if d := b.divided(o); d != nil {
		return d.Launches()
	}
	l, err := b.launch(o)
	return []kernels.Launch{l}, err
}

func (b binding) launch(o *lower.Op) (kernels.Launch, error) {
	out := o.Out[0]
	var x lower.Tensor
	if len(o.In) > 0 {
		x = o.In[0]
	}
	switch k := o.Kind.(type) {
	case lower.Map:
		return b.elementwise(k, o)
	case lower.Chain:
		return b.chain(k, o)
	case lower.Attention:
		return b.attention(k, o)
	case lower.Norm:
		return b.norm(k, o)
	case lower.Softmax:
		return kernels.Softmax{Type: types[x.Type], Rows: x.Shape[0], Columns: x.Shape[1], X: b.at(x), Y: b.at(out), Log: k.Log}.Launch()
	case lower.Reduce:
		return kernels.Reduce{
			Function: k.Function, Type: types[x.Type], Outer: x.Shape[0], Count: x.Shape[1], Inner: x.Shape[2], X: b.at(x), Y: b.at(out),
		}.Launch()
	case lower.ArgReduce:
		return kernels.ArgReduce{
			Type: types[x.Type], Outer: x.Shape[0], Count: x.Shape[1], Inner: x.Shape[2], Smallest: k.Smallest, Last: k.Last, X: b.at(x), Y: b.at(out),
		}.Launch()
	case lower.Gather:
		return kernels.Gather{
			Type: types[x.Type], Index: types[o.In[1].Type], Outer: x.Shape[0], Rows: x.Shape[1], Inner: x.Shape[2], Count: o.In[1].Shape[0],
			Table: b.at(x), Y: b.at(out), Indices: b.at(o.In[1]), Fault: b.fault,
		}.Launch()
	case lower.Lookup:
		return b.lookup(k, o)
	case lower.Pool:
		return kernels.Pool{
			Type: types[x.Type], Average: k.Average, CountPadding: k.CountPadding, Images: x.Shape[0], Height: x.Shape[1], Width: x.Shape[2],
			Channels: x.Shape[3], OutHeight: out.Shape[1], OutWidth: out.Shape[2], Window: windowOf(k.Window), PadEnd: k.Window.PadEnd,
			X: b.at(x), Y: b.at(out), Out: types[out.Type], Scale: k.From.Scale, Zero: k.From.Zero, OutScale: k.To.Scale, OutZero: k.To.Zero,
		}.Launch()
	case lower.Quantize:
		return kernels.Quantize{
			From: types[x.Type], To: types[out.Type], Outer: x.Shape[0], Count: x.Shape[1], Inner: x.Shape[2], X: b.at(x), Y: b.at(out),
			Scale: b.at(o.In[1]), Zero: b.at(o.In[2]),
		}.Launch()
	case lower.Dequantize:
		return kernels.Dequantize{
			From: types[x.Type], To: types[out.Type], Outer: x.Shape[0], Count: x.Shape[1], Inner: x.Shape[2], X: b.at(x), Y: b.at(out),
			Scale: b.at(o.In[1]), Zero: b.at(o.In[2]),
		}.Launch()
	case lower.Trees:
		return kernels.Trees{
			Aggregate: k.Aggregate, Rows: x.Shape[0], Features: x.Shape[1], Count: k.Count, Targets: out.Shape[1], Nodes: b.at(o.In[1]),
			Roots: b.at(o.In[2]), Ends: b.at(o.In[3]), TargetIDs: b.at(o.In[4]), Values: b.at(o.In[5]), X: b.at(x), Y: b.at(out), Absent: k.Absent,
		}.Launch()
	}
	return kernels.Launch{}, fmt.Errorf("there is no kernel")
}

func (b binding) elementwise(k lower.Map, o *lower.Op) (kernels.Launch, error) {
	view := func(t lower.Tensor) kernels.View {
		return kernels.View{Address: b.at(t), Type: types[t.Type], Strides: t.Strides}
	}
	m := kernels.Map{Function: k.Function, Alpha: k.Alpha, Beta: k.Beta, Shape: o.Out[0].Shape, Out: view(o.Out[0])}
	for _, t := range o.In {
		m.In = append(m.In, view(t))
	}
	return m.Launch()
}

// chain hands the views of operands over as periods.
func (b binding) chain(k lower.Chain, o *lower.Op) (kernels.Launch, error) {
	out := o.Out[0]
	c := kernels.Chain{N: out.Elements(), Out: b.at(out), Type: types[out.Type], Step: k.Steps}
	for _, t := range o.In {
		c.In = append(c.In, kernels.Period{
			Address: b.at(t), Type: types[t.Type], Divide: t.Shape[2] * t.Shape[3], Rows: t.Shape[1], Stride: t.Strides[1], Columns: t.Shape[3],
		})
	}
	return c.Launch()
}

func (b binding) norm(k lower.Norm, o *lower.Op) (kernels.Launch, error) {
	x, residual := o.In[0], o.In[3]
	n := kernels.Norm{
		Type: types[x.Type], Rows: x.Shape[0], Columns: x.Shape[1], X: b.at(x), Y: b.at(o.Out[0]), Weight: b.at(o.In[1]), Bias: b.at(o.In[2]),
		Residual: b.at(residual), Epsilon: k.Epsilon, RootMeanSquare: k.RootMeanSquare,
	}
	if residual.Given() {
		n.ResidualRows = residual.Shape[0]
	}
	if len(o.Out) > 1 {
		n.Sum = b.at(o.Out[1])
	}
	return n.Launch()
}

func (b binding) epilogue(a lower.Activation, before bool, o *lower.Op) kernels.Epilogue {
	return kernels.Epilogue{Bias: b.at(o.In[2]), Residual: b.at(o.In[3]), Activation: kernels.Activation(a), Before: before}
}

func (b binding) gemm(k lower.Gemm, o *lower.Op) kernels.Gemm {
	matrix := func(t lower.Tensor, row int) kernels.Matrix {
		m := kernels.Matrix{Address: b.at(t), Row: t.Strides[row], Batch: [2]int64{t.Strides[0], t.Strides[1]}}
		if t.Shape[row] == 1 {
			m.Row = t.Shape[5-row] // whatever the only row says
		}
		return m
	}
	x, w, y := o.In[0], o.In[1], o.Out[0]
	transposed := w.Strides[3] != 1 && w.Shape[3] > 1
	row := 2
	if transposed {
		row = 3
	}
	return kernels.Gemm{
		Type: types[x.Type], TF32: b.tf32 && x.Type == backends.FP32, M: y.Shape[2], N: y.Shape[3], K: x.Shape[3], Batch: [2]int64{y.Shape[0], y.Shape[1]},
		A: matrix(x, 2), B: matrix(w, row), C: matrix(y, 2), TransposedB: transposed, Alpha: k.Alpha, Epilogue: b.epilogue(k.Activation, k.After, o),
		Room: b.room(o),
	}
}

func windowOf(w lower.Window) kernels.Window {
	return kernels.Window{Size: w.Size, Stride: w.Stride, Pad: w.Pad, Dilation: w.Dilation}
}

// slide returns where a convolution moves.
func (b binding) slide(w lower.Window, groups int64, o *lower.Op) kernels.Slide {
	x, y := o.In[0], o.Out[0]
	return kernels.Slide{
		Images: x.Shape[0], Height: x.Shape[1], Width: x.Shape[2], Channels: x.Shape[3], OutHeight: y.Shape[1], OutWidth: y.Shape[2], OutChannels: y.Shape[3],
		Groups: groups, Window: windowOf(w), X: b.at(x), Weights: b.at(o.In[1]), Y: b.at(y),
	}
}

func (b binding) conv(k lower.Conv, o *lower.Op) kernels.Conv {
	x := o.In[0].Type
	return kernels.Conv{
		Slide: b.slide(k.Window, k.Groups, o), Type: types[x], TF32: b.tf32 && x == backends.FP32, Epilogue: b.epilogue(k.Activation, k.After, o), Room: b.room(o),
	}
}

// requantized returns what becomes of sums of products of bytes.
func (b binding) requantized(r lower.Requantized, o *lower.Op) kernels.Requantized {
	extra := o.In[4]
	return kernels.Requantized{
		Out: types[o.Out[0].Type], Scale: b.at(o.In[2]), Bias: b.at(o.In[3]), Residual: b.at(extra), ResidualType: types[extra.Type],
		ResidualScale: residualScale(r, extra), ResidualZero: r.ResidualZero, Activation: kernels.Activation(r.Activation), Before: r.After,
		OutScale: r.Scale, OutZero: r.Zero,
	}
}

// residualScale is 1 for numbers, which are added as they are.
func residualScale(r lower.Requantized, extra lower.Tensor) float32 {
	switch extra.Type {
	case backends.Uint8, backends.Int8:
		return r.ResidualScale
	}
	return 1
}

func (b binding) gemmInteger(k lower.GemmInteger, o *lower.Op) kernels.GemmInt8 {
	x, y := o.In[0], o.Out[0]
	return kernels.GemmInt8{
		Requantized: b.requantized(k.Requantized, o), A: types[x.Type], M: y.Shape[2], N: y.Shape[3], K: x.Shape[3], AddressA: b.at(x),
		AddressB: b.at(o.In[1]), Y: b.at(y), Room: b.room(o),
	}
}

func (b binding) convInteger(k lower.ConvInteger, o *lower.Op) kernels.ConvInt8 {
	return kernels.ConvInt8{
		Slide: b.slide(k.Window, k.Groups, o), Requantized: b.requantized(k.Requantized, o), Type: types[o.In[0].Type], Pad: k.Pad, Room: b.room(o),
	}
}

func (b binding) attention(k lower.Attention, o *lower.Op) (kernels.Launch, error) {
	heads := func(t lower.Tensor) kernels.Heads {
		if !t.Given() {
			return kernels.Heads{}
		}
		return kernels.Heads{Address: b.at(t), Batch: t.Strides[0], Head: t.Strides[1], Row: t.Strides[2]}
	}
	q, key := o.In[0], o.In[1]
	a := kernels.Attention{
		Type: types[q.Type], Batch: q.Shape[0], Heads: q.Shape[1], Queries: q.Shape[2], Keys: key.Shape[2], Size: q.Shape[3],
		Q: heads(q), K: heads(key), V: heads(o.In[2]), Out: heads(o.Out[0]), Mask: heads(o.In[3]), Scale: k.Scale,
	}
	if o.In[3].Given() {
		a.MaskKey = o.In[3].Strides[3]
	}
	return a.Launch()
}
