package cublaslt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// call is a function of the library.
type call int

const (
	callGetVersion call = iota
	callGetStatusName
	callGetStatusString
	callCreate
	callDestroy
	callMatmul
	callMatmulAlgoGetHeuristic
	callMatmulDescCreate
	callMatmulDescDestroy
	callMatmulDescSetAttribute
	callMatrixLayoutCreate
	callMatrixLayoutDestroy
	callMatrixLayoutSetAttribute
	callMatmulPreferenceCreate
	callMatmulPreferenceDestroy
	callMatmulPreferenceSetAttribute

	calls
)

var names = [calls]string{
	callGetVersion:                   "cublasLtGetVersion",
	callGetStatusName:                "cublasLtGetStatusName",
	callGetStatusString:              "cublasLtGetStatusString",
	callCreate:                       "cublasLtCreate",
	callDestroy:                      "cublasLtDestroy",
	callMatmul:                       "cublasLtMatmul",
	callMatmulAlgoGetHeuristic:       "cublasLtMatmulAlgoGetHeuristic",
	callMatmulDescCreate:             "cublasLtMatmulDescCreate",
	callMatmulDescDestroy:            "cublasLtMatmulDescDestroy",
	callMatmulDescSetAttribute:       "cublasLtMatmulDescSetAttribute",
	callMatrixLayoutCreate:           "cublasLtMatrixLayoutCreate",
	callMatrixLayoutDestroy:          "cublasLtMatrixLayoutDestroy",
	callMatrixLayoutSetAttribute:     "cublasLtMatrixLayoutSetAttribute",
	callMatmulPreferenceCreate:       "cublasLtMatmulPreferenceCreate",
	callMatmulPreferenceDestroy:      "cublasLtMatmulPreferenceDestroy",
	callMatmulPreferenceSetAttribute: "cublasLtMatmulPreferenceSetAttribute",
}

// Library is cuBLASLt, loaded. It may be used by many goroutines.
type Library struct {
	functions [calls]uintptr
}

// Open loads the library that goes with a driver of version v: from where the loader looks, or from the folder
// of the program. Where there is none, the error is an ErrUnavailable that says so.
func Open(v driver.Version) (*Library, error) {
	var all []error
	for _, path := range paths(v) {
		l, err := load(path)
		if err == nil {
			return l, nil
		}
		all = append(all, err)
	}
	return nil, backends.Errorf(backends.ErrUnavailable, "%w", errors.Join(all...))
}

// paths returns where a library may be that a driver of version v carries, the best first.
func paths(v driver.Version) []string {
	var folders []string
	if program, err := os.Executable(); err == nil {
		folders = append(folders, filepath.Dir(program))
	}
	var all []string
	for major := 13; major >= 12; major-- {
		if int(v) < 1000*major {
			continue
		}
		name := fmt.Sprintf("libcublasLt.so.%d", major)
		all = append(all, name)
		for _, folder := range folders {
			all = append(all, filepath.Join(folder, name))
		}
	}
	return all
}

func load(path string) (*Library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	l := &Library{}
	for c := range calls {
		if l.functions[c], err = purego.Dlsym(handle, names[c]); err != nil {
			return nil, fmt.Errorf("%s lacks %s", path, names[c])
		}
	}
	return l, nil
}

// Version returns the library's version, such as "13.0.2".
func (l *Library) Version() string {
	v, _, _ := purego.SyscallN(l.functions[callGetVersion])
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// do calls a function and makes an error of its status.
//
//go:uintptrescapes
func (l *Library) do(c call, args ...uintptr) error {
	r, _, _ := purego.SyscallN(l.functions[c], args...)
	return l.failed(names[c], Status(int32(r)))
}

// set gives an attribute of a descriptor a value.
func set[T any](l *Library, c call, object uintptr, attribute uintptr, value T) error {
	return l.do(c, object, attribute, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value))
}

func (l *Library) text(c call, s Status) string {
	r, _, _ := purego.SyscallN(l.functions[c], uintptr(s))
	if r == 0 {
		return ""
	}
	// What the library returns lies in its own memory.
	return unix.BytePtrToString(*(**byte)(unsafe.Pointer(&r)))
}

// Handle is the library made ready for a device. It is used by one goroutine at a time, in the context in which
// it was made.
type Handle struct {
	library *Library
	handle  uintptr
}

// NewHandle makes the library ready for the device of the current context.
func (l *Library) NewHandle() (*Handle, error) {
	h := &Handle{library: l}
	if err := l.do(callCreate, uintptr(unsafe.Pointer(&h.handle))); err != nil {
		return nil, err
	}
	return h, nil
}

// Close ends the use of h, of which no plan may be left.
func (h *Handle) Close() error { return h.library.do(callDestroy, h.handle) }
