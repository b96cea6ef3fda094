package kernels

import (
	"fmt"
	"math"
)

// Launch is one call of a kernel.
type Launch struct {
	Name   string // of the function in the image
	Grid   [3]uint32
	Block  [3]uint32
	Shared uint32 // bytes of dynamic shared memory, at most MostShared; above PlainShared the function has to be allowed them
	// Args are the kernel's arguments, one cell of eight bytes for each: the driver takes them through
	// kernelParams as the addresses of the cells, which lie side by side, or through extra as they lie.
	Args []uint64
}

// Bytes of shared memory that a block has on every device: unasked, and of those with the images' compute
// capabilities where its function is allowed them. Only dynamic shared memory can be above PlainShared.
const (
	PlainShared = 48 << 10
	MostShared  = 96 << 10
)

// MaxArgs is the most cells that a Launch has.
const MaxArgs = 52

// maxGrid bounds the second and the third dimension of a grid.
const maxGrid = 65535

func number(v float32) uint64 { return math.Float64bits(float64(v)) }

// cells puts addresses, integers and numbers (as their bits) after each other.
func cells[T int64 | uint64](to []uint64, values ...T) []uint64 {
	for _, v := range values {
		to = append(to, uint64(v))
	}
	return to
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// grid returns the grid of a launch, or an error where a device has none that large.
func grid(x, y, z int64) ([3]uint32, error) {
	if x < 1 || y < 1 || z < 1 || x > math.MaxInt32 || y > maxGrid || z > maxGrid {
		return [3]uint32{}, fmt.Errorf("a grid of %d × %d × %d blocks: a device has 1 to %d × %d × %d", x, y, z, math.MaxInt32, maxGrid, maxGrid)
	}
	return [3]uint32{uint32(x), uint32(y), uint32(z)}, nil
}

// one returns a launch as the only one.
func one(l Launch, err error) ([]Launch, error) { return []Launch{l}, err }

// flat returns a launch of n threads, in blocks of 256.
func flat(name string, n int64, args []uint64) (Launch, error) {
	g, err := grid(ceil(n, 256), 1, 1)
	return Launch{Name: name, Grid: g, Block: [3]uint32{256, 1, 1}, Args: args}, err
}

// positive returns an error that names the first of sizes that is less than 1.
func positive(sizes ...int64) error {
	for i, n := range sizes {
		if n < 1 || n > math.MaxInt32 {
			return fmt.Errorf("size %d of the operation is %d: 1 to %d can be", i, n, math.MaxInt32)
		}
	}
	return nil
}
