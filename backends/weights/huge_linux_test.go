//go:build linux && (amd64 || arm64)

package weights

import (
	"bytes"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// large is a model with constants that huge pages can hold.
var large = []constant{{"packed", "first", 100_000}, {"table", "0123456789abcdef", 1 << 20}, {"table", "other", 3*hugePage + 5}}

func TestSharedConstantsMoveIntoHugePages(t *testing.T) {
	if !collapses(t) {
		t.Skip("this system makes no huge pages of shared memory")
	}
	f := newFile(t)
	writer := openStore(t, f, "key")
	var made [][]byte
	for _, c := range large {
		b, _ := c.make(writer)
		made = append(made, b)
	}
	before := Huge(os.Getpid())
	if err := writer.Complete(); err != nil {
		t.Fatal(err)
	}
	writer.huge.done.Wait()
	if now := Huge(os.Getpid()); now < before+3*hugePage {
		t.Errorf("%d bytes are in huge pages, %d before", now, before)
	}
	for i, c := range large {
		if want := bytes.Repeat([]byte(c.source), c.size)[:c.size]; !bytes.Equal(made[i], want) {
			t.Errorf("%s of %d bytes has changed", c.kind, c.size)
		}
	}
	before = Huge(os.Getpid())
	reader := openStore(t, f, "key")
	for _, c := range large {
		if _, filled := c.make(reader); filled {
			t.Errorf("%s is filled again", c.kind)
		}
	}
	if now := Huge(os.Getpid()); now < before+3*hugePage {
		t.Errorf("a reader has %d bytes in huge pages, %d before", now, before)
	}
}

// collapses says whether this system moves shared memory into huge pages when asked to.
func collapses(t *testing.T) bool {
	f := newFile(t)
	if err := f.Truncate(hugePage); err != nil {
		t.Fatal(err)
	}
	mem, err := mmap(f, nil, hugePage, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.MunmapPtr(unsafe.Pointer(&mem[0]), hugePage)
	mem[0] = 1
	return hugePagesWanted() && unix.Madvise(mem, unix.MADV_COLLAPSE) == nil
}

// A store may go while its memory moves.
func TestClosingWhileMoving(t *testing.T) {
	f := newFile(t)
	fill(t, f, large)
	for range 5 {
		s := openStore(t, f, "key")
		for _, c := range large {
			c.make(s)
		}
		if err := s.Complete(); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

func TestWholePages(t *testing.T) {
	memory := make([]byte, 5*hugePage)
	first := -uintptr(unsafe.Pointer(&memory[0])) & (hugePage - 1)
	memory = memory[first:]
	for _, test := range []struct{ from, to, wantFrom, pages int }{
		{0, 0, 0, 0}, {0, hugePage - 1, 0, 0}, {0, hugePage, 0, 1}, {1, hugePage + 1, 0, 0}, {1, 2 * hugePage, hugePage, 1},
		{hugePage - 1, 3*hugePage + 7, hugePage, 2},
	} {
		got := wholePages(memory[test.from:test.to])
		if len(got) != test.pages*hugePage || len(got) > 0 && &got[0] != &memory[test.wantFrom] {
			t.Errorf("wholePages of %d to %d has %d bytes, want %d pages", test.from, test.to, len(got), test.pages)
		}
	}
}

func TestWhatTheKernelSaysOfHugePages(t *testing.T) {
	text := "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  10 kB\nAnonHugePages:      2048 kB\nShmemPmdMapped:     4096 kB\nFilePmdMapped:   8 kB\nAnonHugePages: x kB\n"
	if got := hugeBytes([]byte(text)); got != 6<<20 {
		t.Errorf("hugeBytes = %d, want %d", got, 6<<20)
	}
	if got := Huge(-1); got != 0 {
		t.Errorf("Huge of no process = %d", got)
	}
}
