package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/loadtest/attack"
	lt "github.com/thrumserve/thrum/loadtest/oip"
	"github.com/thrumserve/thrum/server"
	"github.com/thrumserve/thrum/server/config"
	"github.com/thrumserve/thrum/server/oip"
)

// direct is a model that is attacked without a server: every request is a batch for its plugin.
type direct struct {
	name  string
	model backends.Model
}

func openDirect(ctx context.Context, dir, of string) (*direct, error) {
	m, err := server.OpenModel(ctx, dir, of, config.Default(), server.Options{
		Version: version, Plugins: builtin(""), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("--model-only %s: %w", dir, err)
	}
	abs, err := filepath.Abs(dir)
	return &direct{filepath.Base(abs), m}, err
}

// Close ends the plugin.
func (d *direct) Close() error { return d.model.Close() }

// Model implements loadtest.Direct.
func (d *direct) Model() lt.Model {
	m := lt.Model{Name: d.name}
	for _, s := range d.model.Signature().Inputs {
		m.Inputs = append(m.Inputs, lt.Spec{Name: s.Name, Datatype: lt.Datatype(s.Datatype.String()), Shape: s.Shape})
	}
	for _, s := range d.model.Signature().Outputs {
		m.Outputs = append(m.Outputs, lt.Spec{Name: s.Name, Datatype: lt.Datatype(s.Datatype.String()), Shape: s.Shape})
	}
	return m
}

// Target implements loadtest.Direct. The requests are decoded before the run.
func (d *direct) Target(requests []attack.Request, answers bool) (attack.Target, error) {
	t := &directTarget{model: d.model, answers: answers, decoded: map[*attack.Request]oip.Request{}}
	for i := range requests {
		r := &requests[i]
		head := r.Head
		if head == 0 {
			head = oip.AllJSON
		}
		decoded, err := oip.Decode(r.Body, head, d.model.Signature())
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i+1, err)
		}
		t.decoded[r] = decoded
	}
	return t, nil
}

type directTarget struct {
	model   backends.Model
	answers bool
	decoded map[*attack.Request]oip.Request
}

// Open implements attack.Target.
func (t *directTarget) Open(context.Context) (attack.Conn, error) { return &directConn{t, nil}, nil }

type directConn struct {
	*directTarget
	body []byte
}

// Do implements attack.Conn.
func (c *directConn) Do(r *attack.Request, deadline time.Time) (attack.Reply, error) {
	request, ok := c.decoded[r]
	if !ok {
		return attack.Reply{}, errors.New("a request that was not made for this target")
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	answer, err := c.model.Predict(ctx, request.Batch)
	if err != nil {
		return attack.Reply{Status: statusOf(err), Body: []byte(err.Error())}, nil
	}
	defer answer.Release()
	reply := attack.Reply{Status: http.StatusOK}
	if c.answers {
		body, head, err := oip.AppendResponse(c.body[:0], oip.Response{Batch: answer, Binary: request.Binary})
		if err != nil {
			return attack.Reply{Status: http.StatusInternalServerError, Body: []byte(err.Error())}, nil
		}
		c.body, reply.Body = body, body
		reply.Head = max(head, 0)
	}
	return reply, nil
}

// Close implements attack.Conn.
func (c *directConn) Close() error { return nil }

// statusOf is the outcome of an error as the front would show it.
func statusOf(err error) int {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, backends.ErrOverloaded):
		return http.StatusTooManyRequests
	case errors.Is(err, backends.ErrUnavailable):
		return http.StatusServiceUnavailable
	case errors.Is(err, backends.ErrInvalid):
		return http.StatusBadRequest
	default:
		return http.StatusInternalServerError
	}
}
