package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ping-pong in Go does what pingpong.c does, without its pauses.

// end is one direction of it.
type end struct {
	message atomic.Uint64
	_       [120]byte
	asleep  atomic.Uint32
	_       [124]byte
}

const (
	longSpin  = 50 * time.Microsecond
	usualSpin = 10 * time.Microsecond
	shortSpin = 500 * time.Nanosecond
	waitsOff  = 128
)

type spin struct {
	budget time.Duration
	off    int
}

func (s *spin) caught(e *end, want uint64) bool {
	if s.budget == 0 {
		if s.off--; s.off > 0 {
			return false
		}
		s.budget = longSpin
	}
	begin := time.Now()
	for time.Since(begin) < s.budget {
		for range 64 {
			if e.message.Load() == want {
				s.budget = min(2*s.budget, usualSpin)
				return true
			}
		}
	}
	if s.budget = min(s.budget, usualSpin) / 2; s.budget < shortSpin {
		s.budget, s.off = 0, waitsOff
	}
	return false
}

func (e *end) receive(s *spin, want uint64) {
	most := unix.NsecToTimespec(int64(100 * time.Millisecond))
	for e.message.Load() != want {
		if s.caught(e, want) {
			return
		}
		e.asleep.Store(1)
		if e.message.Load() != want {
			_, _, _ = syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&e.asleep)), 0, 1, uintptr(unsafe.Pointer(&most)), 0, 0)
		}
		e.asleep.Store(0)
	}
}

func (e *end) send(n uint64) {
	e.message.Store(n)
	if e.asleep.Load() != 0 && e.asleep.Swap(0) != 0 {
		_, _, _ = syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&e.asleep)), 1, 1, 0, 0, 0)
	}
}

const pongFD = 3

// servePong is both ends: the second is started with the memory as file 3.
func servePong() error {
	if err := unix.Fstat(pongFD, &unix.Stat_t{}); err == nil && os.Getenv("THRUM_BOUNDARY_PEER") != "" {
		return pongPeer()
	}
	fd, err := unix.MemfdCreate("ping-pong", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	memory := os.NewFile(uintptr(fd), "ping-pong")
	if err := memory.Truncate(4096); err != nil {
		return err
	}
	ends, err := mapEnds(fd)
	if err != nil {
		return err
	}
	peer := exec.Command(self())
	peer.Env = append(os.Environ(), "THRUM_BOUNDARY_PEER=1")
	peer.ExtraFiles, peer.Stderr = []*os.File{memory}, os.Stderr
	peer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := peer.Start(); err != nil {
		return err
	}
	defer func() { _ = peer.Process.Kill() }()
	fmt.Println(peer.Process.Pid)
	s, n := spin{budget: longSpin}, uint64(0)
	for d := time.Duration(0); ; {
		if _, err := fmt.Scanln(&d); err != nil {
			return nil // no more is asked
		}
		first, begin := n, time.Now()
		for time.Since(begin) < d {
			for range 16 {
				n++
				ends[0].send(n)
				ends[1].receive(&s, n)
			}
		}
		fmt.Println(n-first, time.Since(begin).Nanoseconds())
	}
}

func pongPeer() error {
	ends, err := mapEnds(pongFD)
	if err != nil {
		return err
	}
	s := spin{budget: longSpin}
	for n := uint64(1); ; n++ {
		ends[0].receive(&s, n)
		ends[1].send(n)
	}
}

func mapEnds(fd int) (*[2]end, error) {
	mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	return (*[2]end)(unsafe.Pointer(&mem[0])), nil
}
