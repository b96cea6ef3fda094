package metrics

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/server/catalog"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("GET /metrics = %d", w.Code)
	}
	return w.Body.String()
}

func TestScrapeShowsRequestsStagesBatchesQueueAndCache(t *testing.T) {
	m := New("1.2.3")
	v := m.AddVersion("digits", "1", func() Sample {
		return Sample{InstancesWanted: 3, InstancesLive: 2, Restarts: 5, Hangs: 4, Transport: "shm", QuarantineRefused: 6, SharedBytes: 1000, HugeBytes: 2000,
			QueuedRows: 7, MaxQueueRows: 1024, Rejected: 3, HasCache: true, CacheBytes: 99,
			Precision: "bf16", Accuracy: &catalog.Accuracy{Outputs: []catalog.OutputAccuracy{{Name: "label", Figures: []catalog.Figure{{Kind: "equal", Value: 0.5}}}}},
			HasCapture: true, CaptureWritten: 11, CaptureDropped: 12, CaptureFailed: 13, CaptureSkipped: 14}
	}, nil)
	v.ObserveBatch(8, time.Millisecond)
	m.ObserveRequest(Request{Model: "digits", Version: "1", Code: 200, Rows: 4, BatchRows: 8, Cache: "miss",
		Total: 3 * time.Millisecond, Parse: time.Microsecond, Compute: time.Millisecond, Reply: time.Microsecond})
	m.ObserveRequest(Request{Model: "digits", Version: "1", Code: 429}) // neither queued nor computed
	m.ObserveLoad("digits", time.Second, nil)
	text := scrape(t, m)
	for _, want := range []string{
		`thrum_build_info{version="1.2.3"} 1`,
		`thrum_requests_total{code="200",model="digits",version="1"} 1`,
		`thrum_requests_total{code="429",model="digits",version="1"} 1`,
		`thrum_rows_total{model="digits",version="1"} 4`,
		`thrum_request_seconds_count{model="digits",version="1"} 2`,
		`thrum_stage_seconds_count{model="digits",stage="parse",version="1"} 2`,
		`thrum_stage_seconds_count{model="digits",stage="queue",version="1"} 1`,
		`thrum_stage_seconds_count{model="digits",stage="compute",version="1"} 1`,
		`thrum_stage_seconds_count{model="digits",stage="reply",version="1"} 1`,
		`thrum_batch_rows_bucket{model="digits",version="1",le="8"} 1`,
		`thrum_queue_rows{model="digits",version="1"} 7`,
		`thrum_queue_rejected_total{model="digits",version="1"} 3`,
		`thrum_cache_requests_total{model="digits",outcome="miss",version="1"} 1`,
		`thrum_cache_bytes{model="digits",version="1"} 99`,
		`thrum_capture_requests_total{model="digits",outcome="written",version="1"} 11`,
		`thrum_capture_requests_total{model="digits",outcome="dropped",version="1"} 12`,
		`thrum_capture_requests_total{model="digits",outcome="failed",version="1"} 13`,
		`thrum_capture_requests_total{model="digits",outcome="skipped",version="1"} 14`,
		`thrum_instances{model="digits",state="wanted",version="1"} 3`,
		`thrum_instances{model="digits",state="live",version="1"} 2`,
		`thrum_instance_restarts_total{model="digits",version="1"} 5`,
		`thrum_instance_hangs_total{model="digits",version="1"} 4`,
		`thrum_quarantine_refused_total{model="digits",version="1"} 6`,
		`thrum_weights_shared_bytes{model="digits",version="1"} 1000`,
		`thrum_instance_huge_bytes{model="digits",version="1"} 2000`,
		`thrum_plugin_transport{model="digits",transport="shm",version="1"} 1`,
		`thrum_model_precision{model="digits",precision="bf16",version="1"} 1`,
		`thrum_golden_error{kind="equal",model="digits",output="label",version="1"} 0.5`,
		`thrum_model_ready{model="digits",version="1"} 1`,
		`thrum_model_load_seconds_count{model="digits",result="ok"} 1`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("GET /metrics lacks %s", want)
		}
	}
	v.Remove()
	if text := scrape(t, m); strings.Contains(text, "thrum_queue_rows{") || !strings.Contains(text, "thrum_rows_total{") {
		t.Error("after Remove: want counters to stay and readings to end")
	}
}

func TestAVersionThatCannotAnswerIsNotReady(t *testing.T) {
	m := New("")
	m.AddVersion("a", "1", func() Sample { return Sample{InstancesWanted: 1} }, nil)
	text := scrape(t, m)
	if !strings.Contains(text, `thrum_model_ready{model="a",version="1"} 0`) || strings.Contains(text, "thrum_plugin_transport{") {
		t.Errorf("GET /metrics = %s", text)
	}
}

func TestAModelWithManyOutputsHasFewSeries(t *testing.T) {
	outputs := make([]catalog.OutputAccuracy, 10*maxGoldenOutputs)
	for i := range outputs {
		outputs[i] = catalog.OutputAccuracy{Name: fmt.Sprint(i), Figures: []catalog.Figure{{Kind: "equal", Value: 1}}}
	}
	m := New("")
	m.AddVersion("a", "1", func() Sample { return Sample{Accuracy: &catalog.Accuracy{Outputs: outputs}} }, nil)
	if n := strings.Count(scrape(t, m), "thrum_golden_error{"); n != maxGoldenOutputs {
		t.Errorf("%d series of %d outputs, want %d", n, len(outputs), maxGoldenOutputs)
	}
}

func TestClientsCannotMakeSeriesUp(t *testing.T) {
	m := New("")
	for _, name := range []string{"a", "b", "c"} {
		m.ObserveRequest(Request{Model: name, Version: "1", Code: 404})
	}
	if text := scrape(t, m); !strings.Contains(text, `thrum_requests_total{code="404",model="",version=""} 3`) {
		t.Errorf("GET /metrics = %s", text)
	}
}

func TestAReplacedVersionKeepsItsSuccessorsReadings(t *testing.T) {
	m := New("")
	first := m.AddVersion("a", "1", func() Sample { return Sample{QueuedRows: 1} }, nil)
	m.AddVersion("a", "1", func() Sample { return Sample{QueuedRows: 2} }, nil)
	first.Remove()
	if text := scrape(t, m); !strings.Contains(text, `thrum_queue_rows{model="a",version="1"} 2`) {
		t.Error("removing the old load removed the new one's readings")
	}
}
