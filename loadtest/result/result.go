// Package result is what a load test has found: counts and histograms of each step of its
// schedule, the course of the run second by second, and how far all that can be believed.
package result

import (
	"fmt"
	"slices"
	"time"
)

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	OK       Outcome = "ok"
	Rejected Outcome = "rejected" // 429 or 503: the server protects itself
	Late     Outcome = "late"     // 504, or no answer within the time limit
	Failed   Outcome = "failed"   // any other status
	Broken   Outcome = "broken"   // no answer: the connection could not be made or was lost
	Wrong    Outcome = "wrong"    // an answer that differs from the offline answer
)

// Outcomes lists them as they are printed.
var Outcomes = []Outcome{OK, Rejected, Late, Failed, Broken, Wrong}

// UnmarshalText refuses words that are no outcome.
func (o *Outcome) UnmarshalText(text []byte) error {
	if !slices.Contains(Outcomes, Outcome(text)) {
		return fmt.Errorf("%.40q is not an outcome, which is one of %s", text, Outcomes)
	}
	*o = Outcome(text)
	return nil
}

// Run is a load test.
type Run struct {
	Asked     Asked         `json:"asked"`
	Began     time.Time     `json:"began"`
	Took      time.Duration `json:"took_ns"`
	Steps     []Step        `json:"steps,omitempty"`
	Windows   []Window      `json:"windows,omitempty"` // one after the other, of a second each
	Generator Generator     `json:"generator"`
	Server    Server        `json:"server"`
	Invalid   []string      `json:"invalid,omitempty"` // why the figures cannot be believed; empty if they can
	Stopped   string        `json:"stopped,omitempty"` // why it ended before its schedule did; empty if it did not

	Causes map[Outcome]string `json:"causes,omitempty"` // what was said of the first request with each outcome but OK
}

// Asked is what was to be measured.
type Asked struct {
	Target      string        `json:"target"` // such as "http://127.0.0.1:8000"
	Model       string        `json:"model"`
	Version     string        `json:"version,omitempty"` // empty for the server's choice
	Body        string        `json:"body"`              // "json" or "binary"
	Profile     string        `json:"profile"`           // of the schedule; of a closed loop how many requests are under way
	Closed      bool          `json:"closed,omitempty"`  // a closed loop: each request waits for the one before, and no latency is that of an open one
	Seed        uint64        `json:"seed"`
	Connections int           `json:"connections"`
	Timeout     time.Duration `json:"timeout_ns"`           // of a request
	WarmUp      time.Duration `json:"warm_up_ns,omitempty"` // at the beginning of the course, of which nothing is counted
	Inputs      string        `json:"inputs"`               // where they came from
	Cache       string        `json:"cache"`                // "bypass", "cold" or "as in production"
	Headers     string        `json:"headers,omitempty"`    // the names of those that were sent beside the usual ones, their values masked
}

// Step is what has been counted of a step of the schedule, by the intended start of requests.
type Step struct {
	Name     string               `json:"name"`
	Duration time.Duration        `json:"duration_ns"`
	Rate     float64              `json:"rate_per_s"` // requests per second that were asked for
	Rows     uint64               `json:"rows"`       // in answers that were OK
	Arrived  uint64               `json:"arrived"`    // OK answers that came while the step lasted, whenever their requests were meant to start
	Outcomes map[Outcome]*Latency `json:"outcomes"`   // of those outcomes that there were
}

// Latency is the latency of requests with one outcome.
type Latency struct {
	Intended *Histogram `json:"intended"` // from the intended start: the one that is reported
	Sent     *Histogram `json:"sent"`     // from the actual send
}

// Window is a part of the run, by when answers came.
type Window struct {
	Begin    time.Duration      `json:"begin_ns"`
	Offered  uint64             `json:"offered"` // requests whose intended start lies in it
	Outcomes map[Outcome]uint64 `json:"outcomes"`
	OK       *Histogram         `json:"ok"`             // of latency from the intended start; packed
	Inflight int                `json:"inflight"`       // requests under way at its end
	Open     int                `json:"open,omitempty"` // connections at its end
	Late     uint64             `json:"late"`           // requests sent in it more than a millisecond after their intended start
}

// Generator is what the load generator says of itself.
type Generator struct {
	Sent    uint64        `json:"sent"`
	Late    uint64        `json:"late"`             // sent more than a millisecond after their intended start, with a connection at hand
	Queued  uint64        `json:"queued"`           // likewise, because all connections were busy: a wait that is the server's
	Dropped uint64        `json:"dropped"`          // never sent: too many were under way
	Delay   *Histogram    `json:"delay"`            // from intended start to actual send
	CPU     time.Duration `json:"cpu_ns"`           // of its process
	Spread  bool          `json:"spread,omitempty"` // over goroutines, one for each connection: slower than the one thread that plain HTTP has
}

// Server is what the server has said of itself before and after; zero where it says nothing.
type Server struct {
	CPU       time.Duration `json:"cpu_ns"`         // of it and its plugins
	Memory    uint64        `json:"memory_bytes"`   // bytes, the most that was seen
	Hits      uint64        `json:"cache_hits"`     // answers from its cache
	Lookups   uint64        `json:"cache_lookups"`  // requests that its cache was asked for
	Bypassed  uint64        `json:"cache_bypassed"` // requests that went past its cache, as they asked
	Metrics   bool          `json:"metrics"`        // whether it was asked at all
	Batches   uint64        `json:"batches"`
	BatchRows uint64        `json:"batch_rows"`
	Queue     time.Duration `json:"queue_ns"`   // of all requests together
	Compute   time.Duration `json:"compute_ns"` // likewise
	Checked   uint64        `json:"checked"`    // answers that were compared with the offline answer
}
