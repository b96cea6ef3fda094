package loadtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// server is a model that adds nothing: it answers with a constant.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	bodies  []string
	headers []http.Header
	wrong   bool // from the second answer on
}

func newServer(t *testing.T) *server {
	s := &server{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/m", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}`)
	})
	mux.HandleFunc("POST /v2/models/m/infer", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.bodies, s.headers = append(s.bodies, string(body)), append(s.headers, r.Header)
		y := 1
		if s.wrong && len(s.bodies) > 2 {
			y = 2
		}
		s.mu.Unlock()
		_, _ = fmt.Fprintf(w, `{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[%d]}]}`, y)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, _ = fmt.Fprintf(w, "process_open_fds 9\nthrum_cache_requests_total{model=\"m\",outcome=\"hit\"} %d\n", len(s.bodies))
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// seen returns what came, which the race detector knows only by the lock to have come before.
func (s *server) seen() (bodies []string, headers []http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies, s.headers
}

func load(t *testing.T) Load {
	t.Helper()
	made, err := schedule.Constant(100, 100*time.Millisecond).Schedule(1)
	if err != nil {
		t.Fatal(err)
	}
	return Load{Schedule: made}
}

func attacked(t *testing.T, o Options) *result.Run {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	run, err := s.Attack(t.Context(), load(t))
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestAttack(t *testing.T) {
	s := newServer(t)
	run := attacked(t, Options{URL: s.URL, Model: "m", Check: 1, Seed: 3})
	all := run.Total()
	if all.Total() != 10 || all.Count(result.OK) != 10 || run.Server.Checked != 10 {
		t.Errorf("%d requests, %d OK, %d compared, want 10 of each", all.Total(), all.Count(result.OK), run.Server.Checked)
	}
	if ratio, known := run.Server.HitRatio(); !known || ratio != 1 {
		t.Errorf("hit ratio %v, %v, want that of the metrics that are beside the model", ratio, known)
	}
	a := run.Asked
	if a.Target != s.URL || a.Model != "m" || a.Body != "json" || a.Cache != "bypass" || !strings.Contains(a.Inputs, "generated") {
		t.Errorf("asked for %+v", a)
	}
	_, headers := s.seen()
	for _, h := range headers {
		if h.Get("Cache-Control") != "no-store" {
			t.Errorf("a request has %v, want that no cache answers it", h)
		}
	}
}

// What the server did in the warm-up is not part of what it did.
func TestWarmUpIsNotCounted(t *testing.T) {
	s := newServer(t)
	o, err := Open(t.Context(), Options{URL: s.URL, Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	warm, err := schedule.Constant(20, time.Second).WarmUp(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	made, err := warm.Schedule(1)
	if err != nil {
		t.Fatal(err)
	}
	windows := 0
	for name, l := range map[string]Load{
		"a schedule":    {Schedule: made, OnWindow: func(result.Window) { windows++ }},
		"a closed loop": {Concurrency: 1, Duration: time.Second, WarmUp: time.Second},
	} {
		before, _ := s.seen()
		run, err := o.Attack(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		after, _ := s.seen()
		sent := uint64(len(after) - len(before))
		if all := run.Total(); all.Total() == 0 || all.Total() >= sent || run.Asked.WarmUp != time.Second {
			t.Errorf("%s: %d of %d requests are counted, warm-up %v, want some less", name, all.Total(), sent, run.Asked.WarmUp)
		}
		if got := run.Server.Hits; got == 0 || got >= sent { // the server counts all of them
			t.Errorf("%s: the server did %d of %d requests, want those after the warm-up", name, got, sent)
		}
	}
	if windows < 2 {
		t.Errorf("%d windows were shown, want all", windows)
	}
}

func TestAttackFindsWrongAnswers(t *testing.T) {
	s := newServer(t)
	s.wrong = true
	o := Options{URL: s.URL, Model: "m", Check: 1}
	o.Generated.Requests = 2 // and so two are asked before
	if all := attacked(t, o).Total(); all.Count(result.Wrong) != 10 {
		t.Errorf("%d wrong answers, want 10", all.Count(result.Wrong))
	}
}

func TestCacheModes(t *testing.T) {
	for _, c := range []struct {
		cache Cache
		asked string
	}{{Cold, "cold"}, {Production, "as in production"}} {
		s := newServer(t)
		o, err := Open(t.Context(), Options{URL: s.URL, Model: "m", Cache: c.cache, Check: 1})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			run, err := o.Attack(t.Context(), load(t))
			if err != nil || run.Asked.Cache != c.asked {
				t.Fatalf("%s: Attack = %+v, %v, want %q", c.cache, run.Asked, err, c.asked)
			}
		}
		bodies, headers := s.seen()
		if got := headers[0].Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: what is asked before the run has Cache-Control %q, and so would be known in it", c.cache, got)
		}
		bodies, headers = bodies[100:], headers[100:] // of the runs
		if got := headers[0].Get("Cache-Control"); got != "" {
			t.Errorf("%s: requests have Cache-Control %q, want that the cache is asked", c.cache, got)
		}
		// Each run sends the same requests. With a cold cache they differ by a parameter.
		same := strings.Contains(strings.Join(bodies[10:], "\n"), bodies[0])
		if same != (c.cache == Production) {
			t.Errorf("%s: the second run repeats the first: %v", c.cache, same)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	other := filepath.Join(dir, "other.json")
	if err := os.WriteFile(other, []byte(`{"inputs":[{"name":"z","datatype":"FP32","shape":[1],"data":[1]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no model", Options{URL: s.URL}, "--model"},
		{"an unknown model", Options{URL: s.URL, Model: "n"}, "404"},
		{"nobody there", Options{URL: "http://127.0.0.1:1", Model: "m"}, "curl"},
		{"no address", Options{URL: "here", Model: "m"}, "here"},
		{"a golden set nowhere", Options{URL: s.URL, Model: "m", Input: "golden"}, "golden:DIR"},
		{"no file", Options{URL: s.URL, Model: "m", Input: "file:/no/such"}, "/no/such"},
		{"a file that holds no capture", Options{URL: s.URL, Model: "m", Input: "capture:" + other}, "no captured requests"},
		{"inputs of another model", Options{URL: s.URL, Model: "m", Input: other}, `no input "z"`},
		{"nothing selected", Options{URL: s.URL, Model: "m", Select: "bytes > 1000"}, "keeps none"},
		{"weights that are none", Options{URL: s.URL, Model: "m", Weigh: "-1"}, "weight"},
		{"a share of more than all", Options{URL: s.URL, Model: "m", Check: 2}, "between 0 and 1"},
		{"metrics nowhere", Options{URL: s.URL, Model: "m", Metrics: "http://127.0.0.1:1/metrics"}, "try: curl http://127.0.0.1:1/metrics"},
	} {
		c.o.Timeout = 5 * time.Second
		if _, err := Open(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v, want %q in it", c.name, err, c.want)
		}
	}
	picky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.Error(w, "1 row, at most 0", http.StatusBadRequest)
			return
		}
		s.Config.Handler.ServeHTTP(w, r)
	}))
	defer picky.Close()
	for _, check := range []float64{0, 1} {
		if _, err := Open(t.Context(), Options{URL: picky.URL, Model: "m", Check: check}); err == nil || !strings.Contains(err.Error(), "1 row, at most 0") {
			t.Errorf("Open at a server that refuses every request, of which %v are compared, = %v, want what it says", check, err)
		}
	}
	ok, err := Open(t.Context(), Options{URL: s.URL, Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ok.Replay(1); err == nil {
		t.Error("Replay of generated requests = nil, want an error")
	}
}

func TestAttackEndsWithItsContext(t *testing.T) {
	s := newServer(t)
	o, err := Open(t.Context(), Options{URL: s.URL, Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	made, err := schedule.Constant(100, time.Minute).Schedule(1)
	if err != nil {
		t.Fatal(err)
	}
	run, err := o.Attack(ctx, Load{Schedule: made, OnWindow: func(result.Window) { cancel() }})
	if err != nil || run.Stopped == "" || run.Total().Total() == 0 {
		t.Errorf("Attack = %+v, %v, want what was measured until then", run, err)
	}
}
