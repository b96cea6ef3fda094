package rest

import (
	"bytes"
	"strings"

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
	case ambiguous(header.RawHeaders()):
		refuse(ctx, fasthttp.StatusBadRequest, "Content-Length and Transfer-Encoding are both given: send one of them")
	default:
		return true
	}
	ctx.SetConnectionClose()
	lingers(ctx)
	return false
}

// ambiguous reports whether a header gives the body's length in two ways. It looks into the
// header as it came, because fasthttp forgets the one when it believes the other.
func ambiguous(raw []byte) bool {
	length, chunks := false, false
	for line := range bytes.Lines(raw) {
		length = length || hasName(line, "content-length:")
		chunks = chunks || hasName(line, "transfer-encoding:")
	}
	return length && chunks
}

// hasName reports whether a header line begins with name, which is in lower case.
func hasName(line []byte, name string) bool {
	return len(line) >= len(name) && line[0]|0x20 == name[0] && strings.EqualFold(string(line[:len(name)]), name)
}

// expect answers "Expect: 100-continue": a body over the limit is refused before it is sent.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	if ctx.Request.Header.ContentLength() <= s.o.MaxBodyBytes {
		return fasthttp.StatusContinue
	}
	refuse(ctx, fasthttp.StatusRequestEntityTooLarge, s.tooLarge())
	lingers(ctx)
	return fasthttp.StatusRequestEntityTooLarge
}
