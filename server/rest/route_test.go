package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

func TestMetadataSaysWhatWasMeasured(t *testing.T) {
	measured := &catalog.Accuracy{Reference: "arithmetic", Cases: 3, Outputs: []catalog.OutputAccuracy{
		{Name: "y", Figures: []catalog.Figure{{Kind: "max_abs", Value: 0.25}, {Kind: "min_cosine", Value: 1}}}}}
	for _, row := range []struct {
		situation, precision string
		accuracy             *catalog.Accuracy
		want                 string
	}{
		{"nothing", "", nil, ``},
		{"no golden set", "bf16", nil, `,"parameters":{"precision":"bf16","golden":{"measured":false}}`},
		{"no precision", "", &catalog.Accuracy{}, `,"parameters":{"golden":{"measured":true}}`},
		{"both", "int8", measured, `,"parameters":{"precision":"int8","golden":{"measured":true,"reference":"arithmetic","cases":3,"outputs":{"y":{"max_abs":0.25,"min_cosine":1}}}}`},
	} {
		f := newFake()
		f.sig.Precision, f.serving.Accuracy = row.precision, row.accuracy
		_, addr := start(t, f, Options{})
		want := `"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2]}]` + row.want + `}`
		if a := send(t, "GET", addr, "/v2/models/m/versions/1", nil, nil); a.status != 200 || !strings.HasSuffix(string(a.body), want) {
			t.Errorf("%s: %d %s, want it to end with %s", row.situation, a.status, a.body, want)
		}
	}
}

