//go:build !linux || !(amd64 || arm64)

package weights

import (
	"context"
	"os"
)

// NewFile returns ErrUnavailable.
func NewFile() (*os.File, error) { return nil, ErrUnavailable }

// NewLocker returns ErrUnavailable.
func NewLocker() (*os.File, error) { return nil, ErrUnavailable }

// Locker is nothing here.
type Locker struct{}

// OpenLocker returns ErrUnavailable.
func OpenLocker(context.Context, *os.File, *os.File) (*Locker, error) { return nil, ErrUnavailable }

// Close does nothing.
func (*Locker) Close() {}

// Look returns nil.
func (*Locker) Look() (*os.File, int64, error) { return nil, 0, nil }

// Put returns ErrUnavailable.
func (*Locker) Put(*os.File, int64) error { return ErrUnavailable }

// Size returns 0.
func Size(*os.File) int64 { return 0 }

// Open returns nil.
func Open(context.Context, *os.File, string) *Store { return nil }

// Huge returns 0.
func Huge(int) int64 { return 0 }

func advise([]byte) {}

// Private returns nil.
func Private() *Store { return nil }

type shared struct {
	mem []byte
	own *struct{}
}

func (*shared) next(int, uint64) ([]byte, bool) { return nil, false }
func (*shared) finish() error                   { return nil }
func (*shared) close()                          {}
