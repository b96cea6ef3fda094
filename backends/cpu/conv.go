package cpu

import (
	"fmt"
	"slices"
	"sync"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
)

// buildConv builds convolutions.
func buildConv(n *node) (kernel, error) {
	if n.input(0) != backends.FP32 {
		return nil, n.unsupported("inputs of %v", n.input(0))
	}
	c, err := convolutionOf(n)
	if err != nil {
		return nil, err
	}
	if len(c.shape) > 4 {
		return buildDeepConv(n, c)
	}
	c.precision = n.engine.precision.ofWeights()
	w := n.take(1)
	if w == nil {
		return c.kernel, nil
	}
	c.method = c.methodFor(n.Outputs[0])
	if c.window.auto == "NOTSET" || c.window.auto == "VALID" {
		packed := c.pack(w, c.window.fixedPads(), n.engine.keep(fmt.Sprint("Conv", c.shape, c.groups, c.precision, c.method), w.raw))
		return func(r *run, in, out []*tensor) error {
			_, size, err := c.fit(r, in)
			if err != nil {
				return err
			}
			return c.run(r, in, out[0], packed, size)
		}, nil
	}
	return c.packing(n.engine.kept(w)), nil
}

// methodFor returns the fastest method as far as the size of the result's planes is known at load.
func (c convolution) methodFor(y *onnx.Value) kernels.Method {
	if !y.HasShape || len(c.shape) != 4 || len(y.Shape) != 4 {
		return kernels.AnySize
	}
	size := [2]int{int(max(0, y.Shape[2].Size)), int(max(0, y.Shape[3].Size))}
	return c.onPlanes(c.window.fixedPads()).Method(size, c.precision)
}

// packing returns the kernel of a convolution whose pads depend on the size of the input. It
// keeps a packing for each, of which a window has few.
func (c convolution) packing(w *tensor) kernel {
	var packings sync.Map
	return func(r *run, in, out []*tensor) error {
		pads, size, err := c.fit(r, in)
		if err != nil {
			return err
		}
		key := fmt.Sprint(pads)
		packed, ok := packings.Load(key)
		if !ok {
			packed, _ = packings.LoadOrStore(key, c.pack(w, pads, nil))
		}
		return c.run(r, in, out[0], packed.(*kernels.PackedConv), size)
	}
}

// weightShape returns the shape of a convolution's weights, which must be known at load.
func weightShape(n *node) ([]int, error) {
	v := n.Inputs[1]
	var shape []int
	if v.Const != nil {
		shape = convertInts(v.Const.Shape)
	} else if v.HasShape {
		for _, d := range v.Shape {
			shape = append(shape, int(d.Size))
		}
	}
	if slices.ContainsFunc(shape, negative) || shape == nil {
		return nil, n.unsupported("weights of a size that is not known at load")
	}
	if len(shape) < 3 {
		return nil, backends.Errorf(backends.ErrInvalid, "weights of shape %v have no kernel", shape)
	}
	return shape, nil
}

// convolution holds the attributes of a Conv.
type convolution struct {
	shape      []int // of the weights
	window     window
	groups     int
	precision  kernels.Precision
	method     kernels.Method
	residual   bool // the last input is added to the result
	activation kernels.Activation
}

// convolutionOf reads and checks the attributes.
func convolutionOf(n *node) (c convolution, err error) {
	c = convolution{
		groups: n.int("group", 1), residual: n.has(fusedResidual),
		activation: attribute(n, fusedActivation, kernels.Activation{}),
	}
	if c.shape, err = weightShape(n); err != nil {
		return c, err
	}
	if c.window, err = windowOf(n, c.shape[2:]); err != nil {
		return c, err
	}
	if !slices.Equal(c.window.kernel, c.shape[2:]) {
		return c, backends.Errorf(backends.ErrInvalid, "kernel_shape %v with weights of shape %v", c.window.kernel, c.shape)
	}
	if c.groups < 1 || c.shape[0]%c.groups != 0 {
		return c, backends.Errorf(backends.ErrInvalid, "%d filters in %d groups", c.shape[0], c.groups)
	}
	return c, nil
}

