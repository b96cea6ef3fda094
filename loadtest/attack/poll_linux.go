package attack

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const none = -1

// mostEvents are handled before what is due is sent: few, so that many answers at once make no send late.
const mostEvents = 16

// poller waits for sockets, for a time to the nanosecond, or for a ring.
type poller struct {
	fd     int
	events [mostEvents]unix.EpollEvent

	mu   sync.Mutex // guards bell
	bell int        // an eventfd, none after close
}

func newPoller() (p *poller, err error) {
	p = &poller{fd: none, bell: none}
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: none}
		err = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, p.bell, &event)
	}
	if err == nil {
		_, err = p.wait(0)
	}
	if errors.Is(err, unix.ENOSYS) {
		err = errTooOld
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

// errTooOld is of systems before Linux 5.11.
var errTooOld = errors.New("waiting to the nanosecond is not known to this kernel")

func (p *poller) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fd := range []*int{&p.fd, &p.bell} {
		if *fd != none {
			unix.Close(*fd)
			*fd = none
		}
	}
}

// ring ends a wait. Any goroutine may, even after close: the number of the eventfd may be that of
// another file by then.
func (p *poller) ring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bell != none {
		_, _ = unix.Write(p.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// sleep is a wait where there are no sockets.
func (p *poller) sleep(d time.Duration) { _, _ = p.wait(max(d, 1)) }

// wait returns how many events there are, of them rings with a Fd of none. Only a wait that may last
// tells the Go scheduler.
func (p *poller) wait(d time.Duration) (int, error) {
	timeout := unix.NsecToTimespec(int64(d))
	var n uintptr
	var errno unix.Errno
	if d == 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	}
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	default:
		return 0, errno
	}
}

// slice is how long a turn of the generator's thread on a processor is asked to be. A thread with
// short turns gets no more of a processor that others want too, but gets it sooner (since Linux 6.12;
// before, it changes nothing). Measured at 2,000/s while others build on the same two cores: 32 of
// 17,700 sends late, not 150. A real-time priority would take the processor from the thread that
// delivers the packets.
const slice = 100 * time.Microsecond

// sharp makes the kernel run this thread when it is time and not up to 50 µs later to save power,
// until the function that it returns is called.
func sharp() (blunt func()) {
	slack := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil && before.Policy == unix.SCHED_NORMAL {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: before.Nice, Runtime: uint64(slice)}, 0)
	}
	return func() {
		if err == nil {
			_ = unix.SchedSetAttr(0, before, 0)
		}
		if slack == nil {
			_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
		}
	}
}

func threadCPU() time.Duration { return cpu(unix.RUSAGE_THREAD) }

// processCPU is what this process has used.
func processCPU() time.Duration { return cpu(unix.RUSAGE_SELF) }

func cpu(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func newSleeper() sleeper {
	if p, err := newPoller(); err == nil {
		return p
	}
	return newTimer()
}
