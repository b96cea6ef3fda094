//go:build linux && (amd64 || arm64)

package weights

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is memory of this process alone that the garbage collector does not count: what a model
// keeps would have it tolerate as much garbage again.
type region struct {
	first unsafe.Pointer
	size  int // of the address space
	open  int // bytes that can be written to
	end   int // of what is taken
}

// Private returns a store in memory of this process. It returns nil where there is none to be had.
func Private() *Store {
	first, err := reserve(maxBytes)
	if err != nil {
		return nil
	}
	return &Store{shared{own: &region{first: first, size: maxBytes}}}
}

// take returns n bytes that start with a cache line, or nil.
func (r *region) take(n int) []byte {
	begin := (r.end + line - 1) &^ (line - 1)
	if n > r.size-begin || r.extend(begin+n) != nil {
		return nil
	}
	r.end = begin + n
	return unsafe.Slice((*byte)(unsafe.Add(r.first, begin)), n)[:n:n]
}

// extend makes the first n bytes ones that can be written to.
func (r *region) extend(n int) error {
	if n <= r.open {
		return nil
	}
	more := (n - r.open + hugePage - 1) &^ (hugePage - 1)
	part := unsafe.Slice((*byte)(unsafe.Add(r.first, r.open)), more)
	if err := unix.Mprotect(part, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	_ = unix.Madvise(part, unix.MADV_HUGEPAGE) // a system without does without
	r.open += more
	return nil
}

// complete gives back what has not been taken.
func (r *region) complete() {
	if rest := r.size - r.open; rest > 0 {
		_ = unix.MunmapPtr(unsafe.Add(r.first, r.open), uintptr(rest))
	}
	r.size = r.open
}

func (r *region) free() {
	if r.size > 0 {
		_ = unix.MunmapPtr(r.first, uintptr(r.size))
	}
}
