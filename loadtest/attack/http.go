package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// HTTP is a server that requests are posted to over HTTP/1.1, on connections that are kept. A reply
// has at most 64 MiB of body and 64 KiB of head. It follows no redirects and speaks TLS only on the
// slower path of other targets.
type HTTP struct {
	URL string // of every request, such as "http://127.0.0.1:8000/v2/models/iris/infer"
	// Header is sent beside Host, Content-Length and Inference-Header-Content-Length. Content-Type
	// is by the request's Head, application/json or application/octet-stream, unless it is here.
	Header http.Header
	TLS    *tls.Config // of an https URL; nil for the system's authorities
}

// Open connects to the server.
func (h *HTTP) Open(ctx context.Context) (Conn, error) {
	w, err := h.wire()
	if err != nil {
		return nil, err
	}
	c := &httpConn{wire: w, in: make([]byte, 16<<10)}
	if _, err := c.dial(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// wire is what an HTTP target puts before every body.
type wire struct {
	address string // host:port
	tls     bool
	path    string
	host    string
	fields  string // the caller's, as lines
	typed   bool   // fields has a Content-Type
	config  *tls.Config
}

func (h *HTTP) wire() (*wire, error) {
	u, err := url.Parse(h.URL)
	if err != nil {
		return nil, fmt.Errorf("the target's address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("the target's address %q is not like http://host:port/path", h.URL)
	}
	w := &wire{address: u.Host, tls: u.Scheme == "https", path: u.RequestURI(), host: u.Host}
	if w.tls {
		w.config = h.TLS.Clone()
		if w.config == nil {
			w.config = &tls.Config{}
		}
		w.config.NextProtos = []string{"http/1.1"} // so that a server that speaks HTTP/2 alone says so
	}
	if u.Port() == "" {
		w.address = net.JoinHostPort(u.Hostname(), map[bool]string{false: "80", true: "443"}[w.tls])
	}
	var fields strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.Header)) {
		for _, v := range h.Header[name] {
			if err := checkField(name, v); err != nil {
				return nil, err
			}
			fmt.Fprintf(&fields, "%s: %s\r\n", name, v)
		}
		w.typed = w.typed || strings.EqualFold(name, "Content-Type")
	}
	w.fields = fields.String()
	return w, nil
}

// ours are the headers that a caller cannot set.
var ours = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Inference-Header-Content-Length"}

func checkField(name, v string) error {
	if name == "" || strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(v, "\r\n\x00") {
		return fmt.Errorf("header %q: its name or its value would break the request apart", name) // without the value: it may be a secret
	}
	if slices.ContainsFunc(ours, func(o string) bool { return strings.EqualFold(o, name) }) {
		return fmt.Errorf("header %s is made from the request: leave it out", name)
	}
	return nil
}

// head returns what goes before the body of r.
func (w *wire) head(r *Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\n%s", w.path, w.host, w.fields)
	if !w.typed {
		kind := "application/json"
		if r.Head > 0 {
			kind = "application/octet-stream"
		}
		fmt.Fprintf(&b, "Content-Type: %s\r\n", kind)
	}
	if r.Head > 0 {
		fmt.Fprintf(&b, "Inference-Header-Content-Length: %d\r\n", r.Head)
	}
	b.WriteString("Content-Length: " + strconv.Itoa(len(r.Body)) + "\r\n\r\n")
	return b.Bytes()
}

// httpConn is a connection for those who have a goroutine for each.
type httpConn struct {
	wire  *wire
	in    []byte
	reply parser

	mu     sync.Mutex
	conn   net.Conn // nil after the server has closed it
	closed bool     // by Close: there will be no other
}

// dial makes a connection, unless there is one.
func (c *httpConn) dial(ctx context.Context) (net.Conn, error) {
	if conn, err := c.current(); conn != nil || err != nil {
		return conn, err
	}
	var conn net.Conn
	var err error
	if c.wire.tls {
		conn, err = (&tls.Dialer{Config: c.wire.config}).DialContext(ctx, "tcp", c.wire.address)
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", c.wire.address)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot reach %s: %w", c.wire.address, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	c.conn = conn
	return conn, nil
}

func (c *httpConn) current() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	return c.conn, nil
}

// Do posts r and reads the answer.
func (c *httpConn) Do(r *Request, deadline time.Time) (Reply, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return Reply{}, err
	}
	err = conn.SetDeadline(deadline)
	if err == nil {
		request := net.Buffers{c.wire.head(r), r.Body}
		_, err = request.WriteTo(conn)
	}
	if err == nil {
		err = c.read(conn)
	}
	if err != nil || c.reply.close {
		c.leave()
	}
	return Reply{Status: c.reply.status, Body: c.reply.body, Head: c.reply.head}, err
}

// leave closes the connection; the next request makes another.
func (c *httpConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// Close closes the connection for good.
func (c *httpConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.leave()
	return nil
}

var errClosed = errors.New("the server closed the connection before its reply was there")

func (c *httpConn) read(conn net.Conn) error {
	c.reply.reset(true)
	for {
		n, err := conn.Read(c.in)
		rest, done, wrong := c.reply.feed(c.in[:n])
		c.reply.close = c.reply.close || len(rest) > 0
		switch {
		case wrong != nil:
			return wrong
		case done || errors.Is(err, io.EOF) && c.reply.end():
			return nil
		case errors.Is(err, io.EOF):
			return errClosed
		case err != nil:
			return err
		}
	}
}
