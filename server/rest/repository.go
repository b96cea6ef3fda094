package rest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/oip"
)

func (s *Server) index(ctx *fasthttp.RequestCtx, _ target) {
	var ask struct {
		Ready bool `json:"ready"`
	}
	if err := s.control(ctx, &ask); err != nil {
		s.fail(ctx, err)
		return
	}
	entries := []oip.IndexEntry{}
	for _, e := range s.catalog.Index() {
		if !ask.Ready || e.State == catalog.Ready {
			entries = append(entries, oip.IndexEntry{Name: e.Name, Version: e.Version, State: string(e.State), Reason: e.Reason})
		}
	}
	reply(ctx, fasthttp.StatusOK, entries)
}

func (s *Server) load(ctx *fasthttp.RequestCtx, t target) {
	err := s.controlParameters(ctx)
	if err == nil {
		err = nameable(t.model)
	}
	if err == nil {
		err = s.catalog.Load(s.base, t.model)
	}
	s.controlled(ctx, err)
}

// unload takes unload_dependents of either value: no model depends on another here.
func (s *Server) unload(ctx *fasthttp.RequestCtx, t target) {
	err := s.controlParameters(ctx, "unload_dependents")
	if err == nil {
		err = nameable(t.model)
	}
	if err == nil {
		err = s.catalog.Unload(s.base, t.model)
	}
	s.controlled(ctx, err)
}

// controlled replies to a load or unload, whose success has no body.
func (s *Server) controlled(ctx *fasthttp.RequestCtx, err error) {
	if err != nil {
		s.fail(ctx, err)
		return
	}
	ctx.SetContentType("application/json")
}

// control reads the optional JSON body of a repository call.
func (s *Server) control(ctx *fasthttp.RequestCtx, v any) error {
	body, err := s.body(ctx)
	if err != nil || len(body) == 0 {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return backends.Errorf(backends.ErrInvalid, "the body is not the JSON object expected: %w", err)
	}
	return nil
}

// controlParameters reads the body of a load or unload and refuses a parameter not in known.
func (s *Server) controlParameters(ctx *fasthttp.RequestCtx, known ...string) error {
	var ask struct {
		Parameters map[string]any `json:"parameters"`
	}
	if err := s.control(ctx, &ask); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(ask.Parameters)) {
		switch {
		case slices.Contains(known, name):
		case name == "config" || strings.HasPrefix(name, "file:"):
			return backends.Errorf(backends.ErrUnsupported, "parameter %q is not supported: models are configured in the repository", name)
		default:
			return backends.Errorf(backends.ErrInvalid, "unknown parameter %q", name)
		}
	}
	return nil
}

// nameable refuses names that no folder of a repository has, before they meet a file system.
func nameable(model string) error {
	if model == "." || model == ".." || strings.ContainsAny(model, "/\\\x00") {
		return backends.Errorf(backends.ErrNotFound, "unknown model %q", model)
	}
	return nil
}
