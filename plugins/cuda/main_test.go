//go:build cuda

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/cudatest"
	"github.com/thrumserve/thrum/backends/cuda/gpu"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
	"github.com/thrumserve/thrum/plugins"
)

// pluginKey makes this test binary the plugin.
const pluginKey = "THRUM_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(pluginKey) != "" {
		// The driver that pretends has its kernels from elsewhere.
		plugins.Serve(cuda.New(gpu.Open, func(int, int) ([]byte, error) { return []byte("kernels\x00"), nil }))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// env is the environment of a plugin with a driver of those settings, or without one. more is settings
// of a management library, without which there is none.
func env(t *testing.T, settings string, more ...string) []string {
	t.Helper()
	add := []string{pluginKey + "=1", "GORACE=atexit_sleep_ms=0"}
	if settings == "" {
		if _, err := os.Stat("/dev/nvidiactl"); err == nil {
			t.Skip("this machine has a driver: what happens without one is not to be seen")
		}
		return append(add, "LD_LIBRARY_PATH=")
	}
	folder := cudatest.Folder(t)
	for _, management := range more {
		cudatest.AddManagement(t, folder, false)
		add = append(add, cudatest.ManagementKey+"="+management, "TMPDIR="+t.TempDir()) // where faults are counted
	}
	return append(add, "LD_LIBRARY_PATH="+folder, cudatest.Key+"="+settings, cudatest.KernelsKey+"="+emulated.Library(t))
}

func start(t *testing.T, settings string) (*plugins.Process, error) {
	t.Helper()
	return startBy(t, settings, "")
}

func startBy(t *testing.T, settings, transport string) (*plugins.Process, error) {
	t.Helper()
	self := plugins.Command{Path: os.Args[0], Env: append(os.Environ(), env(t, settings)...)}
	p, err := plugins.Start(t.Context(), self, plugins.Options{Name: "cuda", AutoMTLS: true, Transport: transport, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, err
}

// refusals are machines that cannot serve, and what is said of them.
var refusals = []struct{ situation, settings, want string }{
	{"no driver", "", "no NVIDIA driver: libcuda.so.1"},
	{"an old driver", "version=12090", "the NVIDIA driver speaks CUDA 12.9, and CUDA 13.0 is the oldest that will do: update the driver"},
	{"no device", "devices=0", "the NVIDIA driver sees no device: look at `nvidia-smi -L`"},
	{"a driver half updated", "init=803", "are of different versions"},
}

func TestThePluginRefuses(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.situation, func(t *testing.T) {
			_, err := start(t, c.settings)
			if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start = %v, want an ErrUnavailable with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "exit status") {
				t.Errorf("Start = %v: the plugin ended instead of saying it over the connection", err)
			}
		})
	}
}

func TestThePluginSaysNothingBeforeItsHandshake(t *testing.T) {
	for _, c := range refusals {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), env(t, c.settings)...)
		out, err := cmd.Output() // a plugin without a host explains itself on standard error
		if err == nil || len(out) > 0 {
			t.Errorf("%s: started by hand it ends with %v and says %q on standard output", c.situation, err, out)
		}
	}
}

func TestThePluginDescribesDevices(t *testing.T) {
	p, err := start(t, "devices=2 memory=85899345920 version=13000")
	if err != nil {
		t.Fatal(err)
	}
	info, err := p.Info(t.Context())
	want := "Fake GPU 0 (sm_90, 80.0 GiB), Fake GPU 1 (sm_90, 80.0 GiB); driver for CUDA 13.0"
	if err != nil || info.Name != "cuda" || !strings.HasPrefix(info.Device, want+"; ") {
		t.Errorf("Info = %+v, %v, want device %q", info, err, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	spec := backends.Spec{Model: "m", Version: "1", Dir: filepath.Dir(bundled(t))}
	for _, c := range []struct {
		situation, settings string
		kind                error
		want                string
	}{
		{"a device without room", "memory=10", backends.ErrUnavailable, "are free of 10 bytes"},
		{"a device with room for the weights alone", "memory=85000", backends.ErrUnavailable, "model m, version 1, needs"},
	} {
		p, err := start(t, c.settings)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Load(t.Context(), spec); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Load = %v, want %v with %q", c.situation, err, c.kind, c.want)
		}
		if err := p.Err(); err != nil {
			t.Errorf("%s: after Load the plugin is gone: %v", c.situation, err)
		}
	}
}

func TestAStickyErrorEndsTheProcess(t *testing.T) {
	p, err := start(t, "meminfo=700")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Load(t.Context(), backends.Spec{Model: "m", Version: "1", Dir: filepath.Dir(bundled(t))})
	if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS") {
		t.Errorf("Load = %v, want an ErrUnavailable that names the driver's error", err)
	}
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Error("the process goes on after a sticky error")
	}
}

