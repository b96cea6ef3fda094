package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// Phase is what a trial is for.
type Phase string

// The phases of a search.
const (
	Double  Phase = "double"
	Bisect  Phase = "bisect"
	Confirm Phase = "confirm"
)

// Trial is a load test at one rate.
type Trial struct {
	Phase   Phase
	Rate    float64       // requests per second
	Held    bool          // the goal holds
	Faulty  bool          // the generator did not keep its schedule: says nothing of the server
	Why     string        // in words
	Latency time.Duration // at the goal's percentile
	Goodput float64       // requests per second within the limit
	Run     *result.Run   // may be nil
}

// Peak is the highest rate at which the goal holds.
type Peak struct {
	Rate    float64
	Goodput float64 // the least of the trials that confirmed it
	Limited string  // why it may be higher; empty if the server is what limits it
	Trials  []Trial
}

// Search looks for a peak: it doubles the rate until the goal is broken, bisects between the last
// two and confirms what it has found.
type Search struct {
	Start     float64 // requests per second, where to begin
	Most      float64 // where to end; no end if 0
	Tolerance float64 // how close to come, as a share; 0.02 if 0
	Confirm   int     // how many trials in a row must hold; 3 if 0
}

// ErrUnstable says that the goal holds in one trial and not in the next at the same rate.
var ErrUnstable = errors.New("unstable")

// mostTrials bounds a search.
const mostTrials = 100

// slowest is the rate below which no server is looked for.
const slowest = 0.1

// Find searches with measure, which is given a rate and returns what came of it. It calls seen,
// which may be nil, with every trial. The error wraps ErrUnstable where no rate could be confirmed.
// What was found until then comes with an error, too.
func (s Search) Find(ctx context.Context, measure func(ctx context.Context, rate float64) (Trial, error), seen func(Trial)) (Peak, error) {
	if s.Tolerance == 0 {
		s.Tolerance = 0.02
	}
	if s.Confirm == 0 {
		s.Confirm = 3
	}
	at := position{Search: s}
	var peak Peak
	for {
		phase, rate, err := at.next()
		if err != nil || phase == "" {
			peak.Rate, peak.Goodput, peak.Limited = at.low, at.goodput, at.limited
			return peak, err
		}
		if len(peak.Trials) == mostTrials {
			return peak, fmt.Errorf("%w: no peak after %d trials: make them longer with --duration", ErrUnstable, mostTrials)
		}
		t, err := measure(ctx, rate)
		if err != nil {
			return peak, err
		}
		t.Phase, t.Rate = phase, rate
		peak.Trials = append(peak.Trials, t)
		if seen != nil {
			seen(t)
		}
		at.add(t)
	}
}

// position is how far a search has come.
type position struct {
	Search
	low, high float64 // the goal holds at low and is broken at high; 0 where that is not known
	confirmed int     // trials at low in a row
	falls     int     // how often a rate could not be confirmed
	doubted   *Trial  // the last, which failed and is repeated: once may be a hiccup of the machine
	doubts    int     // how often it has failed
	helpless  *Trial  // one that the generator spoiled, before the goal has held anywhere
	goodput   float64
	limited   string
}

// mostFalls is how often a rate may turn out not to hold.
const mostFalls = 8

// next returns the next trial, no phase when the peak has been found.
func (p *position) next() (Phase, float64, error) {
	switch {
	case p.helpless != nil:
		return "", 0, fmt.Errorf("the generator cannot keep its schedule at %.4g/s: %s; begin with a lower --start, or give it a core of its own", p.helpless.Rate, p.helpless.Why)
	case p.doubted != nil:
		return p.doubted.Phase, p.doubted.Rate, nil
	case p.falls > mostFalls:
		return "", 0, fmt.Errorf("%w: the goal holds once and not the next time, down to %.4g/s: make trials longer with --duration, or the machine quieter", ErrUnstable, p.low)
	case p.low == 0 && p.high == 0:
		return Double, p.Start, nil
	case p.low == 0 && p.high/2 < slowest:
		return "", 0, fmt.Errorf("the goal does not hold at any rate, down to %.4g/s: choose one that an idle server holds", p.high)
	case p.low == 0:
		return Double, p.high / 2, nil
	case p.high == 0 && (p.Most == 0 || p.low < p.Most):
		return Double, p.upTo(p.low * 2), nil
	case p.high != 0 && p.falls == 0 && p.high/p.low > 1+p.Tolerance:
		return Bisect, math.Sqrt(p.low * p.high), nil
	case p.confirmed < p.Confirm:
		return Confirm, p.low, nil
	}
	if p.high == 0 {
		p.limited = fmt.Sprintf("it was not looked for above %.4g/s", p.Most)
	}
	return "", 0, nil
}

func (p *position) upTo(rate float64) float64 {
	if p.Most > 0 {
		return min(rate, p.Most)
	}
	return rate
}

// add takes a trial into account.
func (p *position) add(t Trial) {
	if p.doubts < doubtful(t) {
		p.doubted, p.doubts = &t, p.doubts+1
		return
	}
	p.doubted, p.doubts = nil, 0
	switch {
	case t.Held && t.Phase == Confirm:
		p.confirmed++
		if p.confirmed == 1 || t.Goodput < p.goodput {
			p.goodput = t.Goodput
		}
	case t.Held:
		p.low = t.Rate
	case t.Faulty && p.low == 0:
		p.helpless = &t
	case t.Phase == Confirm:
		p.falls, p.confirmed = p.falls+1, 0
		p.high, p.low = t.Rate, t.Rate*(1-p.Tolerance)
		p.limit(t)
	default:
		p.high = t.Rate
		p.limit(t)
	}
}

// doubtful is how often a trial is repeated: one that the generator spoiled says nothing of the
// server, and one that is to confirm has nothing to be confirmed by.
func doubtful(t Trial) int {
	switch {
	case t.Faulty:
		return 3
	case t.Held || t.Phase == Confirm:
		return 0
	default:
		return 1
	}
}

// limit remembers whether it is the server or the generator that broke off at the rate above.
func (p *position) limit(t Trial) {
	p.limited = ""
	if t.Faulty {
		p.limited = fmt.Sprintf("the generator could not send %.4g/s: %s", t.Rate, t.Why)
	}
}
