//go:build linux && (amd64 || arm64)

package weights

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a huge page. With small ones a lookup of rows of a large table waits for
// the address of each to be translated.
const hugePage = 2 << 20

// advise asks for huge pages for the memory of this process that lies in b, before it is written to.
func advise(b []byte) {
	if whole := wholePages(b); len(whole) > 0 {
		_ = unix.Madvise(whole, unix.MADV_HUGEPAGE) // a system without does without
	}
}

// wholePages returns the part of b that huge pages can hold.
func wholePages(b []byte) []byte {
	if len(b) < hugePage {
		return nil
	}
	skip := -uintptr(unsafe.Pointer(&b[0])) & (hugePage - 1)
	if skip > uintptr(len(b)) {
		return nil
	}
	return b[skip : skip+(uintptr(len(b))-skip)&^(hugePage-1)]
}

// collapser moves shared memory into huge pages, while it is read. The system's own ways are for files
// of a mount, or none.
type collapser struct {
	stop chan struct{}
	done sync.WaitGroup
}

// start begins with mem, which stays as it is until end.
func (c *collapser) start(mem []byte) {
	whole := wholePages(mem)
	if len(whole) == 0 || !hugePagesWanted() {
		return
	}
	c.stop = make(chan struct{})
	c.done.Go(func() { c.run(whole) })
}

// run takes a few huge pages at a time, as long as the system has some.
func (c *collapser) run(mem []byte) {
	const each = 4 * hugePage
	for failed := 0; len(mem) > 0 && failed < 16; {
		select {
		case <-c.stop:
			return
		default:
		}
		part := mem[:min(each, len(mem))]
		if err := unix.Madvise(part, unix.MADV_COLLAPSE); err == unix.EINVAL {
			return // this system does not
		} else if err != nil {
			failed++
		}
		mem = mem[len(part):]
	}
}

// end returns when mem may go.
func (c *collapser) end() {
	if c.stop != nil {
		close(c.stop)
		c.done.Wait()
		c.stop = nil
	}
}

// hugePagesWanted says whether this system has not been told to have none.
func hugePagesWanted() bool {
	text, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && !strings.Contains(string(text), "[never]")
}

// reserve returns the address of size bytes of address space at which a huge page may start.
func reserve(size int) (unsafe.Pointer, error) {
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	whole, err := unix.MmapPtr(-1, 0, nil, uintptr(size+hugePage), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	skip := -uintptr(whole) & (hugePage - 1)
	if skip > 0 {
		_ = unix.MunmapPtr(whole, skip)
	}
	first := unsafe.Add(whole, skip)
	if rest := hugePage - skip; rest > 0 {
		_ = unix.MunmapPtr(unsafe.Add(first, size), rest)
	}
	return first, nil
}

// Huge returns how many bytes of the memory of a process are in huge pages, 0 if nobody can say.
func Huge(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	return hugeBytes(text)
}

// hugeBytes reads what the kernel says of memory.
func hugeBytes(text []byte) (n int64) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "AnonHugePages" && name != "ShmemPmdMapped" {
			continue
		}
		if kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); err == nil {
			n += kilobytes << 10
		}
	}
	return n
}
