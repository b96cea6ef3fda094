package cuda

import (
	"log/slog"
	"slices"
	"sync"
	"unsafe"

	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// pinner is the part of a driver.Driver that pins memory.
type pinner interface {
	Register(mem []byte) error
	Unregister(mem []byte) error
	HostAlloc(n int) ([]byte, error)
	FreeHost(mem []byte) error
}

// pins is the memory that this process shares with its host. Where the driver pins it, devices copy
// from it and to it without a detour.
type pins struct {
	mu      sync.RWMutex
	context Context // nil before the first model; guarded by mu
	regions []*region
}

// region is one mapping.
type region struct {
	mem    []byte
	pinned bool
}

// share pins mem until end is called, which comes before the memory goes and when no copy from it is
// under way. Where no model is loaded yet, it is pinned when one is.
func (p *pins) share(mem []byte) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &region{mem: mem}
	p.regions = append(p.regions, r)
	p.pin(r)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.regions = slices.DeleteFunc(p.regions, func(other *region) bool { return other == r })
		p.unpin(r)
	}
}

// use has a context pin what is shared, from now on.
func (p *pins) use(c Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.context != nil {
		return
	}
	p.context = c
	for _, r := range p.regions {
		p.pin(r)
	}
}

func (p *pins) pin(r *region) {
	if p.context == nil {
		return
	}
	err := p.context.In(func() error { return p.context.Register(r.mem) })
	r.pinned = err == nil
	if err != nil {
		slog.Warn("shared memory is not pinned: batches are copied beside it first", "refused", driver.Refused(err), "error", err)
	}
}

func (p *pins) unpin(r *region) {
	if !r.pinned {
		return
	}
	r.pinned = false
	if err := p.context.In(func() error { return p.context.Unregister(r.mem) }); err != nil {
		slog.Warn("shared memory stays pinned", "error", err)
	}
}

// has says that a device may copy from mem, and to it, as it is.
func (p *pins) has(mem []byte) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.ContainsFunc(p.regions, func(r *region) bool { return r.pinned && within(mem, r.mem) })
}

// within says that mem is a part of whole.
func within(mem, whole []byte) bool {
	at, start := addressOf(mem), addressOf(whole)
	return at >= start && at+uint64(len(mem)) <= start+uint64(len(whole))
}

// addressOf returns where memory of the host is, which pinned memory of the driver's is for devices, too.
func addressOf(mem []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }

// close ends the pinning of everything.
func (p *pins) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.regions {
		p.unpin(r)
	}
	p.regions, p.context = nil, nil
}
