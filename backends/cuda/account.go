package cuda

import (
	"fmt"
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// Account is the memory of a device that models may take: what the driver had free when the
// account was opened. What other processes take later it does not see, so an allocation that has
// been granted may still fail. It may be used by many goroutines.
type Account struct {
	device   string
	capacity uint64

	mu   sync.Mutex
	used uint64
}

// NewAccount opens an account of so many bytes of a device, whose name is for errors.
func NewAccount(device string, capacity uint64) *Account {
	return &Account{device: device, capacity: capacity}
}

// Reserve grants n bytes for a purpose, such as "model a, version 2", until release is called,
// which may be called twice. What does not fit is an ErrUnavailable with the figures.
func (a *Account) Reserve(purpose string, n uint64) (release func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if free := a.capacity - a.used; n > free {
		return nil, backends.Errorf(backends.ErrUnavailable,
			"%s needs %s of %s, of which %s are free of %s: unload a model, serve it in lower precision, or on another device",
			purpose, inUnits(n), a.device, inUnits(free), inUnits(a.capacity))
	}
	a.used += n
	var once sync.Once
	return func() {
		once.Do(func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.used -= n
		})
	}, nil
}

// Used returns how many bytes are granted.
func (a *Account) Used() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used
}

// Free returns how many bytes are not granted.
func (a *Account) Free() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.capacity - a.used
}

// inUnits writes a size for people.
func inUnits(n uint64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}
