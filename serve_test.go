package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// beThrum makes this test binary the program, so that servers and their plugins are real
// processes of the code under test.
const beThrum = "THRUM_TEST_BE_THRUM"

func TestMain(m *testing.M) {
	if os.Getenv(beThrum) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func thrum(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), beThrum+"=1")
	return cmd
}

// program is a server under test.
type program struct {
	t           *testing.T
	cmd         *exec.Cmd
	http, admin string
	lines       chan string // of its log
	seen        strings.Builder
}

// startServer starts `thrum serve` and waits until it is ready.
func startServer(t *testing.T, models string, args ...string) *program {
	t.Helper()
	args = append([]string{"serve", "--models", models, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)
	p := &program{t: t, cmd: thrum(args...), lines: make(chan string, 10_000)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Log(p.seen.String())
		}
	})
	ready := p.waitFor(`msg=ready http=(\S+) admin=(\S+)`)
	p.http, p.admin = "http://"+ready[1], "http://"+ready[2]
	return p
}

// waitFor returns the match of the first line of the log from here on that has one.
func (p *program) waitFor(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(time.Minute)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the server ended before its log had %s", pattern)
			}
			fmt.Fprintln(&p.seen, line)
			if match := re.FindStringSubmatch(line); match != nil {
				return match
			}
		case <-timeout:
			p.t.Fatalf("the log has no %s", pattern)
		}
	}
}

// stop ends the server in order; it must say that it went well.
func (p *program) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	for line := range p.lines {
		fmt.Fprintln(&p.seen, line)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the server ended with %v", err)
	}
}

func (p *program) post(path, body string) (int, string) {
	p.t.Helper()
	return do(p.t, http.MethodPost, p.http+path, body)
}

func (p *program) get(url string) (int, string) {
	p.t.Helper()
	return do(p.t, http.MethodGet, url, "")
}

func do(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	status, text, err := try(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}

func try(ctx context.Context, method, url, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	return reply.StatusCode, string(text), err
}

// copyModels makes a repository of some of the bundled models.
func copyModels(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		if err := os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join("examples/models", name))); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// digitRequest is the first golden case of the digits model, and its label.
func digitRequest(t *testing.T) (body, label string) {
	t.Helper()
	text, err := os.ReadFile("examples/models/digits/1/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Cases []struct {
			Inputs, Outputs []json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	var out struct{ Data []json.Number }
	if err := json.Unmarshal(set.Cases[0].Outputs[0], &out); err != nil {
		t.Fatal(err)
	}
	inputs, err := json.Marshal(map[string]any{"id": "7", "inputs": set.Cases[0].Inputs})
	if err != nil {
		t.Fatal(err)
	}
	return string(inputs), fmt.Sprintf(`"data":[%s]`, out.Data[0])
}

// Every bundled model replays its golden set before it is ready, so that ready means right.
func TestServeAnswersForEveryBundledModel(t *testing.T) {
	p := startServer(t, "examples/models")
	for _, model := range []string{"digits", "tumor", "yarnit"} {
		if status, text := p.get(p.http + "/v2/models/" + model + "/ready"); status != 200 {
			t.Errorf("%s: %d %s", model, status, text)
		}
		if status, text := p.get(p.http + "/v2/models/" + model); status != 200 || !strings.Contains(text, `"platform":"onnx_onnxv1"`) {
			t.Errorf("%s: %d %s", model, status, text)
		}
	}
	body, label := digitRequest(t)
	for _, outcome := range []string{"miss", "hit"} {
		status, text := p.post("/v2/models/digits/versions/1/infer", body)
		if status != 200 || !strings.Contains(text, label) || !strings.Contains(text, `"id":"7"`) || !strings.Contains(text, `"cache":"`+outcome+`"`) {
			t.Errorf("infer = %d %s, want %s, a %s", status, text, label, outcome)
		}
		p.settle(`thrum_cache_entries{model="digits",version="1"} 1`)
	}
	for _, want := range []string{
		`thrum_requests_total{code="200",model="digits",version="1"} 2`,
		`thrum_cache_requests_total{model="digits",outcome="hit",version="1"} 1`,
		`thrum_stage_seconds_count{model="digits",stage="compute",version="1"} 1`,
		`thrum_batch_rows_count{model="digits",version="1"} 1`,
	} {
		p.settle(want)
	}
	for _, path := range []string{"/healthz", "/debug/pprof/goroutine?debug=1"} {
		if status, _ := p.get(p.admin + path); status != 200 {
			t.Errorf("GET %s = %d", path, status)
		}
	}
	p.stop()
}

// settle waits until the metrics have a line: some are counted after the reply has gone out.
func (p *program) settle(line string) {
	p.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, text := p.get(p.admin + "/metrics")
		if strings.Contains(text, line) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the metrics lack %s", line)
		}
	}
}

