package rest

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// conns is a listener that bounds how many of its connections are open and can close those
// that would hold up a shutdown.
type conns struct {
	net.Listener
	max      int
	patience time.Duration // for the rest of a request that has begun to come in when closing

	mu      sync.Mutex // guards open, and closing's change
	open    map[*conn]struct{}
	closing atomic.Bool
}

func newConns(ln net.Listener, max int) *conns {
	return &conns{Listener: ln, max: max, patience: maxPatience, open: map[*conn]struct{}{}}
}

// maxPatience bounds how long a client that sends slowly can hold up a shutdown.
const maxPatience = 3 * time.Second

// acceptPause is how long Accept waits for others to give back what it lacks.
const acceptPause = 10 * time.Millisecond

// Accept returns the next connection for which there is room. An error means that there will
// be no more: running out of file descriptors or memory for a moment is none.
func (cs *conns) Accept() (net.Conn, error) {
	for {
		nc, err := cs.Listener.Accept()
		if passing(err) {
			time.Sleep(acceptPause)
			continue
		}
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: nc, conns: cs}
		switch cs.add(c) {
		case added:
			return c, nil
		case full:
			refuseConn(nc)
		case closed:
			nc.Close()
		}
	}
}

// passing reports whether an error of Accept says nothing about the next one.
func passing(err error) bool {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return false
	}
	switch number {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR:
		return true
	}
	return false
}

// room is whether there was any for a connection.
type room byte

const (
	added room = iota
	full
	closed
)

func (cs *conns) add(c *conn) room {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case cs.closing.Load():
		return closed
	case len(cs.open) == cs.max:
		return full
	}
	cs.open[c] = struct{}{}
	return added
}

func (cs *conns) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
}

// Close stops accepting connections, closes those that have not sent a byte and gives the
// others little time to send the rest of a request. It may be called again.
func (cs *conns) Close() error {
	cs.closeIf(func(c *conn) bool { return !c.spoke.Load() })
	cs.hurry()
	if err := cs.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// closeAll closes every connection.
func (cs *conns) closeAll() { cs.closeIf(func(*conn) bool { return true }) }

func (cs *conns) closeIf(which func(*conn) bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closing.Store(true)
	for c := range cs.open {
		if which(c) {
			c.Conn.Close() // the goroutine that serves it sees the end and calls Close
		}
	}
}

func (cs *conns) hurry() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.Conn.SetReadDeadline(time.Now().Add(cs.patience))
	}
}

const refusal = `{"error":"too many connections are open: try again later"}`

// refuseConn answers a connection for which there is no room. The reply fits an empty socket
// buffer, so writing it does not hold up the next Accept.
func refuseConn(nc net.Conn) {
	nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	io.WriteString(nc, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"+
		"Connection: close\r\nContent-Length: "+strconv.Itoa(len(refusal))+"\r\n\r\n"+refusal)
	nc.Close()
}

// conn is a connection that knows whether it was used and how to close gently.
type conn struct {
	net.Conn
	conns  *conns
	spoke  atomic.Bool
	slow   bool // a read ran into its deadline; like linger, of the goroutine that serves the connection
	linger bool
}

// Read reads and remembers how it went: fasthttp does not always pass the error on.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.slow = true
	}
	return n, err
}

// SetReadDeadline sets the deadline, or an earlier one if the server is closing: fasthttp sets
// its own at every request, before or after hurry.
func (c *conn) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	if c.conns.closing.Load() {
		if soon := time.Now().Add(c.conns.patience); t.IsZero() || t.After(soon) {
			err = c.Conn.SetReadDeadline(soon)
		}
	}
	return err
}

// slow reports whether the client did not send its request in time.
func slow(ctx *fasthttp.RequestCtx) bool {
	c, ok := ctx.Conn().(*conn)
	return ok && c.slow
}

// lingers makes the connection of ctx close gently after the reply.
func lingers(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*conn); ok {
		c.linger = true
	}
}

// maxLinger bounds how long a refused client may take to stop sending.
const maxLinger = 2 * time.Second

// Close closes the connection. Where the reply refused a request without reading it to its
// end, closing at once would reset the connection and could take the reply with it, so what
// the client is still sending is read and dropped first.
func (c *conn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger && half.CloseWrite() == nil {
		c.SetReadDeadline(time.Now().Add(maxLinger))
		io.Copy(io.Discard, c.Conn)
	}
	c.conns.remove(c) // before the client can see the end, and come again
	return c.Conn.Close()
}
