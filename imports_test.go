package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/thrumserve/thrum"

// allowed is "Who knows whom" of ARCHITECTURE.md: for each package which of ours it may import.
// Whatever is not here may import nothing of ours.
var allowed = map[string][]string{
	"": {"backends", "backends/cpu", "plugins", "plugins/cpu", "plugins/discover", "plugins/null", "server", "server/config", "server/oip",
		"loadtest", "loadtest/attack", "loadtest/facts", "loadtest/input", "loadtest/oip", "loadtest/report", "loadtest/result", "loadtest/scenario",
		"loadtest/schedule", "loadtest/stage", "loadtest/stats"},

	"backends/backendtest":  {"backends"},
	"backends/onnx":         {"backends"},
	"backends/onnx/rewrite": {"backends", "backends/onnx"},
	"backends/cpu":          {"backends", "backends/cpu/kernels", "backends/cpu/ml", "backends/onnx", "backends/onnx/rewrite", "backends/weights"},
	"backends/cpu/ml":       {"backends", "backends/cpu/kernels"},
	"backends/cuda":         {"backends", "backends/cpu", "backends/cuda/cublaslt", "backends/cuda/driver", "backends/cuda/kernels", "backends/cuda/lower", "backends/cuda/nvml", "backends/onnx", "backends/onnx/rewrite", "backends/weights"},
	// It measures the backend by itself, as a plugin, and behind a server that it sees from outside.
	"backends/cuda/bench": {"backends", "backends/cuda", "backends/cuda/bench/forms", "backends/cuda/gpu", "backends/cuda/kernels", "bench/turns",
		"loadtest/attack", "loadtest/oip", "loadtest/result", "plugins"},
	"backends/cuda/bench/forms": {"backends"},
	"backends/cuda/check":       {"backends", "backends/cpu", "backends/cuda", "backends/cuda/bench/forms", "backends/cuda/gpu", "backends/cuda/kernels"},
	"backends/cuda/driver":      {"backends"},
	"backends/cuda/nvml":        {"backends"},
	// They are of tests.
	"backends/cuda/kernels/emulated": {"backends/cuda/kernels"},
	"backends/cuda/kernels/ptx":      {"backends/cuda/kernels"},
	"backends/cuda/cublaslt":         {"backends", "backends/cuda/driver"},
	"backends/cuda/gpu":              {"backends/cuda", "backends/cuda/cublaslt", "backends/cuda/driver", "backends/cuda/kernels"},
	"backends/cuda/lower":            {"backends", "backends/cuda/kernels", "backends/onnx", "backends/onnx/rewrite"},
	"backends/null":                  {"backends"},

	"plugins":          {"backends", "plugins/proto", "plugins/shm"},
	"plugins/cpu":      {"backends/cpu", "plugins"},
	"plugins/cuda":     {"backends/cuda", "backends/cuda/gpu", "backends/cuda/kernels", "plugins"},
	"plugins/null":     {"backends/null", "plugins"},
	"plugins/host":     {"backends", "backends/weights", "plugins"},
	"plugins/discover": {"backends", "plugins"},
	"plugins/example":  {"backends", "plugins"},
	"batching":         {"backends"},
	"cache":            {"backends"},
	"examples/demo":    {},

	"loadtest/attack": {"loadtest/result", "loadtest/schedule"},
	"loadtest/input":  {"loadtest/attack", "loadtest/oip"},
	"loadtest/report": {"loadtest/result", "loadtest/stats"},
	"loadtest/facts":  {"loadtest/result"},
	"loadtest/stage":  {"loadtest/facts", "loadtest/report", "loadtest/result", "loadtest/scenario", "loadtest/schedule", "loadtest/stats"},
	// It wires the load test as server does the server.
	"loadtest":          {"loadtest/attack", "loadtest/facts", "loadtest/input", "loadtest/oip", "loadtest/result", "loadtest/schedule"},
	"loadtest/scenario": {"loadtest/result", "loadtest/stats"},

	"bench/peers/engine": {"backends", "bench/turns"},
	"bench/kernels":      {"backends", "backends/cpu/kernels", "backends/cpu/kernels/peak", "bench/peers/engine", "bench/turns"},
	// It runs the engine and its plugin by themselves, without a server.
	"bench/engine": {"backends", "backends/cpu", "backends/weights", "bench/peers/engine", "bench/turns", "plugins", "plugins/cpu"},

	"bench/peers/serving": {"loadtest/attack", "loadtest/result", "loadtest/scenario", "loadtest/schedule"},

	// It measures the boundary by itself, and wires a server without one to compare with.
	"bench/boundary": {"backends", "backends/null", "batching", "plugins", "plugins/host", "plugins/null", "plugins/shm",
		"server/catalog", "server/rest"},
	// It sees the server from outside, but for the one that it has leak.
	"bench/chaos":       {"bench/chaos/orders", "plugins", "server", "server/config"},
	"bench/chaos/fault": {"backends", "bench/chaos/orders", "plugins"},

	"bench/loadtest": {"loadtest/attack", "loadtest/facts", "loadtest/result", "loadtest/scenario", "loadtest/schedule", "loadtest/stage", "loadtest/stats"},

	"server": {"backends", "batching", "cache", "plugins", "plugins/discover", "plugins/host", "server/capture", "server/catalog", "server/config",
		"server/golden", "server/metrics", "server/quarantine", "server/repository", "server/rest"},
	"server/capture":    {"backends"},
	"server/catalog":    {"backends"},
	"server/golden":     {"backends", "server/catalog", "server/oip"},
	"server/metrics":    {"server/catalog"},
	"server/oip":        {"backends"},
	"server/quarantine": {"backends"},
	"server/repository": {"backends", "server/catalog"},
	"server/rest":       {"backends", "server/catalog", "server/oip"},
}

