package scenario

import (
	"fmt"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// Rule says when a load test has run for long enough.
type Rule string

// The rules.
const (
	Quick   Rule = "quick"   // when three spans of two seconds in a row differ by less than 10 %
	Gate    Rule = "gate"    // when it is known whether the goal holds
	Publish Rule = "publish" // when that is known, and ten minutes have passed
)

// Set parses text; it makes a Rule usable as a command-line flag.
func (r *Rule) Set(text string) error {
	switch v := Rule(text); v {
	case Quick, Gate, Publish:
		*r = v
		return nil
	}
	return fmt.Errorf("%q is not a stop rule: use quick, gate or publish", text)
}

// String returns the rule.
func (r *Rule) String() string { return string(*r) }

// Type names the kind of value in --help.
func (r *Rule) Type() string { return "rule" }

// UnmarshalText is Set.
func (r *Rule) UnmarshalText(text []byte) error { return r.Set(string(text)) }

// PublishLength is how long a test that is published runs at least.
const PublishLength = 10 * time.Minute

const (
	span     = 2 // windows that are looked at together
	spans    = 3 // that have to agree
	nearness = 0.1
)

// Stop watches a test by a rule. The rules Gate and Publish look at the counts at most once for
// each growth by a quarter, and the more often they have looked the more they want to see: who looks
// every second finds what he hopes for sooner or later.
type Stop struct {
	Rule Rule // none: never stops
	Goal Goal // of Gate and Publish; its percentile is also that of Quick

	WarmUp time.Duration // at the beginning, at which it does not look

	windows     []result.Window // of the last spans, for Quick
	over, total uint64
	next        uint64 // total at which to look
	elapsed     time.Duration
	looks       int
	known       stats.Verdict
}

// Observe takes the next window into account.
func (s *Stop) Observe(w result.Window) {
	if w.Begin < s.WarmUp {
		return
	}
	s.elapsed = w.Begin + time.Second - s.WarmUp
	if s.Rule == Quick {
		s.windows = append(s.windows, w)
		s.windows = s.windows[max(0, len(s.windows)-span*spans):]
		return
	}
	var total uint64
	for _, n := range w.Outcomes {
		total += n
	}
	s.total += total
	s.over += total - min(total, w.OK.Within(s.Goal.Limit))
	if s.next == 0 { // with fewer it cannot be known that the goal holds
		s.next = stats.Required(s.Goal.Percentile, 0)
	}
	if s.total < s.next {
		return
	}
	s.next = s.total + s.total/4
	s.looks++
	s.known = stats.Look(s.looks, s.Goal.Percentile, s.over, s.total)
}

// Reason is why the test should stop, empty while it should go on.
func (s *Stop) Reason() string {
	switch {
	case s.Rule == Quick && s.steady():
		return fmt.Sprintf("%d spans of %d s differ by less than %.0f %%", spans, span, nearness*100)
	case s.known == "" || s.known == stats.CannotTell || s.Rule == Publish && s.elapsed < PublishLength:
		return ""
	case s.Rule == Gate || s.Rule == Publish:
		return fmt.Sprintf("it is known whether %v holds: %d of %d requests were over", s.Goal, s.over, s.total)
	}
	return ""
}

// steady reports whether the rates and percentiles of the last spans are near each other.
func (s *Stop) steady() bool {
	if len(s.windows) < span*spans {
		return false
	}
	var rates, percentiles []float64
	for i := 0; i < len(s.windows); i += span {
		h := result.NewHistogram()
		for _, w := range s.windows[i : i+span] {
			h.Merge(w.OK)
		}
		rates = append(rates, float64(h.Count()))
		percentiles = append(percentiles, float64(h.Quantile(s.percentile())))
	}
	return near(rates) && near(percentiles)
}

func (s *Stop) percentile() float64 {
	if s.Goal.Percentile == 0 {
		return 0.95
	}
	return s.Goal.Percentile
}

// near reports whether all values are within nearness of their median, and not 0.
func near(values []float64) bool {
	middle := stats.Median(values)
	for _, v := range values {
		if v == 0 || v < middle*(1-nearness) || v > middle*(1+nearness) {
			return false
		}
	}
	return true
}
