package driver

import (
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
)

// at is memory of a pretended device, which is the process'.
func (m Mapping) at(n int) []byte { return unsafe.Slice(*(**byte)(unsafe.Pointer(&m.Address)), n) }

// writable asks the system, which does not end the process for it.
func writable(t *testing.T, mem []byte) bool {
	t.Helper()
	zeros, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zeros.Close()
	_, err = zeros.Read(mem)
	return !errors.Is(err, unix.EFAULT)
}

func TestShare(t *testing.T) {
	f := start(t, "devices=2 memory=5000000")
	const n = 100
	first, handle, err := f.Share(1, n)
	if err != nil {
		t.Fatal(err)
	}
	copy(first.at(n), "what one process has brought to the device")
	if err := f.ReadOnly(first); err != nil {
		t.Fatal(err)
	}
	if writable(t, first.at(1)) {
		t.Error("memory that is to be read alone can be written to")
	}
	if _, _, err := f.Share(1, 4<<20); !full(err) {
		t.Errorf("Share of more than is left = %v, want out of memory", err)
	}
	second, err := f.MapShared(1, handle, n)
	if err != nil {
		t.Fatal(err)
	}
	if second.Address == first.Address || string(second.at(n)) != string(first.at(n)) {
		t.Errorf("MapShared has %q at %x, want %q elsewhere than at %x", second.at(n), second.Address, first.at(n), first.Address)
	}
	if err := errors.Join(f.Unmap(first), handle.Close()); err != nil {
		t.Fatal(err)
	}
	if string(second.at(8)) != "what one" {
		t.Error("memory goes with the first of its mappings")
	}
	if err := f.Unmap(second); err != nil {
		t.Fatal(err)
	}
	if err := f.Unmap(second); err == nil {
		t.Error("what is not mapped is unmapped")
	}
	if m, handle, err := f.Share(1, 4<<20); err != nil {
		t.Errorf("Share when all is free again = %v", err)
	} else if err := errors.Join(handle.Close(), f.Unmap(m)); err != nil {
		t.Error(err)
	}
}

func TestShareIsRefused(t *testing.T) {
	f := start(t, "share=801")
	if _, _, err := f.Share(0, 1); !errors.Is(err, backends.ErrUnsupported) {
		t.Errorf("Share = %v, want an ErrUnsupported", err)
	}
	f = start(t, "")
	if _, err := f.MapShared(0, os.Stdin, 1); err == nil {
		t.Error("MapShared maps what is no memory of a device")
	}
}
