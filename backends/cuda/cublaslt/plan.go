package cublaslt

import (
	"errors"
	"math"
	"unsafe"

	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// Attributes of cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t and
// cublasLtMatmulPreferenceAttributes_t.
const (
	descTransA      = 3
	descEpilogue    = 7
	descBiasPointer = 8

	layoutBatchCount  = 5
	layoutBatchOffset = 6

	preferWorkspace  = 1
	preferAlignmentA = 5
	preferAlignmentB = 6
	preferAlignmentC = 7
	preferAlignmentD = 8
)

// transposed is the operation of an operand that is read by rows, of cublasOperation_t.
const transposed int32 = 1

// Plan is a product described to the library.
type Plan struct {
	handle  *Handle
	product Product
	desc    uintptr
	a, b, d uintptr // layouts of our B, of our A and of D, as the library orders them
}

// Plan describes a product. Where the library has no such products, the error is Refused.
func (h *Handle) Plan(p Product) (*Plan, error) {
	plan := &Plan{handle: h, product: p}
	compute, scale := p.compute()
	err := h.library.do(callMatmulDescCreate, uintptr(unsafe.Pointer(&plan.desc)), uintptr(compute), uintptr(scale))
	steps := []func() error{
		func() error { return set(h.library, callMatmulDescSetAttribute, plan.desc, descEpilogue, p.epilogue()) },
		func() error { return plan.layout(&plan.b, p.Type, p.K, p.M, p.A) },
		func() error { return plan.layout(&plan.d, p.result(), p.N, p.M, p.D) },
	}
	if p.TransposedB {
		steps = append(steps,
			func() error { return set(h.library, callMatmulDescSetAttribute, plan.desc, descTransA, transposed) },
			func() error { return plan.layout(&plan.a, p.Type, p.K, p.N, p.B) })
	} else {
		steps = append(steps, func() error { return plan.layout(&plan.a, p.Type, p.N, p.K, p.B) })
	}
	if p.Bias != 0 {
		// Which algorithms there are depends on how the bias is aligned.
		steps = append(steps, func() error { return plan.bias(uint64(p.Bias)) })
	}
	for _, step := range steps {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return nil, errors.Join(err, plan.Close())
	}
	return plan, nil
}

// layout describes matrices of so many rows, whose columns follow each other as the rows of ours do.
func (p *Plan) layout(to *uintptr, t Type, rows, columns int64, m Matrix) error {
	l := p.handle.library
	err := l.do(callMatrixLayoutCreate, uintptr(unsafe.Pointer(to)), uintptr(t), uintptr(rows), uintptr(columns), uintptr(m.Row))
	if err == nil && p.product.Batch > 1 {
		err = errors.Join(
			set(l, callMatrixLayoutSetAttribute, *to, layoutBatchCount, int32(p.product.Batch)),
			set(l, callMatrixLayoutSetAttribute, *to, layoutBatchOffset, m.Batch))
	}
	return err
}

func (p *Plan) bias(at uint64) error {
	return set(p.handle.library, callMatmulDescSetAttribute, p.desc, descBiasPointer, at)
}

// Algorithm is a way to compute the product of a plan.
type Algorithm struct {
	algo      [8]uint64 // a cublasLtMatmulAlgo_t
	Workspace uint64    // bytes of the device that it needs meanwhile
}

// heuristic is a cublasLtMatmulHeuristicResult_t.
type heuristic struct {
	algo      [8]uint64
	workspace uint64
	state     int32
	_         float32 // waves
	_         [4]int32
}

// Algorithms returns up to most ways to compute the product that need so many bytes of workspace at the most, the one that
// the library takes for the fastest first. Where it has none, the error is Refused.
func (p *Plan) Algorithms(workspace uint64, most int) ([]Algorithm, error) {
	l := p.handle.library
	preference, err := p.preference(workspace)
	if err != nil {
		return nil, err
	}
	found, n := make([]heuristic, most), int32(0)
	err = l.do(callMatmulAlgoGetHeuristic, p.handle.handle, p.desc, p.a, p.b, p.d, p.d, preference,
		uintptr(most), uintptr(unsafe.Pointer(&found[0])), uintptr(unsafe.Pointer(&n)))
	var all []Algorithm
	for _, f := range found[:n] {
		if Status(f.state) == success && f.workspace <= workspace {
			all = append(all, Algorithm{f.algo, f.workspace})
		}
	}
	return all, errors.Join(err, l.do(callMatmulPreferenceDestroy, preference))
}

// preference says which algorithms will do.
func (p *Plan) preference(workspace uint64) (uintptr, error) {
	l, preference := p.handle.library, uintptr(0)
	if err := l.do(callMatmulPreferenceCreate, uintptr(unsafe.Pointer(&preference))); err != nil {
		return 0, err
	}
	c := p.product.D.Alignment // what is not read is aligned as what is written
	if p.product.Residual != 0 {
		c = p.product.Residual
	}
	err := errors.Join(
		set(l, callMatmulPreferenceSetAttribute, preference, preferWorkspace, workspace),
		set(l, callMatmulPreferenceSetAttribute, preference, preferAlignmentA, p.product.B.Alignment),
		set(l, callMatmulPreferenceSetAttribute, preference, preferAlignmentB, p.product.A.Alignment),
		set(l, callMatmulPreferenceSetAttribute, preference, preferAlignmentC, c),
		set(l, callMatmulPreferenceSetAttribute, preference, preferAlignmentD, p.product.D.Alignment))
	if err != nil {
		return 0, errors.Join(err, l.do(callMatmulPreferenceDestroy, preference))
	}
	return preference, nil
}

// Multiply puts the product of operands on a stream. The algorithm's workspace lies at an address that is aligned to 256
// bytes; the stream has it for itself until it has come past the product.
func (p *Plan) Multiply(a Algorithm, at Operands, workspace uint64, s driver.Stream) error {
	if p.product.Bias != 0 {
		if err := p.bias(at.Bias); err != nil {
			return err
		}
	}
	one, zero := math.Float32bits(1), uint32(0)
	alpha, beta, c := math.Float32bits(p.product.Alpha), zero, at.D
	if p.product.Type == I8 {
		alpha = 1
	}
	if p.product.Residual != 0 {
		beta, c = one, at.Residual
	}
	return p.handle.library.do(callMatmul, p.handle.handle, p.desc, uintptr(unsafe.Pointer(&alpha)), uintptr(at.B), p.a, uintptr(at.A), p.b,
		uintptr(unsafe.Pointer(&beta)), uintptr(c), p.d, uintptr(at.D), p.d, uintptr(unsafe.Pointer(&a.algo)), uintptr(workspace), uintptr(a.Workspace), uintptr(s))
}

// Close forgets the plan. What has been put on streams is computed all the same.
func (p *Plan) Close() error {
	var all []error
	for _, layout := range []uintptr{p.a, p.b, p.d} {
		if layout != 0 {
			all = append(all, p.handle.library.do(callMatrixLayoutDestroy, layout))
		}
	}
	if p.desc != 0 {
		all = append(all, p.handle.library.do(callMatmulDescDestroy, p.desc))
	}
	return errors.Join(all...)
}
