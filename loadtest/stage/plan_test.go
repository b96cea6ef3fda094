package stage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const good = `
model: digits
forecast: 400/s
candidate:
  command: thrum serve --models examples/models --http 127.0.0.1:${PORT} --admin 127.0.0.1:${ADMIN_PORT}
steps: {}
goals: {latency: p99<=20ms, errors: 0%, memory: 512MiB, answers: 1 %}
`

func TestParseCompletes(t *testing.T) {
	p, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Steps.Shares) != 8 || p.Steps.Shares[0] != 0.1 || p.Steps.Shares[7] != 2 || p.Steps.Length != 30*time.Second {
		t.Errorf("steps are %+v, want 10 to 200 %% of 30 s", p.Steps)
	}
	if p.Forecast != 400 || p.Goals.Memory != 512<<20 || p.Goals.Answers != 0.01 || *p.Goals.Errors != 0 || p.Timeout != time.Second || p.Cache != "bypass" {
		t.Errorf("plan is %+v", p)
	}
	if p.Candidate.URL != "http://127.0.0.1:${PORT}" || p.Candidate.Metrics != "http://127.0.0.1:${ADMIN_PORT}/metrics" || p.Candidate.Ready != time.Minute {
		t.Errorf("candidate is %+v", p.Candidate)
	}
}

// Each line is put at the end of a plan that is good, or replaces what starts as it does.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       []string // all of them in the text
	}{
		{"an unknown key", "forcast: 3/s", []string{"line", "forcast"}},
		{"an unknown key below", "steps: {lenght: 3s}", []string{"lenght"}},
		{"a key that is given twice", "model: digits\nmodel: tumor", []string{"already defined"}},
		{"another document", "---\nmodel: digits", []string{"more than one document"}},
		{"not a rate", "forecast: fast", []string{"fast", "400/s"}},
		{"no rate", "forecast: 0/s", []string{"400/s"}},
		{"not a share", "steps: {shares: [10, 20]}", []string{"10", "25%"}},
		{"not a goal", "goals: {latency: 5ms}", []string{"5ms", "p99<=5ms"}},
		{"not an amount", "goals: {memory: much}", []string{"much", "512MiB"}},
		{"not a duration", "steps: {length: 5}", []string{"5"}},
		{"no model", "model:", []string{"model"}},
		{"no candidate", "candidate:", []string{"candidate", "command"}},
		{"a candidate that is nowhere", "candidate: {ready: 5s}", []string{"candidate", "command", "url"}},
		{"a command that listens elsewhere", "candidate: {command: serve}", []string{"candidate.command", "candidate.url", "${PORT}"}},
		{"a port of nothing", "candidate: {url: 'http://a:${PORT}'}", []string{"candidate.url", "${PORT}"}},
		{"unknown arrivals", "arrivals: rare", []string{"rare", "poisson"}},
		{"unknown body", "body: xml", []string{"xml", "binary"}},
		{"unknown cache", "cache: warm", []string{"warm", "bypass"}},
		{"nothing to run", "steps:", []string{"nothing to run"}},
		{"nothing to hold", "goals: {}", []string{"goals"}},
		{"a hit ratio of a cache that is bypassed", "goals: {latency: p99<=20ms, hit_ratio: 20%}", []string{"goals.hit_ratio", "cache", "bypass"}},
		{"goodput without a limit", "goals: {goodput: 99%}", []string{"goals.goodput", "goals.latency"}},
		{"more than everything", "goals: {latency: p99<=20ms, goodput: 101%}", []string{"goals.goodput"}},
		{"a timeout below the limit", "timeout: 10ms", []string{"timeout", "goals.latency"}},
		{"a comparison with nothing", "compare: {runs: 20}", []string{"compare", "baseline"}},
		{"a soak that is too short", "soak: {length: 5s}", []string{"soak.length"}},
		{"a spike downwards", "spike: {factor: 0.5}", []string{"spike.factor"}},
		{"a spike back in time", "spike: {length: -5s}", []string{"spike.length", "positive"}},
		{"a drain in no time", "drain: {within: -1s}", []string{"drain.within", "positive"}},
		{"goals that nothing is held against", "steps: {shares: [150%]}", []string{"goals and steps", "100 %"}},
		{"a spike without a goal", "spike: {}\ngoals: {errors: 1%}", []string{"goals.latency"}},
		{"steps that fall", "steps: {shares: [50%, 25%]}", []string{"steps.shares"}},
		{"steps that are too short to tell", "steps: {length: 1s}", []string{"steps.length", "goals.latency", "662", "set steps.length to 17s"}},
		{"memory that nobody knows", "candidate: {url: 'http://a:1'}", []string{"goals.memory", "candidate.metrics"}},
		{"too few runs", "baseline: {url: 'http://a:1'}\ncompare: {runs: 3}", []string{"compare.runs", "10"}},
		{"fewer at most than at least", "baseline: {url: 'http://a:1'}\ncompare: {runs: 20, most: 10}", []string{"compare.most", "compare.runs"}},
		{"more than anybody waits for", "baseline: {url: 'http://a:1'}\ncompare: {most: 1000}", []string{"compare.most", "200"}},
		{"certificates for nothing", "ca: a.pem\ninsecure: true", []string{"ca and insecure"}},
		{"runs too short to tell", "baseline: {url: 'http://a:1'}\ncompare: {length: 100ms}", []string{"compare.length", "goals.latency"}},
		{"one server twice", "candidate: {url: 'http://a:1', metrics: 'http://a:2'}\nbaseline: {url: 'http://a:1'}", []string{"candidate.url", "baseline.url"}},
	} {
		_, err := Parse([]byte(with(c.line)))
		if err == nil {
			t.Errorf("%s: no error, want one with %q", c.name, c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q, want %q in it", c.name, err, want)
			}
		}
		if strings.Contains(err.Error(), "stage.") {
			t.Errorf("%s: %q speaks of our types", c.name, err)
		}
	}
}

