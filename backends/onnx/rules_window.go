package onnx

import "slices"

// window is how a convolution or a pooling walks over the spatial dimensions.
type window struct {
	kernel, strides, dilations []int64
	pads                       []int64 // all begins, then all ends
	auto                       string
	ceil                       bool
}

// maxWindow bounds kernels, strides, dilations and pads so that their sums cannot overflow.
const maxWindow = 1 << 20

// window reads the attributes of a node over rank spatial dimensions.
func (c *call) window(kernel []int64, rank int) (window, error) {
	w := window{
		kernel:    kernel,
		strides:   c.intList("strides"),
		dilations: c.intList("dilations"),
		pads:      c.intList("pads"),
		auto:      c.string("auto_pad", "NOTSET"),
		ceil:      c.int("ceil_mode", 0) != 0,
	}
	switch w.auto {
	case "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
	default:
		return w, invalid(c.Node, "auto_pad %q does not exist", w.auto)
	}
	if w.strides == nil {
		w.strides = slices.Repeat([]int64{1}, rank)
	}
	if w.dilations == nil {
		w.dilations = slices.Repeat([]int64{1}, rank)
	}
	if w.pads == nil || w.auto != "NOTSET" {
		w.pads = make([]int64, 2*rank)
	}
	for _, list := range []struct {
		name  string
		all   []int64
		least int64
		want  int
	}{{"kernel_shape", w.kernel, 1, rank}, {"strides", w.strides, 1, rank}, {"dilations", w.dilations, 1, rank}, {"pads", w.pads, 0, 2 * rank}} {
		if len(list.all) != list.want {
			return w, invalid(c.Node, "%s has %d numbers, %d spatial dimensions need %d", list.name, len(list.all), rank, list.want)
		}
		if slices.Min(append(list.all, list.least)) < list.least || slices.Max(append(list.all, 0)) > maxWindow {
			return w, invalid(c.Node, "%s %v: each must be between %d and %d", list.name, list.all, list.least, maxWindow)
		}
	}
	return w, nil
}

// outputs returns the size of each spatial dimension after the window has walked over it.
func (c *call) outputs(w window, spatial []Dim) ([]Dim, error) {
	out := make([]Dim, len(spatial))
	for i, in := range spatial {
		reach := (w.kernel[i]-1)*w.dilations[i] + 1
		pad := w.pads[i] + w.pads[len(spatial)+i]
		same := w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER"
		switch {
		case w.strides[i] == 1 && (same || pad == reach-1):
			out[i] = in
		case !in.known():
			out[i] = unknown
		case same:
			out[i] = fixed((in.Size + w.strides[i] - 1) / w.strides[i])
		case in.Size+pad < reach:
			return nil, invalid(c.Node, "the window of %d does not fit %d elements with %d of padding", reach, in.Size, pad)
		default:
			out[i] = fixed(w.steps(i, in.Size, in.Size+pad-reach))
		}
	}
	return out, nil
}

// steps counts the window's places along dimension i, given the room it has to move.
func (w window) steps(i int, size, room int64) int64 {
	stride := w.strides[i]
	if !w.ceil {
		return room/stride + 1
	}
	n := (room+stride-1)/stride + 1
	if (n-1)*stride >= size+w.pads[i] {
		n-- // the last window would start in the padding at the end
	}
	return n
}

// spatial returns the shape of input i, which is batch, channels and spatial dimensions.
func (c *call) spatial(i int) ([]Dim, bool, error) {
	dims, ok := c.shape(i)
	if ok && len(dims) < 3 {
		return nil, false, invalid(c.Node, "input %d needs at least 3 dimensions, it has %d", i, len(dims))
	}
	return dims, ok, nil
}

func conv(c *call) error { return c.convolution(1) }

// quantizedConv is the rule of QLinearConv, whose inputs each come with a scale and a zero point.
func quantizedConv(c *call) error { return c.convolution(3) }

