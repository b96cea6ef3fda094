package cpu

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/plugins"
)

// pluginKey makes this test binary the plugin.
const pluginKey = "THRUM_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(pluginKey) != "" {
		Serve(cpu.Options{})
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestConformance runs the bundled models in this process and in one of their own.
func TestConformance(t *testing.T) {
	dirs, err := filepath.Glob("../../examples/models/*/1")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no bundled models: %v", err)
	}
	for _, dir := range dirs {
		dir, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		fixture := backendtest.Fixture{
			Spec: backends.Spec{Model: filepath.Base(filepath.Dir(dir)), Version: "1", Dir: dir},
			// Rows are summed in another order where they share a tile with others.
			Tolerance: 1e-5,
		}
		t.Run(fixture.Spec.Model+" directly", func(t *testing.T) {
			backendtest.Run(t, func(*testing.T) backends.Backend { return cpu.New(cpu.Options{}) }, fixture)
		})
		for _, transport := range []string{plugins.TransportShared, plugins.TransportGRPC} {
			t.Run(fixture.Spec.Model+" in its process by "+transport, func(t *testing.T) {
				open := func(t *testing.T) backends.Backend { return openProcess(t, transport) }
				backendtest.Run(t, open, fixture)
			})
		}
	}
}

func openProcess(t *testing.T, transport string) backends.Backend {
	p, err := plugins.Start(t.Context(), self(), plugins.Options{Name: "cpu", Transport: transport, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// self is this test binary as the plugin.
func self() plugins.Command {
	return plugins.Command{Path: os.Args[0], Env: append(os.Environ(), pluginKey+"=1", "GORACE=atexit_sleep_ms=0")}
}
