package driver

import "unsafe"

// Pool is memory of a device that is handed out and taken back in the order of a stream.
type Pool uintptr

// DefaultPool returns the pool from which AllocAsync takes memory of a device. It needs no context.
func (d *Driver) DefaultPool(device int) (Pool, error) {
	var p Pool
	err := d.do(callDeviceGetDefaultMemPool, uintptr(unsafe.Pointer(&p)), uintptr(device))
	return p, err
}

// Trim gives back what a pool has free beyond n bytes.
func (d *Driver) Trim(p Pool, n uint64) error {
	return d.do(callMemPoolTrimTo, uintptr(p), uintptr(n))
}

// AllocAsync returns the address of n bytes of the device, which may be used by what is put on
// the stream from then on.
func (d *Driver) AllocAsync(n uint64, s Stream) (uint64, error) {
	var at uint64
	err := d.do(callMemAllocAsync, uintptr(unsafe.Pointer(&at)), uintptr(n), uintptr(s))
	return at, err
}

// FreeAsync frees memory from AllocAsync once the stream has come to it.
func (d *Driver) FreeAsync(at uint64, s Stream) error {
	return d.do(callMemFreeAsync, uintptr(at), uintptr(s))
}
