// Package weights keeps the constants of a model where all processes that have loaded it can
// read the same pages.
//
// The memory is a file without a name that the host makes and every instance of a version
// inherits. The first instance to load the model fills it and then seals it: nobody, itself
// included, can write to it from then on, and the kernel has the last word on that. Only a sealed
// file is believed, so what a process leaves behind that dies half way is not, and only where
// it was made by the same program, from the same constants, in the same order. Whatever else
// happens, a process falls back to memory of its own: it needs more of it, and nothing is wrong.
//
// Constants that are elsewhere, such as in the memory of a device, are shared by a handle that the first
// process leaves in a Locker.
package weights

import (
	"errors"
	"hash/crc32"
	"unsafe"
)

// ErrMismatch says that a file holds something else than what was asked for.
var ErrMismatch = errors.New("the shared weights are those of another model")

// ErrUnavailable says that processes cannot share memory here.
var ErrUnavailable = errors.New("this platform has no memory that processes can share and seal")

// minShared is the size of the smallest constant that is shared. Smaller ones are many and
// weigh little.
const minShared = 4 << 10

// line is a cache line: what is made starts with one.
const line = 64

// Store makes constants. It is used by one goroutine until Complete, and by any number from then
// on. A nil Store makes all of them in memory of this process.
type Store struct {
	shared
}

// Make returns n bytes, aligned to a cache line, that nobody may write to any more. They hold
// what fill writes, which must depend on kind, n and source alone: where another process
// has filled them already, fill is not called.
func (s *Store) Make(kind string, source []byte, n int, fill func(dst []byte)) []byte {
	if s != nil && n >= minShared {
		if dst, filled := s.next(n, sum(kind, source)); filled {
			return dst
		} else if dst != nil {
			fill(dst)
			return dst
		}
	}
	dst := private(n)
	fill(dst)
	return dst
}

// Complete ends the filling. Where it returns ErrMismatch, nothing that has been made may be
// used: load once more without a store.
func (s *Store) Complete() error {
	if s == nil {
		return nil
	}
	return s.finish()
}

// Shared reports whether other processes may read what s makes.
func (s *Store) Shared() bool { return s != nil && s.own == nil }

// Holds reports whether b lies in memory that goes with Close.
func (s *Store) Holds(b []byte) bool {
	if s == nil || len(s.mem) == 0 || len(b) == 0 {
		return false
	}
	first, at := uintptr(unsafe.Pointer(&s.mem[0])), uintptr(unsafe.Pointer(&b[0]))
	return first <= at && at < first+uintptr(len(s.mem))
}

// Close frees what was made. It may be called twice.
func (s *Store) Close() {
	if s != nil {
		s.close()
	}
}

// private returns memory of this process.
func private(n int) []byte {
	b := make([]byte, n+line-1)
	advise(b)
	past := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % line)
	return b[(line-past)%line:][:n:n]
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum tells constants apart that are of one size.
func sum(kind string, source []byte) uint64 {
	return uint64(crc32.Checksum([]byte(kind), castagnoli))<<32 | uint64(crc32.Checksum(source, castagnoli))
}
