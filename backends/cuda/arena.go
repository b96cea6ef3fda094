package cuda

import (
	"errors"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// pinner is the part of a driver.Driver that pins memory.
type pinner interface {
	Register(mem []byte) error
	Unregister(mem []byte) error
	HostAlloc(n int) ([]byte, error)
	FreeHost(mem []byte) error
}

// Arena is memory that this process shares with its host, as a device copies from it and to it:
// in place where the driver pins it, and otherwise by way of pinned memory beside it.
type Arena struct {
	pinner  pinner
	shared  []byte
	beside  []byte // of the same length; nil where shared itself is pinned
	refusal error
}

// NewArena makes shared memory ready for a device. Where the driver does not pin it there is an
// arena all the same, and Refusal says why. Close comes before the memory goes.
func NewArena(p pinner, shared []byte) (*Arena, error) {
	err := p.Register(shared)
	if err == nil {
		return &Arena{pinner: p, shared: shared}, nil
	}
	if !driver.Refused(err) {
		return nil, err
	}
	beside, second := p.HostAlloc(len(shared))
	if second != nil {
		return nil, errors.Join(err, second)
	}
	return &Arena{pinner: p, shared: shared, beside: beside, refusal: err}, nil
}

// Refusal says why the shared memory is not pinned; nil if it is.
func (a *Arena) Refusal() error { return a.refusal }

// In returns pinned memory with the n bytes at offset, for a copy to the device.
func (a *Arena) In(offset, n int) ([]byte, error) {
	if err := a.check(offset, n); err != nil {
		return nil, err
	}
	if a.beside == nil {
		return a.shared[offset : offset+n], nil
	}
	copy(a.beside[offset:offset+n], a.shared[offset:])
	return a.beside[offset : offset+n], nil
}

// Out returns pinned memory for a copy of n bytes from the device, and what brings them to offset
// once they are there.
func (a *Arena) Out(offset, n int) (mem []byte, deliver func(), err error) {
	if err := a.check(offset, n); err != nil {
		return nil, nil, err
	}
	if a.beside == nil {
		return a.shared[offset : offset+n], func() {}, nil
	}
	mem = a.beside[offset : offset+n]
	return mem, func() { copy(a.shared[offset:], mem) }, nil
}

func (a *Arena) check(offset, n int) error {
	if offset < 0 || n < 0 || n > len(a.shared)-offset {
		return backends.Errorf(backends.ErrInvalid, "%d bytes at %d are not in an arena of %d", n, offset, len(a.shared))
	}
	return nil
}

// Close gives back what was pinned. No copy may be under way.
func (a *Arena) Close() error {
	if a.beside != nil {
		return a.pinner.FreeHost(a.beside)
	}
	return a.pinner.Unregister(a.shared)
}
