package kernels

import "fmt"

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
}

// Launch returns how a device computes g.
func (g Gemm) Launch() (Launch, error) {
	if err := floating(g.Type); err != nil {
		return Launch{}, err
	}
	if err := positive(g.M, g.N, g.K, g.Batch[0], g.Batch[1]); err != nil {
		return Launch{}, err
	}
	kind := g.Type.String()
	if g.TF32 {
		if g.Type != F32 {
			return Launch{}, fmt.Errorf("products of %v are not taken as tf32", g.Type)
		}
		kind = "tf32"
	}
	layout := "nn"
	if g.TransposedB {
		layout = "nt"
	}
	args := cells(nil, g.A.Address, g.B.Address, g.C.Address)
	args = cells(args, g.M, g.N, g.K, g.A.Row, g.B.Row, g.C.Row, g.Batch[1])
	for _, m := range []Matrix{g.A, g.B, g.C} {
		args = cells(args, m.Batch[0], m.Batch[1])
	}
	args, err := g.Epilogue.cells(append(args, number(g.Alpha)))
	if err != nil {
		return Launch{}, err
	}
	tile := tileOf(kind, g.M, g.N, g.Batch[0]*g.Batch[1])
	return tile.launch(fmt.Sprintf("gemm_%s_%s", kind, layout), g.M, g.N, g.Batch[0]*g.Batch[1], args)
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

func (t tile) launch(name string, m, n, batch int64, args []uint64) (Launch, error) {
	if t != plain {
		name = fmt.Sprintf("%s_%d", name, t.rows)
	}
	// Blocks that follow each other share columns of B, which are read from memory once then.
	g, err := grid(ceil(m, t.rows), ceil(n, t.columns), batch)
	return Launch{Name: name, Grid: g, Block: [3]uint32{t.threads, 1, 1}, Args: args}, err
}
