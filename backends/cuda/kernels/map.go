package kernels

import (
	"fmt"
	"slices"
)

// MaxDims is the most dimensions of a Map, once those that can be joined are.
const MaxDims = 6

// View is a tensor of the shape of a Map. Strides count elements and may be zero or negative.
type View struct {
	Address uint64
	Type    Type
	Strides []int64
}

// Map computes each element of Out from those of its operands. Function "" converts from one type to
// another and copies where they are the same. Functions of floating point are computed in single
// precision, those of integers in 64 bits; And, Or, Xor, Not and the comparisons make Bool, and Where
// takes Bool first.
type Map struct {
	Function    string
	Alpha, Beta float32 // of Clip the bounds; of Elu, HardSigmoid and LeakyRelu what ONNX calls so
	Shape       []int64
	Out         View
	In          []View
}

// Launch returns how a device computes m.
func (m Map) Launch() (Launch, error) {
	code := slices.Index(functions, m.Function)
	if code < 0 || len(m.In) != operands(code) {
		return Launch{}, fmt.Errorf("no kernel computes %q of %d operands", m.Function, len(m.In))
	}
	views := append([]View{m.Out}, m.In...)
	shape, views, err := joined(m.Shape, views)
	if err != nil {
		return Launch{}, err
	}
	n := int64(1)
	for _, size := range shape {
		n *= size
	}
	if err := positive(n); err != nil {
		return Launch{}, err
	}
	if m.Function == "" && m.Out.Type == m.In[0].Type {
		if l, ok, err := transposition(shape, views); ok {
			return l, err
		}
	}
	float := slices.ContainsFunc(views, func(v View) bool { return v.Type.float() })
	if !float && !slices.Contains(integral, m.Function) {
		return Launch{}, fmt.Errorf("no kernel computes %q of integers", m.Function)
	}
	args := cells(nil, int64(code), n)
	args = append(args, number(m.Alpha), number(m.Beta))
	if l, ok, err := together(views, shape, args); ok {
		return l, err
	}
	return m.strided(shape, views, args, float)
}

// together returns the launch of a Map whose operands are all of one type of floating point, without
// gaps, each with as many elements as the result.
func together(views []View, shape []int64, args []uint64) (Launch, bool, error) {
	for _, v := range views {
		if !v.Type.float() || v.Type != views[0].Type || len(shape) > 1 || len(shape) == 1 && v.Strides[0] != 1 || v.Address%16 != 0 {
			return Launch{}, false, nil
		}
	}
	if len(views) > 3 {
		return Launch{}, false, nil
	}
	for i := range 3 {
		args = cells(args, views[min(i, len(views)-1)].Address)
	}
	n := int64(args[1])
	each := 16 / views[0].Type.Size()
	l, err := flat("map_"+views[0].Type.String(), ceil(n, each), args)
	return l, true, err
}

// strided returns the launch of any other Map.
func (m Map) strided(shape []int64, views []View, args []uint64, float bool) (Launch, error) {
	for len(views) < 4 {
		views = append(views, View{Address: views[1].Address, Type: views[1].Type, Strides: make([]int64, len(shape))})
	}
	for _, v := range views {
		args = append(args, v.Address, uint64(v.Type))
	}
	for i := range MaxDims - 1 { // the outermost needs no size
		args = cells(args, sizeFromEnd(shape, i))
	}
	for _, v := range views[:1+operands(int(args[0]))] {
		for i := range MaxDims {
			args = cells(args, strideFromEnd(v.Strides, i))
		}
	}
	kind := "i64"
	if float {
		kind = "f32"
	}
	n := int64(args[1])
	return flat(fmt.Sprintf("strided%d_%s", operands(int(args[0])), kind), n, args)
}

func sizeFromEnd(shape []int64, i int) int64 {
	if i < len(shape) {
		return shape[len(shape)-1-i]
	}
	return 1
}

func strideFromEnd(strides []int64, i int) int64 {
	if i < len(strides) {
		return strides[len(strides)-1-i]
	}
	return 0
}

// joined drops dimensions of one element and joins those that lie behind each other in all views.
func joined(shape []int64, views []View) ([]int64, []View, error) {
	var sizes []int64
	out := slices.Clone(views)
	for i := range out {
		if len(views[i].Strides) != len(shape) {
			return nil, nil, fmt.Errorf("%d strides for %d dimensions", len(views[i].Strides), len(shape))
		}
		out[i].Strides = nil
	}
	for d, size := range shape {
		if size == 1 {
			continue
		}
		last := len(sizes) - 1
		join := last >= 0
		for i := range out {
			join = join && out[i].Strides[last] == size*views[i].Strides[d]
		}
		if join {
			sizes[last] *= size
		} else {
			sizes = append(sizes, size)
		}
		for i := range out {
			if join {
				out[i].Strides[last] = views[i].Strides[d]
			} else {
				out[i].Strides = append(out[i].Strides, views[i].Strides[d])
			}
		}
	}
	if len(sizes) > MaxDims {
		return nil, nil, fmt.Errorf("%d dimensions that cannot be joined: at most %d", len(sizes), MaxDims)
	}
	return sizes, out, nil
}

// transposition returns the launch of a copy whose last two dimensions change places, tile by tile.
func transposition(shape []int64, views []View) (Launch, bool, error) {
	to, from := views[0], views[1]
	rank := len(shape)
	if rank < 2 || rank > 3 || to.Strides[rank-1] != 1 || from.Strides[rank-2] != 1 || to.Strides[rank-2] < 1 || from.Strides[rank-1] < 1 {
		return Launch{}, false, nil
	}
	batch, toBatch, fromBatch := int64(1), int64(0), int64(0)
	if rank == 3 {
		batch, toBatch, fromBatch = shape[0], to.Strides[0], from.Strides[0]
	}
	args := cells(nil, from.Address, to.Address)
	args = cells(args, shape[rank-2], shape[rank-1], from.Strides[rank-1], to.Strides[rank-2], fromBatch, toBatch)
	g, err := grid(ceil(shape[rank-1], 32), ceil(shape[rank-2], 32), batch)
	if err != nil {
		return Launch{}, false, nil // the strided kernel has no such bound
	}
	name := fmt.Sprintf("transpose_%d", from.Type.Size())
	return Launch{Name: name, Grid: g, Block: [3]uint32{32, 8, 1}, Args: args}, true, nil
}
