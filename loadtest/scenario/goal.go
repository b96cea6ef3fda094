// Package scenario makes one verdict of many load tests: the peak rate at a goal, the scenarios of
// MLPerf Inference, a soak, a spike, and when a test has run for long enough. What to measure next
// and what it means are decisions without a clock; whoever calls measures.
package scenario

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/stats"
)

// Goal is a percentile of latency that is to be within a limit. A request that was not answered OK
// counts as over it.
type Goal struct {
	Percentile float64 // 0.99 for p99
	Limit      time.Duration
}

var goalForm = regexp.MustCompile(`^\s*p(\d{1,2}(?:\.\d{1,3})?)\s*(?:<=|<)\s*([0-9.a-zµ]+)\s*$`)

// Set parses text such as "p99<=5ms"; it makes a Goal usable as a command-line flag.
func (g *Goal) Set(text string) error {
	m := goalForm.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is not a goal: write it like p99<=5ms", text)
	}
	percent, err := strconv.ParseFloat(m[1], 64)
	if err != nil || percent < 1 {
		return fmt.Errorf("%q: the percentile is p1 to p99.999", text)
	}
	limit, err := time.ParseDuration(m[2])
	if err != nil || limit <= 0 {
		return fmt.Errorf("%q: %q is not a time: write it like 5ms or 1.5s", text, m[2])
	}
	*g = Goal{percent / 100, limit}
	return nil
}

// String returns what Set parses; of no goal it is empty.
func (g Goal) String() string {
	if g == (Goal{}) {
		return ""
	}
	return fmt.Sprintf("%s<=%v", g.Name(), g.Limit)
}

// Name is that of the percentile, such as "p99".
func (g Goal) Name() string {
	return "p" + strconv.FormatFloat(g.Percentile*100, 'f', -1, 32)
}

// Type names the kind of value in --help.
func (g *Goal) Type() string { return "goal" }

// UnmarshalText is Set.
func (g *Goal) UnmarshalText(text []byte) error { return g.Set(string(text)) }

// Over returns how many requests of s were over the limit or not answered OK, and of how many.
func (g Goal) Over(s result.Step) (over, total uint64) {
	total = s.Total()
	return total - s.Intended(result.OK).Within(g.Limit), total
}

// Held is what a step says of the goal: Same if it holds with stats.Confidence, Changed if it is
// broken with as much, and else that it cannot be told.
func (g Goal) Held(s result.Step) stats.Verdict {
	over, total := g.Over(s)
	switch {
	case stats.Holds(g.Percentile, over, total):
		return stats.Same
	case stats.Breaks(g.Percentile, over, total):
		return stats.Changed
	default:
		return stats.CannotTell
	}
}

// Explain says in words what Held says.
func (g Goal) Explain(s result.Step) string {
	over, total := g.Over(s)
	switch g.Held(s) {
	case stats.Same:
		return fmt.Sprintf("%v holds: %d of %d requests were over", g, over, total)
	case stats.Changed:
		return fmt.Sprintf("%v is broken: %d of %d requests were over", g, over, total)
	default:
		return fmt.Sprintf("%v cannot be told: %d of %d requests were over, and %d without more of them would show that it holds", g, over, total, stats.Required(g.Percentile, over))
	}
}
