package report

import (
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// The types of this file are the JSON report, described in FORMAT.md. Every report in
// another form prints the same figures. Times are in milliseconds and rates per second, as names say.

type view struct {
	Format     string       `json:"format"`
	Version    int          `json:"version"`
	Title      string       `json:"title"`
	Verdict    verdictView  `json:"verdict"`
	Goal       *goalView    `json:"goal,omitempty"`
	Findings   []Finding    `json:"findings"`
	Series     []seriesView `json:"series"`
	Comparison []comparison `json:"comparison"`
}

type verdictView struct {
	Outcome Outcome  `json:"outcome"` // empty, "pass", "fail", "invalid" or "unstable"
	Reasons []string `json:"reasons"`
}

type goalView struct {
	Quantile float64 `json:"quantile"`
	LimitMS  float64 `json:"limit_ms"`
}

type seriesView struct {
	Name string    `json:"name"`
	Runs []runView `json:"runs"`
}

type runView struct {
	Name      string        `json:"name"` // unique in the document
	Asked     askedView     `json:"asked"`
	Began     time.Time     `json:"began"`
	TookS     float64       `json:"took_s"`
	Invalid   []string      `json:"invalid"`
	Stopped   string        `json:"stopped"`
	Causes    []causeView   `json:"causes"`
	Steps     []stepView    `json:"steps"`
	Total     stepView      `json:"total"`
	Course    []courseView  `json:"course"`
	Curve     []pointView   `json:"curve"` // of OK answers from the intended start
	CurveSent []pointView   `json:"curve_sent"`
	Bars      []barView     `json:"bars"`
	Generator generatorView `json:"generator"`
	Server    serverView    `json:"server"`
	Stages    *stagesView   `json:"stages,omitempty"`
}

// causeView is what was said of the first request with an outcome.
type causeView struct {
	Outcome result.Outcome `json:"outcome"`
	Text    string         `json:"text"`
}

type askedView struct {
	Target      string  `json:"target"`
	Model       string  `json:"model"`
	Version     string  `json:"version"`
	Body        string  `json:"body"`
	Profile     string  `json:"profile"`
	ClosedLoop  bool    `json:"closed_loop"`
	Seed        uint64  `json:"seed"`
	Connections int     `json:"connections"`
	TimeoutMS   float64 `json:"timeout_ms"`
	Inputs      string  `json:"inputs"`
	Cache       string  `json:"cache"`
	Headers     string  `json:"headers"` // values masked
	WarmUpS     float64 `json:"warm_up_s"`
}

type stepView struct {
	Name       string                    `json:"name"`
	DurationS  float64                   `json:"duration_s"`
	Asked      float64                   `json:"asked_per_s"`
	Achieved   float64                   `json:"achieved_per_s"`
	Goodput    *float64                  `json:"goodput_per_s,omitempty"` // with a goal
	Rows       uint64                    `json:"rows"`
	ErrorShare float64                   `json:"error_share"`
	Intended   latencyView               `json:"intended"` // of OK answers
	Sent       latencyView               `json:"sent"`
	Outcomes   map[result.Outcome]uint64 `json:"outcomes"` // all of them
}

type latencyView struct {
	MeanMS float64 `json:"mean_ms"`
	P50MS  float64 `json:"p50_ms"`
	P90MS  float64 `json:"p90_ms"`
	P99MS  float64 `json:"p99_ms"`
	P999MS float64 `json:"p999_ms"`
	MaxMS  float64 `json:"max_ms"`
}

type courseView struct {
	BeginS   float64                   `json:"begin_s"`
	LengthS  float64                   `json:"length_s"`
	Offered  float64                   `json:"offered_per_s"`
	Achieved float64                   `json:"achieved_per_s"`
	Latency  latencyView               `json:"intended"`
	Outcomes map[result.Outcome]uint64 `json:"outcomes"`
	Inflight int                       `json:"inflight"`
}

type pointView struct {
	Quantile float64 `json:"quantile"`
	MS       float64 `json:"ms"`
}

type barView struct {
	FromMS float64 `json:"from_ms"`
	ToMS   float64 `json:"to_ms"`
	Count  uint64  `json:"count"`
}

type generatorView struct {
	Sent      uint64      `json:"sent"`
	Late      uint64      `json:"late"`
	LateShare float64     `json:"late_share"`
	Queued    uint64      `json:"queued"`
	Dropped   uint64      `json:"dropped"`
	Delay     latencyView `json:"delay"`
	CPUS      float64     `json:"cpu_s"`
	CPUShare  float64     `json:"cpu_share"` // of one core
	Spread    bool        `json:"spread"`    // over goroutines
}

type serverView struct {
	CPUS            float64  `json:"cpu_s"`
	CPUPerRequestUS *float64 `json:"cpu_per_request_us"` // null where it is not known, as below
	MemoryBytes     uint64   `json:"memory_bytes"`
	CacheHits       uint64   `json:"cache_hits"`
	CacheLookups    uint64   `json:"cache_lookups"`
	CacheHitRatio   *float64 `json:"cache_hit_ratio"`
	CacheBypassed   uint64   `json:"cache_bypassed"`
	Metrics         bool     `json:"metrics"`
	Batches         uint64   `json:"batches"`
	RowsPerBatch    *float64 `json:"rows_per_batch"`
	Checked         uint64   `json:"checked"`
}

// stagesView says where the mean latency of an OK answer went.
type stagesView struct {
	GeneratorMS float64 `json:"generator_ms"` // from the intended start to the send
	QueueMS     float64 `json:"queue_ms"`
	ComputeMS   float64 `json:"compute_ms"`
	RestMS      float64 `json:"rest_ms"` // network, parsing, encoding
}

// comparison compares the first series with another.
type comparison struct {
	Series        string   `json:"series"` // the other one, such as "baseline"
	Step          string   `json:"step"`   // empty for runs as a whole
	Figure        string   `json:"figure"` // such as "p99_ms"
	Other         float64  `json:"other"`
	This          float64  `json:"this"`
	ChangePercent *float64 `json:"change_percent"` // null where the other is 0

	// Of the shift between runs, with 95 % confidence; null where there are too few.
	LowPercent  *float64 `json:"change_low_percent"`
	HighPercent *float64 `json:"change_high_percent"`
}
