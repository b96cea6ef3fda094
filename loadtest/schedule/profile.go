package schedule

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"
)

// The bounds of a profile. A start takes 8 bytes: 50,000/s for 10 minutes take 240 MB, MaxStarts 400.
const (
	MaxStarts   = 50_000_000
	MaxRate     = 1e6 // per second
	MaxDuration = 24 * time.Hour
	MaxParts    = 1000
	minPeriod   = 100 * time.Millisecond
	nothing     = 1e-6 // per second: where a rate that falls to 0 ends
)

// Arrivals is how starts are spread about the rate.
type Arrivals string

// The kinds of arrivals.
const (
	// Even starts are as far from each other as the rate says, which users never are.
	Even Arrivals = "constant"
	// Independent starts are those of many users who know nothing of each other: a Poisson process.
	Independent Arrivals = "poisson"
	// Clustered starts are a Poisson process whose rate jumps between half and three halves of the
	// one asked for, and stays at each for 200 ms on average (a two-state Markov-modulated one).
	Clustered Arrivals = "bursty"
)

// Profile is how a load changes and how starts are spread about it. With a seed it makes a schedule.
type Profile struct {
	Arrivals Arrivals
	Parts    []Part // one after the other
}

// Part is a step of a schedule before its starts are known.
type Part struct {
	Name     string // made from its rate if empty
	Duration time.Duration
	Rate     float64       // starts per second, at its beginning
	To       float64       // at its end or, with a Period, what the rate swings to; 0 for Rate throughout
	Period   time.Duration // of a sine that goes from Rate to To and back; 0 for a straight line
	Warmup   bool          // answers are not counted
}

// Constant has starts at equal distances.
func Constant(rate float64, d time.Duration) Profile { return level(Even, rate, d) }

// Poisson has independent starts at a constant rate.
func Poisson(rate float64, d time.Duration) Profile { return level(Independent, rate, d) }

// Bursty has starts in bursts about a constant mean rate.
func Bursty(rate float64, d time.Duration) Profile { return level(Clustered, rate, d) }

func level(a Arrivals, rate float64, d time.Duration) Profile {
	return Profile{a, []Part{{Rate: rate, Duration: d}}}
}

// Ramp goes from one rate to another by a straight line, with independent starts.
func Ramp(from, to float64, d time.Duration) Profile {
	return Profile{Independent, []Part{{Rate: from, To: cmp.Or(to, nothing), Duration: d}}}
}

// Sine goes from one rate to another and back in each period, with independent starts.
func Sine(low, high float64, period, d time.Duration) Profile {
	return Profile{Independent, []Part{{Rate: low, To: cmp.Or(high, nothing), Period: period, Duration: d}}}
}

// Steps holds each of the rates for d.
func Steps(a Arrivals, d time.Duration, rates ...float64) Profile {
	p := Profile{Arrivals: a}
	for _, rate := range rates {
		p.Parts = append(p.Parts, Part{Rate: rate, Duration: d})
	}
	return p
}

// Spike jumps for d from a rate to a peak, with independent starts, and stays at the rate for around
// before it and after it.
func Spike(rate, peak float64, d, around time.Duration) Profile {
	return Profile{Independent, []Part{
		{Name: "before", Rate: rate, Duration: around},
		{Name: "spike", Rate: peak, Duration: d},
		{Name: "after", Rate: rate, Duration: around},
	}}
}

// end is the rate at the end of p or, with a period, at the other end of its swing.
func (p Part) end() float64 { return cmp.Or(p.To, p.Rate) }

// Mean is the average number of starts per second.
func (p Part) Mean() float64 {
	if p.Period == 0 || p.Duration <= 0 {
		return (p.Rate + p.end()) / 2
	}
	// The rate is m − a·cos(2πt/period), with m the middle and a how far it swings to either side.
	turn := 2 * math.Pi * p.Duration.Seconds() / p.Period.Seconds()
	return (p.Rate+p.end())/2 - (p.end()-p.Rate)/2*math.Sin(turn)/turn
}

// at is the rate at a time of the part.
func (p Part) at(t time.Duration) float64 {
	if p.Period == 0 {
		return p.Rate + (p.end()-p.Rate)*t.Seconds()/p.Duration.Seconds()
	}
	return (p.Rate+p.end())/2 - (p.end()-p.Rate)/2*math.Cos(2*math.Pi*t.Seconds()/p.Period.Seconds())
}

// Check says what is wrong with a profile.
func (p Profile) Check() error {
	if p.Arrivals != Even && p.Arrivals != Independent && p.Arrivals != Clustered {
		return fmt.Errorf("arrivals are %s, %s or %s, not %q", Even, Independent, Clustered, p.Arrivals)
	}
	if len(p.Parts) == 0 || len(p.Parts) > MaxParts {
		return fmt.Errorf("a profile has 1 to %d parts, not %d", MaxParts, len(p.Parts))
	}
	var starts float64
	var total time.Duration
	counted := false
	for _, part := range p.Parts {
		if err := part.check(); err != nil {
			return err
		}
		starts += part.Mean() * part.Duration.Seconds()
		total += part.Duration
		if total > MaxDuration {
			return fmt.Errorf("the profile is longer than %v", MaxDuration)
		}
		counted = counted || !part.Warmup
	}
	switch {
	case !counted:
		return errors.New("the profile is all warm-up: nothing is left to be counted")
	case starts > MaxStarts:
		return fmt.Errorf("the profile has about %.0f starts, at most %d can be: lower its rate or its duration", starts, MaxStarts)
	}
	return nil
}

func (p Part) check() error {
	for _, rate := range []float64{p.Rate, p.To} {
		if !(rate >= 0 && rate <= MaxRate) {
			return fmt.Errorf("a rate is between 0 and %g/s, not %g/s", MaxRate, rate)
		}
	}
	switch {
	case p.Rate == 0 && p.To == 0:
		return errors.New("a rate of 0/s sends nothing")
	case p.Duration <= 0 || p.Duration > MaxDuration:
		return fmt.Errorf("a part lasts up to %v, not %v", MaxDuration, p.Duration)
	case p.Period != 0 && (p.Period < minPeriod || p.Period > p.Duration):
		return fmt.Errorf("a period is between %v and the %v that its part lasts, not %v", minPeriod, p.Duration, p.Period)
	}
	return nil
}

// WarmUp returns a profile that begins with d at the rate with which p begins, which is not counted.
func (p Profile) WarmUp(d time.Duration) (Profile, error) {
	for _, part := range p.Parts {
		if part.Warmup {
			return Profile{}, fmt.Errorf("%s has a warm-up of its own: leave one of them out", p)
		}
	}
	if len(p.Parts) == 0 {
		return Profile{}, p.Check()
	}
	rate := cmp.Or(p.Parts[0].Rate, p.Parts[0].To)
	return Profile{p.Arrivals, append([]Part{{Duration: d, Rate: rate, Warmup: true}}, p.Parts...)}, nil
}
