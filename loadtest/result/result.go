// Package result is what a load test has found: counts and histograms of each step of its
// schedule, the course of the run second by second, and how far all that can be believed.
package result

import "time"

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

// Run is a load test.
type Run struct {
	Asked     Asked
	Began     time.Time
	Took      time.Duration
	Steps     []Step
	Windows   []Window // one after the other, of a second each
	Generator Generator
	Server    Server
	Invalid   []string // why the figures cannot be believed; empty if they can
	Stopped   string   // why it ended before its schedule did; empty if it did not
}

// Asked is what was to be measured.
type Asked struct {
	Target      string // such as "http://127.0.0.1:8000"
	Model       string
	Version     string // empty for the server's choice
	Body        string // "json" or "binary"
	Profile     string // of the schedule; of a closed loop how many requests are under way
	Closed      bool   // a closed loop: each request waits for the one before, and no latency is that of an open one
	Seed        uint64
	Connections int
	Timeout     time.Duration // of a request
	Inputs      string        // where they came from
	Cache       string        // "bypass", "cold" or "as in production"
}

// Step is what has been counted of a step of the schedule, by the intended start of requests.
type Step struct {
	Name     string
	Duration time.Duration
	Rate     float64              // requests per second that were asked for
	Rows     uint64               // in answers that were OK
	Outcomes map[Outcome]*Latency // of those outcomes that there were
}

// Latency is the latency of requests with one outcome.
type Latency struct {
	Intended *Histogram // from the intended start: the one that is reported
	Sent     *Histogram // from the actual send
}

// Window is a part of the run, by when answers came.
type Window struct {
	Begin    time.Duration
	Offered  uint64 // requests whose intended start lies in it
	Outcomes map[Outcome]uint64
	OK       *Histogram // of latency from the intended start
	Inflight int        // requests under way at its end
}

// Generator is what the load generator says of itself.
type Generator struct {
	Sent    uint64
	Late    uint64        // sent more than a millisecond after their intended start
	Dropped uint64        // never sent: too many were under way
	Delay   *Histogram    // from intended start to actual send
	CPU     time.Duration // of its process
}

// Server is what the server has said of itself before and after; zero where it says nothing.
type Server struct {
	CPU       time.Duration // of it and its plugins
	Memory    uint64        // bytes, the most that was seen
	Hits      uint64        // answers from its cache
	Lookups   uint64        // requests that its cache was asked for
	Batches   uint64
	BatchRows uint64
	Queue     time.Duration // of all requests together
	Compute   time.Duration // likewise
	Checked   uint64        // answers that were compared with the offline answer
}
