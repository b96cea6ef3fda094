// Package report shows what load tests have found: as a file of HTML that needs nothing else, as
// JSON, as tables of text, and live while a test runs.
package report

import (
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// Document is what a report is about.
type Document struct {
	Title    string
	Verdict  Verdict
	Goal     Goal
	Findings []Finding
	Series   []Series // the first is the one in question; its runs are compared with those of others under the same load
}

// Verdict is what a load test has come to.
type Verdict struct {
	Outcome Outcome  // empty if nothing was to be decided: only the runs' own doubts are shown then
	Reasons []string // one sentence each
}

// Outcome is a verdict in a word.
type Outcome string

// The outcomes of a load test.
const (
	Pass     Outcome = "pass"
	Fail     Outcome = "fail"
	Invalid  Outcome = "invalid"  // the figures cannot be believed
	Unstable Outcome = "unstable" // the figures do not tell: they scatter, or are too few
)

// Goal is what latency is asked for; the zero value is none.
type Goal struct {
	Quantile float64       // of the answers, such as 0.99, that must come within
	Limit    time.Duration // which is also the limit that goodput counts
}

// Finding is something that was checked.
type Finding struct {
	Name string `json:"name"` // such as "p99 at 100 %"
	Want string `json:"want"` // such as "<= 20 ms"
	Got  string `json:"got"`
	Held bool   `json:"held"`
}

// Series is runs that belong together: the only one, those of a search for the peak, or those of
// the baseline or the candidate.
type Series struct {
	Name string // such as "candidate"
	Runs []*result.Run
}
