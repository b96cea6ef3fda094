package facts

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

const text = `# HELP thrum_batch_rows Rows executed together.
# TYPE thrum_batch_rows histogram
thrum_batch_rows_bucket{model="a",version="1",le="+Inf"} 10
thrum_batch_rows_sum{model="a",version="1"} 25
thrum_batch_rows_count{model="a",version="1"} 10
thrum_batch_rows_count{model="b",version="1"} 1000
thrum_cache_requests_total{model="a",outcome="hit",version="1"} 30
thrum_cache_requests_total{model="a",outcome="shared",version="1"} 2
thrum_cache_requests_total{model="a",outcome="miss",version="1"} 5
thrum_cache_requests_total{model="a",outcome="bypass",version="2"} 68
thrum_stage_seconds_sum{model="a",stage="queue",version="1"} 0.5
thrum_stage_seconds_sum{model="a",stage="compute",version="1"} 1.5e-1
process_cpu_seconds_total 12.25
process_resident_memory_bytes 5.24288e+07 1700000000000
process_open_fds 33
go_goroutines	17
other{text="a } \" model=\"b\""} NaN
`

func TestScrape(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	defer s.Close()
	want := Facts{
		CPU: 12250 * time.Millisecond, Memory: 50 << 20, Files: 33, Goroutines: 17, Hits: 32, Lookups: 37, Bypassed: 68,
		Batches: 10, BatchRows: 25, Queue: 500 * time.Millisecond, Compute: 150 * time.Millisecond,
	}
	if got, err := Scrape(t.Context(), s.Client(), s.URL+"/metrics", "a"); err != nil || got != want {
		t.Errorf("Scrape = %+v, %v, want %+v", got, err, want)
	}
	if _, err := Scrape(t.Context(), s.Client(), s.URL, "a"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("Scrape of another page = %v, want an error with 404", err)
	}
	if _, err := Scrape(t.Context(), s.Client(), "http://127.0.0.1:1/metrics", "a"); err == nil {
		t.Error("Scrape of nothing = nil, want an error")
	}
}

func TestSince(t *testing.T) {
	before := Facts{CPU: time.Second, Memory: 10, Hits: 5, Lookups: 50}
	after := Facts{CPU: 3 * time.Second, Memory: 7, Hits: 15, Lookups: 20}
	want := result.Server{CPU: 2 * time.Second, Memory: 10, Hits: 10}
	if got := after.Since(before); got != want {
		t.Errorf("Since = %+v, want %+v: a counter that fell began anew", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text)
	f.Add("a")
	f.Add("{ 1")
	f.Add("thrum_batch_rows_count{model=\"a\" 1e400")
	f.Fuzz(func(t *testing.T, text string) {
		facts, err := Parse(strings.NewReader(text), "a")
		if err == nil && (facts.CPU < 0 || facts.Queue < 0 || facts.Compute < 0) {
			t.Errorf("Parse(%q) = %+v, want nothing negative", text, facts)
		}
	})
}

func TestOfProcess(t *testing.T) {
	child := exec.Command("cat")
	to, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	// A process that has only just begun may have no memory yet: this one runs when it has answered.
	if _, err := to.Write([]byte{'\n'}); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	of, err := OfProcess(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	us, err := OfProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if of.Memory == 0 || us.Memory <= of.Memory || us.Files <= 3 {
		t.Errorf("OfProcess = %+v for the child and %+v with it, want memory and files, more of ours", of, us)
	}
	if _, err := OfProcess(1 << 30); err == nil {
		t.Error("OfProcess of none = nil, want an error")
	}
}

func TestParseStat(t *testing.T) {
	p, ok := parseStat("42 (a ) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 5 0 100 1000 2000 18446744073709551615 1 1\n")
	if want := (process{parent: 7, cpu: 2 * time.Second, memory: 2000 * uint64(os.Getpagesize())}); !ok || p != want {
		t.Errorf("parseStat = %+v, %v, want %+v", p, ok, want)
	}
	if _, ok := parseStat("42 (a"); ok {
		t.Error("parseStat of a cut line is ok")
	}
}
