package driver

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
)

// Result is what a function of the driver returns, a CUresult.
type Result int32

const (
	success          Result = 0
	outOfMemory      Result = 2
	stubLibrary      Result = 34
	unavailable      Result = 46
	noDevice         Result = 100
	invalidImage     Result = 200
	noBinary         Result = 209
	eccUncorrectable Result = 214
	nvlinkFailed     Result = 220
	newerPTX         Result = 222
	contained        Result = 226
	notFound         Result = 500
	illegalAddress   Result = 700
	launchTimeout    Result = 702
	contextDestroyed Result = 709
	deviceAssert     Result = 710
	stackError       Result = 714
	illegalOpcode    Result = 715
	misaligned       Result = 716
	invalidSpace     Result = 717
	invalidPC        Result = 718
	launchFailed     Result = 719
	tensorMemory     Result = 721
	notPermitted     Result = 800
	notSupported     Result = 801
	systemNotReady   Result = 802
	driverMismatch   Result = 803
	compatibility    Result = 804
	mpsTerminated    Result = 810
	externalDevice   Result = 911
	unknown          Result = 999
)

// sticky are the results after which every further call of the process fails: those of which cuda.h of
// CUDA 13.0 says that the process has to be started again, or that its context is of no more use; and
// unknown, after which nothing is known to go on.
var sticky = []Result{
	eccUncorrectable, nvlinkFailed, contained, illegalAddress, launchTimeout, contextDestroyed, deviceAssert,
	stackError, illegalOpcode, misaligned, invalidSpace, invalidPC, launchFailed, tensorMemory, mpsTerminated, externalDevice, unknown,
}

// Error is a call that failed. It wraps ErrUnavailable where another time or place may do (no
// memory, no device, a sticky error), ErrUnsupported where the driver or the device does not offer
// what was asked for, and nothing where the call itself was wrong, which is a fault of ours.
type Error struct {
	Call   string // such as "cuMemHostAlloc"
	Result Result
	Name   string // such as "CUDA_ERROR_OUT_OF_MEMORY"; empty if the driver does not know it
	Text   string // what the driver says of it
}

func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: error %d", e.Call, e.Result)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Call, e.Text, e.Name)
}

// Unwrap returns the sentinel of package backends that the result belongs to.
func (e *Error) Unwrap() error {
	switch {
	case slices.Contains(sticky, e.Result):
		return backends.ErrUnavailable
	case slices.Contains([]Result{outOfMemory, stubLibrary, unavailable, noDevice, systemNotReady, driverMismatch}, e.Result):
		return backends.ErrUnavailable
	case slices.Contains([]Result{invalidImage, noBinary, newerPTX, notSupported, compatibility}, e.Result):
		return backends.ErrUnsupported
	}
	return nil
}

// Sticky reports whether err is of the kind after which the driver answers this process with
// nothing but the same error. The process has to end; another can go on.
func Sticky(err error) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(sticky, e.Result)
}

// Error returns the *Error of a call, or nil if it succeeded. It is for results of other packages,
// too.
func (d *Driver) Error(call string, r Result) error {
	if r == success {
		return nil
	}
	return &Error{Call: call, Result: r, Name: d.text(callGetErrorName, r), Text: d.text(callGetErrorString, r)}
}

func (d *Driver) text(c call, r Result) string {
	var text *byte
	if d.call(c, uintptr(r), uintptr(unsafe.Pointer(&text))) != success {
		return ""
	}
	return unix.BytePtrToString(text)
}
