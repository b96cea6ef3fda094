// Package metrics names every metric of the server. Core packages count in plain numbers and
// hand them over; only this package knows Prometheus.
package metrics

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics holds the server's metrics. Its methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	rows      *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	stages    *prometheus.HistogramVec
	batchRows *prometheus.HistogramVec
	failed    *prometheus.CounterVec
	outcomes  *prometheus.CounterVec
	caching   *prometheus.CounterVec
	loads     *prometheus.HistogramVec

	mu       sync.RWMutex // guards what follows
	versions map[id]*Version
	sizes    map[id]*sizes // of versions that were ever loaded
}

type id struct{ model, version string }

var versionLabels = []string{"model", "version"}

// latencyBuckets double from 50 µs to 13 s.
var latencyBuckets = prometheus.ExponentialBuckets(50e-6, 2, 19)

// New returns metrics that carry the build's version, with the process' and the runtime's own
// metrics beside them.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		versions: map[id]*Version{},
		sizes:    map[id]*sizes{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thrum_requests_total", Help: "Inference requests answered, by HTTP status."}, []string{"model", "version", "code"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thrum_rows_total", Help: "Rows of the inference requests answered with 200."}, versionLabels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "thrum_request_seconds", Help: "Time from the request's last byte to the reply being ready to send.", Buckets: latencyBuckets}, versionLabels),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "thrum_stage_seconds", Help: "Time of a request by stage: parse, queue, compute, reply.", Buckets: latencyBuckets}, []string{"model", "version", "stage"}),
		batchRows: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "thrum_batch_rows", Help: "Rows executed together.", Buckets: prometheus.ExponentialBuckets(1, 2, 12)}, versionLabels),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thrum_failed_request_seconds_total", Help: "Time of the requests in thrum_request_seconds that were not answered with 200."}, versionLabels),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thrum_cache_requests_total", Help: "Requests to a model with a prediction cache, by outcome: hit, miss, shared, bypass."}, []string{"model", "version", "outcome"}),
		caching: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thrum_cache_seconds_total", Help: "Time of requests to a model with a prediction cache beside their stages, by outcome: looking, copying, waiting for the same request of another client, storing."}, []string{"model", "version", "outcome"}),
		loads: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "thrum_model_load_seconds", Help: "Time to load, warm and check a version.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 16)}, []string{"model", "result"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "thrum_build_info", Help: "1, labelled with the version of the server.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.rows, m.duration, m.stages, m.batchRows, m.failed, m.outcomes, m.caching, m.loads, build,
		&sampler{m}, &deviceSampler{metrics: m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Request is what is recorded of one inference request.
type Request struct {
	Model, Version string // empty if the request named none that exists
	Code           int    // HTTP status
	Rows           int
	BatchRows      int    // executed together with them; 0 if nothing was computed for this request
	Cache          string // outcome; empty for a model without a cache

	Total, Parse, Queue, Compute, Reply time.Duration // stages that were not reached are 0
}

// ObserveRequest records a request. Names that are not those of a loaded version are not
// used as labels, so that clients cannot make series up.
func (m *Metrics) ObserveRequest(r Request) {
	m.mu.RLock()
	v := m.versions[id{r.Model, r.Version}]
	m.mu.RUnlock()
	if v == nil {
		m.requests.WithLabelValues("", "", strconv.Itoa(r.Code)).Inc()
		return
	}
	v.observe(r)
}

// ObserveLoad records an attempt to load a version.
func (m *Metrics) ObserveLoad(model string, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.loads.WithLabelValues(model, result).Observe(took.Seconds())
}