func TestRoutes(t *testing.T) {
	f := newFake()
	_, addr := start(t, f, Options{Name: "thrum", Version: "1.2.3"})
	const model = `{"name":"m","versions":["1","2"],"platform":"fake_v1","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2]}]}`
	const config = `{"name":"m","platform":"fake_v1","backend":"fake","max_batch_size":64,` +
		`"input":[{"name":"x","data_type":"TYPE_FP32","dims":[2],"is_shape_tensor":false}],"output":[{"name":"y","data_type":"TYPE_FP32","dims":[2],"is_shape_tensor":false}],` +
		`"instance_group":[{"name":"m","kind":"KIND_AUTO","count":3}],"dynamic_batching":{"max_queue_delay_microseconds":0},` +
		`"model_transaction_policy":{"decoupled":false},"response_cache":{"enable":false}}`
	const index = `[{"name":"m","version":"1","state":"READY"},{"name":"m","version":"3","state":"UNAVAILABLE","reason":"truncated"},{"name":"never"}]`
	for _, row := range []struct {
		method, path, body string
		status             int
		want               string // the body of a success, a part of an error's text
	}{
		{"GET", "/v2", "", 200, `{"name":"thrum","version":"1.2.3","extensions":["binary_tensor_data","model_configuration","model_repository","parameters","statistics"]}`},
		{"GET", "/v2?x=y", "", 200, `{"name":"thrum","version":"1.2.3","extensions":["binary_tensor_data","model_configuration","model_repository","parameters","statistics"]}`},
		{"HEAD", "/v2", "", 200, ``},
		{"GET", "/v2/health/live", "", 200, `{"live":true}`},
		{"GET", "/v2/health/ready", "", 200, `{"ready":true}`},
		{"GET", "/v2/models/m", "", 200, model},
		{"GET", "/v2/models/m/versions/1", "", 200, model},
		{"GET", "/v2/models/%6d", "", 200, model},
		{"GET", "/v2/models/m/ready", "", 200, `{"name":"m","ready":true}`},
		{"GET", "/v2/models/m/versions/2/ready", "", 200, `{"name":"m","ready":true}`},
		{"GET", "/v2/models/m/config", "", 200, config},
		{"GET", "/v2/models/m/versions/1/config", "", 200, config},
		{"GET", "/v2/models/stats", "", 200, statistics("1")},
		{"GET", "/v2/models/m/stats", "", 200, statistics("1", "2")},
		{"GET", "/v2/models/m/versions/1/stats", "", 200, statistics("1")},
		{"HEAD", "/v2/models/m/versions/1/stats", "", 200, ""},
		{"POST", "/v2/models/m/infer", healthyBody, 200, healthyReply},
		{"POST", "/v2/models/m/versions/1/infer", healthyBody, 200, strings.Replace(healthyReply, `"2"`, `"1"`, 1)},
		{"POST", "/v2/repository/index", "", 200, index},
		{"POST", "/v2/repository/index", `{"ready":true}`, 200, `[{"name":"m","version":"1","state":"READY"}]`},
		{"POST", "/v2/repository/models/m/load", "", 200, ""},
		{"POST", "/v2/repository/models/m/unload", `{"parameters":{"unload_dependents":true}}`, 200, ""},

		{"GET", "/", "", 404, "no such path"},
		{"GET", "/v1/models/m", "", 404, "no such path"},
		{"GET", "/v2/", "", 404, "no such path"},
		{"GET", "/v2x", "", 404, "no such path"},
		{"GET", "/v2/models", "", 404, "no such path"},
		{"GET", "/v2/models/", "", 404, "no such path"},
		{"GET", "/v2/models//ready", "", 404, "no such path"},
		{"GET", "/v2/models/m/", "", 404, "no such path"},
		{"GET", "/v2/models/m/nothing", "", 404, "no such path"},
		{"GET", "/v2/models/m/versions", "", 404, "no such path"},
		{"GET", "/v2/models/m/versions/", "", 404, "no such path"},
		{"GET", "/v2/models/m/versions/x/ready", "", 404, "no such path"},
		{"GET", "/v2/models/m/versions/-1/ready", "", 404, "no such path"},
		{"GET", "/v2/models/m/versions/1/ready/", "", 404, "no such path"},
		{"GET", "/v2/models/z", "", 404, `unknown model "z"`},
		{"GET", "/v2/models/m/versions/9/ready", "", 404, `version "9"`},
		{"GET", "/v2/models/z/config", "", 404, `unknown model "z"`},
		{"GET", "/v2/models/z/stats", "", 404, `unknown model "z"`},
		{"GET", "/v2/models/m/versions/9/stats", "", 404, `version "9"`},
		{"POST", "/v2/models/m/config", "", 405, "use GET, HEAD"},
		{"POST", "/v2/models/stats", "", 405, "use GET, HEAD"},
		{"POST", "/v2/models/z/infer", healthyBody, 404, `unknown model "z"`},
		{"GET", "/v2/models/%2e%2e%2fetc", "", 404, `unknown model "../etc"`},
		{"GET", "/v2/models/..", "", 404, `unknown model ".."`},
		{"GET", "/v2/models/../../etc/passwd", "", 404, "no such path"},
		{"POST", "/v2/repository/models/%2e%2e/load", "", 404, `unknown model ".."`},
		{"POST", "/v2/repository/models/a%2fb/unload", "", 404, `unknown model "a/b"`},
		{"POST", "/v2/repository/models//load", "", 404, "no such path"},
		{"POST", "/v2/repository/models/m/reload", "", 404, "no such path"},
		{"POST", "/v2/repository/index", `{`, 400, "not the JSON object"},
		{"POST", "/v2/repository/index", `{"ready":1}`, 400, "not the JSON object"},
		{"POST", "/v2/repository/models/m/load", `{"parameters":{"config":"{}"}}`, 501, `"config" is not supported`},
		{"POST", "/v2/repository/models/m/load", `{"parameters":{"file:1/model.onnx":""}}`, 501, "is not supported"},
		{"POST", "/v2/repository/models/m/load", `{"parameters":{"unload_dependents":true}}`, 400, "unknown parameter"},

		{"POST", "/v2", "", 405, "use GET, HEAD"},
		{"DELETE", "/v2/models/m", "", 405, "use GET, HEAD"},
		{"GET", "/v2/models/m/infer", "", 405, "use POST"},
		{"PUT", "/v2/models/m/infer", healthyBody, 405, "use POST"},
		{"GET", "/v2/repository/index", "", 405, "use POST"},
		{"BREW", "/v2/health/live", "", 405, "use GET, HEAD"},

		{"POST", "/v2/models/m/generate", "", 501, "not offered"},
		{"POST", "/v2/models/m/trace/setting", "", 501, "not offered"},
		{"GET", "/v2/logging", "", 501, "not offered"},
		{"POST", "/v2/repository/other/index", "", 501, "not offered"},
		{"POST", "/v2/repository/other/models/m/load", "", 501, "not offered"},
		{"GET", "/v2/systemsharedmemory/status", "", 501, "not offered"},
		{"POST", "/v2/cudasharedmemory/region/r/register", "", 501, "not offered"},
	} {
		t.Run(row.method+" "+row.path, func(t *testing.T) {
			a := send(t, row.method, addr, row.path, nil, []byte(row.body))
			if a.status != row.status {
				t.Fatalf("status %d %s, want %d", a.status, a.body, row.status)
			}
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
			if row.status == 200 && string(a.body) != row.want {
				t.Errorf("body %s, want %s", a.body, row.want)
			}
			if row.status != 200 && !strings.Contains(a.text(), row.want) {
				t.Errorf("error %q, want %q in it", a.text(), row.want)
			}
			if allow := a.header.Get("Allow"); (allow != "") != (row.status == 405) || !strings.HasSuffix(row.want, allow) && row.status == 405 {
				t.Errorf("Allow %q with status %d", allow, row.status)
			}
		})
	}
	if want := []string{"m"}; !slices.Equal(f.loaded, want) || !slices.Equal(f.unloaded, want) {
		t.Errorf("loaded %v, unloaded %v, want both %v: hostile names must not reach the catalog", f.loaded, f.unloaded, want)
	}
	healthy(t, addr)
}

