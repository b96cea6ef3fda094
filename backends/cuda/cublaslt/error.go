package cublaslt

import (
	"errors"
	"fmt"

	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// Status is what a function of the library returns, a cublasStatus_t.
type Status int32

const (
	success         Status = 0
	executionFailed Status = 13
)

// Error is a call that failed. Where work has failed on the device, it wraps an error of the driver that stays; else
// the library does not do what it was asked for, and something else may.
type Error struct {
	Call   string // such as "cublasLtMatmul"
	Status Status
	Name   string // such as "CUBLAS_STATUS_NOT_SUPPORTED"
	Text   string // what the library says of it
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%s, %d)", e.Call, e.Text, e.Name, e.Status)
}

// Unwrap returns the error of the driver that e comes of, or nil.
func (e *Error) Unwrap() error {
	if e.Status == executionFailed {
		return driver.Failed(e.Call)
	}
	return nil
}

// Refused reports whether err says that the library does not do what it was asked for, while the device goes on.
func Refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status != executionFailed
}

func (l *Library) failed(call string, s Status) error {
	if s == success {
		return nil
	}
	return &Error{Call: call, Status: s, Name: l.text(callGetStatusName, s), Text: l.text(callGetStatusString, s)}
}
