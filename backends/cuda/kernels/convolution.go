package kernels

import "fmt"

// Window is how a convolution or a pooling slides over images: each of height and width.
type Window struct {
	Size, Stride, Pad, Dilation [2]int64 // Pad is before the first
}

func (w Window) check() error {
	if w.Pad[0] < 0 || w.Pad[1] < 0 {
		return fmt.Errorf("padding %v: it cannot be negative", w.Pad)
	}
	return positive(w.Size[0], w.Size[1], w.Stride[0], w.Stride[1], w.Dilation[0], w.Dilation[1])
}

func (w Window) cells(to []uint64) []uint64 {
	for _, p := range [][2]int64{w.Size, w.Stride, w.Pad, w.Dilation} {
		to = cells(to, p[0], p[1])
	}
	return to
}

// Conv computes Y = epilogue(X ∗ W) of images X [N, H, W, C] with weights [K, r, s, C/Groups], where
// Y is [N, P, Q, K]. Everything is dense. Where Groups, C and K are the same, weights are [r, s, C].
type Conv struct {
	Type                Type // F32, F16 or BF16, of everything
	TF32                bool // as in Gemm
	Images              int64
	Height, Width       int64
	Channels            int64
	OutHeight, OutWidth int64
	OutChannels         int64
	Groups              int64
	Window              Window
	X, Weights, Y       uint64
	Epilogue            Epilogue
}

// Depthwise says that c has weights [r, s, C].
func (c Conv) Depthwise() bool {
	return c.Groups > 1 && c.Groups == c.Channels && c.Groups == c.OutChannels
}

// Product returns the product of the pixels with the weights, where c is no more than that.
func (c Conv) Product() (Gemm, bool) {
	w := c.Window
	if c.Groups != 1 || w.Size != [2]int64{1, 1} || w.Stride != [2]int64{1, 1} || w.Pad != [2]int64{} || c.OutHeight != c.Height || c.OutWidth != c.Width {
		return Gemm{}, false
	}
	return Gemm{
		Type: c.Type, TF32: c.TF32, M: c.Images * c.OutHeight * c.OutWidth, N: c.OutChannels, K: c.Channels, Batch: [2]int64{1, 1}, TransposedB: true, Alpha: 1,
		Epilogue: c.Epilogue,
		A:        Matrix{Address: c.X, Row: c.Channels}, B: Matrix{Address: c.Weights, Row: c.Channels}, C: Matrix{Address: c.Y, Row: c.OutChannels},
	}, true
}

// Launch returns how a device computes c.
func (c Conv) Launch() (Launch, error) {
	if err := floating(c.Type); err != nil {
		return Launch{}, err
	}
	if err := positive(c.Images, c.Height, c.Width, c.Channels, c.OutHeight, c.OutWidth, c.OutChannels, c.Groups); err != nil {
		return Launch{}, err
	}
	if err := c.Window.check(); err != nil {
		return Launch{}, err
	}
	if c.Channels%c.Groups != 0 || c.OutChannels%c.Groups != 0 {
		return Launch{}, fmt.Errorf("%d groups of %d channels to %d: they must divide both", c.Groups, c.Channels, c.OutChannels)
	}
	rows := c.Images * c.OutHeight * c.OutWidth
	if err := positive(rows); err != nil {
		return Launch{}, err
	}
	if g, ok := c.Product(); ok {
		return g.Launch()
	}
	args := cells(nil, c.X, c.Weights, c.Y)
	args = cells(args, c.Images, c.Height, c.Width, c.Channels, c.OutHeight, c.OutWidth, c.OutChannels, c.Groups)
	args, err := c.Epilogue.cells(c.Window.cells(args))
	if err != nil {
		return Launch{}, err
	}
	if c.Depthwise() {
		return flat("depthwise_"+c.Type.String(), rows*ceil(c.Channels, depthwiseChannels), args)
	}
	kind := c.Type.String()
	if c.TF32 {
		kind = "tf32"
	}
	t := tileOf(kind, rows, c.OutChannels/c.Groups, c.Groups)
	return t.launch("conv_"+kind, rows, c.OutChannels/c.Groups, c.Groups, args)
}

// depthwiseChannels is how many channels a thread computes.
const depthwiseChannels = 4
