package cpu

import (
	"context"
	"fmt"
	"runtime"

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
	mem     []byte
	uses    int
	number  int  // of its taking in this execution
	at, end int  // its place, if that is in the arena
	inside  bool // the arena
	leaves  bool // it belongs to the answer, or to nobody: it is not used again
}

// run is the state of one execution of a plan: the values so far and the memory they lie in.
// It is used by one goroutine at a time and serves one execution after another.
type run struct {
	engine *engine
	ctx    context.Context // of the execution under way
	values []tensor        // by slot
	temps  []*tensor       // scratch of the steps under way
	first  int             // of temps, that belongs to the innermost step
	under  *step           // the step under way
	in     []*tensor       // its arguments
	out    []*tensor
	limit  int // bytes of the largest value allowed

	iterations int         // of loops, in the execution under way
	watch      func(*step) // called after each step; may be nil

	memory
	workspace
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
	if n := len(r.temps); n < cap(r.temps) && r.temps[:n+1][n] != nil {
		r.temps = r.temps[:n+1]
		return r.temps[n]
	}
	t := new(tensor)
	r.temps = append(r.temps, t)
	return t
}

// makeOver is makeTensor for kernels that may write over src, an input of theirs: it takes the
// memory of src where nobody needs that after the step under way.
func (r *run) makeOver(t, src *tensor, d backends.Datatype, shape []int) error {
	if src.buf == nil || src.buf.uses != 1 || d == backends.Bytes || product(shape)*d.Size() != len(src.raw) || !r.dies(src) {
		return r.makeTensor(t, d, shape)
	}
	src.buf.uses++
	t.dtype, t.raw, t.strings, t.buf = d, src.raw, nil, src.buf
	t.shape = append(t.shape[:0], shape...)
	return nil
}

// dies says that t is a value that is freed after the step under way.
func (r *run) dies(t *tensor) bool {
	if r.under == nil {
		return false
	}
	for _, slot := range r.under.last {
		if &r.values[slot] == t {
			return true
		}
	}
	return false
}

// stringBytes is what an empty string takes in memory.
const stringBytes = 16

// newMemory returns n bytes whose capacity is a whole number of cache lines.
func newMemory(n int) []byte { return make([]byte, n, (n+63)&^63) }

// do runs one step.
func (r *run) do(s *step) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("node %q (%s) failed: %v", s.name, s.op, p)
		}
	}()
	r.under, r.in, r.out = s, r.in[:0], r.out[:0]
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
		mark := r.mark()
		if err := r.do(&all[i]); err != nil {
			return err
		}
		if r.watch != nil {
			r.watch(&all[i])
		}
		r.dropTemps()
		r.reset(mark)
		for _, slot := range all[i].last {
			r.drop(&r.values[slot])
		}
	}
	return nil
}

// dropTemps ends the use of the scratch tensors of the innermost step.
func (r *run) dropTemps() {
	for _, t := range r.temps[r.first:] {
		r.drop(t)
	}
	r.temps = r.temps[:r.first]
}
