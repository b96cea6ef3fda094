package kernels

// Norm normalises the rows of X [Rows, Columns] + residual: Y = (x - mean)/√(variance + Epsilon)·weight +
// bias. With RootMeanSquare the mean is taken for zero.
type Norm struct {
	Type           Type // F32, F16 or BF16, of everything
	Rows, Columns  int64
	X, Y           uint64
	Residual       uint64 // added before; 0 for none
	ResidualRows   int64  // after so many rows the residual begins anew; 0 where it has as many as X
	Sum            uint64 // where X + residual goes as well; 0 for nowhere
	Weight, Bias   uint64 // [Columns]; 0 for none
	Epsilon        float32
	RootMeanSquare bool
}

// Launch returns how a device computes n.
func (n Norm) Launch() (Launch, error) {
	if err := floating(n.Type); err != nil {
		return Launch{}, err
	}
	if err := positive(n.Rows, n.Columns); err != nil {
		return Launch{}, err
	}
	root := int64(0)
	if n.RootMeanSquare {
		root = 1
	}
	args := cells(nil, n.X, n.Y, n.Residual, n.Sum, n.Weight, n.Bias)
	period := n.ResidualRows
	if period == 0 {
		period = n.Rows
	}
	args = append(cells(args, n.Rows, n.Columns, root), number(n.Epsilon), uint64(period))
	return byRow("norm_"+n.Type.String(), n.Rows, n.Columns, args)
}

// Softmax computes it along the rows of X [Rows, Columns], with Log its logarithm.
type Softmax struct {
	Type          Type // F32, F16 or BF16
	Rows, Columns int64
	X, Y          uint64
	Log           bool
}

// Launch returns how a device computes s.
func (s Softmax) Launch() (Launch, error) {
	if err := floating(s.Type); err != nil {
		return Launch{}, err
	}
	if err := positive(s.Rows, s.Columns); err != nil {
		return Launch{}, err
	}
	logarithm := int64(0)
	if s.Log {
		logarithm = 1
	}
	args := cells(cells(nil, s.X, s.Y), s.Rows, s.Columns, logarithm)
	return byRow("softmax_"+s.Type.String(), s.Rows, s.Columns, args)
}

// byRow returns a launch that gives each row to a warp, or to a block where rows are long.
func byRow(name string, rows, columns int64, args []uint64) (Launch, error) {
	const warps = 4
	if columns <= 1024 {
		g, err := grid(ceil(rows, warps), 1, 1)
		return Launch{Name: name + "_warp", Grid: g, Block: [3]uint32{32, warps, 1}, Args: args}, err
	}
	g, err := grid(rows, 1, 1)
	return Launch{Name: name + "_block", Grid: g, Block: [3]uint32{256, 1, 1}, Args: args}, err
}