// with returns the good plan with other lines.
func with(lines string) string {
	plan := good
	if strings.HasPrefix(lines, "---") || strings.Count(lines, "model:") == 2 {
		return plan + lines
	}
	for line := range strings.Lines(lines) {
		key, _, _ := strings.Cut(line, ":")
		var kept strings.Builder
		for old := range strings.Lines(plan) {
			inside := key == "candidate" && strings.HasPrefix(old, "  command")
			if !strings.HasPrefix(old, key+":") && !inside {
				kept.WriteString(old)
			}
		}
		plan = kept.String()
	}
	return plan + lines + "\n"
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.yaml")
	if _, err := Read(path); err == nil {
		t.Error("Read of no file = nil, want an error")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("Read of an empty file = %v, want that it is", err)
	}
	if err := os.WriteFile(path, []byte(good+strings.Repeat("#\n", maxPlan)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("Read of a large file = %v, want that it is too large", err)
	}
}

func TestExamplePlan(t *testing.T) {
	if _, err := Read("../../examples/staging/plan.yaml"); err != nil {
		t.Error(err)
	}
}

// The plan in the docs is one that can be run.
func TestDocumentedPlan(t *testing.T) {
	text, err := os.ReadFile("../../docs/loadtest.md")
	if err != nil {
		t.Fatal(err)
	}
	_, plan, _ := strings.Cut(string(text), "```yaml\n")
	plan, _, ok := strings.Cut(plan, "```")
	if !ok {
		t.Fatal("docs/loadtest.md has no plan")
	}
	if _, err := Parse([]byte(plan)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("steps: {shares: [1e999%]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err == nil && (p.Candidate == nil || p.Forecast <= 0 || p.Model == "") {
			t.Errorf("Parse(%q) = %+v, want what is needed", text, p)
		}
	})
}
