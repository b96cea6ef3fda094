package kernels

import (
	"fmt"
	"slices"
)

// Heads says where the rows of Heads lie: element e of row r of head h of example b is at
// Address + (b·Batch + h·Head + r·Row + e)·size.
type Heads struct {
	Address          uint64
	Batch, Head, Row int64 // in elements
}

// Attention computes softmax(Scale·Q·Kᵀ + mask)·V for each head of each example, where Q and Out are
// [Queries, Size], K and V [Keys, Size]. A row of which every key is masked by -Inf becomes zeros.
type Attention struct {
	Type          Type // F32, F16 or BF16, of everything
	Batch, Heads  int64
	Queries, Keys int64
	Size          int64 // of a head: 32, 64 or 128
	Q, K, V, Out  Heads
	// Mask is added to the scores. Its Batch, Head and Row may be 0, and so may MaskKey, which is from
	// one key to the next. Address 0 is no mask.
	Mask    Heads
	MaskKey int64
	Causal  bool // query i sees the keys up to i + Keys - Queries alone
	Scale   float32
}

// headSizes are those that kernels are made for.
var headSizes = []int64{32, 64, 128}

// Launch returns how a device computes a.
func (a Attention) Launch() (Launch, error) {
	if err := floating(a.Type); err != nil {
		return Launch{}, err
	}
	if err := positive(a.Batch, a.Heads, a.Queries, a.Keys); err != nil {
		return Launch{}, err
	}
	if !slices.Contains(headSizes, a.Size) {
		return Launch{}, fmt.Errorf("heads of %d: there are kernels for %v", a.Size, headSizes)
	}
	var args []uint64
	for _, h := range []Heads{a.Q, a.K, a.V, a.Out, a.Mask} {
		args = cells(cells(args, h.Address), h.Batch, h.Head, h.Row)
	}
	causal := int64(0)
	if a.Causal {
		causal = 1
	}
	args = cells(args, a.MaskKey, a.Heads, a.Queries, a.Keys, causal)
	args = append(args, number(a.Scale))
	rows := int64(64)
	if a.Type == F32 {
		rows = 16
	}
	g, err := grid(ceil(a.Queries, rows), a.Heads, a.Batch)
	return Launch{Name: fmt.Sprintf("attention_%v_%d", a.Type, a.Size), Grid: g, Block: [3]uint32{128, 1, 1}, Args: args}, err
}
