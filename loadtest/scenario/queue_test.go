package scenario

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// queue is a server that answers one request at a time, in exponentially distributed time, in the
// order in which they come. Its latency is exponential with rate service - offered (M/M/1), so the
// peak at a goal is known: service - ln(1/(1-percentile)) / limit.
type queue struct {
	service float64 // requests per second
	r       *rand.Rand
}

// run offers n requests at a rate.
func (q queue) run(rate float64, n int) *result.Run {
	h := result.NewHistogram()
	var arrival, free float64
	for range n {
		arrival += q.r.ExpFloat64() / rate
		free = max(free, arrival) + q.r.ExpFloat64()/q.service
		h.Record(time.Duration((free - arrival) * 1e9))
	}
	return runOf(time.Duration(arrival*1e9), rate, h)
}

func runOf(took time.Duration, rate float64, ok *result.Histogram) *result.Run {
	return &result.Run{
		Asked: result.Asked{Cache: "bypass"},
		Took:  took,
		Steps: []result.Step{{Duration: took, Rate: rate, Rows: ok.Count(), Arrived: ok.Count(), Outcomes: map[result.Outcome]*result.Latency{
			result.OK: {Intended: ok, Sent: ok},
		}}},
	}
}

var goal = Goal{0.99, 20 * time.Millisecond}

func (q queue) measure(_ context.Context, rate float64) (Trial, error) {
	run := q.run(rate, 20000)
	s := run.Total()
	return Trial{Held: goal.Held(s) == stats.Same, Goodput: s.Goodput(goal.Limit), Run: run}, nil
}

func TestFindComesToThePeakOfAQueue(t *testing.T) {
	q := queue{1000, rand.New(rand.NewPCG(1, 1))}
	const truth = 1000 - 4.605/0.020
	for _, start := range []float64{1, 769, 5000} {
		peak, err := Search{Start: start}.Find(t.Context(), q.measure, nil)
		if err != nil {
			t.Fatal(err)
		}
		if peak.Rate < truth*0.92 || peak.Rate > truth*1.02 {
			t.Errorf("from %v/s: peak %v/s, want %v/s, a little less for the confidence", start, peak.Rate, truth)
		}
		if peak.Limited != "" || peak.Goodput < peak.Rate*0.95 || peak.Goodput > peak.Rate {
			t.Errorf("from %v/s: %q, goodput %v, want no other limit and 99 %% of %v", start, peak.Limited, peak.Goodput, peak.Rate)
		}
		for i, trial := range peak.Trials[len(peak.Trials)-3:] {
			if trial.Phase != Confirm || !trial.Held || trial.Rate != peak.Rate {
				t.Errorf("from %v/s: trial %d from the end is %+v, want a confirmation", start, 3-i, trial)
			}
		}
	}
}

// script holds up to a rate; what hiccups lists fails whatever the rate, by the number of the trial.
type script struct {
	upTo     float64
	faulty   float64 // from there on the generator fails
	hiccups  map[int]bool
	faults   map[int]bool // as hiccups, of the generator
	measured int
}

func (s *script) measure(_ context.Context, rate float64) (Trial, error) {
	s.measured++
	if s.faulty > 0 && rate >= s.faulty || s.faults[s.measured] {
		return Trial{Faulty: true, Why: "1 % of requests were sent late"}, nil
	}
	return Trial{Held: rate <= s.upTo && !s.hiccups[s.measured], Goodput: rate}, nil
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name      string
		search    Search
		server    script
		low, high float64
		limited   bool
		unstable  bool
	}{
		{"a sharp edge", Search{Start: 10}, script{upTo: 777}, 777 / 1.02, 777, false, false},
		{"the first rate is beyond", Search{Start: 10000}, script{upTo: 777}, 777 / 1.02, 777, false, false},
		{"a hiccup while doubling", Search{Start: 10}, script{upTo: 777, hiccups: map[int]bool{2: true}}, 777 / 1.02, 777, false, false},
		{"a hiccup while confirming", Search{Start: 100}, script{upTo: 777, hiccups: map[int]bool{15: true}}, 777 / 1.05, 777, false, false},
		{"a generator that now and then has no time", Search{Start: 100}, script{upTo: 777, faults: map[int]bool{2: true, 3: true, 8: true, 18: true, 19: true, 20: true}}, 777 / 1.02, 777, false, false},
		{"the generator ends before the server", Search{Start: 10}, script{upTo: 777, faulty: 500}, 500 / 1.02, 500, true, false},
		{"as far as was asked for", Search{Start: 10, Most: 300}, script{upTo: 777}, 300, 300, true, false},
		{"coarse", Search{Start: 10, Tolerance: 0.5, Confirm: 1}, script{upTo: 777}, 777 / 1.5, 777, false, false},
	} {
		seen := 0
		peak, err := c.search.Find(t.Context(), c.server.measure, func(Trial) { seen++ })
		if err != nil || peak.Rate < c.low || peak.Rate > c.high || (peak.Limited != "") != c.limited {
			t.Errorf("%s: %v/s, limited %q, %v, want %v to %v", c.name, peak.Rate, peak.Limited, err, c.low, c.high)
		}
		if seen != len(peak.Trials) {
			t.Errorf("%s: %d trials were shown of %d", c.name, seen, len(peak.Trials))
		}
	}
}

func TestFindGivesUp(t *testing.T) {
	none := func(context.Context, float64) (Trial, error) { return Trial{}, nil }
	if _, err := (Search{Start: 100}).Find(t.Context(), none, nil); err == nil || errors.Is(err, ErrUnstable) {
		t.Errorf("a goal that never holds: %v, want an error that says so", err)
	}
	late := func(context.Context, float64) (Trial, error) { return Trial{Faulty: true, Why: "sends were late"}, nil }
	peak, err := (Search{Start: 100}).Find(t.Context(), late, nil)
	if err == nil || errors.Is(err, ErrUnstable) || !strings.Contains(err.Error(), "sends were late") || len(peak.Trials) > 4 {
		t.Errorf("a generator that is always late: %v after %d trials, want why after a few", err, len(peak.Trials))
	}
	trial := 0
	fickle := func(_ context.Context, rate float64) (Trial, error) {
		trial++
		return Trial{Held: rate < 100 && trial%3 != 0}, nil
	}
	if _, err := (Search{Start: 100}).Find(t.Context(), fickle, nil); !errors.Is(err, ErrUnstable) {
		t.Errorf("a goal that holds twice of three times: %v, want ErrUnstable", err)
	}
	all := func(context.Context, float64) (Trial, error) { return Trial{Held: true}, nil }
	if _, err := (Search{Start: 1}).Find(t.Context(), all, nil); !errors.Is(err, ErrUnstable) {
		t.Errorf("a goal that always holds: %v, want an end", err)
	}
	broken := errors.New("broken")
	if _, err := (Search{Start: 1}).Find(t.Context(), func(context.Context, float64) (Trial, error) { return Trial{}, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("Find = %v, want the error of measure", err)
	}
}
