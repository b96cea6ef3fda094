package rest

import (
	"github.com/valyala/fasthttp"

	"github.com/thrumserve/thrum/server/catalog"
	"github.com/thrumserve/thrum/server/oip"
)

// statistics answers for one version, or for all that are ready of a model.
func (s *Server) statistics(ctx *fasthttp.RequestCtx, t target) {
	v, release, err := s.catalog.Acquire(t.model, t.version)
	if err != nil {
		s.fail(ctx, err)
		return
	}
	defer release()
	versions := v.Versions
	if t.version != "" {
		versions = []string{v.Version}
	}
	all := oip.Statistics{Models: []oip.ModelStatistics{}}
	for _, version := range versions {
		s.count(&all, t.model, version)
	}
	reply(ctx, fasthttp.StatusOK, all)
}

// allStatistics answers for all versions that are ready.
func (s *Server) allStatistics(ctx *fasthttp.RequestCtx, _ target) {
	all := oip.Statistics{Models: []oip.ModelStatistics{}}
	for _, e := range s.catalog.Index() {
		if e.State == catalog.Ready {
			s.count(&all, e.Name, e.Version)
		}
	}
	reply(ctx, fasthttp.StatusOK, all)
}

// count adds a version. One that stops serving meanwhile is left out.
func (s *Server) count(all *oip.Statistics, model, version string) {
	v, release, err := s.catalog.Acquire(model, version)
	if err != nil {
		return
	}
	defer release()
	all.Models = append(all.Models, document(v.Model, v.Version, v.Statistics()))
}

func document(model, version string, s catalog.Statistics) oip.ModelStatistics {
	d := oip.ModelStatistics{
		Name: model, Version: version, Inferences: s.Rows, Executions: s.Batches,
		Requests: oip.InferenceStatistics{
			Success: duration(s.Success), Fail: duration(s.Failure),
			ComputeInput: duration(s.Parse), Queue: duration(s.Queue), ComputeInfer: duration(s.Compute), ComputeOutput: duration(s.Reply),
			CacheHit: duration(s.Hit), CacheMiss: duration(s.Miss),
		},
		Batches: []oip.BatchStatistics{},
		Memory:  []struct{}{},
	}
	for _, size := range s.Sizes {
		n := oip.Duration{Count: size.Compute.Count}
		d.Batches = append(d.Batches, oip.BatchStatistics{Size: size.Rows, ComputeInput: n, ComputeInfer: duration(size.Compute), ComputeOutput: n})
	}
	return d
}

func duration(t catalog.Time) oip.Duration {
	return oip.Duration{Count: t.Count, NS: t.Took.Nanoseconds()}
}
