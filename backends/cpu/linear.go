package cpu

import (
	"fmt"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// buildLinear builds products with a constant matrix, to which a constant bias and a value of
// the run may be added: x, matrix, bias, residual.
func buildLinear(n *node) (kernel, error) {
	w := n.take(1)
	if w == nil || w.rank() != 2 {
		return nil, n.unsupported("a matrix that is no constant")
	}
	turned := n.int("transB", 0) != 0
	if alpha := n.float("alpha", 1); alpha != 1 {
		w = scaledTensor(w, alpha)
	}
	layer := weighted{
		packed: n.engine.packMatrix(w, turned), residual: n.has(fusedResidual),
		activation: attribute(n, fusedActivation, kernels.Activation{}),
	}
	if bias := n.take(2); bias != nil {
		layer.bias = make([]float32, layer.packed.N())
		if bias.len() != 1 && bias.len() != len(layer.bias) {
			return nil, backends.Errorf(backends.ErrInvalid, "a bias of shape %v for %d columns", bias.shape, len(layer.bias))
		}
		addLoop(layer.bias, layer.bias, view[float32](bias))
		mulLoop(layer.bias, layer.bias, []float32{n.float("beta", 1)})
	}
	return layer.kernel, nil
}

// isLinear says whether a Gemm or MatMul is what buildLinear builds.
func isLinear(n *onnx.Node) bool {
	if n.Domain != "" || n.Op != "Gemm" && n.Op != "MatMul" || n.Inputs[0].Datatype != backends.FP32 {
		return false
	}
	w := n.Inputs[1].Const
	if w == nil || len(w.Shape) != 2 || truthy(n.Attrs["transA"]) {
		return false
	}
	if len(n.Inputs) < 3 || n.Inputs[2] == nil {
		return true
	}
	columns := w.Shape[1]
	if truthy(n.Attrs["transB"]) {
		columns = w.Shape[0]
	}
	return isRow(n.Inputs[2].Const, columns)
}

func truthy(attribute any) bool {
	v, _ := attribute.(int64)
	return v != 0
}

// isRow says whether t is a constant that adds to each row of n columns alike.
func isRow(t *backends.Tensor, n int64) bool {
	if t == nil || t.Elements() != 1 && t.Elements() != n {
		return false
	}
	return t.Elements() == 1 || t.Shape[len(t.Shape)-1] == n
}

// weighted is a product with a constant matrix.
type weighted struct {
	packed     *kernels.Packed
	bias       []float32          // one per column, or nil
	residual   bool               // the last input is added to the product
	activation kernels.Activation // of the sum
}

// packMatrix packs a constant matrix.
func (e *engine) packMatrix(t *tensor, transposed bool) *kernels.Packed {
	k, n := t.shape[0], t.shape[1]
	if transposed {
		k, n = n, k
	}
	p := e.precision.ofWeights()
	m := e.keep(fmt.Sprint("MatMul", k, n, transposed, p), t.raw)
	b := kernels.Matrix{Data: view[float32](t), K: k, N: n, Stride: t.shape[1], Transposed: transposed}
	return m.PackB(b, p)
}

func (w weighted) kernel(r *run, in, out []*tensor) error {
	a, k, n := in[0], w.packed.K(), w.packed.N()
	last := a.rank() - 1
	if last < 0 || a.shape[last] != k {
		return backends.Errorf(backends.ErrInvalid, "a matrix product of shape %v with %d rows", a.shape, k)
	}
	shape := r.list(a.shape...)
	shape[last] = n
	if err := r.makeTensor(out[0], a.dtype, shape); err != nil {
		return err
	}
	ep := kernels.Epilogue{Bias: w.bias, Activation: w.activation}
	if w.residual {
		added := in[len(in)-1]
		if !slices.Equal(added.shape, shape) {
			return backends.Errorf(backends.ErrInvalid, "a sum of shapes %v and %v", shape, added.shape)
		}
		ep.Residual = view[float32](added)
	}
	kernels.Gemm(r.engine.pool, product(shape[:last]), view[float32](a), k, w.packed, view[float32](out[0]), n, ep)
	return nil
}
