package cpu

import "syscall"

// hugePage is the size of a huge page.
const hugePage = 2 << 20

// mapMemory returns n bytes that start with a huge page and ask for huge pages, and the mapping
// that they are part of; nil where there are none to be had.
func mapMemory(n int) (mapping, mem []byte) {
	size := (n + hugePage - 1) &^ (hugePage - 1)
	mapping, err := syscall.Mmap(-1, 0, size+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	skip := int(-addressOf(mapping) & (hugePage - 1))
	_ = syscall.Madvise(mapping[skip:skip+size], syscall.MADV_HUGEPAGE) // else there are small ones
	return mapping, mapping[skip:][:n:n]
}

// unmapMemory gives a mapping back.
func unmapMemory(mapping []byte) { _ = syscall.Munmap(mapping) }
