package rest

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// framed refuses requests whose end another HTTP implementation might see elsewhere, which is
// what request smuggling lives on, and reports whether the request is sound. A refusal closes
// the connection, so that what follows is never read as a request.
func framed(ctx *fasthttp.RequestCtx) bool {
	header := &ctx.Request.Header
	switch {
	case string(header.Method()) == "PRI":
		refuse(ctx, fasthttp.StatusHTTPVersionNotSupported, "HTTP/2 is not served on this port: use HTTP/1.1")
	case len(header.Peek(fasthttp.HeaderTransferEncoding)) > 0 && hasContentLength(header.RawHeaders()):
		refuse(ctx, fasthttp.StatusBadRequest, "Content-Length and Transfer-Encoding are both given: send one of them")
	default:
		return true
	}
	ctx.SetConnectionClose()
	return false
}

// hasContentLength looks into the header as it came, because fasthttp drops a Content-Length
// beside a Transfer-Encoding.
func hasContentLength(raw []byte) bool {
	const name = "content-length"
	for line := range bytes.Lines(raw) {
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

// expect answers "Expect: 100-continue": a body over the limit is refused before it is sent.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	if ctx.Request.Header.ContentLength() <= s.o.MaxBodyBytes {
		return fasthttp.StatusContinue
	}
	refuse(ctx, fasthttp.StatusRequestEntityTooLarge, s.tooLarge())
	return fasthttp.StatusRequestEntityTooLarge
}
