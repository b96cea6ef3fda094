package attack

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// conn is a connection of a loop, or a place for one.
type conn struct {
	fd         int   // none if it is not open
	generation int32 // of its place, so that an old event does not reach a new connection
	connecting bool
	failed     error  // to connect
	wanting    bool   // to write, as soon as there is room
	head, body []byte // that are still to be written
	reply      parser

	ticket     ticket
	busy       bool // with the ticket
	sent       time.Duration
	prev, next int // among the busy ones
}

// request is the bytes of a Request.
type request struct {
	head []byte // with the body behind it where that is short
	body []byte
}

// joined is up to how many bytes of body it costs less to copy it once than to send it by itself.
const joined = 16 << 10

func (w *wire) request(r *Request) request {
	if head := w.head(r); len(r.Body) > joined {
		return request{head, r.Body}
	} else {
		return request{append(head, r.Body...), nil}
	}
}

// free returns the place of a connection without a request, a new one if needed, or none.
func (l *loop) free() (int, error) {
	if n := len(l.idle); n > 0 {
		place := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return place, nil
	}
	if l.open >= l.most {
		return none, nil
	}
	fd, err := unix.Socket(l.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) {
		if l.open > 0 {
			l.most = l.open
			return none, nil
		}
	}
	if err != nil {
		return none, fmt.Errorf("socket: %w", err)
	}
	return l.connect(fd)
}

func (l *loop) connect(fd int) (int, error) {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return none, fmt.Errorf("TCP_NODELAY: %w", err)
	}
	place := l.place()
	c := &l.conns[place]
	*c = conn{fd: fd, generation: c.generation + 1, reply: c.reply, prev: none, next: none}
	l.open++
	err := unix.Connect(fd, l.address)
	c.connecting = errors.Is(err, unix.EINPROGRESS)
	if err != nil && !c.connecting {
		c.failed = err
		return place, nil
	}
	return place, l.watch(place, unix.EPOLL_CTL_ADD)
}

func (l *loop) place() int {
	if n := len(l.unused); n > 0 {
		place := l.unused[n-1]
		l.unused = l.unused[:n-1]
		return place
	}
	l.conns = append(l.conns, conn{})
	return len(l.conns) - 1
}

// watch tells the kernel which events of a connection matter.
func (l *loop) watch(place, operation int) error {
	c := &l.conns[place]
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(place), Pad: c.generation}
	if c.connecting || c.wanting {
		event.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(l.poller.fd, operation, c.fd, &event); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// begin sends the next request on a connection.
func (l *loop) begin(place int) {
	c := &l.conns[place]
	c.ticket, c.sent = l.draw()
	c.busy = true
	r := &l.requests[c.ticket.request]
	c.head, c.body = r.head, r.body
	c.reply.reset(l.sampled(c.ticket.number))
	c.prev, c.next = l.last, none
	if l.last == none {
		l.first = place
	} else {
		l.conns[l.last].next = place
	}
	l.last = place
	if c.failed != nil {
		l.unreached(c.sent)
		l.fail(place, broken, "connect: "+c.failed.Error())
	} else if !c.connecting {
		l.write(place)
	}
}

// settled takes a connection from the busy ones.
func (l *loop) settled(place int) {
	c := &l.conns[place]
	if c.prev == none {
		l.first = c.next
	} else {
		l.conns[c.prev].next = c.next
	}
	if c.next == none {
		l.last = c.prev
	} else {
		l.conns[c.next].prev = c.prev
	}
	c.prev, c.next, c.busy = none, none, false
}

func (l *loop) handle(e *unix.EpollEvent) {
	place := int(e.Fd)
	if place == none || l.conns[place].generation != e.Pad || l.conns[place].fd == none {
		return
	}
	c := &l.conns[place]
	if c.connecting {
		l.connected(place)
		return
	}
	if e.Events&unix.EPOLLOUT != 0 && c.wanting {
		l.write(place)
	}
	if e.Events&^unix.EPOLLOUT != 0 && c.fd != none && c.generation == e.Pad {
		l.read(place)
	}
}

func (l *loop) connected(place int) {
	c := &l.conns[place]
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err == nil {
		c.connecting = false
		err = l.watch(place, unix.EPOLL_CTL_MOD)
	}
	switch {
	case err == nil:
		l.write(place)
	case c.busy:
		l.unreached(l.now())
		l.fail(place, broken, "connect: "+err.Error())
	default:
		l.leave(place)
	}
}

// write writes what there is room for.
func (l *loop) write(place int) {
	c := &l.conns[place]
	err := c.flush()
	wanting := errors.Is(err, unix.EAGAIN)
	if err != nil && !wanting {
		l.fail(place, broken, "send: "+err.Error())
		return
	}
	if wanting != c.wanting {
		c.wanting = wanting
		if err := l.watch(place, unix.EPOLL_CTL_MOD); err != nil {
			l.fail(place, broken, err.Error())
		}
	}
}

func (c *conn) flush() (err error) {
	for err == nil && len(c.head) > 0 {
		more := 0
		if len(c.body) > 0 {
			more = unix.MSG_MORE
		}
		c.head, err = sendSome(c.fd, c.head, more)
	}
	for err == nil && len(c.body) > 0 {
		c.body, err = sendSome(c.fd, c.body, 0)
	}
	return err
}

// read reads what is there, at most once: if there is more the kernel says so again.
func (l *loop) read(place int) {
	c := &l.conns[place]
	n, errno := receive(c.fd, l.in)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case !c.busy:
		l.leave(place) // closed, or unasked for
	case errno != 0:
		l.fail(place, broken, "receive: "+errno.Error())
	case n == 0 && c.reply.end():
		l.answered(place)
	case n == 0:
		l.fail(place, broken, errClosed.Error())
	default:
		rest, done, err := c.reply.feed(l.in[:n])
		if err != nil {
			l.fail(place, broken, err.Error())
		} else if done {
			c.reply.close = c.reply.close || len(rest) > 0 || len(c.head)+len(c.body) > 0
			l.answered(place)
		}
	}
}

// answered counts a whole reply.
func (l *loop) answered(place int) {
	c := &l.conns[place]
	l.settle(c.ticket, c.sent, Reply{Status: c.reply.status, Body: c.reply.body, Head: c.reply.head})
	l.settled(place)
	if c.reply.close {
		l.leave(place)
	} else {
		l.idle = append(l.idle, place)
	}
}

// fail counts a request that gets no answer and leaves its connection.
func (l *loop) fail(place int, o outcome, cause string) {
	c := &l.conns[place]
	l.lose(c.ticket, c.sent, o, cause)
	l.settled(place)
	l.leave(place)
}

// leave closes a connection that has no request.
func (l *loop) leave(place int) {
	c := &l.conns[place]
	unix.Close(c.fd)
	c.fd, c.head, c.body = none, nil, nil
	l.open--
	l.unused = append(l.unused, place)
	for i := len(l.idle) - 1; i >= 0; i-- {
		if l.idle[i] == place {
			l.idle = append(l.idle[:i], l.idle[i+1:]...)
			return
		}
	}
}

// sendSome sends the beginning of b and returns the rest. No signal comes of a closed connection.
func sendSome(fd int, b []byte, flags int) ([]byte, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		uintptr(flags|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT), 0, 0)
	switch errno {
	case 0:
		return b[n:], nil
	case unix.EINTR:
		return b, nil
	default:
		return b, errno
	}
}

func receive(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
