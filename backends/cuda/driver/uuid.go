package driver

import "unsafe"

// UUID returns what tells a device, or the part of one that is given to this process, from all others.
// It needs no context.
func (d *Driver) UUID(device int) (uuid [16]byte, err error) {
	err = d.do(callDeviceGetUUID, uintptr(unsafe.Pointer(&uuid)), uintptr(device))
	return uuid, err
}
