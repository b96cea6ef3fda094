package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// double is a model that doubles rows of two floats.
var double = backends.Signature{
	Platform: "fake_v1",
	Batched:  true,
	Inputs:   []backends.TensorSpec{{Name: "x", Datatype: backends.FP32, Shape: []int64{-1, 2}}},
	Outputs:  []backends.TensorSpec{{Name: "y", Datatype: backends.FP32, Shape: []int64{-1, 2}}},
}

// echo answers with the first input under the output's name, which is y.
func echo(_ context.Context, in backends.Batch) (backends.Batch, error) {
	t := in.Tensors[0]
	t.Name = "y"
	return backends.Batch{Tensors: []backends.Tensor{t}, Trace: backends.Trace{Queue: time.Millisecond, Compute: 2 * time.Millisecond, BatchRows: 4}}, nil
}

// fake is a catalog of one model, m, with the versions 1 and 2.
type fake struct {
	sig      backends.Signature
	predict  backends.PredictorFunc
	acquire  error
	live     error
	control  error
	deadline time.Duration

	serving    catalog.Serving
	statistics catalog.Statistics

	mu       sync.Mutex
	down     bool // not ready
	held     int  // versions acquired and not released
	loaded   []string
	unloaded []string
}

func (f *fake) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.down
}

func (f *fake) Acquire(model, version string) (*catalog.Version, func(), error) {
	if f.acquire != nil {
		return nil, nil, f.acquire
	}
	if version == "" {
		version = "2"
	}
	if model != "m" || version != "1" && version != "2" {
		return nil, nil, backends.Errorf(backends.ErrNotFound, "unknown model %q version %q", model, version)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held++
	var once sync.Once
	return &catalog.Version{Model: model, Version: version, Versions: []string{"1", "2"}, Signature: f.sig, Predictor: f.predict, Deadline: f.deadline,
			Serving: f.serving, Statistics: func() catalog.Statistics { return f.statistics },
			Live: func(time.Time) error { return f.live }},
		func() { once.Do(f.release) }, nil
}

func (f *fake) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held--
}

func (f *fake) Index() []catalog.Entry {
	return []catalog.Entry{
		{Name: "m", Version: "1", State: catalog.Ready},
		{Name: "m", Version: "3", State: catalog.Unavailable, Reason: "truncated"},
		{Name: "never"},
	}
}

func (f *fake) Load(_ context.Context, model string) error {
	f.loaded = append(f.loaded, model)
	return f.control
}

func (f *fake) Unload(_ context.Context, model string) error {
	f.unloaded = append(f.unloaded, model)
	return f.control
}

func newFake() *fake {
	return &fake{sig: double, predict: echo, deadline: 10 * time.Second, serving: catalog.Serving{Backend: "fake", MaxRows: 64, Instances: 3}}
}

// start serves f on a free port until the test ends.
func start(t *testing.T, f *fake, o Options) (*Server, string) {
	t.Helper()
	s, err := New(f, o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		if f.held != 0 {
			t.Errorf("%d versions were acquired and not released", f.held)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, ln.Addr().String()
}

// answer is a reply that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// text returns the error text of the reply.
func (a answer) text() string {
	var e struct{ Error string }
	if err := json.Unmarshal(a.body, &e); err != nil {
		return "not JSON: " + string(a.body)
	}
	return e.Error
}

// send makes a request over a connection of its own.
func send(t *testing.T, method, addr, path string, header http.Header, body []byte) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, all}
}

const healthyBody = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1.5,-2]}]}`
const healthyReply = `{"model_name":"m","model_version":"2","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[1.5,-2]}]}`

// healthy fails the test unless a sound request is answered as ever.
func healthy(t *testing.T, addr string) {
	t.Helper()
	a := send(t, "POST", addr, "/v2/models/m/infer", nil, []byte(healthyBody))
	if a.status != 200 || string(a.body) != healthyReply {
		t.Errorf("after it, a healthy request got %d %s, want 200 %s", a.status, a.body, healthyReply)
	}
}

func TestInferOverJSON(t *testing.T) {
	_, addr := start(t, newFake(), Options{})
	healthy(t, addr)
}

func TestOptionsThatCannotBeMeantAreRefused(t *testing.T) {
	for _, o := range []Options{{MaxBodyBytes: -1}, {MaxConnections: -1}, {ReadTimeout: -1}, {WriteTimeout: -1}, {IdleTimeout: -1}} {
		if _, err := New(newFake(), o); err == nil {
			t.Errorf("New(%+v) succeeds, want an error", o)
		}
	}
}
