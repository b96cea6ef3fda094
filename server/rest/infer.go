package rest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/oip"
)

// headerLength is the header that says where the JSON ends and binary data begins.
const headerLength = "Inference-Header-Content-Length"

func (s *Server) infer(ctx *fasthttp.RequestCtx, t target) {
	o := Observation{Status: fasthttp.StatusInternalServerError, BytesIn: len(ctx.Request.Body())}
	start := time.Now()
	defer func() {
		o.Total = time.Since(start)
		s.o.Observe(o)
	}()
	if err := s.predict(ctx, t, &o); err != nil {
		s.fail(ctx, err)
	}
	o.Status, o.BytesOut = ctx.Response.StatusCode(), len(ctx.Response.Body())
}

// predict reads the request, asks the model and writes the reply.
func (s *Server) predict(ctx *fasthttp.RequestCtx, t target, o *Observation) error {
	v, release, err := s.catalog.Acquire(t.model, t.version)
	if err != nil {
		return err
	}
	defer release()
	o.Model, o.Version = v.Model, v.Version

	start := time.Now()
	req, err := s.decode(ctx, v.Signature)
	o.Parse = time.Since(start)
	if err != nil {
		return err
	}
	o.Rows = req.Batch.Rows()

	call, cancel := s.deadline(start, req.Timeout, v.Deadline)
	defer cancel()
	answer, err := v.Predictor.Predict(call, req.Batch)
	o.Queue, o.Compute = answer.Trace.Queue, answer.Trace.Compute
	o.BatchRows, o.Cache = answer.Trace.BatchRows, answer.Trace.Cache
	if err != nil {
		return explain(err, v, start)
	}
	defer answer.Release()
	if len(answer.Tensors) != len(req.Binary) {
		return fmt.Errorf("the model answered with %d outputs, %d were asked for", len(answer.Tensors), len(req.Binary))
	}
	start = time.Now()
	defer func() { o.Reply = time.Since(start) }()
	return respond(ctx, oip.Response{Model: v.Model, Version: v.Version, ID: req.ID, HasID: req.HasID, Batch: answer, Binary: req.Binary})
}

// explain returns what to tell a client whose call failed: that it missed its deadline says less
// than that for some of the time nothing could answer, and when to try again. Those who were
// before it in the queue may have been there for as long as it has.
func explain(err error, v *catalog.Version, start time.Time) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return cmp.Or(v.Live(start.Add(-time.Since(start))), err)
	}
	return err
}

// deadline returns the context of a call: the client may ask for less time than the model
// gives, not for more.
func (s *Server) deadline(start time.Time, asked, given time.Duration) (context.Context, context.CancelFunc) {
	switch {
	case asked > 0 && (given <= 0 || asked < given):
		return context.WithDeadline(s.base, start.Add(asked))
	case given > 0:
		return context.WithDeadline(s.base, start.Add(given))
	}
	return context.WithCancel(s.base)
}

// decode turns the body into a request. What is left of the body in it, binary tensors, is in
// memory that receive or the decompression made for this request alone.
func (s *Server) decode(ctx *fasthttp.RequestCtx, sig backends.Signature) (oip.Request, error) {
	body, err := s.body(ctx)
	if err != nil {
		return oip.Request{}, err
	}
	length, err := jsonLength(&ctx.Request.Header)
	if err != nil {
		return oip.Request{}, err
	}
	req, err := oip.Decode(body, length, sig)
	req.Batch.NoCache = fresh(ctx.Request.Header.Peek(fasthttp.HeaderCacheControl))
	return req, err
}

// jsonLength returns the length of the JSON at the start of the body, or oip.AllJSON.
func jsonLength(h *fasthttp.RequestHeader) (int, error) {
	given := h.PeekAll(headerLength)
	if len(given) == 0 {
		return oip.AllJSON, nil
	}
	if h.ContentLength() < 0 {
		return 0, backends.Errorf(backends.ErrInvalid, "a request with %s needs a Content-Length", headerLength)
	}
	n, err := strconv.ParseUint(string(given[0]), 10, 31)
	if err != nil || len(given) > 1 {
		return 0, backends.Errorf(backends.ErrInvalid, "header %s must be one number of bytes, %q given", headerLength, bytes.Join(given, []byte(", ")))
	}
	return int(n), nil
}

// fresh reports whether a Cache-Control header asks for an answer that is not from a cache.
func fresh(header []byte) bool {
	for directive := range strings.SplitSeq(string(header), ",") {
		switch strings.ToLower(strings.TrimSpace(directive)) {
		case "no-cache", "no-store":
			return true
		}
	}
	return false
}

// respond writes the reply into the buffer that fasthttp keeps for it.
func respond(ctx *fasthttp.RequestCtx, r oip.Response) error {
	body, length, err := oip.AppendResponse(ctx.Response.SwapBody(nil)[:0], r)
	ctx.Response.SwapBody(body)
	if err != nil {
		return err
	}
	ctx.SetContentType("application/json")
	if length != oip.AllJSON {
		ctx.SetContentType("application/octet-stream")
		ctx.Response.Header.Set(headerLength, strconv.Itoa(length))
	}
	return nil
}
