package kernels

// Pool slides a window over images X [Images, Height, Width, Channels], dense. Y is [Images, OutHeight,
// OutWidth, Channels]: the largest of what a window sees or, with Average, the mean m. Where X is of eight
// bits, its elements v are averaged as (v - Zero)·Scale, and Y is m, or saturate(round(m/OutScale) + OutZero)
// where Out is of eight bits.
type Pool struct {
	Type                Type // F32, F16, BF16, U8 or I8
	Average             bool
	CountPadding        bool // the mean counts what lies outside
	Images              int64
	Height, Width       int64
	Channels            int64
	OutHeight, OutWidth int64
	Window              Window
	PadEnd              [2]int64 // after the last; CountPadding alone reads it
	X, Y                uint64

	Out             Type // of the mean of bytes: F32, F16, BF16, U8 or I8; else Y is of type Type
	Scale, OutScale float32
	Zero, OutZero   int64
}

// Launch returns how a device computes p.
func (p Pool) Launch() (Launch, error) {
	bytes := func(t Type) bool { return t == U8 || t == I8 }
	if err := floating(p.Type); err != nil && !bytes(p.Type) {
		return Launch{}, err
	}
	means := p.Average && bytes(p.Type)
	if err := floating(p.Out); err != nil && means && !bytes(p.Out) {
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
	name := "pool_"
	if means {
		name = "pool_mean_"
		args = append(args, number(p.Scale), uint64(p.Zero), uint64(p.Out), number(p.OutScale), uint64(p.OutZero))
	}
	return flat(name+p.Type.String(), p.Images*p.OutHeight*p.OutWidth*p.Channels, args)
}
