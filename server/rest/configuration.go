package rest

import (
	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/oip"
)

func (s *Server) configuration(ctx *fasthttp.RequestCtx, t target) {
	v, release, err := s.catalog.Acquire(t.model, t.version)
	if err != nil {
		s.fail(ctx, err)
		return
	}
	defer release()
	reply(ctx, fasthttp.StatusOK, describe(v))
}

func describe(v *catalog.Version) oip.Configuration {
	c := oip.Configuration{
		Name: v.Model, Platform: v.Signature.Platform, Backend: v.Serving.Backend, MaxBatchSize: v.Serving.MaxRows,
		Input:     oip.Configure(v.Signature.Inputs, v.Serving.MaxRows > 0),
		Output:    oip.Configure(v.Signature.Outputs, v.Serving.MaxRows > 0),
		Instances: []oip.Instances{{Name: v.Model, Kind: "KIND_AUTO", Count: v.Serving.Instances}},
		Cache:     oip.ResponseCache{Enable: v.Serving.Cached},
	}
	if v.Serving.MaxRows > 0 {
		c.Batching = &oip.Batching{} // what waits is sent as soon as an instance is free
	}
	return c
}
