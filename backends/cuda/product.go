package cuda

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// product is an operation as the library does it: a product of matrices, and what it leaves to kernels.
type product struct {
	described cublaslt.Product
	at        cublaslt.Operands
	rest      []kernels.Launch // in place
}

// product returns o as the library does it, false where it does nothing of the kind.
func (b binding) product(o *lower.Op) (product, bool) {
	switch k := o.Kind.(type) {
	case lower.Gemm:
		return productOf(b.gemm(k, o))
	case lower.Conv:
		if g, ok := b.conv(k, o).Product(); ok {
			return productOf(g)
		}
	case lower.GemmInteger:
		if k == (lower.GemmInteger{}) {
			return b.integers(o)
		}
	}
	return product{}, false
}

var (
	libraryTypes       = map[kernels.Type]cublaslt.Type{kernels.F32: cublaslt.F32, kernels.F16: cublaslt.F16, kernels.BF16: cublaslt.BF16}
	libraryActivations = map[string]cublaslt.Activation{"": cublaslt.None, "Relu": cublaslt.Relu, "GeluTanh": cublaslt.GeluTanh}
)

// productOf leaves to kernels what the library does not have: other activations, and residuals that are added after one.
func productOf(g kernels.Gemm) (product, bool) {
	t, known := libraryTypes[g.Type]
	if !known {
		return product{}, false
	}
	width := g.N
	if g.TransposedB {
		width = g.K
	}
	a, aligns := matrixOf(g.A, g.Batch, g.K)
	b, alsoB := matrixOf(g.B, g.Batch, width)
	d, alsoD := matrixOf(g.C, g.Batch, g.N)
	if !aligns || !alsoB || !alsoD {
		return product{}, false
	}
	p := product{
		described: cublaslt.Product{
			Type: t, TF32: g.TF32, M: g.M, N: g.N, K: g.K, Batch: g.Batch[0] * g.Batch[1], A: a, B: b, D: d, TransposedB: g.TransposedB, Alpha: g.Alpha,
		},
		at: cublaslt.Operands{A: g.A.Address, B: g.B.Address, D: g.C.Address},
	}
	err := p.epilogue(g)
	return p, err == nil
}

// epilogue divides what happens to the sums between the library and kernels.
func (p *product) epilogue(g kernels.Gemm) error {
	e := g.Epilogue
	if e.Bias != 0 {
		p.described.Bias, p.at.Bias = alignmentOf(e.Bias), e.Bias
	}
	activation, known := libraryActivations[e.Activation.Function]
	p.described.Activation = activation
	if !known {
		if err := p.then(g, kernels.Map{Function: e.Activation.Function, Alpha: e.Activation.Alpha, Beta: e.Activation.Beta}); err != nil {
			return err
		}
	}
	switch {
	case e.Residual == 0:
	case e.Before || e.Activation.Function == "":
		p.described.Residual, p.at.Residual = alignmentOf(e.Residual), e.Residual
	default:
		return p.then(g, kernels.Map{Function: "Add"}, e.Residual)
	}
	return nil
}

// then has a kernel compute a function of the result and of operands that lie as it does, in place.
func (p *product) then(g kernels.Gemm, m kernels.Map, operands ...uint64) error {
	m.Shape = []int64{g.Batch[0], g.Batch[1], g.M, g.N}
	m.Out = kernels.View{Address: g.C.Address, Type: g.Type, Strides: []int64{g.C.Batch[0], g.C.Batch[1], g.C.Row, 1}}
	m.In = []kernels.View{m.Out}
	for _, at := range operands {
		v := m.Out
		v.Address = at
		m.In = append(m.In, v)
	}
	l, err := m.Launch()
	p.rest = append(p.rest, l)
	return err
}

// integers is a product of signed bytes whose sums a kernel scales in place. The library takes rows of multiples of four.
func (b binding) integers(o *lower.Op) (product, bool) {
	x, w, y := o.In[0], o.In[1], o.Out[0]
	m, n, k := y.Shape[2], y.Shape[3], x.Shape[3]
	more := slices.ContainsFunc(o.In[4:], lower.Tensor.Given)
	if x.Type != backends.Int8 || y.Type != backends.FP32 || n%4 != 0 || k%4 != 0 || more {
		return product{}, false
	}
	at := cublaslt.Operands{A: b.at(x), B: b.at(w), D: b.at(y)}
	p := product{at: at, described: cublaslt.Product{
		Type: cublaslt.I8, M: m, N: n, K: k, Batch: 1, TransposedB: true, Alpha: 1, A: cublaslt.Matrix{Row: k, Alignment: alignmentOf(at.A)},
		B: cublaslt.Matrix{Row: k, Alignment: alignmentOf(at.B)}, D: cublaslt.Matrix{Row: n, Alignment: alignmentOf(at.D)},
	}}
	scaled, err := kernels.Dequantize{From: kernels.I32, To: kernels.F32, Outer: m, Count: n, Inner: 1, X: at.D, Y: at.D, Scale: b.at(o.In[2])}.Launch()
	if err != nil {
		return product{}, false
	}
	p.rest = append(p.rest, scaled)
	if !o.In[3].Given() {
		return p, true
	}
	out := kernels.View{Address: at.D, Type: kernels.F32, Strides: []int64{n, 1}}
	added, err := kernels.Map{Function: "Add", Shape: []int64{m, n}, Out: out,
		In: []kernels.View{out, {Address: b.at(o.In[3]), Type: kernels.F32, Strides: []int64{0, 1}}}}.Launch()
	p.rest = append(p.rest, added)
	return p, err == nil
}

// matrixOf returns matrices of rows of so many elements as the library has them, false where their batches are not one
// after the other at one distance, or rows overlap.
func matrixOf(m kernels.Matrix, batch [2]int64, width int64) (cublaslt.Matrix, bool) {
	out := cublaslt.Matrix{Row: m.Row, Alignment: alignmentOf(m.Address)}
	switch {
	case batch[1] > 1:
		out.Batch = m.Batch[1]
	case batch[0] > 1:
		out.Batch = m.Batch[0]
	}
	even := batch[0] == 1 || batch[1] == 1 || m.Batch[0] == m.Batch[1]*batch[1]
	return out, even && m.Row >= width
}

// alignmentOf returns the largest power of two that divides an address, at most that of buffers.
func alignmentOf(at uint64) uint32 { return uint32((at | alignment) & -(at | alignment)) }
