package cuda

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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
	pinned atomic.Bool

	mu   sync.Mutex // held while it is pinned or not any more, which takes long for many pages
	by   Context    // that has pinned it; guarded by mu
	gone bool       // guarded by mu
}

// share pins mem until end is called, which comes before the memory goes and when no copy from it is
// under way. Where no model is loaded yet, it is pinned when one is.
func (p *pins) share(mem []byte) (end func()) {
	r := &region{mem: mem}
	p.mu.Lock()
	p.regions = append(p.regions, r)
	c := p.context
	p.mu.Unlock()
	if c != nil {
		r.pin(c)
	}
	return func() {
		p.mu.Lock()
		p.regions = slices.DeleteFunc(p.regions, func(other *region) bool { return other == r })
		p.mu.Unlock()
		r.unpin()
	}
}

// use has a context pin what is shared, from now on.
func (p *pins) use(c Context) {
	p.mu.Lock()
	if p.context != nil {
		p.mu.Unlock()
		return
	}
	p.context = c
	all := slices.Clone(p.regions)
	p.mu.Unlock()
	for _, r := range all {
		r.pin(c)
	}
}

func (r *region) pin(c Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || r.by != nil {
		return
	}
	err := c.In(func() error { return c.Register(r.mem) })
	if err != nil {
		slog.Warn("shared memory is not pinned: batches are copied beside it first", "refused", driver.Refused(err), "error", err)
		return
	}
	r.by = c
	r.pinned.Store(true)
}

func (r *region) unpin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	r.pinned.Store(false)
	if r.by == nil {
		return
	}
	if err := r.by.In(func() error { return r.by.Unregister(r.mem) }); err != nil {
		slog.Warn("shared memory stays pinned", "error", err)
	}
	r.by = nil
}

// has says that a device may copy from mem, and to it, as it is.
func (p *pins) has(mem []byte) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.ContainsFunc(p.regions, func(r *region) bool { return r.pinned.Load() && within(mem, r.mem) })
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
	all := p.regions
	p.regions, p.context = nil, nil
	p.mu.Unlock()
	for _, r := range all {
		r.unpin()
	}
}
