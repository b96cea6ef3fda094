package metrics

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/thrumserve/thrum/server/catalog"
)

// sizes counts batches by their rows: no more entries than rows are allowed in a batch.
type sizes struct {
	mu sync.Mutex // guards of
	of map[int]catalog.Time
}

func (s *sizes) add(rows int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.of[rows]
	s.of[rows] = catalog.Time{Count: t.Count + 1, Took: t.Took + took}
}

// list returns them by ascending rows.
func (s *sizes) list() []catalog.Size {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]catalog.Size, 0, len(s.of))
	for rows, t := range s.of {
		all = append(all, catalog.Size{Rows: rows, Compute: t})
	}
	slices.SortFunc(all, func(a, b catalog.Size) int { return cmp.Compare(a.Rows, b.Rows) })
	return all
}

// Statistics reads what has been counted of v.
func (v *Version) Statistics() catalog.Statistics {
	all, failed := observed(v.duration), seconds(count(v.failed))
	ok := uint64(count(v.ok))
	s := catalog.Statistics{
		Success: catalog.Time{Count: ok, Took: max(0, all.Took-failed)},
		Failure: catalog.Time{Count: max(all.Count, ok) - ok, Took: failed}, // it may be counted as a success before its time is
		Parse:   observed(v.parse),
		Queue:   observed(v.queue),
		Compute: observed(v.compute),
		Reply:   observed(v.reply),
		Hit:     v.cached("hit", "shared"),
		Miss:    v.cached("miss"),
		Sizes:   v.sizes.list(),
	}
	for _, size := range s.Sizes {
		s.Rows += uint64(size.Rows) * size.Compute.Count
		s.Batches += size.Compute.Count
	}
	return s
}

// cached adds the requests with these outcomes up.
func (v *Version) cached(outcomes ...string) (t catalog.Time) {
	if !v.sample().HasCache {
		return t
	}
	for _, outcome := range outcomes {
		t.Count += uint64(count(v.metrics.outcomes.WithLabelValues(v.id.model, v.id.version, outcome)))
		t.Took += seconds(count(v.metrics.caching.WithLabelValues(v.id.model, v.id.version, outcome)))
	}
	return t
}

func count(c prometheus.Counter) float64 { return read(c).GetCounter().GetValue() }

func observed(o prometheus.Observer) catalog.Time {
	h := read(o.(prometheus.Metric)).GetHistogram()
	return catalog.Time{Count: h.GetSampleCount(), Took: seconds(h.GetSampleSum())}
}

func read(m prometheus.Metric) *dto.Metric {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		panic(err) // its labels are ours, and valid
	}
	return &d
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
