package driver

import (
	"errors"
	"slices"
	"unsafe"
)

// portable makes pinned memory pinned for every context of the process.
const portable = 1

// HostAlloc returns n bytes of pinned memory, which FreeHost frees.
func (d *Driver) HostAlloc(n int) ([]byte, error) {
	var p *byte
	if err := d.do(callMemHostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n), portable); err != nil {
		return nil, err
	}
	return unsafe.Slice(p, n), nil
}

// FreeHost frees memory from HostAlloc.
func (d *Driver) FreeHost(mem []byte) error {
	return d.do(callMemFreeHost, uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}

// Register pins memory that is there already, such as a mapping shared with another process, so
// that devices copy to and from it without a detour. It stays pinned until Unregister, which has
// to come before the memory goes.
func (d *Driver) Register(mem []byte) error {
	return d.do(callMemHostRegister, uintptr(unsafe.Pointer(unsafe.SliceData(mem))), uintptr(len(mem)), portable)
}

// Unregister ends what Register began.
func (d *Driver) Unregister(mem []byte) error {
	return d.do(callMemHostUnregister, uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}

// Refused reports whether err says that memory cannot be pinned here, by the driver's rules or a
// limit, so that another way has to be taken.
func Refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains([]Result{outOfMemory, notPermitted, notSupported}, e.Result)
}
