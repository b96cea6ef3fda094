package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/thrumserve/thrum/server/catalog"
)

// Version records for one loaded version, with its labels resolved beforehand.
type Version struct {
	metrics *Metrics
	id      id
	sample  func() Sample
	devices func() []Device // nil for a version without any

	ok, failed                   prometheus.Counter
	rows                         prometheus.Counter
	duration                     prometheus.Observer
	parse, queue, compute, reply prometheus.Observer
	batchRows                    prometheus.Observer
	sizes                        *sizes
}

// Sample is a reading of a version's instances, queue and cache. The counters grow over a
// version's life.
type Sample struct {
	InstancesWanted, InstancesLive int
	Restarts, Hangs                uint64 // instances started in place of one that died; killed because they hung
	Transport                      string // how tensors reach them; empty while none lives
	SharedBytes                    int64  // weights that are in memory once for all instances
	HugeBytes                      int64  // memory of an instance that lies in huge pages
	QuarantineRefused              uint64 // requests refused because they had ended instances
	DeviceFailures                 uint64 // instances that ended because their device answered them no more

	QueuedRows, MaxQueueRows, InflightBatches int
	Rejected, Expired                         uint64 // calls turned away because the queue was full; that waited past their deadline

	Precision string            // what the model says that it computes in; may be empty
	Accuracy  *catalog.Accuracy // nil where it was not measured

	HasCache                   bool
	CacheBytes, CacheMaxBytes  int64
	CacheEntries               int64
	CacheEvicted, CacheNotKept uint64 // answers that made room or expired; that were not stored

	HasCapture                                                    bool
	CaptureWritten, CaptureDropped, CaptureFailed, CaptureSkipped uint64 // requests kept; too many at once; not writable; outside of the sample
}

// AddVersion makes room for a version that serves from now on and whose instances,
// queue and cache are read with sample at every scrape. devices is nil, or reads the devices that the
// version is on, and may take its time. A second load of the same version goes on with its counters.
func (m *Metrics) AddVersion(model, version string, sample func() Sample, devices func() []Device) *Version {
	v := &Version{
		metrics: m, id: id{model, version}, sample: sample, devices: devices,
		ok:        m.requests.WithLabelValues(model, version, "200"),
		failed:    m.failed.WithLabelValues(model, version),
		rows:      m.rows.WithLabelValues(model, version),
		duration:  m.duration.WithLabelValues(model, version),
		parse:     m.stages.WithLabelValues(model, version, "parse"),
		queue:     m.stages.WithLabelValues(model, version, "queue"),
		compute:   m.stages.WithLabelValues(model, version, "compute"),
		reply:     m.stages.WithLabelValues(model, version, "reply"),
		batchRows: m.batchRows.WithLabelValues(model, version),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.versions[v.id] = v
	if m.sizes[v.id] == nil {
		m.sizes[v.id] = &sizes{of: map[int]catalog.Time{}}
	}
	v.sizes = m.sizes[v.id]
	return v
}

// Remove ends the readings of v's instances, queue and cache; what it counted stays.
func (v *Version) Remove() {
	v.metrics.mu.Lock()
	defer v.metrics.mu.Unlock()
	if v.metrics.versions[v.id] == v {
		delete(v.metrics.versions, v.id)
	}
}

// ObserveBatch records one execution.
func (v *Version) ObserveBatch(rows int, took time.Duration) {
	v.batchRows.Observe(float64(rows))
	v.sizes.add(rows, took)
}

func (v *Version) observe(r Request) {
	if r.Code == http.StatusOK {
		v.ok.Inc()
		v.rows.Add(float64(r.Rows))
	} else {
		v.metrics.requests.WithLabelValues(v.id.model, v.id.version, strconv.Itoa(r.Code)).Inc()
		v.failed.Add(r.Total.Seconds())
	}
	v.duration.Observe(r.Total.Seconds())
	v.parse.Observe(r.Parse.Seconds())
	if r.BatchRows > 0 { // it was computed, and so waited, if for no time
		v.queue.Observe(r.Queue.Seconds())
		v.compute.Observe(r.Compute.Seconds())
	}
	if r.Reply > 0 {
		v.reply.Observe(r.Reply.Seconds())
	}
	if r.Cache != "" {
		v.metrics.outcomes.WithLabelValues(v.id.model, v.id.version, r.Cache).Inc()
		v.metrics.caching.WithLabelValues(v.id.model, v.id.version, r.Cache).Add(max(0, r.Total-r.Parse-r.Queue-r.Compute-r.Reply).Seconds())
	}
}

// sampler reads every version's instances, queue and cache when Prometheus asks.
type sampler struct{ metrics *Metrics }

var sampled = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	cache bool // only of versions that have one
	value func(Sample) float64
}{
	{describe("thrum_model_ready", "1 for a version that is loaded and can answer, 0 for one that cannot."), prometheus.GaugeValue, false, func(s Sample) float64 { return float64(min(s.InstancesLive, 1)) }},
	{describe("thrum_instance_restarts_total", "Plugin processes started in place of one that died."), prometheus.CounterValue, false, func(s Sample) float64 { return float64(s.Restarts) }},
	{describe("thrum_instance_hangs_total", "Plugin processes killed because they hung."), prometheus.CounterValue, false, func(s Sample) float64 { return float64(s.Hangs) }},
	{describe("thrum_weights_shared_bytes", "Weights that are in memory once for all instances of a version."), prometheus.GaugeValue, false, func(s Sample) float64 { return float64(s.SharedBytes) }},
	{describe("thrum_instance_huge_bytes", "Memory of an instance that lies in huge pages, most of it weights."), prometheus.GaugeValue, false, func(s Sample) float64 { return float64(s.HugeBytes) }},
	{describe("thrum_quarantine_refused_total", "Requests refused because they had ended instances before."), prometheus.CounterValue, false, func(s Sample) float64 { return float64(s.QuarantineRefused) }},
	{describe("thrum_queue_rows", "Rows waiting."), prometheus.GaugeValue, false, func(s Sample) float64 { return float64(s.QueuedRows) }},
	{describe("thrum_queue_limit_rows", "Rows that may wait."), prometheus.GaugeValue, false, func(s Sample) float64 { return float64(s.MaxQueueRows) }},
	{describe("thrum_batches_inflight", "Batches being executed."), prometheus.GaugeValue, false, func(s Sample) float64 { return float64(s.InflightBatches) }},
	{describe("thrum_queue_rejected_total", "Calls turned away because the queue was full."), prometheus.CounterValue, false, func(s Sample) float64 { return float64(s.Rejected) }},
	{describe("thrum_queue_expired_total", "Calls whose time ended in the queue."), prometheus.CounterValue, false, func(s Sample) float64 { return float64(s.Expired) }},
	{describe("thrum_cache_bytes", "Bytes of keys and answers held."), prometheus.GaugeValue, true, func(s Sample) float64 { return float64(s.CacheBytes) }},
	{describe("thrum_cache_limit_bytes", "Bytes that may be held."), prometheus.GaugeValue, true, func(s Sample) float64 { return float64(s.CacheMaxBytes) }},
	{describe("thrum_cache_entries", "Answers held."), prometheus.GaugeValue, true, func(s Sample) float64 { return float64(s.CacheEntries) }},
	{describe("thrum_cache_evicted_total", "Answers that made room for others or expired."), prometheus.CounterValue, true, func(s Sample) float64 { return float64(s.CacheEvicted) }},
	{describe("thrum_cache_not_kept_total", "Answers that were not stored: too large, too many at once, or used less than those held."), prometheus.CounterValue, true, func(s Sample) float64 { return float64(s.CacheNotKept) }},
}

