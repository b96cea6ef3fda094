package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func writeModel(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ModelFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReadModelWithoutAFileGivesDefaults(t *testing.T) {
	m, err := ReadModel(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if m.Backend != "cpu" || m.Versions.Latest != 1 || m.Cache != nil {
		t.Errorf("ReadModel = %+v, want cpu, latest 1, no cache", m)
	}
	if b := m.Bounds(); m.Instances != 1 || b != (Batching{MaxRows: 64, MaxQueueRows: 1024, Inflight: 2}) {
		t.Errorf("Instances = %d, Bounds = %+v", m.Instances, b)
	}
}

func TestReadModelReadsEveryKey(t *testing.T) {
	m, err := ReadModel(writeModel(t, `
backend: cuda
versions: [3, 1]
deadline: 250ms
instances: 3
limits: {memory: 2GiB, threads: 2, nice: 5, cpus: "4,0-1"}
batching: {max_rows: 8, max_queue_rows: 16, inflight: 2}
cache: {max_bytes: 16MiB, ttl: 1m}
options: {threads: "2"}
`))
	if err != nil {
		t.Fatal(err)
	}
	if l := m.Limits; m.Instances != 3 || l.Memory != 2<<30 || l.Threads != 2 || l.Nice != 5 || !slices.Equal(l.CPUs, []int{0, 1, 4}) {
		t.Errorf("instances %d, limits %+v", m.Instances, l)
	}
	if m.Backend != "cuda" || !slices.Equal(m.Versions.Only, []int64{3, 1}) || m.Deadline != Duration(250*time.Millisecond) ||
		m.Batching != (Batching{8, 16, 2}) || *m.Cache != (Cache{16 << 20, Duration(time.Minute)}) || m.Options["threads"] != "2" {
		t.Errorf("ReadModel = %+v", m)
	}
}

func TestReadModelRefuses(t *testing.T) {
	for _, c := range []struct{ situation, text, want string }{
		{"misspelt key", "batchng: {}", `line 1: unknown key "batchng": did you mean "batching"?`},
		{"misspelt nested key", "batching:\n  max_row: 3", `line 2: unknown key "max_row" in batching: did you mean "max_rows"?`},
		{"a key far from any", "zzzzzzzzzzzz: 1", "known keys are backend, batching, cache, capture, deadline, golden, instances, limits, options, versions"},
		{"a bare number as duration", "deadline: 5", `"5" is not a duration`},
		{"an amount without sense", "cache: {max_bytes: lots}", `"lots" is not an amount of memory`},
		{"a list where keys are expected", "cache: [1]", "cache must hold keys and values"},
		{"an unknown version policy", "versions: newest", "versions: use latest"},
		{"version zero", "versions: [0]", "versions: use latest"},
		{"negative bound", "batching: {max_rows: -1}", "no value may be negative"},
		{"negative instances", "instances: -1", "use 1 to 256"},
		{"an army of instances", "instances: 1000", "use 1 to 256"},
		{"negative threads", "limits: {threads: -1}", "threads may not be negative"},
		{"a niceness that is not one", "limits: {nice: 20}", "nice is from -20 to 19"},
		{"processors without sense", "limits: {cpus: all}", `"all" is not a set of processors`},
		{"processors from high to low", "limits: {cpus: 3-1}", "not a set of processors"},
		{"processors that no machine has", "limits: {cpus: 0-65000}", "not a set of processors"},
		{"a list of processors", "limits: {cpus: [0, 1]}", "a single value is expected"},
		{"queue below a batch", "batching: {max_rows: 100, max_queue_rows: 10}", "a full batch could never wait"},
		{"a cosine above one", "golden: {min_cosine: 1.5}", "golden.min_cosine 1.5: use a share above 0 and up to 1"},
		{"no cosine", "golden: {min_cosine: 0}", "golden.min_cosine 0: use a share"},
		{"a share that is no number", "golden: {min_top1: .nan}", "golden.min_top1 NaN: use a share"},
		{"limits without any", "golden: {}", "golden does nothing"},
		{"a capture of nothing", "capture: {path: here}", "capture.rate 0: use a share above 0"},
		{"a capture of more than all", "capture: {rate: 2}", "capture.rate 2: use a share"},
		{"a capture elsewhere", "capture: {rate: 1, path: ../etc}", "must stay below the server's capture_dir"},
		{"a capture in no room", "capture: {rate: 1, max_bytes: 1KiB}", "capture.max_bytes 1KiB: at least 64KiB"},
		{"a backend named like no value", "backend: null", `line 1: backend: null is no value in YAML: put it in quotes`},
		{"two documents", "backend: cpu\n---\nbackend: cpu", "more than one YAML document"},
		{"a key twice", "backend: cpu\nbackend: cpu", "already defined"},
		{"not YAML", "a: [", "model.yaml"},
	} {
		_, err := ReadModel(writeModel(t, c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: ReadModel(%q) = %v, want %q", c.situation, c.text, err, c.want)
		}
	}
}

func TestVersionsSelect(t *testing.T) {
	present := []int64{2, 10, 1}
	for _, c := range []struct {
		text              string
		selected, missing []int64
	}{
		{"versions: latest", []int64{10}, nil},
		{"versions: {latest: 2}", []int64{2, 10}, nil},
		{"versions: {latest: 9}", []int64{1, 2, 10}, nil},
		{"versions: all", []int64{1, 2, 10}, nil},
		{"versions: [10, 1, 1]", []int64{1, 10}, nil},
		{"versions: [7, 2]", []int64{2}, []int64{7}},
	} {
		m, err := ReadModel(writeModel(t, c.text))
		if err != nil {
			t.Fatal(err)
		}
		selected, missing := m.Versions.Select(present)
		if !slices.Equal(selected, c.selected) || !slices.Equal(missing, c.missing) {
			t.Errorf("%s: Select(%v) = %v, %v, want %v, %v", c.text, present, selected, missing, c.selected, c.missing)
		}
	}
}

func TestReadServerLaysTheFileOverTheDefaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "thrum.yaml")
	if err := os.WriteFile(path, []byte("models: /m\nlimits: {max_body: 1GB}\ncontrol: explicit\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := Default()
	if err := ReadServer(path, &s); err != nil {
		t.Fatal(err)
	}
	if s.Models != "/m" || s.Limits.MaxBody != 1e9 || s.Control != ControlExplicit || s.HTTP != ":8000" {
		t.Errorf("ReadServer = %+v", s)
	}
	s.CaptureDir = "/m-captures"
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestServerValidateRefuses(t *testing.T) {
	for situation, change := range map[string]func(*Server){
		"no models":          func(s *Server) { s.Models = "" },
		"no address":         func(s *Server) { s.HTTP = "" },
		"a frantic poll":     func(s *Server) { s.PollInterval = 1 },
		"no deadline":        func(s *Server) { s.Deadline = 0 },
		"no read timeout":    func(s *Server) { s.Limits.ReadTimeout = 0 },
		"no body":            func(s *Server) { s.Limits.MaxBody = 0 },
		"an unknown control": func(s *Server) { s.Control = "auto" },
		"captures in models": func(s *Server) { s.CaptureDir = "./m/captures" },
		"captures as models": func(s *Server) { s.CaptureDir = "m/" },
		"models in captures": func(s *Server) { s.CaptureDir = "." },
	} {
		s := Default()
		s.Models = "m"
		change(&s)
		if s.Validate() == nil {
			t.Errorf("%s: Validate = nil", situation)
		}
	}
}

func TestBytesRoundTrip(t *testing.T) {
	for text, want := range map[string]Bytes{"64MiB": 64 << 20, "1.5 KiB": 1536, "3GB": 3e9, "17": 17, "0": 0} {
		var b, again Bytes
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("Set(%q) = %v, %v, want %v", text, b, err, want)
		}
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("Set(%q) = %v, %v, want %v", b.String(), again, err, b)
		}
	}
	for _, text := range []string{"", "-1", "NaN", "1e30GB", "1TiBB"} {
		var b Bytes
		if b.Set(text) == nil {
			t.Errorf("Set(%q) = %v, want an error", text, b)
		}
	}
}

func TestMoreInstancesTakeMoreBatches(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{
		{"instances: 4", 5},
		{"{instances: 4, batching: {inflight: 2}}", 2},
	} {
		m, err := ReadModel(writeModel(t, c.text))
		if got := m.Bounds().Inflight; err != nil || got != c.want {
			t.Errorf("%s: inflight = %d, %v, want %d", c.text, got, err, c.want)
		}
	}
}

func TestCaptureFolder(t *testing.T) {
	for _, c := range []struct {
		situation, dir, path string
		want, err            string
	}{
		{"the model's own", "/c", "", "/c/digits", ""},
		{"another", "/c", "a/b", "/c/a/b", ""},
		{"a server that keeps nothing", "", "a", "", "--capture-dir"},
	} {
		got, err := (&Capture{Rate: 1, Path: c.path}).Folder(c.dir, "digits")
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: Folder = %q, %v, want %q, %q", c.situation, got, err, c.want, c.err)
		}
	}
}
