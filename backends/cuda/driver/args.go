package driver

import (
	"math"
	"unsafe"
)

// Args are the arguments of a launch. Each lies in a cell of eight bytes, since package
// gorgonia.org/cu reads eight whatever the size; the driver reads as many as the kernel declares.
// The zero value has none.
type Args struct{ cells []*uint64 }

// Address adds an address of the device.
func (a *Args) Address(at uint64) { a.add(at) }

// Int64 adds a number of 64 bits.
func (a *Args) Int64(v int64) { a.add(uint64(v)) }

// Int32 adds a number of 32 bits.
func (a *Args) Int32(v int32) { a.add(uint64(uint32(v))) }

// Float32 adds a number of single precision.
func (a *Args) Float32(v float32) { a.add(uint64(math.Float32bits(v))) }

func (a *Args) add(v uint64) { a.cells = append(a.cells, &v) }

// Cells returns what a launch takes: where each argument lies, in order.
func (a *Args) Cells() []unsafe.Pointer {
	cells := make([]unsafe.Pointer, len(a.cells))
	for i, c := range a.cells {
		cells[i] = unsafe.Pointer(c)
	}
	return cells
}
