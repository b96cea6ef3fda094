package scenario

import (
	"fmt"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// MLPerf is one of the scenarios of MLPerf Inference (rules of July 2026). Result caches are
// forbidden in all of them, and latency counts from the scheduled start.
type MLPerf struct {
	Name        string
	Rows        int     // of a request; 0 for as many as the model takes
	Closed      bool    // the next request waits for the one before
	Percentile  float64 // of the figure, or of the limit of Server; 0 for Offline, whose figure is rows/s
	LeastRows   uint64  // in all
	Description string
}

// MinLength is how long a run has to be for its figure to count.
const MinLength = 10 * time.Minute

// Scenarios are all of them.
var Scenarios = []MLPerf{
	{"singlestream", 1, true, 0.90, 0, "one request after the other, of one row: the 90th percentile of latency"},
	{"multistream", 8, true, 0.99, 0, "one request after the other, of eight rows: the 99th percentile of latency"},
	{"server", 1, false, 0.99, 0, "Poisson arrivals of requests of one row: the highest rate with the 99th percentile within the limit"},
	{"offline", 0, true, 0, 24576, "all rows at once: rows per second"},
}

// Figure is what a run of a scenario says.
type Figure struct {
	Scenario string
	Metric   string        // such as "p90"
	Latency  time.Duration // where the metric is one
	Rate     float64       // rows or requests per second, where the metric is one
	Valid    bool          // by the rules
	Why      []string      // it is not valid, beside why the run is not
}

// String is one line.
func (f Figure) String() string {
	value := fmt.Sprintf("%.1f", f.Rate)
	if f.Latency > 0 {
		value = f.Latency.String()
	}
	word := "VALID"
	if !f.Valid {
		word = "INVALID"
	}
	return fmt.Sprintf("%s: %s = %s (%s)", f.Scenario, f.Metric, value, word)
}

// Judge returns the figure of a run of m, where limit is that of Server and length the shortest
// that is asked for, normally MinLength.
//
// A latency is early stopping's: not the percentile of the sample but, of the n latencies, the
// smallest that the percentile does not pass with stats.Confidence. That is the (t+1)-th longest, where
// t is the most that stats.Over allows over a limit among n.
func (m MLPerf) Judge(r *result.Run, limit, length time.Duration) Figure {
	all := r.Total()
	f := Figure{Scenario: m.Name}
	if r.Took < length {
		f.Why = append(f.Why, fmt.Sprintf("it ran for %v, at least %v are asked for", r.Took.Round(time.Millisecond), length))
	}
	if n := all.Total() - all.Count(result.OK); n > 0 && m.Closed {
		f.Why = append(f.Why, fmt.Sprintf("%d of %d requests were not answered OK", n, all.Total()))
	}
	if r.Asked.Cache != "bypass" {
		f.Why = append(f.Why, "caches of results are forbidden: run it with --cache bypass")
	}
	switch {
	case m.Percentile == 0:
		m.offline(r, all, &f)
	case m.Closed:
		m.stream(all, &f)
	default:
		m.server(all, limit, &f)
	}
	f.Valid = len(f.Why)+len(r.Invalid) == 0
	return f
}

func (m MLPerf) offline(r *result.Run, all result.Step, f *Figure) {
	f.Metric = "rows/s"
	if r.Took > 0 {
		f.Rate = float64(all.Rows) / r.Took.Seconds()
	}
	if all.Rows < m.LeastRows {
		f.Why = append(f.Why, fmt.Sprintf("%d rows were answered, at least %d are asked for: run it for longer with --duration", all.Rows, m.LeastRows))
	}
}

func (m MLPerf) stream(all result.Step, f *Figure) {
	f.Metric = Goal{m.Percentile, 0}.Name()
	n := all.Count(result.OK)
	over, ok := stats.Over(m.Percentile, n)
	if !ok {
		f.Latency = all.Intended(result.OK).Max()
		f.Why = append(f.Why, fmt.Sprintf("%d requests were answered, at least %d are needed: run it for longer with --duration", n, stats.Required(m.Percentile, 0)))
		return
	}
	f.Latency = all.Intended(result.OK).Quantile(float64(n-over) / float64(n))
}

func (m MLPerf) server(all result.Step, limit time.Duration, f *Figure) {
	goal := Goal{m.Percentile, limit}
	f.Metric = fmt.Sprintf("requests/s at %v", goal)
	f.Rate = all.Achieved()
	if goal.Held(all) != stats.Same {
		f.Why = append(f.Why, goal.Explain(all))
	}
}
