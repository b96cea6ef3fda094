package kernels

import (
	"encoding/binary"
	"fmt"
)

// Gather reads a table [Outer, Rows, Inner] at Indices [Count]: Y is [Outer, Count, Inner]. Indices below
// zero count from the end. Where one is of no row, Y is zeros and Fault becomes 1.
type Gather struct {
	Type         Type // any
	Index        Type // of Indices: I32 or I64
	Outer, Rows  int64
	Inner, Count int64
	Table, Y     uint64
	Indices      uint64
	Fault        uint64 // an I32; 0 for none
}

// Launch returns how a device computes g.
func (g Gather) Launch() (Launch, error) {
	if g.Index != I32 && g.Index != I64 {
		return Launch{}, fmt.Errorf("indices of %v: i32 and i64 can be", g.Index)
	}
	if err := positive(g.Outer, g.Rows, g.Inner, g.Count); err != nil {
		return Launch{}, err
	}
	width := g.Inner * g.Type.Size()
	unit := widest(uint64(width) | g.Table | g.Y)
	args := cells(nil, g.Table, g.Y, g.Indices, g.Fault)
	args = cells(args, g.Outer, g.Rows, width/unit, g.Count, g.Index.Size())
	return flat(fmt.Sprintf("gather_%d", unit), g.Outer*g.Count*(width/unit), args)
}

// widest returns the most bytes, up to 16, that divide all of what was or'ed.
func widest(bits uint64) int64 {
	unit := int64(16)
	for bits%uint64(unit) != 0 {
		unit /= 2
	}
	return unit
}

// Bags is one of the tables of an EmbeddingBags: each of the bags becomes the sum, or the mean, of the
// rows of Table [Rows, Width] at its indices, and lies at Y + bag·Stride.
type Bags struct {
	Table   uint64
	Indices uint64 // [bags, Length] of I64
	Y       uint64
	Rows    int64
	Length  int64 // indices of a bag, at least 1
}

// BagsSize is the bytes of a Bags in memory.
const BagsSize = 40

// Append adds what a kernel reads of b.
func (b Bags) Append(to []byte) []byte {
	for _, v := range []uint64{b.Table, b.Indices, b.Y, uint64(b.Rows), uint64(b.Length)} {
		to = binary.LittleEndian.AppendUint64(to, v)
	}
	return to
}

// EmbeddingBags looks up bags in several tables at once. Indices are as in Gather, those of no row
// count as zeros.
type EmbeddingBags struct {
	Type   Type   // F32, F16 or BF16
	Tables uint64 // of Count, as Bags.Append writes them, in memory of the device
	Count  int64
	Bags   int64 // of each table
	Width  int64
	Stride int64 // in elements, from one bag's result to the next
	Mean   bool
	Fault  uint64
}

// Launch returns how a device computes e.
func (e EmbeddingBags) Launch() (Launch, error) {
	if err := floating(e.Type); err != nil {
		return Launch{}, err
	}
	if err := positive(e.Count, e.Bags, e.Width, e.Stride); err != nil {
		return Launch{}, err
	}
	mean := int64(0)
	if e.Mean {
		mean = 1
	}
	args := cells(cells(nil, e.Tables, e.Fault), e.Bags, e.Width, e.Stride, mean)
	const warps = 8
	g, err := grid(ceil(e.Bags, warps), e.Count, 1)
	return Launch{Name: "bags_" + e.Type.String(), Grid: g, Block: [3]uint32{32, warps, 1}, Args: args}, err
}
