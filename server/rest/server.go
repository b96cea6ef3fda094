// Package rest answers the Open Inference Protocol (version 2) over HTTP/1.1: it reads
// requests with fasthttp, decodes them with package oip, asks the catalog's predictors and
// writes the replies.
//
// fasthttp uses the memory of a request again as soon as its handler returns, while a
// prediction may outlive it; so nothing of a request is passed on that is not a copy.
package rest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/server/catalog"
)

// headerBytes bounds the header of a request.
const headerBytes = 8 << 10

// Server is the HTTP front.
type Server struct {
	catalog catalog.Catalog
	o       Options
	http    *fasthttp.Server
	base    context.Context // ends when a shutdown has run out of time
	end     context.CancelFunc
	buffers sync.Pool    // of *[]byte, for bodies of which nothing is kept
	held    atomic.Int64 // bytes of bodies, see holding

	mu    sync.Mutex // guards what follows
	conns []*conns
	down  bool // Shutdown was called
}

// New returns a server of what cat holds.
func New(cat catalog.Catalog, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("rest: %w", err)
	}
	s := &Server{catalog: cat, o: o.withDefaults()}
	s.base, s.end = context.WithCancel(context.Background())
	s.buffers.New = func() any { return new([]byte) }
	s.http = &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.unreadable,
		ExpectHandler:                s.expect,
		Name:                         s.o.Name,
		Concurrency:                  2 * s.o.MaxConnections, // never reached: conns refuses first, in JSON
		ReadBufferSize:               headerBytes,
		ReadTimeout:                  s.o.ReadTimeout,
		WriteTimeout:                 s.o.WriteTimeout,
		IdleTimeout:                  s.o.IdleTimeout,
		StreamRequestBody:            true, // receive reads the body and holds the limit;
		MaxRequestBodySize:           1,    // fasthttp is to read no more of it than it must
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true,
		Logger:                       listenerLog{s.o.Log},
	}
	return s, nil
}

// Serve answers connections to ln until Shutdown, then returns nil. It may be called for
// several listeners at once. After Shutdown it closes ln.
func (s *Server) Serve(ln net.Listener) error {
	cs := newConns(ln, s.o.MaxConnections)
	if !s.adopt(cs) {
		return ln.Close()
	}
	return s.http.Serve(cs)
}

// adopt reports false when the server was shut down.
func (s *Server) adopt(cs *conns) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, cs)
	return !s.down
}

// Shutdown stops accepting connections, answers what was sent before clients could know, closes
// connections without a request and waits for requests under way. When ctx ends first, they are
// cancelled, every connection is closed and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	var farewell time.Duration
	s.each(func(cs *conns) {
		cs.Close() // fasthttp closes it again and reports the error, if any
		if cs.anyOpen() {
			farewell = max(farewell, cs.farewell)
		}
	})
	select {
	case <-time.After(farewell): // fasthttp closes connections without a request at once
	case <-ctx.Done():
	}
	err := s.http.ShutdownWithContext(ctx)
	s.end()
	if err != nil {
		s.each((*conns).closeAll)
		return fmt.Errorf("rest: shutdown with requests under way: %w", err)
	}
	return nil
}

func (s *Server) each(do func(*conns)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cs := range s.conns {
		do(cs)
	}
}

// handle answers one request, whatever happens.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer func() {
		if fault := recover(); fault != nil {
			s.o.Log.Error("request panicked", "path", string(ctx.Path()), "panic", fault, "stack", string(debug.Stack()))
			ctx.Response.Reset()
			refuse(ctx, fasthttp.StatusInternalServerError, "internal error: the server's log has it")
		}
		parting(ctx)
	}()
	if !framed(ctx) {
		return
	}
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	h := &holding{held: &s.held, most: largeBodies * int64(s.o.MaxBodyBytes)}
	defer h.giveBack()
	if err := s.receive(ctx, buffer, h); err != nil {
		s.unreadable(ctx, err)
		return
	}
	if len(ctx.Request.Header.ContentEncoding()) > 0 {
		ctx.SetUserValue(holdingKey{}, h)
	}
	s.route(ctx)
}

// listenerLog passes on what fasthttp has to say, which is about single connections.
type listenerLog struct{ log *slog.Logger }

// Printf logs at debug level: a client's broken connection is no change of our state.
func (l listenerLog) Printf(format string, args ...any) {
	l.log.Debug("http connection", "event", fmt.Sprintf(format, args...))
}
