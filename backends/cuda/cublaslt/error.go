package cublaslt

import (
	"errors"
	"fmt"

	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// Status is what a function of the library returns, a cublasStatus_t.
type Status int32

const success Status = 0

// Error is a call that failed: the library does not do what it was asked for, and something else may. Whether the device
// goes on is told by the driver alone. CUBLAS_STATUS_EXECUTION_FAILED does not say that it has ended: kernels that
// the driver does not launch are called so, too.
type Error struct {
	Call   string // such as "cublasLtMatmul"
	Status Status
	Name   string // such as "CUBLAS_STATUS_NOT_SUPPORTED"
	Text   string // what the library says of it
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%s, %d)", e.Call, e.Text, e.Name, e.Status)
}

// Refused reports whether err says that the library does not do what it was asked for, and nothing of an end of the device.
func Refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && !driver.Sticky(err)
}

func (l *Library) failed(call string, s Status) error {
	if s == success {
		return nil
	}
	return &Error{Call: call, Status: s, Name: l.text(callGetStatusName, s), Text: l.text(callGetStatusString, s)}
}
