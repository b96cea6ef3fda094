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

// conns is a listener that bounds how many of its connections are open and how long each of
// them can hold up a shutdown.
type conns struct {
	net.Listener
	max      int
	patience time.Duration // for the rest of a request that has begun to come in when closing
	farewell time.Duration // for a request that its client sent before it could know of the closing

	mu      sync.Mutex // guards open, closing's change, and deadlines when closing
	open    map[*conn]struct{}
	closing atomic.Bool
	over    bool // every connection was closed, and so is each that comes
}

func newConns(ln net.Listener, max int) *conns {
	return &conns{Listener: ln, max: max, patience: maxPatience, farewell: maxFarewell, open: map[*conn]struct{}{}}
}

// maxPatience bounds how long a client that sends slowly can hold up a shutdown.
const maxPatience = 3 * time.Second

// maxFarewell bounds how long connections without a request hold up a shutdown.
const maxFarewell = 100 * time.Millisecond

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
	case cs.over:
		return closed
	case len(cs.open) == cs.max:
		return full
	}
	c.waiting.Store(true)
	cs.open[c] = struct{}{}
	return added
}

func (cs *conns) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
}

// Close stops accepting connections and gives those that are open little time: to send the rest
// of a request, or one that is under way already. It may be called again.
func (cs *conns) Close() error {
	err := cs.Listener.Close()
	cs.hurry()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (cs *conns) hurry() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closing.Store(true)
	for c := range cs.open {
		c.Conn.SetReadDeadline(c.last())
	}
}

// anyOpen reports whether a connection is open.
func (cs *conns) anyOpen() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open) > 0
}

// closeAll closes every connection.
func (cs *conns) closeAll() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closing.Store(true)
	cs.over = true
	for c := range cs.open {
		c.Conn.Close() // the goroutine that serves it sees the end and calls Close
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

// conn is a connection that knows whether it waits for a request and how to close gently.
type conn struct {
	net.Conn
	conns   *conns
	waiting atomic.Bool // for the first byte of a request
	slow    bool        // a read ran into its deadline; like linger, of the goroutine that serves the connection
	linger  bool
}

// Read reads and remembers how it went: fasthttp does not always pass the error on.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.waiting.CompareAndSwap(true, false) && c.conns.closing.Load() {
		c.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if c.waiting.Load() && c.conns.closing.Load() {
			return n, io.EOF // it is we who end it: there is nothing to answer
		}
		c.slow = true
	}
	return n, err
}

// Write writes a part of a reply, after which the next request may come.
func (c *conn) Write(p []byte) (int, error) {
	c.waiting.Store(true)
	return c.Conn.Write(p)
}

// SetReadDeadline sets the deadline, or an earlier one if the server is closing: fasthttp sets
// its own at every request, before or after hurry.
func (c *conn) SetReadDeadline(t time.Time) error {
	if err := c.Conn.SetReadDeadline(t); err != nil || !c.conns.closing.Load() {
		return err
	}
	c.conns.mu.Lock()
	defer c.conns.mu.Unlock()
	if last := c.last(); t.IsZero() || t.After(last) {
		t = last
	}
	return c.Conn.SetReadDeadline(t)
}

// last returns until when the connection may be read when closing.
func (c *conn) last() time.Time {
	if c.waiting.Load() {
		return time.Now().Add(c.conns.farewell)
	}
	return time.Now().Add(c.conns.patience)
}

// parting tells the client not to come back on this connection if the server is closing.
func parting(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*conn); ok && c.conns.closing.Load() {
		ctx.SetConnectionClose()
	}
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
