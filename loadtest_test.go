package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// end runs the program and returns its exit code and all that it printed.
func end(t *testing.T, args ...string) (code int, text string) {
	t.Helper()
	out, err := thrum(args...).CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	if failed != nil {
		code = failed.ExitCode()
	}
	return code, string(out)
}

// The machine may be too busy for figures to be believed, which ends with 2, but not for a report.
func believable(code int) bool { return code == 0 || code == 2 }

func TestLoadtestMeasuresAServer(t *testing.T) {
	p := startServer(t, "examples/models")
	url, metrics := p.http, p.admin+"/metrics"
	dir := t.TempDir()
	html := filepath.Join(dir, "a.html")
	args := []string{"loadtest", "--url", url, "--metrics", metrics, "--model", "digits", "--rate", "50", "--duration", "1s",
		"--binary", "--input", "golden:examples/models/digits", "--check", "0.5"}
	code, text := end(t, append(args, "--report", html)...)
	if !believable(code) || !strings.Contains(text, "cache hits") || !strings.Contains(text, "answers") {
		t.Fatalf("loadtest ends with %d:\n%s", code, text)
	}
	for _, suffix := range []string{"a.html", "a.json", "a.runs"} {
		if info, err := os.Stat(filepath.Join(dir, suffix)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, want a file", suffix, err)
		}
	}
	if code, text := end(t, "loadtest", "report", filepath.Join(dir, "a.runs"), "--report", filepath.Join(dir, "b.html")); !believable(code) {
		t.Errorf("report ends with %d:\n%s", code, text)
	}
	if code, text := end(t, append(args, "--seed", "2", "--report", filepath.Join(dir, "c.html"))...); !believable(code) {
		t.Errorf("loadtest ends with %d:\n%s", code, text)
	}
	if code, text := end(t, "loadtest", "merge", filepath.Join(dir, "a.runs"), filepath.Join(dir, "c.runs"), "--into", filepath.Join(dir, "m.runs")); code != 0 {
		t.Errorf("merge ends with %d:\n%s", code, text)
	}
	if code, text := end(t, "loadtest", "--url", url, "--model", "digts", "--rate", "5"); code != 2 || !strings.Contains(text, "digits") {
		t.Errorf("an unknown model ends with %d, want 2 and the models that there are:\n%s", code, text)
	}
	if code, text := end(t, "loadtest", "--url", url, "--model", "digits", "--rate", "5", "--input", "golden:examples/models/tumor"); code != 2 || !strings.Contains(text, "expects") && !strings.Contains(text, "no input") {
		t.Errorf("inputs of another model end with %d, want 2 and what it takes:\n%s", code, text)
	}
}

