package cpu

import (
	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// tableFunction is the attribute of a ByteTable: the *onnx.Node of the function in FP32.
const tableFunction = "thrum.function"

// buildByteTable builds a function of bytes: x with scale and zero point, and those of the result.
func buildByteTable(n *node) (kernel, error) {
	f := byFloats{data: []int{0}, scales: []int{1}, scale: 3, zero: 4, out: n.output(0)}
	function := *attribute[*onnx.Node](n, tableFunction, nil)
	x := *n.Inputs[0]
	x.Datatype, x.Producer = backends.FP32, nil
	function.Inputs = append([]*onnx.Value{&x}, function.Inputs[1:]...)
	own := &node{Node: &function, engine: n.engine}
	inner, err := standard[function.Op].kernel(own)
	if err != nil {
		return nil, err
	}
	parameters := make([]*tensor, len(function.Inputs))
	for i := 1; i < len(parameters); i++ {
		if parameters[i] = own.constant(i); parameters[i] != nil {
			parameters[i] = n.engine.kept(parameters[i])
		}
	}
	f.inner = func(r *run, in, out []*tensor) error {
		return inner(r, append(in[:1:1], parameters[1:]...), out)
	}
	return f.byTable, nil
}

// convFloats is a convolution of bytes whose sums become FP32: x, weights, both zero points, both
// scales, and a bias.
type convFloats struct {
	byteConv
	bias []float32
}

func buildConvIntegerToFloat(n *node) (kernel, error) {
	p, err := byteConvOf(n, byteConv{x: 0, w: 1, zeroX: 2, zeroW: 3})
	if err != nil {
		return nil, err
	}
	c := convFloats{byteConv: p}
	if bias := n.take(6); bias != nil {
		c.bias = view[float32](n.engine.kept(bias))
	}
	return c.kernel, nil
}

func (c convFloats) kernel(r *run, in, out []*tensor) error {
	conv, shape, err := c.prepare(r, in)
	if err != nil {
		return err
	}
	x, w := in[4], in[5]
	if x.len() != 1 || w.len() != 1 {
		return backends.Errorf(backends.ErrInvalid, "scales of shapes %v and %v: they need one element each", x.shape, w.shape)
	}
	if err := r.makeTensor(out[0], backends.FP32, shape); err != nil {
		return err
	}
	conv.Floats(r.engine.pool, view[float32](out[0]), kernels.Scaling{
		RowScale: view[float32](x), Scale: view[float32](w), Epilogue: kernels.Epilogue{RowBias: c.bias, Activation: c.activation},
	})
	return nil
}
