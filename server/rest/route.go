package rest

import (
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/backends"
)

// endpoint is what a path leads to.
type endpoint struct {
	method string // GET also allows HEAD; empty for any
	handle func(s *Server, ctx *fasthttp.RequestCtx, t target)
}

// target is the model and version that a path names.
type target struct {
	model   string
	version string // empty for the one that the model's policy prefers
}

var (
	serverEndpoints = map[string]endpoint{
		"":                 {"GET", (*Server).metadata},
		"health/live":      {"GET", (*Server).live},
		"health/ready":     {"GET", (*Server).ready},
		"repository/index": {"POST", (*Server).index},
		"models/stats":     {"GET", (*Server).allStatistics},
		"trace/setting":    notOffered,
		"logging":          notOffered,
	}
	modelEndpoints = map[string]endpoint{
		"":                {"GET", (*Server).model},
		"ready":           {"GET", (*Server).modelReady},
		"infer":           {"POST", (*Server).infer},
		"config":          {"GET", (*Server).configuration},
		"stats":           {"GET", (*Server).statistics},
		"generate":        notOffered,
		"generate_stream": notOffered,
		"trace/setting":   notOffered,
	}
	repositoryEndpoints = map[string]endpoint{
		"load":   {"POST", (*Server).load},
		"unload": {"POST", (*Server).unload},
	}
	notOffered = endpoint{"", (*Server).unsupported}
)

const hint = "this server answers GET /v2, /v2/health/live, /v2/health/ready, /v2/models/{model}[/versions/{version}][/ready], [/config], [/stats], /v2/models/stats, " +
	"POST /v2/models/{model}[/versions/{version}]/infer, /v2/repository/index, /v2/repository/models/{model}/load and unload"

// route hands the request to its endpoint.
func (s *Server) route(ctx *fasthttp.RequestCtx) {
	e, t, ok := resolve(string(ctx.URI().PathOriginal()))
	method := string(ctx.Method())
	switch {
	case !ok:
		refuse(ctx, fasthttp.StatusNotFound, "no such path: "+hint)
	case e.method == "" || method == e.method || method == "HEAD" && e.method == "GET":
		e.handle(s, ctx, t)
	default:
		allow := strings.Replace(e.method, "GET", "GET, HEAD", 1)
		ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
		refuse(ctx, fasthttp.StatusMethodNotAllowed, "method not allowed: use "+allow)
	}
}

// resolve finds what a path, still percent-encoded, leads to.
func resolve(path string) (endpoint, target, bool) {
	path, ok := strings.CutPrefix(path, "/v2")
	if !ok || path != "" && path[0] != '/' || path == "/" {
		return endpoint{}, target{}, false
	}
	path = strings.TrimPrefix(path, "/")
	if e, ok := serverEndpoints[path]; ok {
		return e, target{}, true
	}
	room, rest, _ := strings.Cut(path, "/")
	switch room {
	case "models":
		return resolveModel(rest)
	case "repository":
		return resolveRepository(rest)
	case "systemsharedmemory", "cudasharedmemory":
		return notOffered, target{}, true
	}
	return endpoint{}, target{}, false
}

func resolveModel(path string) (endpoint, target, bool) {
	name, rest, _ := strings.Cut(path, "/")
	t := target{model: unescaped(name)}
	if versions, ok := strings.CutPrefix(rest, "versions/"); ok {
		t.version, rest, _ = strings.Cut(versions, "/")
		if strings.Trim(t.version, "0123456789") != "" || t.version == "" {
			return endpoint{}, target{}, false
		}
	}
	e, ok := modelEndpoints[rest]
	return e, t, ok && name != "" && !strings.HasSuffix(path, "/")
}

func resolveRepository(path string) (endpoint, target, bool) {
	if rest, ok := strings.CutPrefix(path, "models/"); ok {
		name, verb, _ := strings.Cut(rest, "/")
		e, ok := repositoryEndpoints[verb]
		return e, target{model: unescaped(name)}, ok && name != ""
	}
	_, rest, _ := strings.Cut(path, "/")
	named := rest == "index" || strings.HasPrefix(rest, "models/")
	return notOffered, target{}, named // several repositories in one server are not offered
}

// unescaped decodes a path segment; one that is no valid encoding is left as it is and names
// no model.
func unescaped(segment string) string {
	if name, err := url.PathUnescape(segment); err == nil {
		return name
	}
	return segment
}

func (s *Server) unsupported(ctx *fasthttp.RequestCtx, _ target) {
	s.fail(ctx, backends.Errorf(backends.ErrUnsupported, "%s is not offered: %s", ctx.URI().PathOriginal(), hint))
}