func TestLoadtestKeepsAnOlderReport(t *testing.T) {
	dir := t.TempDir()
	html := filepath.Join(dir, "a.html")
	put := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"loadtest", "--model-only", "examples/models/digits", "--rate", "50", "--duration", "1s", "--report", html}
	for _, name := range []string{"a.html", "a.json", "a.runs", "a.12.runs"} {
		put(name)
		if code, text := end(t, args...); code != 2 || !strings.Contains(text, name) || !strings.Contains(text, "--force") {
			t.Errorf("with %s there it ends with %d, want that it is not written over:\n%s", name, code, text)
		}
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != "old" {
			t.Errorf("%s is now %q, %v, want it as it was", name, text, err)
		}
		if name != "a.12.runs" {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("a.html")
	put("a.b.runs") // that is another's
	if code, text := end(t, append(args, "--force")...); !believable(code) {
		t.Errorf("with --force it ends with %d:\n%s", code, text)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 4 { // of the older report nothing is left that would be taken for one of this
		t.Errorf("%q, %v, want a.b.runs, a.html, a.json and a.runs", files, err)
	}
	runs := filepath.Join(dir, "a.runs")
	if code, text := end(t, "loadtest", "report", runs, "--report", html); code != 2 || !strings.Contains(text, "--force") {
		t.Errorf("a report over another ends with %d:\n%s", code, text)
	}
	if code, text := end(t, "loadtest", "report", runs, "--report", html, "--force"); !believable(code) {
		t.Errorf("a report over another with --force ends with %d:\n%s", code, text)
	}
	if _, err := os.Stat(runs); err != nil {
		t.Errorf("the results that it is made of: %v", err)
	}
}

// A process that is killed leaves the steps that have ended, and the course.
func TestLoadtestReportsOfAFileThatWasCut(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, profile, want string }{
		{"in its first step", "constant 20/s for 10m", "0 steps"},
		{"in its second step", "constant 20/s for 1s, 21/s for 10m", "1 steps"},
	} {
		base := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
		cmd := thrum("loadtest", "--model-only", "examples/models/digits", "--profile", c.profile, "--slo", "p99<=1s", "--report", base+".html")
		live, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(live)
		for range 3 { // the step of the first second was written before the third window was shown
			if !lines.Scan() {
				t.Fatal(lines.Err())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		code, text := end(t, "loadtest", "report", base+".runs", "--slo", "p99<=1s")
		if code != 2 || !strings.Contains(text, c.want) || !strings.Contains(text, "INVALID") || strings.Contains(text, "no request was answered") {
			t.Errorf("%s: report ends with %d, want 2 and %q:\n%s", c.name, code, c.want, text)
		}
		if c.want == "1 steps" && !strings.Contains(text, "20/s") {
			t.Errorf("%s: its first step is not shown:\n%s", c.name, text)
		}
	}
}

func TestScenarioRefusesRowsThatAreNotItsOwn(t *testing.T) {
	models := t.TempDir()
	if err := os.CopyFS(filepath.Join(models, "digits"), os.DirFS("examples/models/digits")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(models, "digits", "model.yaml"), []byte("backend: cpu\nbatching: {max_rows: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, models)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"as the user wants them", []string{"multistream", "--rows", "1"}, "--rows and multistream contradict each other: its requests have 8"},
		{"as the user wants them", []string{"singlestream", "--rows", "2"}, "--rows and singlestream contradict each other: its requests have 1"},
		{"as the inputs have them", []string{"multistream", "--input", "golden:examples/models/digits"}, "8 rows"},
		{"more than the model takes", []string{"multistream"}, "at most 1"},
		{"more than the model takes, nothing compared", []string{"multistream", "--check", "0"}, "at most 1"},
	} {
		code, text := end(t, append([]string{"loadtest", "scenario"}, append(c.args, "--url", p.http, "--model", "digits", "--duration", "1s")...)...)
		if code != 2 || !strings.Contains(text, c.want) || strings.Contains(text, "offered") {
			t.Errorf("%s: ends with %d, want 2 and %q, and nothing measured:\n%s", c.name, code, c.want, text)
		}
	}
}

// A plan has its secret from the shell, and sends it; nothing that is printed or written has it.
func TestStageSendsHeadersThatItTellsNobody(t *testing.T) {
	const secret = "s3cr3t-of-stage"
	p := startServer(t, "examples/models")
	to, err := url.Parse(p.http)
	if err != nil {
		t.Fatal(err)
	}
	behind := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+secret {
			http.Error(w, "not with "+got, http.StatusForbidden)
			return
		}
		behind.ServeHTTP(w, r)
	}))
	defer front.Close()
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.yaml")
	text := "model: digits\nforecast: 350/s\ncandidate: {url: '" + front.URL + "', ready: 2s}\nheaders: {Authorization: 'Bearer ${STAGE_TOKEN}'}\n" +
		"steps: {shares: [100%], length: 2s}\ngoals: {latency: p99<=1s}\n"
	if err := os.WriteFile(plan, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for token, reached := range map[string]bool{secret: true, secret + "-of-old": false} {
		html := filepath.Join(dir, token+".html")
		cmd := thrum("loadtest", "stage", plan, "--report", html)
		cmd.Env = append(cmd.Environ(), "STAGE_TOKEN="+token)
		out, _ := cmd.CombinedOutput() // the machine may be too busy for it to pass
		if strings.Contains(string(out), "p99 at 100 %") != reached && !strings.Contains(string(out), "cannot be believed") || strings.Contains(strings.ReplaceAll(string(out), html, ""), secret) {
			t.Errorf("with the right token %v it prints\n%s", reached, out)
		}
		files, err := filepath.Glob(filepath.Join(dir, token+".*"))
		if err != nil || reached && len(files) != 3 {
			t.Errorf("%q, %v, want a report, the same as JSON and a results file", files, err)
		}
		for _, path := range files {
			if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), secret) {
				t.Errorf("%s, %v has the secret", path, err)
			}
		}
	}
}

