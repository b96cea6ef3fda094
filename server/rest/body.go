package rest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/backends"
)

// firstBytes is the room that a body gets before any of it has come in. From there it grows
// with what comes in: a client that announces much and sends nothing costs next to nothing,
// where fasthttp would set the announced size aside.
const firstBytes = 64 << 10

// largeBodies bounds the memory of all bodies at once, their first bytes apart, in bodies of
// the greatest size: many clients, or a few with bodies that decompress a thousandfold, cannot
// take what the machine has.
const largeBodies = 16

// holding is the memory that one request has taken of the bound for all.
type holding struct {
	held *atomic.Int64 // by all requests
	most int64
	own  int64
}

// take takes n more bytes if there is room for them.
func (h *holding) take(n int) bool {
	h.own += int64(n)
	return h.held.Add(int64(n)) <= h.most
}

func (h *holding) giveBack() { h.held.Add(-h.own) }

// errCrowded refuses a body for which others leave no room.
var errCrowded = backends.Errorf(backends.ErrUnavailable, "the bodies of other requests leave no room for this one: try again")

// receive reads the body to its end, into buffer or, where tensors will point into it, into
// memory of its own. Afterwards ctx.Request.Body is that memory.
func (s *Server) receive(ctx *fasthttp.RequestCtx, buffer *[]byte, h *holding) error {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return nil
	}
	announced := ctx.Request.Header.ContentLength()
	if announced > s.o.MaxBodyBytes {
		return fasthttp.ErrBodyTooLarge
	}
	own := len(ctx.Request.Header.Peek(headerLength)) > 0
	if own {
		buffer = new([]byte)
	}
	limit := announced
	if announced < 0 {
		limit = s.o.MaxBodyBytes + 1 // chunks: one byte more shows that it is too large
	}
	var err error
	if had := cap(*buffer) - firstBytes; had > 0 && !h.take(min(had, limit)) {
		*buffer = nil // a large one kept from before must not be had for nothing
	}
	*buffer, err = appendStream((*buffer)[:0], stream, limit, h)
	switch {
	case err != nil:
		return err
	case len(*buffer) > s.o.MaxBodyBytes:
		return fasthttp.ErrBodyTooLarge
	case len(*buffer) < announced:
		return io.ErrUnexpectedEOF
	}
	ctx.Request.SetBodyRaw(*buffer)
	return nil
}

// appendStream appends the stream up to its end or up to limit bytes.
func appendStream(dst []byte, stream io.Reader, limit int, h *holding) ([]byte, error) {
	for len(dst) < limit {
		if len(dst) == cap(dst) {
			more := min(limit-len(dst), max(firstBytes, 3*len(dst)))
			if len(dst) > 0 && !h.take(more) {
				return dst, errCrowded
			}
			dst = slices.Grow(dst, more)
		}
		n, err := stream.Read(dst[len(dst):min(limit, cap(dst))])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// body returns the request's body, decompressed.
func (s *Server) body(ctx *fasthttp.RequestCtx) ([]byte, error) {
	var open func(io.Reader) (io.ReadCloser, error)
	switch encoding := strings.ToLower(string(ctx.Request.Header.ContentEncoding())); encoding {
	case "", "identity":
		return ctx.Request.Body(), nil
	case "gzip":
		open = func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }
	case "deflate":
		open = zlib.NewReader
	default:
		return nil, errEncoding
	}
	stream, err := open(bytes.NewReader(ctx.Request.Body()))
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "the body cannot be decompressed: %w", err)
	}
	defer stream.Close()
	h := ctx.UserValue(holdingKey{}).(*holding)
	body, err := appendStream(nil, stream, s.o.MaxBodyBytes+1, h)
	switch {
	case err == errCrowded:
		return nil, err
	case err != nil:
		return nil, backends.Errorf(backends.ErrInvalid, "the body cannot be decompressed: %w", err)
	case len(body) > s.o.MaxBodyBytes:
		return nil, backends.Errorf(backends.ErrTooLarge, "decompressed, %s", s.tooLarge())
	}
	return body, nil
}

// holdingKey is where a compressed request finds its holding.
type holdingKey struct{}
