package cpu

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/thrumserve/thrum/backends"
)

// unalignedLoads says that this processor loads elements from any address.
const unalignedLoads = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// MaxTensorBytes bounds every value inside a model: a step that would make a larger one fails
// with ErrInvalid. It keeps a small hostile input, such as a repeat count, from taking all memory.
const MaxTensorBytes = 2 << 30

// buffer is memory that values of one run share. A run is one goroutine, so uses is a plain
// counter.
type buffer struct {
	mem  []byte
	uses int
}

// run is the state of one execution of a plan: the values so far and the memory they lie in.
// It is used by one goroutine at a time and serves one execution after another.
type run struct {
	engine *engine
	ctx    context.Context // of the execution under way
	values []tensor        // by slot
	spare  []*buffer       // not used by any value, the oldest first
	temps  []*tensor       // scratch of the step under way
	in     []*tensor       // arguments of the step under way
	out    []*tensor
	limit  int // bytes of the largest value allowed

	spareBytes int // of all in spare
	iterations int // of loops, in the execution under way
}

// makeTensor makes t a new tensor whose elements have no particular value yet. It refuses
// what is larger than the limit.
func (r *run) makeTensor(t *tensor, d backends.Datatype, shape []int) error {
	n, width := product(shape), d.Size()
	if d == backends.Bytes {
		width = stringBytes
	}
	if n < 0 || n > r.limit/width {
		return backends.Errorf(backends.ErrInvalid, "a value of shape %v of %v is larger than the %d bytes that one may have", shape, d, r.limit)
	}
	t.dtype, t.raw, t.strings, t.buf = d, nil, nil, nil
	t.shape = append(t.shape[:0], shape...)
	if d == backends.Bytes {
		t.strings = make([]string, n)
		return nil
	}
	t.buf = r.take(n * d.Size())
	t.raw = t.buf.mem[:n*d.Size()]
	return nil
}

// scratch returns a tensor, to be made by the step under way, that lives until its end.
func (r *run) scratch() *tensor {
	t := new(tensor)
	r.temps = append(r.temps, t)
	return t
}

// take returns a buffer of at least n bytes with one use.
func (r *run) take(n int) *buffer {
	best := -1
	for i, b := range r.spare {
		if len(b.mem) >= n && len(b.mem) <= 2*n+4096 && (best < 0 || len(b.mem) < len(r.spare[best].mem)) {
			best = i
		}
	}
	if best < 0 {
		return &buffer{mem: newMemory(n), uses: 1}
	}
	b := r.spare[best]
	r.spare = slices.Delete(r.spare, best, best+1)
	r.spareBytes -= len(b.mem)
	b.uses = 1
	return b
}

// drop ends t's use of its memory.
func (r *run) drop(t *tensor) {
	if b := t.buf; b != nil {
		if b.uses--; b.uses == 0 {
			r.keep(b)
		}
	}
	t.raw, t.strings, t.buf = nil, nil, nil
}

// keep makes b spare. Beyond the bounds it lets the oldest go, so that buffers of sizes that
// are not asked for any more make room.
func (r *run) keep(b *buffer) {
	r.spare = append(r.spare, b)
	r.spareBytes += len(b.mem)
	for len(r.spare) > maxSpare || r.spareBytes > maxSpareBytes {
		r.spareBytes -= len(r.spare[0].mem)
		r.spare = slices.Delete(r.spare, 0, 1)
	}
}

// stringBytes is what an empty string takes in memory.
const stringBytes = 16

// maxSpare and maxSpareBytes bound the buffers that a run keeps for later.
const (
	maxSpare      = 64
	maxSpareBytes = 256 << 20
)

// newMemory returns n bytes whose capacity is a whole number of cache lines.
func newMemory(n int) []byte { return make([]byte, n, (n+63)&^63) }

// do runs one step.
func (r *run) do(s *step) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("node %q (%s) failed: %v", s.name, s.op, p)
		}
	}()
	r.in, r.out = r.in[:0], r.out[:0]
	for _, slot := range s.in {
		r.in = append(r.in, r.at(slot))
	}
	for i, slot := range s.out {
		r.out = append(r.out, r.at(slot))
		if i == 0 && slot < 0 {
			r.out[0] = r.scratch()
		}
	}
	if err := s.kernel(r, r.in, r.out); err != nil {
		return fmt.Errorf("node %q (%s): %w", s.name, s.op, err)
	}
	return nil
}

func (r *run) at(slot int) *tensor {
	if slot < 0 {
		return nil
	}
	return &r.values[slot]
}

// steps runs those steps that are needed, nil for all, in order until the context ends. It
// frees each value after its last use.
func (r *run) steps(all []step, needed []bool) error {
	for i := range all {
		if needed != nil && !needed[i] {
			continue
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.do(&all[i]); err != nil {
			return err
		}
		r.dropTemps()
		for _, slot := range all[i].last {
			r.drop(&r.values[slot])
		}
	}
	return nil
}

// dropTemps ends the use of the scratch tensors.
func (r *run) dropTemps() {
	for _, t := range r.temps {
		r.drop(t)
	}
	r.temps = r.temps[:0]
}
