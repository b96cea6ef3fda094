package rest

import (
	"context"
	"errors"
	"math"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/oip"
)

// statusGone answers a request whose client has left; only logs and metrics see it.
const statusGone = 499

// errEncoding refuses a compression that the protocol does not name.
var errEncoding = errors.New("this Content-Encoding is not supported: use gzip, deflate or none")

// statusOf maps an error from the path of a request to an HTTP status; 500 for a fault of ours.
func statusOf(err error) int {
	for _, m := range []struct {
		kind   error
		status int
	}{
		{backends.ErrCrashed, fasthttp.StatusInternalServerError}, // before ErrUnavailable, which such an error may be, too
		{backends.ErrInvalid, fasthttp.StatusBadRequest},
		{backends.ErrNotFound, fasthttp.StatusNotFound},
		{backends.ErrTooLarge, fasthttp.StatusRequestEntityTooLarge},
		{backends.ErrOverloaded, fasthttp.StatusTooManyRequests},
		{backends.ErrUnsupported, fasthttp.StatusNotImplemented},
		{backends.ErrUnavailable, fasthttp.StatusServiceUnavailable},
		{errEncoding, fasthttp.StatusUnsupportedMediaType},
		{context.DeadlineExceeded, fasthttp.StatusGatewayTimeout},
		{context.Canceled, statusGone},
	} {
		if errors.Is(err, m.kind) {
			return m.status
		}
	}
	return fasthttp.StatusInternalServerError
}

// fail replies with err.
func (s *Server) fail(ctx *fasthttp.RequestCtx, err error) {
	status, text := statusOf(err), err.Error()
	switch {
	case status == statusGone && s.base.Err() != nil:
		status, text = fasthttp.StatusServiceUnavailable, "the server is shutting down"
	case status == fasthttp.StatusGatewayTimeout:
		text = "Request timeout expired: " + text // these words are what clients look for
	case errors.Is(err, backends.ErrCrashed):
		s.o.Log.Error("request ended its instance", "path", string(ctx.Path()), "error", err)
		text = "this request ends the instance that computes it: " + text
	case status == fasthttp.StatusInternalServerError:
		id := strconv.FormatUint(ctx.ID(), 16)
		s.o.Log.Error("request failed", "path", string(ctx.Path()), "request", id, "error", err)
		text = "internal error: the server's log has it under request " + id
	}
	if status == fasthttp.StatusTooManyRequests || status == fasthttp.StatusServiceUnavailable {
		ctx.Response.Header.Set("Retry-After", retryAfter(err))
	}
	refuse(ctx, status, text)
}

// refuse replies with an error text.
func refuse(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(oip.Error(text))
}

// retryAfter returns the whole seconds after which to try again: what the error says, else 1.
func retryAfter(err error) string {
	wait, ok := backends.RetryAfter(err)
	if !ok {
		return "1"
	}
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

// unreadable replies to what could not be read as a request. The connection closes after it.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	ctx.SetConnectionClose()
	var small *fasthttp.ErrSmallBuffer
	switch {
	case slow(ctx):
		refuse(ctx, fasthttp.StatusRequestTimeout, "the request did not arrive within "+s.o.ReadTimeout.String())
		return // a client this slow gets no more time to linger
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		refuse(ctx, fasthttp.StatusRequestEntityTooLarge, s.tooLarge())
	case errors.As(err, &small):
		refuse(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, "the request's header is larger than "+strconv.Itoa(headerBytes)+" bytes")
	case errors.Is(err, errCrowded):
		s.fail(ctx, err)
	default:
		refuse(ctx, fasthttp.StatusBadRequest, "malformed HTTP request")
	}
	lingers(ctx)
}

func (s *Server) tooLarge() string {
	return "the body is larger than the limit of " + strconv.Itoa(s.o.MaxBodyBytes) + " bytes"
}
