//go:build linux

package shm

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRegionIsShared(t *testing.T) {
	r, f, err := newRegion("test", 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other, err := openRegion(f, 8192)
	if err != nil {
		t.Fatal(err)
	}
	r.mem[8191] = 42
	if other.mem[8191] != 42 {
		t.Error("one mapping does not show what was written to the other")
	}
	for _, size := range []int64{4096, 16384} {
		if err := f.Truncate(size); err == nil {
			t.Errorf("Truncate(%d) of a sealed region succeeded", size)
		}
	}
	r.unmap()
	other.unmap()
}

func TestOpenRegionRefuses(t *testing.T) {
	_, sealed, err := newRegion("test", 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	unsealed := os.NewFile(uintptr(fd), "unsealed")
	defer unsealed.Close()
	if err := unsealed.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for situation, test := range map[string]struct {
		file *os.File
		size int
	}{
		"smaller than said": {sealed, 16384},
		"larger than said":  {sealed, 4096},
		"not sealed":        {unsealed, 8192},
		"no memory":         {null, 8192},
	} {
		if _, err := openRegion(test.file, test.size); err == nil {
			t.Errorf("%s: openRegion succeeded", situation)
		}
	}
}
