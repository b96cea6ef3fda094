//go:build linux && (amd64 || arm64)

package weights

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxBytes bounds what is shared of a model. It is address space until it is used.
	maxBytes = 64 << 30

	// patience is how long one process waits for another to fill the memory. Packing takes
	// less than a second for each gigabyte.
	patience = 30 * time.Second

	seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
)

// NewFile returns an empty file for the processes that are to share the weights of one model. A
// file on which a process has failed is not to be used for others.
func NewFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("thrum-weights", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), "weights"), nil
}

// Size returns the bytes that f holds, or 0 if it is not complete.
func Size(f *os.File) int64 {
	stat, err := f.Stat()
	if err != nil || !sealed(f) {
		return 0
	}
	return stat.Size()
}

func sealed(f *os.File) bool {
	have, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	return err == nil && have&seals == seals
}

// shared is the memory of a Store: a file of records, each a header of one line, which holds the
// size and the sum, and the constant, which is filled up to a whole line.
type shared struct {
	file     *os.File // open, and locked, while it is written
	mem      []byte   // all that is mapped
	end      int      // of the last record
	complete bool     // nothing is added or looked for any more
	err      error    // why nothing is shared any more; nil if all is well
	huge     collapser
	own      *region
}

// Open returns a store in f, which other processes may have filled already or be filling now,
// for the model and the engine that key describes. Without an f, and where f cannot be used, it
// returns nil. It waits for a process that is filling f, but not for ever.
func Open(ctx context.Context, f *os.File, key string) *Store {
	return open(ctx, f, key, patience)
}

func open(ctx context.Context, f *os.File, key string, patience time.Duration) *Store {
	if f == nil {
		return nil
	}
	s := &Store{}
	if err := s.begin(ctx, f, key, patience); err != nil {
		s.close()
		return nil
	}
	return s
}

// begin maps f and writes, or looks for, the record that says what all others are made for.
func (s *shared) begin(ctx context.Context, f *os.File, key string, patience time.Duration) error {
	program, err := identity("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := s.open(ctx, f, patience); err != nil {
		return err
	}
	s.next(0, sum(key, program))
	return s.err
}

// identity returns what tells a program's file from all others and from what it is later.
func identity(path string) ([]byte, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%d %d %d %v", stat.Dev, stat.Ino, stat.Size, stat.Mtim), nil
}

// open maps f, for writing if it is empty.
func (s *shared) open(ctx context.Context, f *os.File, patience time.Duration) error {
	if sealed(f) {
		return s.read(f, nil)
	}
	// A lock belongs to an open file, and an inherited one is the same for all.
	own, err := reopen(f, os.O_RDWR)
	if err != nil {
		return err
	}
	s.file = own
	if err := lock(ctx, own, patience); err != nil {
		return err
	}
	if sealed(own) {
		s.unlock()
		return s.read(f, nil)
	}
	stat, err := own.Stat()
	if err != nil {
		return err
	}
	if stat.Size() != 0 {
		return errors.New("whoever filled the weights did not come to the end")
	}
	s.mem, err = mmap(own, nil, maxBytes, unix.PROT_READ|unix.PROT_WRITE)
	return err
}

// reopen opens the file of f again.
func reopen(f *os.File, flag int) (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flag, 0)
}