func TestNotReady(t *testing.T) {
	f := newFake()
	f.down = true
	f.acquire = backends.Errorf(backends.ErrUnavailable, "model m is loading")
	_, addr := start(t, f, Options{})
	if a := send(t, "GET", addr, "/v2/health/ready", nil, nil); a.status != 503 || string(a.body) != `{"ready":false}` {
		t.Errorf("not ready: %d %s", a.status, a.body)
	}
	if a := send(t, "GET", addr, "/v2/health/live", nil, nil); a.status != 200 {
		t.Errorf("live while not ready: %d", a.status)
	}
	if a := send(t, "GET", addr, "/v2/models/m/ready", nil, nil); a.status != 503 || a.text() != "model m is loading" {
		t.Errorf("model while it loads: %d %s", a.status, a.body)
	}
}

// A model is not ready while nothing can answer for it, yet is asked: the answer may come in time.
func TestModelWithoutALiveInstance(t *testing.T) {
	f := newFake()
	f.live = backends.WithRetryAfter(backends.Errorf(backends.ErrUnavailable, "no instance lives"), 3*time.Second)
	_, addr := start(t, f, Options{})
	if a := send(t, "GET", addr, "/v2/models/m/ready", nil, nil); a.status != 503 || a.text() != "no instance lives" || a.header.Get("Retry-After") != "3" {
		t.Errorf("ready = %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	if a := send(t, "GET", addr, "/v2/models/m", nil, nil); a.status != 200 {
		t.Errorf("metadata = %d %s", a.status, a.body)
	}
	f.predict = func(context.Context, backends.Batch) (backends.Batch, error) {
		return backends.Batch{}, context.DeadlineExceeded
	}
	if a := send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(healthyBody)); a.status != 503 || a.header.Get("Retry-After") != "3" {
		t.Errorf("a missed deadline = %d %s, want 503 and when to try again", a.status, a.body)
	}
}

func TestControlThatIsRefused(t *testing.T) {
	f := newFake()
	f.control = backends.Errorf(backends.ErrUnsupported, "the repository is polled")
	_, addr := start(t, f, Options{})
	for _, verb := range []string{"load", "unload"} {
		if a := send(t, "POST", addr, "/v2/repository/models/m/"+verb, http.Header{}, nil); a.status != 501 || a.text() != "the repository is polled" {
			t.Errorf("%s: %d %s", verb, a.status, a.body)
		}
	}
}
