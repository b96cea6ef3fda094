//go:build linux && (amd64 || arm64)

package shm

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The shared operations, not the private ones: the word is mapped by two processes.
const (
	futexWaitOp = 0
	futexWakeOp = 1
)

// futexWait sleeps while the word has that value, until woken and at most for so long. It may
// return early. The scheduler is told, so that other goroutines run meanwhile.
func futexWait(word *uint32, value uint32, atMost time.Duration) {
	timeout := unix.NsecToTimespec(int64(atMost))
	_, _, _ = syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitOp, uintptr(value),
		uintptr(unsafe.Pointer(&timeout)), 0, 0)
}

// futexWake wakes one sleeper. It never blocks, so the scheduler need not know.
func futexWake(word *uint32) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakeOp, 1, 0, 0, 0)
}

// monotonic is the clock that both processes share, in nanoseconds.
func monotonic() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano()
}

// pause tells the processor that this is a loop that waits.
func pause()
