package kernels

import (
	"fmt"
	"slices"
)

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

// Slide is where a convolution moves: over images X [Images, Height, Width, Channels], with weights
// [OutChannels, r, s, Channels/Groups], to Y [Images, OutHeight, OutWidth, OutChannels]. Everything is
// dense. Where Groups, Channels and OutChannels are the same, weights are [r, s, Channels].
type Slide struct {
	Images              int64
	Height, Width       int64
	Channels            int64
	OutHeight, OutWidth int64
	OutChannels         int64
	Groups              int64
	Window              Window
	X, Weights, Y       uint64
}

// Depthwise says that s has weights [r, s, Channels].
func (s Slide) Depthwise() bool {
	return s.Groups > 1 && s.Groups == s.Channels && s.Groups == s.OutChannels
}

// product says that s is the product of the pixels with the weights.
func (s Slide) product() bool {
	w := s.Window
	return s.Groups == 1 && w.Size == [2]int64{1, 1} && w.Stride == [2]int64{1, 1} && w.Pad == [2]int64{} && s.OutHeight == s.Height && s.OutWidth == s.Width
}

func (s Slide) rows() int64 { return s.Images * s.OutHeight * s.OutWidth }

func (s Slide) check() error {
	if err := positive(s.Images, s.Height, s.Width, s.Channels, s.OutHeight, s.OutWidth, s.OutChannels, s.Groups); err != nil {
		return err
	}
	if err := s.Window.check(); err != nil {
		return err
	}
	if s.Channels%s.Groups != 0 || s.OutChannels%s.Groups != 0 {
		return fmt.Errorf("%d groups of %d channels to %d: they must divide both", s.Groups, s.Channels, s.OutChannels)
	}
	return positive(s.rows())
}

func (s Slide) cells() []uint64 {
	args := cells(nil, s.X, s.Weights, s.Y)
	args = cells(args, s.Images, s.Height, s.Width, s.Channels, s.OutHeight, s.OutWidth, s.OutChannels, s.Groups)
	return s.Window.cells(args)
}

// plan is that of a product for each group.
func (s Slide) plan(kind string, size, processors int64) plan {
	depth := s.Window.Size[0] * s.Window.Size[1] * s.Channels / s.Groups
	return planOf(kind, [3]int64{s.rows(), s.OutChannels / s.Groups, depth * size}, s.Groups, processors)
}

// depthwise returns the launch of a convolution of each channel by itself.
func (s Slide) depthwise(kind string, args []uint64) ([]Launch, error) {
	const channels = 4 // of a thread
	return one(flat("depthwise_"+kind, s.rows()*ceil(s.Channels, channels), append(args, 0, 1)))
}

// Conv computes Y = epilogue(X ∗ W).
type Conv struct {
	Slide
	Type     Type // F32, F16 or BF16, of everything
	TF32     bool // as in Gemm
	Epilogue Epilogue
	Room     Room
}

func (c Conv) gemm() Gemm {
	return Gemm{Type: c.Type, TF32: c.TF32, M: c.rows(), N: c.OutChannels, K: c.Channels, Batch: [2]int64{1, 1}, TransposedB: true, Alpha: 1,
		Epilogue: c.Epilogue, Room: c.Room,
		A: Matrix{Address: c.X, Row: c.Channels}, B: Matrix{Address: c.Weights, Row: c.Channels}, C: Matrix{Address: c.Y, Row: c.OutChannels}}
}

// Product returns the product of the pixels with the weights, where c is no more than that.
func (c Conv) Product() (Gemm, bool) {
	if !c.product() {
		return Gemm{}, false
	}
	return c.gemm(), true
}

func (c Conv) plan() plan {
	kind := c.Type.String()
	if c.TF32 {
		kind = "tf32"
	}
	return c.Slide.plan(kind, c.Type.Size(), c.Room.Processors)
}

// PartsBytes returns the bytes of Room.Parts that c needs.
func (c Conv) PartsBytes() int64 {
	switch {
	case c.product():
		return c.gemm().PartsBytes()
	case c.Depthwise() || c.check() != nil:
		return 0
	}
	return c.plan().bytes()
}

// Launches returns how a device computes c.
func (c Conv) Launches() ([]Launch, error) {
	if err := floating(c.Type); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.product() {
		return c.gemm().Launches()
	}
	epilogue, err := c.Epilogue.cells(nil)
	if err != nil {
		return nil, err
	}
	args := append(c.cells(), epilogue...)
	if c.Depthwise() {
		return c.depthwise(c.Type.String(), args)
	}
	kind := c.Type.String()
	if c.TF32 {
		kind = "tf32"
	}
	p := c.plan()
	return p.launches("conv_"+kind, args, c.Room.Parts, func() (Launch, error) {
		return p.join("join_"+c.Type.String(), c.Room.Parts, c.Y, slices.Concat(
			cells(nil, c.OutChannels, c.Groups, 0, p.n, p.n, p.shares), []uint64{number(1)}, epilogue))
	})
}
