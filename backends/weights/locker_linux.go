//go:build linux && (amd64 || arm64)

package weights

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// NewLocker returns a locker for the processes that load one model, in which there is nothing. What is
// left there stays until the last of them has closed it, the caller included.
//
// It is a socket that is connected to itself, and what is left there a message that nobody receives:
// a descriptor in a message is open, and looking at the message gives another of the same file.
func NewLocker() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "locker")
	if err := connectToItself(fd); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// connectToItself has the system give a socket an address. From then on it takes messages of its own alone.
func connectToItself(fd int) error {
	if err := unix.Bind(fd, &unix.SockaddrUnix{}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	if err := unix.Connect(fd, address); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// Locker is where processes that load one model leave a handle of memory that others can map, such as
// memory of a device. One process has it open at a time.
type Locker struct {
	socket *os.File
	lock   *os.File
}

// OpenLocker opens what processes have inherited: f, from NewFile, and socket, from NewLocker. It waits
// for a process that has it open, but not for ever. Nothing is written to f.
func OpenLocker(ctx context.Context, f, socket *os.File) (*Locker, error) {
	return openLocker(ctx, f, socket, patience)
}

func openLocker(ctx context.Context, f, socket *os.File, patience time.Duration) (*Locker, error) {
	if f == nil || socket == nil {
		return nil, ErrUnavailable
	}
	own, err := reopen(f, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := lock(ctx, own, patience); err != nil {
		_ = own.Close()
		return nil, err
	}
	return &Locker{socket: socket, lock: own}, nil
}

// Close lets the next process in.
func (l *Locker) Close() { _ = l.lock.Close() }

// Look returns another descriptor of what was left, and the number that was left with it; nil if
// nothing was.
func (l *Locker) Look() (handle *os.File, n int64, err error) {
	return l.receive(unix.MSG_PEEK)
}

func (l *Locker) receive(flags int) (handle *os.File, n int64, err error) {
	var note [8]byte
	rights := make([]byte, unix.CmsgSpace(4))
	_, size, _, _, err := unix.Recvmsg(int(l.socket.Fd()), note[:], rights, flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("recvmsg: %w", err)
	}
	fd, err := descriptor(rights[:size])
	if err != nil {
		return nil, 0, err
	}
	return os.NewFile(uintptr(fd), "handle"), int64(binary.LittleEndian.Uint64(note[:])), nil
}

// descriptor returns the only one of a message, of which there was room for one.
func descriptor(rights []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("a message without a descriptor: %w", errors.Join(err, ErrMismatch))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("a message without a descriptor: %w", errors.Join(err, ErrMismatch))
	}
	return fds[0], nil
}

// Put leaves a handle and a number, in the place of what was there.
func (l *Locker) Put(handle *os.File, n int64) error {
	for {
		old, _, err := l.receive(0)
		if old != nil {
			_ = old.Close()
		} else if err == nil {
			break
		}
		if err != nil && !errors.Is(err, ErrMismatch) {
			return err
		}
	}
	note := binary.LittleEndian.AppendUint64(nil, uint64(n))
	if err := unix.Sendmsg(int(l.socket.Fd()), note, unix.UnixRights(int(handle.Fd())), nil, unix.MSG_DONTWAIT); err != nil {
		return fmt.Errorf("sendmsg: %w", err)
	}
	return nil
}
