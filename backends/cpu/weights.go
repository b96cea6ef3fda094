package cpu

import (
	"context"
	"os"
	"unsafe"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/weights"
)

// openWeights opens the memory that the instances of a model share, if there is any, or else memory
// of this process. How constants are folded and laid out depends on the instruction set.
func openWeights(ctx context.Context, f *os.File) *weights.Store {
	if s := weights.Open(ctx, f, "cpu "+kernels.CurrentLevel().String()); s != nil {
		return s
	}
	return weights.Private()
}

// keep returns the place for something that is packed from source: kind says how.
func (e *engine) keep(kind string, source []byte) kernels.Memory {
	return func(n int, fill func([]float32)) []float32 {
		raw := e.weights.Make(kind, source, 4*n, func(dst []byte) { fill(floatsIn(dst)) })
		return floatsIn(raw)
	}
}

// floatsIn returns the numbers that lie in b, which starts a cache line.
func floatsIn(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// copied returns the constant b in the memory where the model keeps its constants.
func (e *engine) copied(b *backends.Tensor) (*tensor, error) {
	t := new(tensor)
	if err := t.importTensor(b); err != nil {
		return nil, err
	}
	return e.kept(t), nil
}

// kept returns a constant tensor in memory that stays: one that stayed in a file's memory would
// keep all of it.
func (e *engine) kept(t *tensor) *tensor {
	k := &tensor{dtype: t.dtype, shape: t.shape, strings: t.strings}
	k.raw = e.weights.Make("constant", t.raw, len(t.raw), func(dst []byte) { copy(dst, t.raw) })
	return k
}
