package kernels

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canary fills memory that no kernel may write.
const canary = 0xa5

// guarded returns n values that end where an unreadable page starts: reading or writing past them
// faults. What lies before them is checked to be unchanged when the test ends.
func guarded(t testing.TB, n int) []float32 {
	page := unix.Getpagesize()
	size := (4*n + 64 + page - 1) / page * page
	memory, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mprotect(memory[size:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	before := memory[:size-4*n]
	for i := range before {
		before[i] = canary
	}
	t.Cleanup(func() {
		for i, b := range before {
			if b != canary {
				t.Errorf("byte %d before %d values was overwritten", i-len(before), n)
				break
			}
		}
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	if n == 0 {
		return []float32{}
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&memory[size-4*n])), n)
}
