package cuda

import (
	"errors"
	"math/bits"
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// maxIdle bounds the pinned memory that waits for answers.
const maxIdle = 64 << 20

// answers lends pinned memory, in sizes of powers of two, and takes it back.
type answers struct {
	engine *engine

	mu     sync.Mutex
	idle   map[int][][]byte // by size
	bytes  int              // of those idle
	closed bool
}

func newAnswers(e *engine) *answers { return &answers{engine: e, idle: map[int][][]byte{}} }

// lay gives tensors their data, and returns the lease that gives that back.
func (a *answers) lay(tensors []backends.Tensor) (*backends.Lease, error) {
	size := func(t backends.Tensor) int { return int(t.Elements()) * t.Datatype.Size() }
	total := 0
	for _, t := range tensors {
		total += int(aligned(int64(size(t))))
	}
	mem, lease, err := a.get(total)
	if err != nil {
		return nil, err
	}
	at := 0
	for i, t := range tensors {
		n := size(t)
		tensors[i].Data = mem[at : at+n : at+n]
		at += int(aligned(int64(n)))
	}
	return lease, nil
}

// get returns n bytes and the lease that gives them back.
func (a *answers) get(n int) ([]byte, *backends.Lease, error) {
	if n == 0 {
		return nil, nil, nil
	}
	size := 1 << max(bits.Len(uint(n-1)), 12)
	mem := a.take(size)
	if mem == nil {
		err := a.engine.context.In(func() (err error) {
			mem, err = a.engine.context.HostAlloc(size)
			return err
		})
		if err != nil {
			return nil, nil, a.engine.failed(err)
		}
	}
	return mem, backends.NewLease(func() { a.put(mem) }), nil
}

func (a *answers) take(size int) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.idle[size]
	if len(all) == 0 {
		return nil
	}
	a.idle[size] = all[:len(all)-1]
	a.bytes -= size
	return all[len(all)-1]
}

func (a *answers) put(mem []byte) {
	a.mu.Lock()
	keep := !a.closed && a.bytes+len(mem) <= maxIdle
	if keep {
		a.idle[len(mem)] = append(a.idle[len(mem)], mem)
		a.bytes += len(mem)
	}
	a.mu.Unlock()
	if !keep {
		// What is still read after the driver has ended goes with the process.
		_ = a.engine.context.In(func() error { return a.engine.context.FreeHost(mem) })
	}
}

// close frees what is idle. What is lent is freed when it comes back.
func (a *answers) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return a.engine.context.In(func() error {
		var all []error
		for _, some := range a.idle {
			for _, mem := range some {
				all = append(all, a.engine.context.FreeHost(mem))
			}
		}
		a.idle = nil
		return errors.Join(all...)
	})
}
