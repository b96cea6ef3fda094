package cpu

import (
	"math"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
)

// buildQLinear builds QLinearMatMul and QLinearConv: the product of quantised values, exact in
// integers, is scaled and rounded to the type of the result.
func buildQLinear(n *node) (kernel, error) {
	for _, i := range []int{1, 4, 6} {
		if n.input(i) != backends.FP32 {
			return nil, n.unsupported("a scale of %v", n.input(i))
		}
	}
	// The integer operators take both factors, then both zero points.
	exact := *n.Node
	exact.Inputs = []*onnx.Value{n.Inputs[0], n.Inputs[3], n.Inputs[2], n.Inputs[5]}
	exact.Op, exact.Outputs = "MatMulInteger", nil
	f := buildMatMulInteger
	if n.Op == "QLinearConv" {
		exact.Op, f = "ConvInteger", buildConvInteger
	}
	product, err := f(&node{Node: &exact, engine: n.engine})
	if err != nil {
		return nil, err
	}
	q := requantizing{product: product, conv: n.Op == "QLinearConv"}
	switch d := n.output(0); d {
	case backends.Uint8:
		q.round = rounding[uint8](0, math.MaxUint8)
	case backends.Int8:
		q.round = rounding[int8](math.MinInt8, math.MaxInt8)
	default:
		return nil, n.unsupported("an output of %v", d)
	}
	q.dtype = n.output(0)
	return q.kernel, nil
}

type requantizing struct {
	product kernel
	conv    bool
	dtype   backends.Datatype
	round   func(out, zero *tensor, values []float64)
}

func (q requantizing) kernel(r *run, in, out []*tensor) error {
	sums := r.scratch()
	if err := q.product(r, []*tensor{in[0], in[3], in[2], in[5]}, []*tensor{sums}); err != nil {
		return err
	}
	if in[1].len() != 1 && q.conv || in[6].len() != 1 || in[7].len() != 1 {
		return backends.Errorf(backends.ErrInvalid, "scales of shapes %v, %v and %v, zero point of shape %v", in[1].shape, in[4].shape, in[6].shape, in[7].shape)
	}
	values := make([]float64, sums.len())
	for i, v := range view[int32](sums) {
		values[i] = float64(v)
	}
	if q.conv && len(in) > 8 && in[8] != nil {
		if err := q.addBias(values, sums, in[8]); err != nil {
			return err
		}
	}
	if err := q.scale(values, sums.shape, in); err != nil {
		return err
	}
	if err := r.makeTensor(out[0], q.dtype, sums.shape); err != nil {
		return err
	}
	q.round(out[0], in[7], values)
	return nil
}

func (q requantizing) addBias(values []float64, sums, bias *tensor) error {
	if bias.len() != sums.shape[1] {
		return backends.Errorf(backends.ErrInvalid, "a bias of shape %v for %d filters", bias.shape, sums.shape[1])
	}
	inner := product(sums.shape[2:])
	for i := range values {
		values[i] += float64(view[int32](bias)[i/inner%sums.shape[1]])
	}
	return nil
}

// scale multiplies the sums by the scales of both factors and divides them by the result's.
func (q requantizing) scale(values []float64, shape []int, in []*tensor) error {
	rows, err := q.spread(in[1], shape, len(shape)-2)
	if err != nil {
		return err
	}
	at := len(shape) - 1
	if q.conv {
		at = 1
	}
	cols, err := q.spread(in[4], shape, at)
	if err != nil {
		return err
	}
	by := float64(view[float32](in[6])[0])
	for i := range values {
		values[i] *= float64(rows(i)) * float64(cols(i)) / by
	}
	return nil
}

// spread returns the scale of each element: one for all, or one for each index of a dimension.
func (q requantizing) spread(t *tensor, shape []int, d int) (func(i int) float32, error) {
	all := view[float32](t)
	if len(all) == 1 {
		return func(int) float32 { return all[0] }, nil
	}
	if d < 0 || len(all) != shape[d] {
		return nil, backends.Errorf(backends.ErrInvalid, "scales of shape %v for a result of shape %v", t.shape, shape)
	}
	inner := product(shape[d+1:])
	return func(i int) float32 { return all[i/inner%shape[d]] }, nil
}

// rounding returns the function that rounds values to integers around a zero point.
func rounding[T integer](low, high float64) func(out, zero *tensor, values []float64) {
	return func(out, zero *tensor, values []float64) {
		middle := float64(view[T](zero)[0])
		dst := view[T](out)
		for i, v := range values {
			dst[i] = T(max(low, min(high, math.RoundToEven(v)+middle)))
		}
	}
}