func TestServeGoesOnBesideModelsThatCannotBeLoaded(t *testing.T) {
	root := copyModels(t, "digits")
	model, err := os.ReadFile("examples/models/digits/1/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string][]byte{
		"truncated": {"1/model.onnx": model[:len(model)/2]},
		"garbage":   {"1/model.onnx": []byte("this is no model")},
		"missing":   {"1/readme.txt": nil},
		"empty":     {"readme.txt": nil},
		"misspelt":  {"1/model.onnx": model, "model.yaml": []byte("batchng: {}")},
		"inert":     {"1/model.onnx": model, "model.yaml": []byte("options: {speed: fast}")},
		"nobackend": {"1/model.onnx": model, "model.yaml": []byte("backend: tpu")},
		"wronggold": {"1/model.onnx": model, "1/golden.json": bytes.ReplaceAll(mustRead(t, "examples/models/digits/1/golden.json"), []byte(`"data": [3]`), []byte(`"data": [4]`))},
		"absent":    {"1/model.onnx": model, "model.yaml": []byte("versions: [1, 9]")},
	} {
		for file, content := range files {
			path := filepath.Join(root, name, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := startServer(t, root, "--control", "none")
	_, index := p.post("/v2/repository/index", "")
	t.Log(index)
	for model, want := range map[string]string{
		"garbage":   "",
		"truncated": "",
		"missing":   "model.onnx",
		"empty":     "no version",
		"misspelt":  `did you mean \"batching\"?`,
		"inert":     "speed",
		"nobackend": `unknown backend \"tpu\"`,
		"wronggold": "golden case",
		"absent":    "versions [9]",
	} {
		re := regexp.MustCompile(`"name":"` + model + `"[^}]*"state":"UNAVAILABLE"[^}]*` + regexp.QuoteMeta(want))
		if !re.MatchString(index) {
			t.Errorf("the index does not say of %s: %s", model, want)
		}
		if status, text := p.get(p.http + "/v2/models/" + model + "/ready"); status != 503 && status != 404 {
			t.Errorf("%s/ready = %d %s", model, status, text)
		}
	}
	body, label := digitRequest(t)
	if status, text := p.post("/v2/models/digits/infer", body); status != 200 || !strings.Contains(text, label) {
		t.Errorf("infer = %d %s", status, text)
	}
	p.stop()
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// load sends requests from several clients until stop is closed and counts what came back.
type load struct {
	ok, failed atomic.Int64
	stopped    chan struct{}
	clients    sync.WaitGroup
}

func startLoad(t *testing.T, url, body, want string) *load {
	l := &load{stopped: make(chan struct{})}
	for range 8 {
		l.clients.Go(func() {
			for {
				select {
				case <-l.stopped:
					return
				default:
				}
				status, text, err := try(context.Background(), http.MethodPost, url, body)
				if err != nil || status != 200 || !strings.Contains(text, want) {
					if l.failed.Add(1) < 5 {
						t.Logf("request failed: %d %s %v", status, text, err)
					}
					continue
				}
				l.ok.Add(1)
			}
		})
	}
	return l
}

func (l *load) stop() {
	close(l.stopped)
	l.clients.Wait()
}

func TestServeSwapsVersionsUnderLoadWithoutLosingARequest(t *testing.T) {
	root := copyModels(t, "digits")
	p := startServer(t, root, "--poll-interval", "50ms")
	body, label := digitRequest(t)
	l := startLoad(t, p.http+"/v2/models/digits/infer", body, label)
	for version := 2; version <= 4; version++ {
		next := filepath.Join(root, "digits", strconv.Itoa(version))
		if err := os.CopyFS(next, os.DirFS("examples/models/digits/1")); err != nil {
			t.Fatal(err)
		}
		p.waitFor(fmt.Sprintf(`"model version unloaded" model=digits version=%d`, version-1))
	}
	l.stop()
	if l.failed.Load() != 0 || l.ok.Load() == 0 {
		t.Errorf("%d requests answered, %d failed", l.ok.Load(), l.failed.Load())
	}
	if _, text := p.get(p.http + "/v2/models/digits"); !strings.Contains(text, `"versions":["4"]`) {
		t.Errorf("metadata = %s, want version 4 alone", text)
	}
	p.stop()
}

func TestServeStopsInOrderUnderLoad(t *testing.T) {
	p := startServer(t, copyModels(t, "tumor"))
	var set struct {
		Cases []struct{ Inputs []json.RawMessage }
	}
	if err := json.Unmarshal(mustRead(t, "examples/models/tumor/1/golden.json"), &set); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"inputs": set.Cases[0].Inputs})
	if err != nil {
		t.Fatal(err)
	}
	var answered, refused, lost atomic.Int64
	var clients sync.WaitGroup
	url := p.http + "/v2/models/tumor/infer"
	for range 8 {
		clients.Go(func() {
			for {
				c, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
				if err != nil {
					refused.Add(1)
					return // nobody listens any more: that is no lost request
				}
				c.Close()
				status, text, err := try(context.Background(), http.MethodPost, url, string(body))
				switch {
				case err == nil && status == 200:
					answered.Add(1)
				case err != nil && regexp.MustCompile("refused|reset|EOF|broken pipe").MatchString(err.Error()):
					refused.Add(1) // it never reached a handler
					return
				default:
					t.Logf("lost: %d %s %v", status, text, err)
					lost.Add(1)
				}
			}
		})
	}
	for answered.Load() < 100 {
		p.settle("thrum_build_info")
	}
	p.stop()
	clients.Wait()
	if lost.Load() != 0 || refused.Load() != 8 {
		t.Errorf("%d answered, %d clients saw the end, %d requests lost", answered.Load(), refused.Load(), lost.Load())
	}
}

func TestServeRecoversFromTheDeathOfAPlugin(t *testing.T) {
	p := startServer(t, copyModels(t, "digits", "yarnit"))
	if err := syscall.Kill(p.pluginOf("digits"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	body, label := digitRequest(t)
	if status, text := p.post("/v2/models/digits/infer", body); status != 200 || !strings.Contains(text, label) {
		t.Errorf("infer while the instance is started again = %d %s, want it to wait", status, text)
	}
	p.settle(`thrum_instance_restarts_total{model="digits",version="1"} 1`)
	if status, text := p.post("/v2/models/digits/infer", body); status != 200 || !strings.Contains(text, label) {
		t.Errorf("infer after the death = %d %s", status, text)
	}
	if status, _ := p.get(p.http + "/v2/models/yarnit/ready"); status != 200 {
		t.Errorf("another model's ready = %d", status)
	}
	p.stop()
}

// pluginOf returns the process of a model, as the log so far tells.
func (p *program) pluginOf(model string) int {
	p.t.Helper()
	match := regexp.MustCompile(`"plugin started" model=` + model + ` .*pid=(\d+)`).FindStringSubmatch(p.seen.String())
	if match == nil {
		p.t.Fatalf("the log tells of no plugin of %s", model)
	}
	pid, err := strconv.Atoi(match[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

func TestServeExplainsWhatItCannotDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "thrum.yaml")
	if err := os.WriteFile(file, []byte("limts: {}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		situation string
		args      []string
		want      string
	}{
		{"no repository", []string{"serve"}, "--models DIR"},
		{"a repository that is not there", []string{"serve", "--models", "nowhere", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, "no such file or directory"},
		{"a port that is taken", []string{"serve", "--models", t.TempDir(), "--http", taken.Addr().String(), "--admin", "127.0.0.1:0"}, "choose another with --http"},
		{"an unknown flag", []string{"serve", "--model", "x"}, "thrum serve --help"},
		{"a flag without sense", []string{"serve", "--control", "auto"}, "use poll, explicit or none"},
		{"a configuration with a misspelt key", []string{"serve", "--config", file}, `did you mean "limits"?`},
		{"a plugin path that is not there", []string{"serve", "--models", ".", "--plugin-path", "/no/such/folder"}, "plugin path: open /no/such/folder"},
		{"an inert setting", []string{"serve", "--models", ".", "--control", "none", "--poll-interval", "1s"}, "poll_interval does nothing"},
		{"an unknown command", []string{"server"}, "serve"},
	} {
		out, err := thrum(c.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: thrum %v: %v\n%s\nwant an error with %q", c.situation, c.args, err, out, c.want)
		}
	}
}

// children returns the command lines of the server's processes, as far as the system tells.
func (p *program) children() (commands []string) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	for _, list := range lists {
		for _, pid := range strings.Fields(string(mustRead(p.t, list))) {
			commands = append(commands, string(mustRead(p.t, "/proc/"+pid+"/cmdline")))
		}
	}
	return commands
}

func TestServeRunsModelsAtTheLevelAskedFor(t *testing.T) {
	root := copyModels(t, "digits", "tumor")
	if err := os.WriteFile(filepath.Join(root, "tumor", "model.yaml"), []byte("options: {cpu_level: mmx}"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, root, "--cpu-level", "portable", "--control", "none")
	body, label := digitRequest(t)
	if status, text := p.post("/v2/models/digits/infer", body); status != 200 || !strings.Contains(text, label) {
		t.Errorf("infer = %d %s", status, text)
	}
	if _, index := p.post("/v2/repository/index", ""); !strings.Contains(index, `cpu_level \"mmx\": this processor has [portable`) {
		t.Errorf("the index does not say which levels there are: %s", index)
	}
	for _, command := range p.children() {
		if !strings.Contains(command, "--cpu-level=portable") {
			t.Errorf("a plugin was started as %q", command)
		}
	}
	p.stop()
}

func TestServeRefusesALevelThatThisProcessorLacks(t *testing.T) {
	out, err := thrum("serve", "--models", "examples/models", "--cpu-level", "mmx").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `cpu_level "mmx": this processor has [portable`) {
		t.Errorf("serve = %v, %s", err, out)
	}
}

// TestServeTellsWhatALowerPrecisionCosts serves a model at two and one that is too far from its
// golden set to be served.
func TestServeTellsWhatALowerPrecisionCosts(t *testing.T) {
	root := copyModels(t, "digits")
	for name, options := range map[string]string{
		"half":     "options: {precision: bf16}",
		"bytes":    "options: {precision: int8}",
		"unproven": "options: {precision: bf16}",
		"strict":   "golden: {min_cosine: 0.99999999999}\noptions: {precision: int8}",
		"top1":     "golden: {min_top1: 1}\noptions: {precision: bf16}",
		"inert":    "golden: {min_top1: 1}",
		"tree":     "options: {precision: bf16}",
		"unknown":  "options: {precision: fp8}",
	} {
		from := map[string]string{"tree": "tumor"}[name]
		if from == "" {
			from = "digits"
		}
		dir := filepath.Join(root, name)
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("examples/models", from))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "model.yaml"), []byte(options), 0o644); err != nil {
			t.Fatal(err)
		}
		if name == "unproven" || name == "inert" {
			if err := os.Remove(filepath.Join(dir, "1", "golden.json")); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := startServer(t, root, "--control", "none")
	for model, want := range map[string]string{
		"digits":   `"parameters":\{"precision":"fp32","golden":\{"measured":true,"reference":"onnxruntime [0-9.]+","cases":[0-9]+,"outputs":\{"label":\{"equal":1\}`,
		"half":     `"precision":"bf16","golden":\{"measured":true,.*"probabilities":\{"distance":0\.0[0-9]+,"max_abs":`,
		"bytes":    `"precision":"int8","golden":\{"measured":true,.*"min_cosine":0\.99[0-9]+,"top1":`,
		"unproven": `"parameters":\{"precision":"bf16","golden":\{"measured":false\}\}`,
		"top1":     `"top1":1`,
	} {
		if status, text := p.get(p.http + "/v2/models/" + model + "/versions/1"); status != 200 || !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("%s: %d %s, want %s", model, status, text, want)
		}
	}
	_, index := p.post("/v2/repository/index", "")
	for model, want := range map[string]string{
		"strict":  `golden set: output \\"probabilities\\": distance is [0-9.e-]+ at precision int8, and must be at most [0-9.e-]+: use a higher precision, or lower golden.min_cosine in model.yaml`,
		"inert":   `golden does nothing: there is no golden set`,
		"tree":    `precision bf16 does nothing`,
		"unknown": `precision \\"fp8\\": use fp32, bf16 or int8`,
	} {
		if !regexp.MustCompile(`"name":"` + model + `","version":"1","state":"UNAVAILABLE","reason":"[^}]*` + want).MatchString(index) {
			t.Errorf("the index does not say of %s %s: %s", model, want, index)
		}
	}
	_, text := p.get(p.admin + "/metrics")
	for _, want := range []string{
		`thrum_model_precision{model="half",precision="bf16",version="1"} 1`,
		`thrum_golden_error{kind="equal",model="half",output="label",version="1"} 1`,
		`thrum_golden_error{kind="max_abs",model="bytes",output="probabilities",version="1"} 0.`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(text, `thrum_golden_error{kind="max_abs",model="unproven"`) {
		t.Error("the metrics have an error that was not measured")
	}
	p.stop()
	for _, want := range []string{
		`level=WARN msg="answers are not measured at this precision: there is no golden set" model=unproven version=1 precision=bf16`,
		`msg="answers measured on the golden set" model=half version=1 precision=bf16 reference="onnxruntime`,
		`probabilities.min_cosine=`,
	} {
		if !strings.Contains(p.seen.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestPrecisionMeasuresModels(t *testing.T) {
	bare := copyModels(t, "digits")
	if err := os.Remove(filepath.Join(bare, "digits", "1", "golden.json")); err != nil {
		t.Fatal(err)
	}
	out, err := thrum("precision", "examples/models/digits", "examples/models/tumor", filepath.Join(bare, "digits")).CombinedOutput()
	if err != nil {
		t.Fatalf("precision = %v, %s", err, out)
	}
	for _, want := range []string{
		`MODEL +PRECISION +OUTPUT +max_abs +max_rel +distance +min_cosine +top1 +equal`,
		`examples/models/digits +fp32 +label +- +- +- +- +- +1`,
		`examples/models/digits +bf16 +probabilities +0\.0\d+ .* 1 +-`,
		`examples/models/digits +int8 +probabilities +0\.\d+ `,
		`examples/models/tumor +int8 .* not served: .*precision int8 does nothing`,
		`digits +bf16 .* not measured: it has no golden set`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the table lacks %s:\n%s", want, out)
		}
	}
	if out, err := thrum("precision", "--cpu-level", "mmx", "examples/models/digits").CombinedOutput(); err == nil || !strings.Contains(string(out), `cpu_level "mmx"`) {
		t.Errorf("precision = %v, %s", err, out)
	}
}