// kernel runs a convolution whose weights are an input.
func (c convolution) kernel(r *run, in, out []*tensor) error {
	if !slices.Equal(in[1].shape, c.shape) {
		return backends.Errorf(backends.ErrInvalid, "weights of shape %v where the model says %v", in[1].shape, c.shape)
	}
	pads, size, err := c.fit(r, in)
	if err != nil {
		return err
	}
	return c.run(r, in, out[0], c.pack(in[1], pads, nil), size)
}

// fit checks the shapes and returns the pads and the size of the output planes.
func (c convolution) fit(r *run, in []*tensor) (pads, size []int, err error) {
	x := in[0]
	if x.rank() != len(c.shape) || x.shape[1] != c.shape[1]*c.groups {
		return nil, nil, backends.Errorf(backends.ErrInvalid, "an input of shape %v for weights of shape %v in %d groups", x.shape, c.shape, c.groups)
	}
	if len(in) > 2 && in[2] != nil && in[2].len() != c.shape[0] {
		return nil, nil, backends.Errorf(backends.ErrInvalid, "a bias of shape %v for %d filters", in[2].shape, c.shape[0])
	}
	return c.window.fit(r, x.shape)
}

// onPlanes returns the convolution with certain pads.
func (c convolution) onPlanes(pads []int) kernels.Conv {
	return kernels.Conv{Channels: c.shape[1] * c.groups, Filters: c.shape[0], Groups: c.groups, Window: c.window.plane(pads)}
}

// pack packs weights for certain pads.
func (c convolution) pack(w *tensor, pads []int, m kernels.Memory) *kernels.PackedConv {
	return m.PackConvBy(c.method, c.onPlanes(pads), view[float32](w), c.precision)
}

// plane returns w as a window on planes, which for one dimension have height 1.
func (w window) plane(pads []int) kernels.Window {
	if len(w.kernel) == 1 {
		return kernels.Window{
			Kernel: [2]int{1, w.kernel[0]}, Stride: [2]int{1, w.strides[0]}, Dilation: [2]int{1, w.dilations[0]},
			Pads: [4]int{0, pads[0], 0, pads[1]},
		}
	}
	return kernels.Window{
		Kernel: [2]int(w.kernel), Stride: [2]int(w.strides), Dilation: [2]int(w.dilations), Pads: [4]int(pads),
	}
}

func (c convolution) run(r *run, in []*tensor, y *tensor, packed *kernels.PackedConv, size []int) error {
	x := in[0]
	shape := r.ints(2 + len(size))
	shape[0], shape[1] = x.shape[0], packed.Conv().Filters
	copy(shape[2:], size)
	ep := kernels.Epilogue{Activation: c.activation}
	if len(in) > 2 && in[2] != nil {
		ep.RowBias = view[float32](in[2])
	}
	err := error(nil)
	if added := in[len(in)-1]; c.residual {
		if !slices.Equal(added.shape, shape) {
			return backends.Errorf(backends.ErrInvalid, "a sum of shapes %v and %v", shape, added.shape)
		}
		ep.Residual = view[float32](added)
		err = c.makeSum(r, y, x, added, packed)
	} else {
		err = r.makeTensor(y, x.dtype, shape)
	}
	if err != nil {
		return err
	}
	kernels.Conv2D(r.engine.pool, packed, images(x), images(y), ep)
	return nil
}

// makeSum makes y, where what is added to the convolution of x lies if that may be: then memory that
// has just been written is read and written once more, instead of other memory.
func (c convolution) makeSum(r *run, y, x, added *tensor, packed *kernels.PackedConv) error {
	if packed.AddsInPlace() && x.buf != added.buf {
		return r.makeOver(y, added, added.dtype, added.shape)
	}
	return r.makeTensor(y, added.dtype, added.shape)
}

// images returns a tensor of one or two dimensions after the first two as images.
func images(t *tensor) kernels.Images {
	i := kernels.Images{Data: view[float32](t), N: t.shape[0], C: t.shape[1], H: 1, W: t.shape[t.rank()-1]}
	if t.rank() == 4 {
		i.H = t.shape[2]
	}
	return i
}