// TestThePluginConforms runs the suite that every backend passes, across the boundary.
func TestThePluginConforms(t *testing.T) {
	dir, err := filepath.Abs("../../backends/cuda/testdata/layers")
	if err != nil {
		t.Fatal(err)
	}
	fixture := backendtest.Fixture{Spec: backends.Spec{Model: "layers", Version: "1", Dir: dir, MaxRows: 1024}, Tolerance: 1e-5}
	for _, transport := range []string{plugins.TransportShared, plugins.TransportGRPC} {
		t.Run(transport, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backends.Backend {
				p, err := startBy(t, "memory=1073741824", transport)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}, fixture)
		})
	}
}

// TestAnswersReachTheSlotThemselves has a driver that copies answers to registered memory alone: in
// shared memory that is all they need, and by gRPC there is none.
func TestAnswersReachTheSlotThemselves(t *testing.T) {
	dir, err := filepath.Abs("../../backends/cuda/testdata/layers")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{}
	for _, c := range []struct{ settings, transport, refused string }{
		{"memory=1073741824", plugins.TransportShared, ""},
		{"memory=1073741824 direct=1", plugins.TransportShared, ""},
		{"memory=1073741824 direct=1 pin=801", plugins.TransportShared, "error 800"},
		{"memory=1073741824 direct=1", plugins.TransportGRPC, "error 800"},
	} {
		p, err := startBy(t, c.settings, c.transport)
		if err != nil {
			t.Fatal(err)
		}
		m, err := p.Load(t.Context(), backends.Spec{Model: "layers", Version: "1", Dir: dir, MaxRows: 4})
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int{1, 4, 7} {
			out, err := m.Predict(t.Context(), backendtest.Example(m.Signature(), rows))
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%s, %s: Predict of %d rows = %v, want %q", c.settings, c.transport, rows, err, c.refused)
				}
				break // the process ends
			}
			if err != nil {
				t.Fatalf("%s, %s: Predict of %d rows = %v", c.settings, c.transport, rows, err)
			}
			text := fmt.Sprint(out.Tensors)
			out.Release()
			if known := answers[fmt.Sprint(rows)]; known != "" && text != known {
				t.Errorf("%s: %d rows give %s, and %s otherwise", c.settings, rows, text, known)
			}
			answers[fmt.Sprint(rows)] = text
		}
	}
}

// bundled is a model's file.
func bundled(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("../../examples/models/*/1/model.onnx")
	if err != nil || len(found) == 0 {
		t.Fatalf("no bundled models: %v", err)
	}
	file, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestServer runs the server with a model of this backend and another.
func TestServer(t *testing.T) {
	thrum := build(t)
	for _, c := range []struct {
		situation, settings, listed string
		code                        int
		want                        []string
	}{
		{"no driver", "", "unusable: start plugin cuda: no NVIDIA driver: libcuda.so.1", 503, []string{"no NVIDIA driver: libcuda.so.1", "`nvidia-smi`"}},
		{"a device", "memory=85899345920", "Fake GPU 0 (sm_90, 80.0 GiB); driver for CUDA 13.0", 200, nil},
		{"a device that is full", "memory=10", "Fake GPU 0 (sm_90, 10 bytes)", 503, []string{"model heavy, version 1, needs", "are free of 10 bytes"}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			dir := repository(t, c.settings)
			list, err := exec.CommandContext(t.Context(), thrum, "plugin", "list", "--plugin-path", filepath.Join(dir, "plugins")).CombinedOutput()
			if err != nil || !strings.Contains(string(list), c.listed) {
				t.Errorf("plugin list = %v, want %q\n%s", err, c.listed, list)
			}
			at := serve(t, thrum, dir)
			if code, text := post(t, at, "/v2/repository/models/light/load"); code != 200 {
				t.Fatalf("loading a model of another backend: %d %s", code, text)
			}
			code, text := post(t, at, "/v2/repository/models/heavy/load")
			if code != c.code {
				t.Errorf("loading a model of this backend: %d %s, want %d", code, text, c.code)
			}
			_, index := post(t, at, "/v2/repository/index")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("loading a model of this backend: %s, want %q", text, want)
				}
				if !strings.Contains(index, want) || !strings.Contains(index, `"READY"`) {
					t.Errorf("the index is %s, want %q in it, and the other model ready", index, want)
				}
			}
		})
	}
}

