package driver

import (
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/thrumserve/thrum/backends"
)

// library is the name under which the driver's own library is installed.
const library = "libcuda.so.1"

// Oldest is the oldest driver that takes the kernels: those that a toolkit makes run on drivers of its major version
// and later ones, and CUDA 13.0 has made these.
const Oldest Version = 13000

// Driver is the CUDA driver of this machine, started. It may be used by many goroutines.
type Driver struct {
	functions [calls]uintptr
	version   Version
}

// Open loads the driver's library and starts the driver. Where that cannot be, the error is an
// ErrUnavailable that says why and what to do: there is no library, the driver is older than
// Oldest, it sees no device, or it does not start.
func Open() (*Driver, error) { return open(library) }

func open(library string) (*Driver, error) {
	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, backends.Errorf(backends.ErrUnavailable,
			"no NVIDIA driver: %w: install the driver, or make it visible in this container; `nvidia-smi` tells when it works", err)
	}
	d := &Driver{}
	for c := range calls {
		d.functions[c], _ = purego.Dlsym(handle, names[c]) // 0 where an old driver lacks it
	}
	if err := d.checkVersion(); err != nil {
		return nil, err
	}
	if r := d.call(callInit, 0); r != success {
		return nil, d.refuse(r)
	}
	return d, nil
}

// Version returns the newest CUDA that the driver speaks.
func (d *Driver) Version() Version { return d.version }

func (d *Driver) checkVersion() error {
	var v int32
	if r := d.call(callDriverGetVersion, uintptr(unsafe.Pointer(&v))); r != success {
		return d.refuse(r)
	}
	d.version = Version(v)
	if d.version < Oldest {
		return backends.Errorf(backends.ErrUnavailable, "the NVIDIA driver speaks CUDA %v, and CUDA %v is the oldest that will do: update the driver", d.version, Oldest)
	}
	for c, f := range d.functions {
		if f == 0 {
			return backends.Errorf(backends.ErrUnavailable, "the NVIDIA driver says it speaks CUDA %v, and lacks %s: install the whole driver, of CUDA %v or newer", d.version, names[c], Oldest)
		}
	}
	return nil
}

// refuse says why the driver does not start.
func (d *Driver) refuse(r Result) error {
	switch r {
	case noDevice:
		return backends.Errorf(backends.ErrUnavailable, "the NVIDIA driver sees no device: look at `nvidia-smi -L`, give the container its devices, and check CUDA_VISIBLE_DEVICES")
	case driverMismatch:
		return backends.Errorf(backends.ErrUnavailable, "the NVIDIA driver's library and its kernel module are of different versions (%v): reboot, or reload the module", d.Error(names[callInit], r))
	}
	return backends.Errorf(backends.ErrUnavailable, "the NVIDIA driver does not start: %v: look at `nvidia-smi`", d.Error(names[callInit], r))
}

// call calls a function and returns its result, or notFound where the library lacks it.
//
//go:uintptrescapes
func (d *Driver) call(c call, args ...uintptr) Result {
	if d.functions[c] == 0 {
		return notFound
	}
	r, _, _ := purego.SyscallN(d.functions[c], args...)
	return Result(int32(r))
}

// do calls a function and makes an error of what it returns.
//
//go:uintptrescapes
func (d *Driver) do(c call, args ...uintptr) error {
	return d.Error(names[c], d.call(c, args...))
}
