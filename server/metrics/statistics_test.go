package metrics

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/server/catalog"
)

const ms = time.Millisecond

// rounded takes what floating-point seconds lose away.
func rounded(s catalog.Statistics) catalog.Statistics {
	for _, t := range []*catalog.Time{&s.Success, &s.Failure, &s.Parse, &s.Queue, &s.Compute, &s.Reply, &s.Hit, &s.Miss} {
		t.Took = t.Took.Round(time.Microsecond)
	}
	return s
}

func TestStatistics(t *testing.T) {
	m := New("")
	v := m.AddVersion("a", "1", func() Sample { return Sample{HasCache: true} }, nil)
	v.ObserveBatch(4, 2*ms)
	v.ObserveBatch(1, ms)
	v.ObserveBatch(4, 3*ms)
	for _, r := range []Request{
		{Code: 200, Rows: 4, BatchRows: 4, Cache: "miss", Total: 10 * ms, Parse: ms, Queue: 2 * ms, Compute: 3 * ms, Reply: ms},
		{Code: 200, Rows: 1, Cache: "hit", Total: 4 * ms, Parse: ms, Reply: 2 * ms},
		{Code: 200, Rows: 1, Cache: "shared", Total: 7 * ms, Parse: ms, Reply: ms},
		{Code: 400, Total: 5 * ms, Parse: 5 * ms},
	} {
		r.Model, r.Version = "a", "1"
		m.ObserveRequest(r)
	}
	want := catalog.Statistics{
		Rows: 9, Batches: 3,
		Success: catalog.Time{Count: 3, Took: 21 * ms}, Failure: catalog.Time{Count: 1, Took: 5 * ms},
		Parse: catalog.Time{Count: 4, Took: 8 * ms}, Queue: catalog.Time{Count: 1, Took: 2 * ms},
		Compute: catalog.Time{Count: 1, Took: 3 * ms}, Reply: catalog.Time{Count: 3, Took: 4 * ms},
		Hit: catalog.Time{Count: 2, Took: 6 * ms}, Miss: catalog.Time{Count: 1, Took: 3 * ms},
		Sizes: []catalog.Size{{Rows: 1, Compute: catalog.Time{Count: 1, Took: ms}}, {Rows: 4, Compute: catalog.Time{Count: 2, Took: 5 * ms}}},
	}
	if got := rounded(v.Statistics()); !reflect.DeepEqual(got, want) {
		t.Errorf("Statistics() = %+v, want %+v", got, want)
	}
	v.Remove()
	if got := rounded(m.AddVersion("a", "1", v.sample, nil).Statistics()); !reflect.DeepEqual(got, want) {
		t.Errorf("after a second load, Statistics() = %+v, want %+v", got, want)
	}
}

func TestReadingStatisticsMakesNoSeriesOfACacheThatIsNotThere(t *testing.T) {
	m := New("")
	v := m.AddVersion("a", "1", func() Sample { return Sample{} }, nil)
	if got := v.Statistics(); got.Hit != (catalog.Time{}) || got.Batches != 0 {
		t.Errorf("Statistics() = %+v, want nothing counted", got)
	}
	if text := scrape(t, m); strings.Contains(text, "thrum_cache_requests_total{") {
		t.Errorf("GET /metrics = %s", text)
	}
}
