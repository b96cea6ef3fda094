package rest

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/backends"
)

// firstBytes is the room that a body gets before any of it has come in. From there it grows
// with what comes in: a client that announces much and sends nothing costs next to nothing,
// where fasthttp would set the announced size aside.
const firstBytes = 64 << 10

// receive reads the body to its end, into buffer or, where tensors will point into it, into
// memory of its own. Afterwards ctx.Request.Body is that memory.
func (s *Server) receive(ctx *fasthttp.RequestCtx, buffer *[]byte) error {
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
	*buffer, err = appendStream((*buffer)[:0], stream, limit)
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
func appendStream(dst []byte, stream io.Reader, limit int) ([]byte, error) {
	for len(dst) < limit {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(limit-len(dst), max(firstBytes, 3*len(dst))))
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
	var body []byte
	var err error
	switch encoding := strings.ToLower(string(ctx.Request.Header.ContentEncoding())); encoding {
	case "", "identity":
		return ctx.Request.Body(), nil
	case "gzip":
		body, err = ctx.Request.BodyGunzipWithLimit(s.o.MaxBodyBytes)
	case "deflate":
		body, err = ctx.Request.BodyInflateWithLimit(s.o.MaxBodyBytes)
	default:
		return nil, errEncoding
	}
	if errors.Is(err, fasthttp.ErrBodyTooLarge) {
		return nil, backends.Errorf(backends.ErrTooLarge, "decompressed, %s", s.tooLarge())
	}
	if err != nil {
		return nil, backends.Errorf(backends.ErrInvalid, "the body cannot be decompressed: %w", err)
	}
	return body, nil
}