func TestLoadtestMeasuresAModelByItself(t *testing.T) {
	code, text := end(t, "loadtest", "--model-only", "examples/models/digits", "--rate", "50", "--duration", "1s", "--check", "1", "--input", "golden:examples/models/digits")
	if !believable(code) || !strings.Contains(text, "the model by itself") || strings.Contains(text, "are wrong") {
		t.Errorf("loadtest --model-only ends with %d:\n%s", code, text)
	}
}

func TestLoadtestReportsWhatWasMeasuredUntilCtrlC(t *testing.T) {
	p := startServer(t, "examples/models")
	cmd := thrum("loadtest", "--url", p.http, "--model", "digits", "--rate", "50", "--duration", "10m")
	var out bytes.Buffer
	cmd.Stdout = &out
	live, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Read(make([]byte, 1)); err != nil { // the first window
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, live)
	_ = cmd.Wait()
	if text := out.String(); !strings.Contains(text, "stopped early") || !strings.Contains(text, "what became of requests") || !believable(cmd.ProcessState.ExitCode()) {
		t.Errorf("ends with %d:\n%s", cmd.ProcessState.ExitCode(), text)
	}
}

func TestLoadtestRefuses(t *testing.T) {
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.yaml")
	if err := os.WriteFile(plan, []byte("model: digits\nforcast: 3/s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := "http://127.0.0.1:1"
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"nothing to send", []string{"--model", "a"}, []string{"--rate"}},
		{"two loads", []string{"--model", "a", "--rate", "5", "--concurrency", "3"}, []string{"--rate and --concurrency"}},
		{"two lengths", []string{"--model", "a", "--profile", "poisson 5/s for 1s", "--duration", "3s"}, []string{"--duration and --profile"}},
		{"arrivals of a closed loop", []string{"--model", "a", "--concurrency", "5", "--arrivals", "bursty"}, []string{"--arrivals", "--concurrency"}},
		{"two forms", []string{"--model", "a", "--rate", "5", "--json", "--binary"}, []string{"--json and --binary"}},
		{"a gate without a goal", []string{"--model", "a", "--rate", "5", "--stop-rule", "gate"}, []string{"--slo"}},
		{"too short to publish", []string{"--model", "a", "--rate", "5", "--stop-rule", "publish", "--slo", "p99<=5ms", "--duration", "1s"}, []string{"--stop-rule publish and --duration"}},
		{"an unknown flag", []string{"--rat", "5"}, []string{"--rat", "--help"}},
		{"not a goal", []string{"--slo", "5ms"}, []string{"p99<=5ms"}},
		{"no model", []string{"--rate", "5"}, []string{"--model"}},
		{"nobody there", []string{"--url", nowhere, "--model", "a", "--rate", "5"}, []string{nowhere, "curl"}},
		{"no address", []string{"--url", "ftp://a", "--model", "a", "--rate", "5"}, []string{"http://127.0.0.1:8000"}},
		{"a report that is none", []string{"--model", "a", "--rate", "5", "--report", "a.pdf"}, []string{".html"}},
		{"a report nowhere", []string{"--model", "a", "--rate", "5", "--report", "/no/such/a.html"}, []string{"mkdir -p /no/such"}},
		{"a model that is not there", []string{"--model-only", "/no/such", "--rate", "5"}, []string{"/no/such"}},
		{"a model by itself and a server", []string{"--model-only", "examples/models/digits", "--url", nowhere, "--rate", "5"}, []string{"--model-only and --url"}},
		{"a peak without a goal", []string{"peak", "--model-only", "examples/models/digits"}, []string{"--slo"}},
		{"a soak of nothing known", []string{"soak", "--model-only", "examples/models/digits", "--rate", "5"}, []string{"--metrics", "--pid"}},
		{"a spike without a rate", []string{"spike", "--model-only", "examples/models/digits", "--slo", "p99<=5ms"}, []string{"--rate"}},
		{"a plan with an unknown key", []string{"stage", plan}, []string{"forcast", "line 2"}},
		{"a plan that is not there", []string{"stage", "/no/such.yaml"}, []string{"/no/such.yaml"}},
		{"results that are none", []string{"report", plan}, []string{plan, "none that"}},
		{"a timeout longer than anybody waits", []string{"--model", "a", "--rate", "5", "--timeout", "2560000h"}, []string{"--timeout", "at most 24h"}},
		{"a duration beyond all", []string{"--model", "a", "--concurrency", "1", "--duration", "2500000h"}, []string{"--duration", "at most 24h"}},
		{"no time", []string{"--model", "a", "--rate", "5", "--duration", "0s"}, []string{"--duration", "above 0"}},
		{"fewer than none under way", []string{"--model", "a", "--concurrency", "-1"}, []string{"--concurrency", "above 0"}},
		{"no rows", []string{"--model", "a", "--rate", "5", "--rows", "0"}, []string{"--rows", "above 0"}},
		{"not a number", []string{"--model", "a", "--rate", "NaN"}, []string{"--rate", "above 0"}},
		{"no bound to a rate", []string{"--model", "a", "--rate", "+Inf"}, []string{"--rate", "above 0"}},
		{"a scenario of nobody", []string{"scenario", "offline", "--model", "a", "--concurrency", "0"}, []string{"--concurrency", "above 0"}},
		{"two warm-ups", []string{"--model-only", "examples/models/digits", "--profile", "poisson warm-up 5/s for 1s, 5/s for 1s", "--warm-up", "1s"}, []string{"--warm-up", "of its own"}},
		{"a header without a colon", []string{"--model", "a", "--rate", "5", "--header", "Authorization s3cr3t"}, []string{"--header", "Authorization: Bearer TOKEN"}},
		{"a header of ours", []string{"--model", "a", "--rate", "5", "--header", "cache-control: s3cr3t"}, []string{"--header", "--cache"}},
		{"a header for nobody", []string{"--model-only", "examples/models/digits", "--rate", "5", "--header", "A: s3cr3t"}, []string{"--model-only and --header"}},
		{"certificates nowhere", []string{"--model", "a", "--rate", "5", "--ca", "/no/such.pem"}, []string{"/no/such.pem"}},
		{"certificates for nothing", []string{"--model", "a", "--rate", "5", "--ca", plan, "--insecure"}, []string{"--ca and --insecure"}},
		{"an unknown command", []string{"nonsense"}, []string{"nonsense", "--help"}},
		{"a stage without a plan", []string{"stage"}, []string{"arg", "--help"}},
		{"a merge to nowhere", []string{"merge", plan, plan}, []string{"--into"}},
	} {
		code, text := end(t, append([]string{"loadtest"}, c.args...)...)
		if code != 2 {
			t.Errorf("%s: ends with %d, want 2:\n%s", c.name, code, text)
		}
		if strings.Contains(text, "s3cr3t") {
			t.Errorf("%s: tells a secret:\n%s", c.name, text)
		}
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q, want %q in it", c.name, text, want)
			}
		}
	}
}

func TestLoadtestHelpHasExamples(t *testing.T) {
	seen := 0
	c := loadtestCommand()
	all := append(c.Commands(), c)
	for i := 0; i < len(all); i++ {
		if all[i] != c {
			all = append(all, all[i].Commands()...)
		}
		if !strings.Contains(all[i].Example, "thrum loadtest") {
			t.Errorf("%s has no example", all[i].CommandPath())
		}
		seen++
	}
	if seen < 12 {
		t.Errorf("%d commands, want peak, scenario and its four, soak, spike, stage, report, merge and loadtest", seen)
	}
}
