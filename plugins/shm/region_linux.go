//go:build linux && (amd64 || arm64)

package shm

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Available reports whether this platform has what the package needs.
const Available = true

const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// region is memory that two processes map.
type region struct {
	mem []byte
}

// newRegion makes a region of zeros and the file by which another process can map it.
func newRegion(name string, size int) (region, *os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return region{}, nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = f.Truncate(int64(size))
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	var r region
	if err == nil {
		r, err = mapRegion(fd, size)
	}
	if err != nil {
		_ = f.Close()
		return region{}, nil, fmt.Errorf("%s of %d bytes: %w", name, size, err)
	}
	return r, f, nil
}

// openRegion maps what another process made. A file of another size, or one that could shrink
// or grow, is refused: reading past its end would kill this process.
func openRegion(f *os.File, size int) (region, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return region{}, fmt.Errorf("stat: %w", err)
	}
	if stat.Size != int64(size) {
		return region{}, fmt.Errorf("%d bytes of shared memory, not %d", stat.Size, size)
	}
	have, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || have&seals != seals {
		return region{}, fmt.Errorf("shared memory is not sealed: seals %#x, %w", have, err)
	}
	return mapRegion(int(f.Fd()), size)
}

func mapRegion(fd, size int) (region, error) {
	flags := unix.MAP_SHARED
	if size <= populateAtMost {
		flags |= unix.MAP_POPULATE
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return region{}, fmt.Errorf("mmap: %w", err)
	}
	return region{mem: mem}, nil
}

// unmap ends the use of the region, of which nobody may have a slice any more.
func (r *region) unmap() {
	_ = unix.Munmap(r.mem)
	r.mem = nil
}
