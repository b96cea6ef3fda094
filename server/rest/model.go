package rest

import (
	"encoding/json"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/oip"
)

// extensions are the protocol extensions that clients may rely on.
var extensions = []string{"binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"}

// reply sends v as JSON.
func reply(ctx *fasthttp.RequestCtx, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // v is one of our own types
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(body)
}

func (s *Server) live(ctx *fasthttp.RequestCtx, _ target) {
	reply(ctx, fasthttp.StatusOK, map[string]bool{"live": true})
}

// ready says whether the server should get traffic: 503 while it should not, where another
// server of this protocol says 400; clients and probes look at whether it is 200.
func (s *Server) ready(ctx *fasthttp.RequestCtx, _ target) {
	ready, status := s.catalog.Ready(), fasthttp.StatusOK
	if !ready {
		status = fasthttp.StatusServiceUnavailable
	}
	reply(ctx, status, map[string]bool{"ready": ready})
}

func (s *Server) metadata(ctx *fasthttp.RequestCtx, _ target) {
	reply(ctx, fasthttp.StatusOK, oip.Server{Name: s.o.Name, Version: s.o.Version, Extensions: extensions})
}

func (s *Server) model(ctx *fasthttp.RequestCtx, t target) {
	v, release, err := s.catalog.Acquire(t.model, t.version)
	if err != nil {
		s.fail(ctx, err)
		return
	}
	defer release()
	reply(ctx, fasthttp.StatusOK, oip.Model{
		Name:     v.Model,
		Versions: append([]string{}, v.Versions...), // never null
		Platform: v.Signature.Platform,
		Inputs:   oip.Describe(v.Signature.Inputs),
		Outputs:  oip.Describe(v.Signature.Outputs),

		Parameters: parametersOf(v),
	})
}

// parametersOf returns nil where there is nothing to say: no precision, and nothing measured.
func parametersOf(v *catalog.Version) *oip.ModelParameters {
	p := &oip.ModelParameters{Precision: v.Signature.Precision, Golden: &oip.Golden{}}
	a := v.Serving.Accuracy
	if a == nil {
		if p.Precision == "" {
			return nil
		}
		return p
	}
	*p.Golden = oip.Golden{Measured: true, Reference: a.Reference, Cases: a.Cases, Outputs: map[string]map[string]float64{}}
	for _, o := range a.Outputs {
		figures := make(map[string]float64, len(o.Figures))
		for _, f := range o.Figures {
			figures[f.Kind] = f.Value
		}
		p.Golden.Outputs[o.Name] = figures
	}
	return p
}

func (s *Server) modelReady(ctx *fasthttp.RequestCtx, t target) {
	v, release, err := s.catalog.Acquire(t.model, t.version)
	if err != nil {
		s.fail(ctx, err)
		return
	}
	defer release()
	if err := v.Live(time.Now()); err != nil {
		s.fail(ctx, err)
		return
	}
	reply(ctx, fasthttp.StatusOK, struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{v.Model, true})
}