// convolution infers a convolution whose weights are input i.
func (c *call) convolution(i int) error {
	x, ok, err := c.spatial(0)
	if err != nil || !ok {
		return err
	}
	weights, ok, err := c.spatial(i)
	if err != nil || !ok {
		return err
	}
	if len(weights) != len(x) {
		return c.mismatch()
	}
	group := c.int("group", 1)
	if group < 1 || group > maxWindow {
		return invalid(c.Node, "group %d: it must be between 1 and %d", group, maxWindow)
	}
	if !agree(product(weights[1], fixed(group)), x[1]) || weights[0].known() && weights[0].Size%group != 0 {
		return c.mismatch()
	}
	kernel, ok, err := c.kernel(weights)
	if err != nil || !ok {
		return err
	}
	w, err := c.window(kernel, len(x)-2)
	if err != nil {
		return err
	}
	out, err := c.outputs(w, x[2:])
	if err != nil {
		return err
	}
	c.set(0, append([]Dim{x[0], weights[0]}, out...))
	return nil
}

// kernel returns the kernel's shape from the attribute or the weights, which must agree.
func (c *call) kernel(weights []Dim) ([]int64, bool, error) {
	kernel := sizes(weights[2:], -1)
	attr := c.intList("kernel_shape")
	if attr == nil {
		return kernel, !slices.Contains(kernel, -1), nil
	}
	for i, n := range kernel {
		if len(attr) != len(kernel) || n >= 0 && n != attr[i] {
			return nil, false, invalid(c.Node, "kernel_shape %v does not fit the weights' %v", attr, kernel)
		}
	}
	return attr, true, nil
}

func convTranspose(c *call) error {
	x, ok, err := c.spatial(0)
	if err != nil || !ok {
		return err
	}
	weights, ok, err := c.spatial(1)
	if err != nil || !ok {
		return err
	}
	if len(weights) != len(x) || !agree(weights[0], x[1]) {
		return c.mismatch()
	}
	kernel, ok, err := c.kernel(weights)
	if err != nil || !ok {
		return err
	}
	w, err := c.window(kernel, len(x)-2)
	if err != nil {
		return err
	}
	group := c.int("group", 1)
	if group < 1 || group > maxWindow {
		return invalid(c.Node, "group %d: it must be between 1 and %d", group, maxWindow)
	}
	out, err := c.transposedOutputs(w, x[2:])
	if err != nil {
		return err
	}
	c.set(0, append([]Dim{x[0], product(weights[1], fixed(group))}, out...))
	return nil
}

func (c *call) transposedOutputs(w window, spatial []Dim) ([]Dim, error) {
	rank := len(spatial)
	extra := c.intList("output_padding")
	if extra == nil {
		extra = make([]int64, rank)
	}
	given := c.intList("output_shape")
	if len(extra) != rank || given != nil && len(given) != rank {
		return nil, invalid(c.Node, "output_padding and output_shape need %d numbers", rank)
	}
	out := make([]Dim, rank)
	for i, in := range spatial {
		same := w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER"
		switch {
		case given != nil:
			out[i] = fixed(given[i])
		case !in.known():
			out[i] = unknown
		case same:
			out[i] = fixed(in.Size * w.strides[i])
		default:
			out[i] = fixed(w.strides[i]*(in.Size-1) + extra[i] + (w.kernel[i]-1)*w.dilations[i] + 1 - w.pads[i] - w.pads[rank+i])
		}
		if given != nil && given[i] < 1 || in.known() && out[i].Size < 1 || extra[i] < 0 || extra[i] > maxWindow {
			return nil, invalid(c.Node, "spatial dimension %d of the output would be %d", i, out[i].Size)
		}
	}
	return out, nil
}

func pool(c *call) error {
	x, ok, err := c.spatial(0)
	if err != nil || !ok {
		return err
	}
	w, err := c.window(c.intList("kernel_shape"), len(x)-2)
	if err != nil {
		return err
	}
	out, err := c.outputs(w, x[2:])
	if err != nil {
		return err
	}
	for i := range c.Outputs {
		c.set(i, append([]Dim{x[0], x[1]}, out...))
	}
	return nil
}

