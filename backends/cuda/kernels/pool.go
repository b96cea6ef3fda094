package kernels

// Pool slides a window over images X [Images, Height, Width, Channels], dense. Y is [Images, OutHeight,
// OutWidth, Channels]: the largest of what a window sees or, with Average, the mean.
type Pool struct {
	Type                Type // F32, F16 or BF16; without Average also U8 or I8
	Average             bool
	CountPadding        bool // the mean counts what lies outside
	Images              int64
	Height, Width       int64
	Channels            int64
	OutHeight, OutWidth int64
	Window              Window
	PadEnd              [2]int64 // after the last; CountPadding alone reads it
	X, Y                uint64
}

// Launch returns how a device computes p.
func (p Pool) Launch() (Launch, error) {
	if err := floating(p.Type); err != nil && (p.Average || p.Type != U8 && p.Type != I8) {
		return Launch{}, err
	}
	if err := positive(p.Images, p.Height, p.Width, p.Channels, p.OutHeight, p.OutWidth); err != nil {
		return Launch{}, err
	}
	if err := p.Window.check(); err != nil {
		return Launch{}, err
	}
	kind := int64(0)
	switch {
	case p.Average && p.CountPadding:
		kind = 2
	case p.Average:
		kind = 1
	}
	args := cells(cells(nil, p.X, p.Y), kind, p.Images, p.Height, p.Width, p.Channels, p.OutHeight, p.OutWidth)
	args = cells(p.Window.cells(args), p.PadEnd[0], p.PadEnd[1])
	return flat("pool_"+p.Type.String(), p.Images*p.OutHeight*p.OutWidth*p.Channels, args)
}
