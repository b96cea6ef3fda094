package nvml

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
)

// library is the name under which the library is installed.
const library = "libnvidia-ml.so.1"

// Library is the management library, started. It may be used by many goroutines.
type Library struct{ functions [calls]uintptr }

// Open loads the library and starts it. Where that cannot be, the error is an ErrUnavailable.
func Open() (*Library, error) { return open(library) }

func open(library string) (*Library, error) {
	runtime.LockOSThread() // which the loader gives its reasons to
	defer runtime.UnlockOSThread()
	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, backends.Errorf(backends.ErrUnavailable, "no management library: %w: make NVIDIA's utilities visible in this container", err)
	}
	l := &Library{}
	for c := range calls {
		l.functions[c], _ = purego.Dlsym(handle, names[c])
	}
	if r := l.call(callInit); r != success {
		return nil, backends.Errorf(backends.ErrUnavailable, "the management library does not start: %w", l.refused(callInit, r))
	}
	return l, nil
}

// Driver returns the version of the driver, such as "580.65.06"; empty if it is not told.
func (l *Library) Driver() string {
	var text [80]byte
	if l.call(callDriverVersion, uintptr(unsafe.Pointer(&text)), uintptr(len(text)-1)) != success {
		return ""
	}
	return unix.ByteSliceToString(text[:])
}

// Device returns the device, or the part of one, that has a UUID. One that is not there is an error.
func (l *Library) Device(uuid [16]byte) (Device, error) {
	var r result
	for _, id := range []string{Whole(uuid), "MIG-" + text(uuid)} {
		name, d := append([]byte(id), 0), Device{library: l, ID: id}
		if r = l.call(callHandleByUUID, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&d.handle))); r == success {
			return d, nil
		}
	}
	return Device{}, l.refused(callHandleByUUID, r)
}

// Whole returns the ID of a device that is whole.
func Whole(uuid [16]byte) string { return "GPU-" + text(uuid) }

func text(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// refused makes an error of a result.
func (l *Library) refused(c call, r result) error {
	if f := l.functions[callErrorString]; f != 0 {
		if at, _, _ := purego.SyscallN(f, uintptr(r)); at != 0 {
			return fmt.Errorf("%s: %s", names[c], unix.BytePtrToString(*(**byte)(unsafe.Pointer(&at))))
		}
	}
	return fmt.Errorf("%s: error %d", names[c], r)
}

// call calls a function and returns its result, or functionNotFound where the library lacks it.
//
//go:uintptrescapes
func (l *Library) call(c call, args ...uintptr) result {
	if l.functions[c] == 0 {
		return functionNotFound
	}
	r, _, _ := purego.SyscallN(l.functions[c], args...)
	return result(int32(r))
}