// TestServerServesTheExamples loads the bundled models, which are ready only when they give what their
// golden sets say. This driver pins no shared memory.
func TestServerServesTheExamples(t *testing.T) {
	dir := repository(t, "memory=1073741824 pin=801")
	if err := os.CopyFS(filepath.Join(dir, "models"), os.DirFS("../../examples/models")); err != nil {
		t.Fatal(err)
	}
	at := serve(t, build(t), dir)
	for _, name := range []string{"digits", "tumor", "yarnit"} {
		write(t, filepath.Join(dir, "models", name, "model.yaml"), "backend: cuda\nbatching: {max_rows: 16}\n", 0o644)
		if code, text := post(t, at, "/v2/repository/models/"+name+"/load"); code != 200 {
			t.Errorf("loading %s: %d %s", name, code, text)
		}
	}
}

// TestADyingDeviceLosesNothing has the driver answer with an illegal address again and again: each time
// the process ends, another takes its place, and whoever asked is answered.
func TestADyingDeviceLosesNothing(t *testing.T) {
	dir := repository(t, "memory=1073741824 failing=150", "faults=none") // it tells of faults, which a process that ends waits for
	if err := os.CopyFS(filepath.Join(dir, "models", "layers", "1"), os.DirFS("../../backends/cuda/testdata/layers")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "models", "layers", "model.yaml"), "backend: cuda\ninstances: 2\nbatching: {max_rows: 4}\n", 0o644)
	at, admin := serveBoth(t, build(t), dir)
	if code, text := post(t, at, "/v2/repository/models/layers/load"); code != 200 {
		t.Fatalf("load: %d %s", code, text)
	}
	for i := range 200 {
		if code, text := infer(t, at, "layers"); code != 200 {
			t.Fatalf("request %d: %d %s", i, code, text)
		}
	}
	failures := scrape(t, admin, "thrum_device_failures_total")
	if len(failures) != 1 || failures[`thrum_device_failures_total{model="layers",version="1"}`] < 1 {
		t.Errorf("a device that has failed is counted so: %v", failures)
	}
}

// infer asks a model of two layers.
func infer(t *testing.T, address, model string) (int, string) {
	t.Helper()
	body := `{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [1, 2, 3, 4, 5, 6, 7, 8]}]}`
	r, err := http.Post("http://"+address+"/v2/models/"+model+"/infer", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// build makes the server.
func build(t *testing.T) string {
	t.Helper()
	thrum := filepath.Join(t.TempDir(), "thrum")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", thrum, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return thrum
}

// repository makes a folder of models and one of plugins: this one, with a driver of settings, and more
// as env takes it.
func repository(t *testing.T, settings string, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	var set strings.Builder
	for _, e := range env(t, settings, more...) {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&set, "export %s='%s'\n", name, value)
	}
	write(t, filepath.Join(dir, "plugins", "thrum-backend-cuda"), fmt.Sprintf("#!/bin/sh\n%sexec %s\n", set.String(), os.Args[0]), 0o755)
	model, err := os.ReadFile(bundled(t))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "models", "heavy", "1", "model.onnx"), string(model), 0o644)
	write(t, filepath.Join(dir, "models", "heavy", "model.yaml"), "backend: cuda\n", 0o644)
	write(t, filepath.Join(dir, "models", "light", "model.yaml"), "backend: \"null\"\n", 0o644)
	if err := os.Mkdir(filepath.Join(dir, "models", "light", "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serve starts a server of a folder from repository and returns its address.
func serve(t *testing.T, thrum, dir string) string {
	t.Helper()
	at, _ := serveBoth(t, thrum, dir)
	return at
}

// serveBoth also returns the address for operators.
func serveBoth(t *testing.T, thrum, dir string) (at, admin string) {
	t.Helper()
	at, admin = address(t), address(t)
	server := exec.CommandContext(t.Context(), thrum, "serve", "--models", filepath.Join(dir, "models"),
		"--plugin-path", filepath.Join(dir, "plugins"), "--control", "explicit", "--http", at, "--admin", admin)
	server.Stdout, server.Stderr = t.Output(), t.Output()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	return at, admin
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err := errors.Join(err, os.WriteFile(name, []byte(text), mode)); err != nil {
		t.Fatal(err)
	}
}

// address returns one that is free.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// post asks a server, which may have to start first.
func post(t *testing.T, address, path string) (int, string) {
	t.Helper()
	deadline, again := time.After(30*time.Second), time.Tick(20*time.Millisecond)
	for {
		r, err := http.Post("http://"+address+path, "application/json", nil)
		if err == nil {
			defer r.Body.Close()
			text, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			return r.StatusCode, string(text)
		}
		select {
		case <-again:
		case <-deadline:
			t.Fatal(err)
		}
	}
}
