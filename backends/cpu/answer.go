package cpu

import (
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// maxAnswers bounds the answers that a model keeps to use again, maxAnswerBytes the memory of
// each.
const (
	maxAnswers     = 16
	maxAnswerBytes = 64 << 20
)

// answer is what leaves the engine, and all memory that it takes. It is used again when its
// lease is released.
type answer struct {
	tensors []backends.Tensor
	dims    []int64 // of all tensors
	mem     []byte
	used    int // of mem
	want    int // bytes that were asked for
	lease   backends.Lease
	giveUp  func() // what the lease calls
}

// room returns n bytes that start with a cache line.
func (a *answer) room(n int) []byte {
	size := wholeLines(n)
	a.want += size
	if a.used+size > len(a.mem) {
		return alignedMemory(n)
	}
	a.used += size
	return a.mem[a.used-size:][:n:n]
}

// begin makes the answer empty. The first so many bytes of its memory are for what is known to
// leave.
func (a *answer) begin(known int) {
	if need := max(a.want, known); need > len(a.mem) {
		a.mem = alignedMemory(need)
	}
	a.tensors, a.dims, a.used, a.want = a.tensors[:0], a.dims[:0], known, known
}

// add appends a value of a run. What does not lie in the memory of the answer is copied.
func (a *answer) add(name string, t *tensor) {
	first := len(a.dims)
	for _, d := range t.shape {
		a.dims = append(a.dims, int64(d))
	}
	b := backends.Tensor{Name: name, Datatype: t.dtype, Shape: a.dims[first:len(a.dims):len(a.dims)]}
	switch {
	case t.dtype == backends.Bytes:
		for _, s := range t.strings {
			b.Data = backends.AppendBytesElement(b.Data, []byte(s))
		}
	case t.buf != nil && t.buf.leaves:
		b.Data = t.raw
	default:
		b.Data = a.room(len(t.raw))
		copy(b.Data, t.raw)
	}
	a.tensors = append(a.tensors, b)
}

// answers holds those that are not in use.
type answers struct {
	mu   sync.Mutex
	idle []*answer // guarded by mu
}

func (l *answers) get() *answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.idle); n > 0 {
		a := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return a
	}
	a := &answer{}
	a.giveUp = func() { l.put(a) }
	return a
}

func (l *answers) put(a *answer) {
	clear(a.tensors) // the strings of some
	if len(a.mem) > maxAnswerBytes {
		a.mem = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) < maxAnswers {
		l.idle = append(l.idle, a)
	}
}

// batch hands the answer over.
func (a *answer) batch() backends.Batch {
	a.lease.Renew(a.giveUp)
	return backends.Batch{Tensors: a.tensors, Lease: &a.lease}
}