// lock waits until f is locked. The lock of a process that dies is free again.
func lock(ctx context.Context, f *os.File, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

func (s *shared) unlock() {
	if s.file != nil {
		_ = unix.Flock(int(s.file.Fd()), unix.LOCK_UN) // a mapping keeps the file open, and so the lock
		_ = s.file.Close()
		s.file = nil
	}
}

// read maps all of f, over what is mapped at that address or, if it is nil, anywhere. f is opened
// for reading alone: else the mapping would count as one that can be written to, which nobody
// may have when f is sealed.
func (s *shared) read(f *os.File, at unsafe.Pointer) error {
	reader, err := reopen(f, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer reader.Close()
	stat, err := reader.Stat()
	if err != nil {
		return err
	}
	if stat.Size() < line || stat.Size() > maxBytes {
		return fmt.Errorf("weights of %d bytes", stat.Size())
	}
	mem, err := mmap(reader, at, int(stat.Size()), unix.PROT_READ)
	if err == nil {
		s.mem = mem
	}
	return err
}

// mmap maps f over what is at that address or, if it is nil, where a huge page may start.
func mmap(f *os.File, at unsafe.Pointer, size, access int) ([]byte, error) {
	reserved := at == nil
	if reserved {
		var err error
		if at, err = reserve(size); err != nil {
			return nil, err
		}
	}
	flags := unix.MAP_SHARED | unix.MAP_FIXED
	if access == unix.PROT_READ {
		flags |= unix.MAP_POPULATE
	}
	mem, err := unix.MmapPtr(int(f.Fd()), 0, at, uintptr(size), access, flags)
	if err != nil {
		if reserved {
			_ = unix.MunmapPtr(at, uintptr(size))
		}
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return unsafe.Slice((*byte)(mem), size), nil
}

// next returns the memory of the next constant, of n bytes, and whether it is filled. It
// returns nil where the constant is not shared.
func (s *shared) next(n int, sum uint64) (dst []byte, filled bool) {
	if s.own != nil {
		return s.own.take(n), false
	}
	if s.complete || s.err != nil || n > maxBytes-s.end-2*line {
		return nil, false
	}
	end := s.end + line + (n+line-1)/line*line
	writing := s.file != nil
	if writing {
		s.err = s.write(end, n, sum)
	} else if end > len(s.mem) || !isRecord(s.mem[s.end:], n, sum) {
		s.err = ErrMismatch
	}
	if s.err != nil {
		return nil, false
	}
	dst = s.mem[s.end+line:][:n:n]
	s.end = end
	return dst, !writing
}

// write adds a record that ends at end, with nothing in it.
func (s *shared) write(end, n int, sum uint64) error {
	if err := allocate(s.file, int64(s.end), int64(end)); err != nil {
		return err
	}
	header := s.mem[s.end:]
	binary.LittleEndian.PutUint64(header, uint64(n))
	binary.LittleEndian.PutUint64(header[8:], sum)
	return nil
}

func isRecord(header []byte, n int, sum uint64) bool {
	return binary.LittleEndian.Uint64(header) == uint64(n) && binary.LittleEndian.Uint64(header[8:]) == sum
}

// allocate takes the pages of f up to end: to write to one that the kernel has no memory for
// would end this process. A signal undoes what a call has taken, so each takes little.
func allocate(f *os.File, from, end int64) error {
	const most = 64 << 20
	for from < end {
		n := min(end-from, most)
		switch err := unix.Fallocate(int(f.Fd()), 0, from, n); err {
		case nil:
			from += n
		case unix.EINTR:
		default:
			return fmt.Errorf("allocate shared weights: %w", err)
		}
	}
	return nil
}

// finish ends the writing, or checks that all has been read.
func (s *shared) finish() error {
	if s.complete {
		return s.err
	}
	s.complete = true
	if s.own != nil {
		s.own.complete()
		return nil
	}
	if s.file == nil {
		if s.end != len(s.mem) {
			s.err = ErrMismatch
			return s.err
		}
		s.huge.start(s.mem)
		return s.err
	}
	defer s.unlock()
	if s.err == nil && s.seal() == nil { // a file that is not sealed is believed by nobody
		s.huge.start(s.mem)
	}
	s.err = nil
	return nil
}

// seal replaces the memory that has been written by the same that can only be read, at the same
// address, and has the kernel refuse all writing for ever.
func (s *shared) seal() error {
	reserved, first := len(s.mem), unsafe.Pointer(&s.mem[0])
	if err := s.read(s.file, first); err != nil {
		return err
	}
	page := os.Getpagesize()
	used := (len(s.mem) + page - 1) / page * page
	if err := unix.MunmapPtr(unsafe.Add(first, used), uintptr(reserved-used)); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	_, err := unix.FcntlInt(s.file.Fd(), unix.F_ADD_SEALS, seals)
	return err
}

func (s *shared) close() {
	if s.own != nil {
		s.own.free()
		s.own, s.mem = nil, nil
	}
	s.complete = true
	s.huge.end()
	s.unlock()
	if len(s.mem) > 0 {
		_ = unix.MunmapPtr(unsafe.Pointer(&s.mem[0]), uintptr(len(s.mem)))
		s.mem = nil
	}
}