// reasons explain the rules that are most often in the way.
var reasons = []struct{ from, to, why string }{
	{"backends", "", "backends is the vocabulary that everybody shares: it imports nothing of ours"},
	{"server", "backends/", "the server links no kernels and no cgo: backends run in plugin processes"},
	{"batching", "", "stages do not know each other: server wires them"},
	{"cache", "", "stages do not know each other: server wires them"},
	{"bench", "", "the harness sees the server from outside, through its protocols"},
	{"loadtest", "", "load tests see the server from outside, through its protocols"},
	{"", "", "add it to allowed, and to ARCHITECTURE.md, only if the design really changes"},
}

func TestWhoKnowsWhom(t *testing.T) {
	out, err := exec.Command("go", "list", "-tags=cuda", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		from := local(p.ImportPath)
		for _, path := range p.Imports {
			if strings.HasPrefix(path, module) && !slices.Contains(allowed[from], local(path)) {
				t.Errorf("%q imports %q: %s", from, local(path), why(from, local(path)))
			}
		}
		checkOwner(t, from, p.Imports)
	}
}

// owners are the only packages that may import a library.
var owners = map[string][]string{
	"github.com/dgraph-io/ristretto/v2":       {"cache"},
	"github.com/prometheus/client_golang":     {"server/metrics"},
	"github.com/hashicorp/go-plugin":          {"plugins"},
	"github.com/valyala/fasthttp":             {"server/rest", "bench", "examples/demo"},
	"go.yaml.in/yaml/v3":                      {"server/config", "loadtest/stage"},
	"github.com/expr-lang/expr":               {"loadtest/input"},
	"github.com/klauspost/cpuid/v2":           {"backends/cpu", "backends/cpu/kernels"},
	"github.com/HdrHistogram/hdrhistogram-go": {"loadtest/result"},
	"github.com/spf13/cobra":                  {""},
	"gorgonia.org/cu":                         {"backends/cuda/gpu"},
	"github.com/ebitengine/purego":            {"backends/cuda/cublaslt", "backends/cuda/driver", "backends/cuda/kernels/emulated", "backends/cuda/nvml"},
}

func checkOwner(t *testing.T, from string, imports []string) {
	for library, who := range owners {
		uses := slices.ContainsFunc(imports, func(path string) bool { return strings.HasPrefix(path, library) })
		if uses && !slices.Contains(who, from) {
			t.Errorf("%q imports %s: only %q may, so that it can be replaced in one place", from, library, who)
		}
	}
}

func local(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func why(from, to string) string {
	for _, r := range reasons {
		if strings.HasPrefix(from, r.from) && strings.HasPrefix(to, r.to) {
			return r.why
		}
	}
	return ""
}