func globalPool(c *call) error {
	x, ok, err := c.spatial(0)
	if err != nil || !ok {
		return err
	}
	out := slices.Repeat([]Dim{fixed(1)}, len(x))
	out[0], out[1] = x[0], x[1]
	c.set(0, out)
	return nil
}

// resize takes the output's size from the sizes, or from the scales, whichever is given.
func resize(c *call) error {
	x, ok := c.shape(0)
	if !ok {
		return nil
	}
	c.set(0, unknownDims(len(x)))
	if c.string("keep_aspect_ratio_policy", "stretch") != "stretch" {
		return nil
	}
	axes, err := c.resizeAxes(len(x))
	if err != nil {
		return err
	}
	out := slices.Clone(x)
	target, scales := c.vector(3), c.scales()
	hasSizes := target != nil && len(target.elems) > 0
	for i, axis := range axes {
		switch {
		case hasSizes && len(target.elems) == len(axes):
			out[axis] = target.elems[i].dim()
		case !hasSizes && len(scales) == len(axes):
			if out[axis], ok = scaled(x[axis], scales[i]); !ok {
				return invalid(c.Node, "scale %v: it must be between 0 and %d", scales[i], maxWindow)
			}
		case hasSizes || len(scales) > 0:
			return invalid(c.Node, "sizes or scales need %d numbers", len(axes))
		default:
			out[axis] = unknown
		}
	}
	c.set(0, out)
	return nil
}

func (c *call) resizeAxes(rank int) ([]int, error) {
	if axes := c.intList("axes"); axes != nil {
		return c.axes(axes, rank)
	}
	all := make([]int, rank)
	for i := range all {
		all[i] = i
	}
	return all, nil
}

// scales returns the scales if they are known, wherever this opset keeps them.
func (c *call) scales() []float32 {
	if all, ok := c.Attrs["scales"].([]float32); ok {
		return all
	}
	at := 2
	if c.Op == "Upsample" || c.Opset < 11 {
		at = 1
	}
	if v := c.input(at); v != nil && v.Const != nil {
		return floats(v.Const.Data)
	}
	return nil
}

func scaled(d Dim, scale float32) (Dim, bool) {
	switch {
	case !(scale > 0) || scale > maxWindow:
		return unknown, false
	case scale == 1:
		return d, true
	case !d.known():
		return unknown, true
	}
	return fixed(int64(float64(d.Size) * float64(scale))), true
}

func depthToSpace(c *call) error {
	x, block, err := c.blocks()
	if err != nil || x == nil {
		return err
	}
	depth := unknown
	if x[1].known() {
		if depth = fixed(x[1].Size / (block * block)); x[1].Size%(block*block) != 0 {
			return invalid(c.Node, "%d channels are not divisible by blocksize %d squared", x[1].Size, block)
		}
	}
	c.set(0, []Dim{x[0], depth, product(x[2], fixed(block)), product(x[3], fixed(block))})
	return nil
}

func spaceToDepth(c *call) error {
	x, block, err := c.blocks()
	if err != nil || x == nil {
		return err
	}
	out := []Dim{x[0], product(x[1], fixed(block*block)), unknown, unknown}
	for i := 2; i < 4; i++ {
		if x[i].known() {
			if out[i] = fixed(x[i].Size / block); x[i].Size%block != 0 {
				return invalid(c.Node, "dimension %d is %d, which is not divisible by blocksize %d", i, x[i].Size, block)
			}
		}
	}
	c.set(0, out)
	return nil
}

func (c *call) blocks() ([]Dim, int64, error) {
	block := c.int("blocksize", 0)
	if block < 1 || block > maxWindow {
		return nil, 0, invalid(c.Node, "blocksize %d: it must be between 1 and %d", block, maxWindow)
	}
	x, ok := c.shape(0)
	if !ok {
		return nil, block, nil
	}
	if len(x) != 4 {
		return nil, 0, invalid(c.Node, "the input needs 4 dimensions, it has %d", len(x))
	}
	return x, block, nil
}
