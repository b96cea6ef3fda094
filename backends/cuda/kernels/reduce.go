package kernels

import (
	"fmt"
	"slices"
)

// reductions are numbered as in src/reduce.h.
var reductions = []string{"Sum", "Mean", "Max", "Min", "Prod"}

// Reduce joins the middle dimension of X [Outer, Count, Inner], dense. Y is [Outer, Inner].
type Reduce struct {
	Function            string // Sum, Mean, Max, Min or Prod
	Type                Type   // F32, F16, BF16, I32 or I64
	Outer, Count, Inner int64
	X, Y                uint64
}

// Launch returns how a device computes r.
func (r Reduce) Launch() (Launch, error) {
	code := slices.Index(reductions, r.Function)
	if code < 0 || !r.Type.float() && r.Type != I32 && r.Type != I64 {
		return Launch{}, fmt.Errorf("no kernel reduces %v by %q", r.Type, r.Function)
	}
	if err := positive(r.Outer, r.Count, r.Inner, r.Outer*r.Inner); err != nil {
		return Launch{}, err
	}
	args := cells(cells(nil, r.X, r.Y), int64(code), r.Outer, r.Count, r.Inner)
	return along("reduce", r.Type, r.Outer, r.Inner, args)
}

// ArgReduce finds the position of the largest element along the middle dimension of X
// [Outer, Count, Inner], dense, the first of equal ones. Y is [Outer, Inner] of I64. NaN is
// larger, or smaller, than everything.
type ArgReduce struct {
	Type                Type // F32, F16, BF16, I32 or I64
	Outer, Count, Inner int64
	Smallest            bool
	Last                bool // the last of equal ones
	X, Y                uint64
}

// Launch returns how a device computes r.
func (r ArgReduce) Launch() (Launch, error) {
	if !r.Type.float() && r.Type != I32 && r.Type != I64 {
		return Launch{}, fmt.Errorf("no kernel finds the largest of %v", r.Type)
	}
	if err := positive(r.Outer, r.Count, r.Inner, r.Outer*r.Inner); err != nil {
		return Launch{}, err
	}
	var smallest, last int64
	if r.Smallest {
		smallest = 1
	}
	if r.Last {
		last = 1
	}
	args := cells(cells(nil, r.X, r.Y), r.Outer, r.Count, r.Inner, smallest, last)
	return along("argreduce", r.Type, r.Outer, r.Inner, args)
}

// along gives each result to a warp where what it joins lies together, else to a thread.
func along(name string, t Type, outer, inner int64, args []uint64) (Launch, error) {
	if inner > 1 {
		return flat(fmt.Sprintf("%s_%v_columns", name, t), outer*inner, args)
	}
	const warps = 8
	g, err := grid(ceil(outer, warps), 1, 1)
	return Launch{Name: fmt.Sprintf("%s_%v_rows", name, t), Grid: g, Block: [3]uint32{32, warps, 1}, Args: args}, err
}

// MaxTop is the most that TopK finds.
const MaxTop = 256

// TopK finds the K largest elements of each row of X [Rows, Columns], or smallest, in order, the one at
// the lower position first among equals. Values is [Rows, K], Indices [Rows, K] of I64.
type TopK struct {
	Type             Type // F32, F16 or BF16
	Rows, Columns, K int64
	Smallest         bool
	X                uint64
	Values, Indices  uint64
}

// Launch returns how a device computes t.
func (t TopK) Launch() (Launch, error) {
	if err := floating(t.Type); err != nil {
		return Launch{}, err
	}
	if err := positive(t.Rows, t.Columns, t.K); err != nil {
		return Launch{}, err
	}
	if t.K > t.Columns || t.K > MaxTop {
		return Launch{}, fmt.Errorf("the %d largest of %d: at most %d can be found", t.K, t.Columns, min(t.Columns, MaxTop))
	}
	smallest := int64(0)
	if t.Smallest {
		smallest = 1
	}
	args := cells(cells(nil, t.X, t.Values, t.Indices), t.Columns, t.K, smallest)
	g, err := grid(t.Rows, 1, 1)
	return Launch{Name: "topk_" + t.Type.String(), Grid: g, Block: [3]uint32{256, 1, 1}, Args: args}, err
}
