package kernels

import (
	"fmt"
	"slices"
)

// Matrix says where the matrices of a product lie. Strides count elements.
type Matrix struct {
	Address uint64
	Row     int64    // from one row to the next; elements of a row follow each other
	Batch   [2]int64 // from one matrix to the next, of the outer and the inner dimension; 0 for the same
}

// Gemm computes C = epilogue(Alpha·A·B) for Batch[0]·Batch[1] matrices A [M, K], B [K, N], C [M, N].
type Gemm struct {
	Type        Type // F32, F16 or BF16, of everything
	TF32        bool // products of F32 are taken with 10 bits of mantissa, on tensor cores
	M, N, K     int64
	Batch       [2]int64
	A, B, C     Matrix
	TransposedB bool // B lies as [N, K], and B.Row is from one column to the next
	Alpha       float32
	Epilogue    Epilogue
	Room        Room
}

// kind is what the kernels are called.
func (g Gemm) kind() string {
	if g.TF32 {
		return "tf32"
	}
	return g.Type.String()
}

func (g Gemm) plan() plan {
	return planOf(g.kind(), [3]int64{g.M, g.N, g.K * g.Type.Size()}, g.Batch[0]*g.Batch[1], g.Room.Processors)
}

// PartsBytes returns the bytes of Room.Parts that g needs.
func (g Gemm) PartsBytes() int64 { return g.plan().bytes() }

// Launches returns how a device computes g.
func (g Gemm) Launches() ([]Launch, error) {
	if err := floating(g.Type); err != nil {
		return nil, err
	}
	if err := positive(g.M, g.N, g.K, g.Batch[0], g.Batch[1]); err != nil {
		return nil, err
	}
	if g.TF32 && g.Type != F32 {
		return nil, fmt.Errorf("products of %v are not taken as tf32", g.Type)
	}
	layout := "nn"
	if g.TransposedB {
		layout = "nt"
	}
	epilogue, err := g.Epilogue.cells(nil)
	if err != nil {
		return nil, err
	}
	args := cells(nil, g.A.Address, g.B.Address, g.C.Address)
	args = cells(args, g.M, g.N, g.K, g.A.Row, g.B.Row, g.C.Row, g.Batch[1])
	for _, m := range []Matrix{g.A, g.B, g.C} {
		args = cells(args, m.Batch[0], m.Batch[1])
	}
	args = append(append(args, number(g.Alpha)), epilogue...)
	p := g.plan()
	return p.launches(fmt.Sprintf("gemm_%s_%s", g.kind(), layout), args, g.Room.Parts, func() (Launch, error) {
		return p.join("join_"+g.Type.String(), g.Room.Parts, g.C.Address, slices.Concat(
			cells(nil, g.C.Row, g.Batch[1], g.C.Batch[0], g.C.Batch[1], 0, p.shares), []uint64{number(g.Alpha)}, epilogue))
	})
}

// tile is the part of a result that a block computes.
type tile struct {
	rows, columns int64
	threads       uint32
}

var (
	large = tile{128, 128, 256}
	small = tile{64, 64, 128}
	plain = tile{64, 64, 256}
)

// full is about how many blocks keep the largest device busy.
const full = 120

// tileOf chooses large tiles where there are enough of them for all multiprocessors.
func tileOf(kind string, m, n, batch int64) tile {
	switch {
	case kind == "f32":
		return plain
	case ceil(m, large.rows)*ceil(n, large.columns)*batch >= full:
		return large
	}
	return small
}

// Room is what a product may have besides its operands.
type Room struct {
	Processors int64  // multiprocessors of the device; 0 for a product whose depth is not divided
	Parts      uint64 // memory of as many bytes as PartsBytes returns
}

// plan is how blocks share a product [m, n], of which there are several.
type plan struct {
	tile
	m, n, batch int64
	shares      int64 // of the depth, which blocks add up each by itself
}

// slab is how many bytes of the depth a block takes at a time.
const slab = 64

// planOf returns the plan of products with rows, columns and bytes of depth of those sizes.
func planOf(kind string, sizes [3]int64, batch, processors int64) plan {
	p := plan{tile: tileOf(kind, sizes[0], sizes[1], batch), m: sizes[0], n: sizes[1], batch: batch}
	p.shares = shares(ceil(p.m, p.rows)*ceil(p.n, p.columns)*batch, ceil(sizes[2], slab), processors)
	return p
}

// shares returns in how many parts the depth is divided where there are too few tiles for two blocks on
// each multiprocessor: at most 16, of eight slabs or more. It depends on nothing else, so that a product
// gives the same result every time.
func shares(tiles, slabs, processors int64) int64 {
	if tiles < 1 {
		return 1
	}
	n := min(2*processors/tiles, slabs/8, 16)
	if n < 2 {
		return 1
	}
	return ceil(slabs, ceil(slabs, n))
}

// bytes returns the memory for the sums of all shares.
func (p plan) bytes() int64 {
	if p.shares == 1 {
		return 0
	}
	return 4 * p.shares * p.batch * p.m * p.n
}

// launches returns the product and, if its depth is divided, what joins the parts.
func (p plan) launches(name string, args []uint64, parts uint64, join func() (Launch, error)) ([]Launch, error) {
	if p.tile != plain {
		name = fmt.Sprintf("%s_%d", name, p.rows)
	}
	// Blocks that follow each other share columns of B, which are read from memory once then.
	g, err := grid(ceil(p.m, p.rows), ceil(p.n, p.columns), p.batch*p.shares)
	if err != nil {
		return nil, err
	}
	all := []Launch{{Name: name, Grid: g, Block: [3]uint32{p.threads, 1, 1}, Args: append(args, parts, uint64(p.shares))}}
	if p.shares == 1 {
		return all, nil
	}
	l, err := join()
	return append(all, l), err
}

// join returns what adds the shares up and goes on with the sums.
func (p plan) join(name string, parts, to uint64, args []uint64) (Launch, error) {
	all := cells(cells(nil, parts, to), p.batch, p.m, p.n)
	return flat(name, p.batch*p.m*ceil(p.n, 4), append(all, args...))
}