var (
	instances = describe("thrum_instances", "Plugin processes of a version: wanted, live.", "state")
	captured  = describe("thrum_capture_requests_total", "Requests to a model whose requests are captured, by outcome: written, dropped, failed, skipped.", "outcome")
	precision = describe("thrum_model_precision", "1, labelled with what the model computes its products in.", "precision")
	accuracy  = describe("thrum_golden_error", "How far answers to the golden set were from the reference's, which are FP32's, at load; by output (at most 32) and kind: max_abs, max_rel, distance, min_cosine, top1, equal.", "output", "kind")
	transport = describe("thrum_plugin_transport", "1, labelled with how tensors reach the plugin: shm, grpc.", "transport")
)

// maxGoldenOutputs bounds the series of one version: its outputs have the names that its author
// gave them, as many as he liked.
const maxGoldenOutputs = 32

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, slices.Concat(versionLabels, labels), nil)
}

func (s *sampler) Describe(into chan<- *prometheus.Desc) {
	into <- instances
	into <- transport
	into <- captured
	into <- precision
	into <- accuracy
	into <- deviceFailures
	for _, metric := range sampled {
		into <- metric.desc
	}
}

func (s *sampler) Collect(into chan<- prometheus.Metric) {
	s.metrics.mu.RLock()
	defer s.metrics.mu.RUnlock()
	for _, v := range s.metrics.versions {
		v.collect(v.sample(), into)
	}
}

func (v *Version) collect(s Sample, into chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		into <- prometheus.MustNewConstMetric(d, kind, value, append([]string{v.id.model, v.id.version}, labels...)...)
	}
	send(instances, prometheus.GaugeValue, float64(s.InstancesWanted), "wanted")
	send(instances, prometheus.GaugeValue, float64(s.InstancesLive), "live")
	if s.Transport != "" {
		send(transport, prometheus.GaugeValue, 1, s.Transport)
	}
	if s.Precision != "" {
		send(precision, prometheus.GaugeValue, 1, s.Precision)
	}
	if s.Accuracy != nil {
		for _, o := range s.Accuracy.Outputs[:min(len(s.Accuracy.Outputs), maxGoldenOutputs)] {
			for _, f := range o.Figures {
				send(accuracy, prometheus.GaugeValue, f.Value, o.Name, f.Kind)
			}
		}
	}
	if s.HasCapture {
		send(captured, prometheus.CounterValue, float64(s.CaptureWritten), "written")
		send(captured, prometheus.CounterValue, float64(s.CaptureDropped), "dropped")
		send(captured, prometheus.CounterValue, float64(s.CaptureFailed), "failed")
		send(captured, prometheus.CounterValue, float64(s.CaptureSkipped), "skipped")
	}
	if v.devices != nil {
		send(deviceFailures, prometheus.CounterValue, float64(s.DeviceFailures))
	}
	for _, metric := range sampled {
		if !metric.cache || s.HasCache {
			send(metric.desc, metric.kind, metric.value(s))
		}
	}
}
