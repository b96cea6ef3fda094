package scenario

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

func TestMLPerfJudge(t *testing.T) {
	h := result.NewHistogram()
	for i := range 1000 {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	few := result.NewHistogram()
	few.RecordN(time.Millisecond, 10)
	single, multi, server, offline := Scenarios[0], Scenarios[1], Scenarios[2], Scenarios[3]
	for _, c := range []struct {
		name  string
		m     MLPerf
		run   *result.Run
		limit time.Duration
		want  string // the line
		why   string
	}{
		// Of 1,000 requests 77 may be over the p90, so its bound is the 78th longest, 923 ms.
		{"single stream", single, runOf(MinLength, 1, h), 0, "singlestream: p90 = 92", ""},
		// Of 1,000 requests 2 may be over the p99, so its bound is the third longest, 998 ms.
		{"multi stream", multi, runOf(MinLength, 1, h), 0, "multistream: p99 = 998", ""},
		{"too few", multi, runOf(MinLength, 1, few), 0, "multistream: p99 = 1", "at least 459"},
		{"too short", single, runOf(time.Minute, 1, h), 0, "singlestream: p90 = 92", "at least 10m"},
		{"server holds", server, runOf(MinLength, 1, h), 2 * time.Second, "server: requests/s at p99<=2s = 1.7 (VALID)", ""},
		{"server does not", server, runOf(MinLength, 1, h), time.Millisecond, "server: requests/s at p99<=1ms = 1.7 (INVALID)", "broken"},
		{"offline", offline, runOf(MinLength, 1, h), 0, "offline: rows/s = 1.7 (INVALID)", "24576"},
	} {
		f := c.m.Judge(c.run, c.limit, MinLength)
		if !strings.HasPrefix(f.String(), c.want) || f.Valid != (c.why == "") || !strings.Contains(strings.Join(f.Why, "; "), c.why) {
			t.Errorf("%s: %v because %q, want %q because %q", c.name, f, f.Why, c.want, c.why)
		}
	}
	cached := runOf(MinLength, 1, h)
	cached.Asked.Cache = "as in production"
	if f := single.Judge(cached, 0, MinLength); f.Valid {
		t.Errorf("a run with the cache is %v, want it invalid", f)
	}
}

// The bound of a percentile lies above the percentile, 99 times of 100.
func TestMLPerfBoundHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	below := 0
	for range 500 {
		h := result.NewHistogram()
		for range 1000 {
			h.Record(time.Duration(r.Float64() * float64(time.Second)))
		}
		if f := Scenarios[0].Judge(runOf(MinLength, 1, h), 0, MinLength); f.Latency < 899*time.Millisecond {
			below++
		}
	}
	if below > 10 {
		t.Errorf("the bound was below the percentile %d times of 500, want 5", below)
	}
}
