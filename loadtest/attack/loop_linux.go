package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxSends = 16 // before answers are looked for again
)

// loop drives an HTTP server from one thread: no goroutine and no allocation a request, and mostly
// one write and one read.
type loop struct {
	*session
	*poller
	requests []request
	address  unix.Sockaddr
	family   int

	conns  []conn
	most   int   // connections at a time
	open   int   // connections
	unused []int // places of conns
	idle   []int // connections without a request; that which was used last is last
	first  int   // of the connections with a request, in the order of their sends
	last   int
	in     []byte
}

// attackHTTP attacks from a thread of its own.
func attackHTTP(ctx context.Context, s *session, w *wire) (use float64, err error) {
	l := &loop{session: s, most: s.Options.Connections, first: none, last: none, in: make([]byte, 256<<10)}
	for i := range s.Requests {
		l.requests = append(l.requests, w.request(&s.Requests[i]))
	}
	if l.poller, err = newPoller(); errors.Is(err, errTooOld) {
		return attackTarget(ctx, s)
	} else if err != nil {
		return 0, err
	}
	defer l.close()
	if err := l.reach(ctx, w.address); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, l.ring)()
	s.wake = l.ring
	s.connected = func() int { return l.open }
	s.oldest = func() (time.Duration, bool) {
		if l.first == none {
			return 0, false
		}
		return l.conns[l.first].sent, true
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer sharp()()
	if err := l.prepare(); err != nil {
		return 0, err
	}
	before := threadCPU()
	s.start()
	err = l.run(ctx)
	return float64(threadCPU()-before) / float64(max(s.now(), 1)), err
}

// reach connects once, to see that there is a server and which of its addresses answers.
func (l *loop) reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, min(l.Timeout, reachTimeout))
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot reach %s: %w", address, err)
	}
	defer c.Close()
	to := c.RemoteAddr().(*net.TCPAddr)
	if ip := to.IP.To4(); ip != nil {
		l.family, l.address = unix.AF_INET, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(ip)}
		return nil
	}
	six := &unix.SockaddrInet6{Port: to.Port, Addr: [16]byte(to.IP.To16())}
	if to.Zone != "" {
		zone, err := net.InterfaceByName(to.Zone)
		if err != nil {
			return fmt.Errorf("cannot reach %s: %w", address, err)
		}
		six.ZoneId = uint32(zone.Index)
	}
	l.family, l.address = unix.AF_INET6, six
	return nil
}

// prepare makes the connections that are to be there before the first start.
func (l *loop) prepare() error {
	var made []int
	for range min(l.Ready, l.most) {
		place, err := l.free()
		if err != nil {
			return err
		}
		if place == none {
			break
		}
		made = append(made, place)
	}
	l.idle = append(l.idle, made...)
	return nil
}

func (l *loop) close() {
	for i := range l.conns {
		if l.conns[i].fd != none {
			unix.Close(l.conns[i].fd)
		}
	}
	l.poller.close()
}

func (l *loop) run(ctx context.Context) error {
	for now := l.now(); l.goOn(ctx, now); now = l.now() {
		l.expire(now)
		if err := l.sendDue(now); err != nil {
			return err
		}
		n, err := l.wait()
		if err != nil {
			return err
		}
		for i := range n {
			l.handle(&l.events[i])
		}
	}
	return nil
}

// sendDue sends what is due while connections are free, but not for ever.
func (l *loop) sendDue(now time.Duration) error {
	for range maxSends {
		if !l.ready(now) {
			return nil
		}
		place, err := l.free()
		if err != nil {
			return err
		}
		if place == none {
			l.refuse()
			return nil
		}
		l.begin(place)
	}
	return nil
}

// wait returns the number of events, once there are some or something is due.
func (l *loop) wait() (int, error) {
	now := l.now()
	until := l.nextEnd
	if next, ok := l.next(now); ok {
		until = min(until, next)
	}
	if l.first != none {
		until = min(until, l.deadline(l.first))
	}
	if l.ready(now) && (len(l.idle) > 0 || l.open < l.most) {
		until = now
	}
	n, err := l.poller.wait(max(until-now, 0))
	if err != nil {
		return 0, fmt.Errorf("epoll: %w", err)
	}
	return n, nil
}

func (l *loop) deadline(place int) time.Duration {
	return l.conns[place].sent + l.timeout
}

// expire gives up those that had no answer in time.
func (l *loop) expire(now time.Duration) {
	for l.first != none && l.deadline(l.first) <= now {
		place := l.first
		if l.conns[place].connecting {
			l.unreached(now)
			l.fail(place, broken, fmt.Sprintf("no connection within %v", l.timeout))
		} else {
			l.fail(place, tooLate, fmt.Sprintf("no answer within %v", l.timeout))
		}
	}
}
