package lower

import (
	"fmt"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx/rewrite"
)

// images returns t, shaped [n, c, w] or [n, c, h, w], as images with their channels last, and dense.
func (c *call) images(t Tensor) (Tensor, error) {
	switch len(t.Shape) {
	case 3:
		t.Shape = []int64{t.Shape[0], t.Shape[1], 1, t.Shape[2]}
		t.Strides = []int64{t.Strides[0], t.Strides[1], 0, t.Strides[2]}
	case 4:
	default:
		return t, fmt.Errorf("its input has %d dimensions: 3 or 4 can be", len(t.Shape))
	}
	return c.dense(t.permute(0, 2, 3, 1)), nil
}

// planes returns images in the shape that the graph gives them.
func (c *call) planes(t Tensor, shape []int64) Tensor {
	return c.shaped(t.permute(0, 3, 1, 2), shape...)
}

// window reads the attributes of windows of that size over images [n, h, w, c] whose results have
// that shape.
func (c *call) window(size []int64, in Tensor, out []int64) (w Window, err error) {
	rank := len(size)
	pads, strides, dilations := c.list("pads", -1), c.list("strides", -1), c.list("dilations", -1)
	auto := c.text("auto_pad", "NOTSET")
	w = Window{Size: [2]int64{1, 1}, Stride: [2]int64{1, 1}, Dilation: [2]int64{1, 1}}
	for i := range rank {
		at := i + 2 - rank
		w.Size[at] = size[i]
		if strides != nil {
			w.Stride[at] = strides[i]
		}
		if dilations != nil {
			w.Dilation[at] = dilations[i]
		}
		switch auto {
		case "NOTSET":
			if pads != nil {
				w.Pad[at], w.PadEnd[at] = pads[i], pads[rank+i]
			}
		case "SAME_UPPER", "SAME_LOWER":
			total := max((out[2+i]-1)*w.Stride[at]+(size[i]-1)*w.Dilation[at]+1-in.Shape[1+at], 0)
			w.Pad[at] = total / 2
			if auto == "SAME_LOWER" {
				w.Pad[at] = total - total/2
			}
			w.PadEnd[at] = total - w.Pad[at]
		}
		if w.Pad[at] < 0 {
			return w, fmt.Errorf("its padding is negative")
		}
	}
	return w, nil
}

func lowerConv(c *call) error {
	shape, weights := c.shape(0), c.in(1)
	x, err := c.images(c.in(0))
	if c.err != nil || err != nil {
		return errOr(c.err, err)
	}
	if !isFloat(x.Type) || x.Type != weights.Type {
		return fmt.Errorf("it convolves %v with %v", x.Type, weights.Type)
	}
	w, err := c.window(weights.Shape[2:], x, shape)
	if err != nil {
		return err
	}
	bias := Tensor{}
	if c.given(2) {
		bias = c.dense(c.in(2))
	}
	if done, err := c.convBytes(w, bias); done || err != nil {
		return err
	}
	filters, err := c.images(weights)
	if err != nil {
		return err
	}
	out := newTensor(x.Type, imagesOf(shape))
	k := Conv{Window: w, Groups: c.int("group", 1)}
	if k.Depthwise = k.Groups > 1 && k.Groups == x.Shape[3] && k.Groups == out.Shape[3]; k.Depthwise {
		filters = c.byTap(filters)
	}
	c.add(k, out, x, filters, bias, Tensor{})
	return c.give(c.planes(out, shape))
}

// byTap returns filters [k, r, s, 1] as [r, s, k].
func (c *call) byTap(filters Tensor) Tensor {
	return c.dense(c.shaped(filters, filters.Shape[0], filters.Shape[1], filters.Shape[2]).permute(1, 2, 0))
}

// convBytes lowers a convolution whose images and weights have been dequantised, and says whether it is
// one.
func (c *call) convBytes(w Window, bias Tensor) (bool, error) {
	weights := c.in(1)
	from, ok := c.quantised(c.in(0))
	q, known := c.integral[weights.Buffer]
	if !ok || !known || bias.Given() && !isWeight(bias) {
		return false, nil
	}
	scales, fit := q.per(weights.Shape[0], weights.Strides[0])
	if !fit {
		return false, nil
	}
	x, err := c.images(from.bytes)
	filters, second := c.images(q.view(weights))
	if err := errOr(err, second); err != nil {
		return false, err
	}
	n := filters.Shape[0]
	by, plus := from.terms(c.shaped(filters, n, filters.Elements()/n), scales, bias)
	shape := c.shape(0)
	out := newTensor(c.typeOf(c.Outputs[0].Datatype), imagesOf(shape))
	k := ConvInteger{Window: w, Groups: c.int("group", 1), Pad: from.zero}
	if k.Depthwise = k.Groups > 1 && k.Groups == x.Shape[3] && k.Groups == n; k.Depthwise {
		filters = c.byTap(filters)
	}
	c.add(k, out, x, filters, by, plus, Tensor{})
	return true, c.give(c.planes(out, shape))
}

func errOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// imagesOf returns the shape of images with channels last whose shape in the graph is given.
func imagesOf(shape []int64) []int64 {
	if len(shape) == 3 {
		return []int64{shape[0], 1, shape[2], shape[1]}
	}
	return []int64{shape[0], shape[2], shape[3], shape[1]}
}

func lowerPool(c *call) error {
	shape := c.shape(0)
	x, err := c.images(c.in(0))
	if c.err != nil || err != nil {
		return errOr(c.err, err)
	}
	if c.wants(1) {
		return fmt.Errorf("its indices are not computed")
	}
	if !isFloat(x.Type) {
		return fmt.Errorf("it pools %v", x.Type)
	}
	w, err := c.window(c.list("kernel_shape", -1), x, shape)
	if err != nil {
		return err
	}
	k := Pool{Average: c.Op == "AveragePool", CountPadding: c.int("count_include_pad", 0) != 0, Window: w}
	from, ok := c.quantised(c.in(0))
	switch {
	case ok && k.Average:
		return c.average(k, from, x.Type)
	case ok && from.scale > 0: // the largest byte is the largest number
		bytes, err := c.images(from.bytes)
		if err != nil {
			return err
		}
		most := c.planes(c.add(k, newTensor(bytes.Type, imagesOf(shape)), bytes), shape)
		return c.give(c.again(most, from, x.Type))
	}
	out := newTensor(x.Type, imagesOf(shape))
	c.add(k, out, x)
	return c.give(c.planes(out, shape))
}

// average gives the mean of bytes.
func (c *call) average(k Pool, from source, d backends.Datatype) error {
	shape := c.shape(0)
	bytes, err := c.images(from.bytes)
	if err != nil {
		return err
	}
	if k.From = (Affine{from.scale, from.zero}); k.Window.Size[0] == 0 {
		k.Window = Window{Size: [2]int64{bytes.Shape[1], bytes.Shape[2]}, Stride: [2]int64{1, 1}, Dilation: [2]int64{1, 1}}
	}
	return c.give(c.planes(c.add(k, newTensor(d, imagesOf(shape)), bytes), shape))
}

// lowerGlobalPool joins all that is behind the channels.
func lowerGlobalPool(c *call) error {
	x, shape := c.in(0), c.shape(0)
	if c.err != nil {
		return c.err
	}
	function := "Max"
	if c.Op == "GlobalAveragePool" {
		function = "Mean"
		if from, ok := c.quantised(x); ok && len(shape) <= 4 {
			return c.average(Pool{Average: true}, from, x.Type)
		}
	}
	var axes []int
	for i := 2; i < len(x.Shape); i++ {
		axes = append(axes, i)
	}
	return c.give(c.shaped(c.reduce(function, x, axes), shape...))
}

// lowerBatchNorm lowers a normalisation with statistics of its own: a factor and a term per channel.
func lowerBatchNorm(c *call) error {
	x, shape := c.in(0), c.shape(0)
	if c.err != nil || c.int("training_mode", 0) != 0 || c.wants(1) {
		return errOr(c.err, fmt.Errorf("it computes statistics"))
	}
	factors, terms := rewrite.Normalisation(c.Node)
	if factors == nil {
		return fmt.Errorf("its statistics are not known when the model is loaded")
	}
	channels := []int64{int64(len(factors))}
	for range x.Shape[2:] {
		channels = append(channels, 1)
	}
	key := fmt.Sprintf("%p of batches", c.Inputs[1].Const)
	by := floats(key+" *", x.Type, channels, func() []float32 { return factors })
	plus := floats(key+" +", x.Type, channels, func() []float32 { return terms })
	scaled := c.apply(Map{Function: "Mul"}, x.Type, shape, x, by)
	return c.give(c.apply(Map{Function: "Add"}, x.Type, shape, scaled, plus))
}
