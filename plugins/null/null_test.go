package null

import (
	"log/slog"
	"os"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/plugins"
)

// pluginKey makes this test binary the plugin.
const pluginKey = "THRUM_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(pluginKey) != "" {
		Serve()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestConformanceInItsProcess(t *testing.T) {
	open := func(t *testing.T) backends.Backend {
		self := plugins.Command{Path: os.Args[0], Env: append(os.Environ(), pluginKey+"=1", "GORACE=atexit_sleep_ms=0")}
		p, err := plugins.Start(t.Context(), self, plugins.Options{Name: "null", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	backendtest.Run(t, open, backendtest.Fixture{Spec: backends.Spec{Model: "null", Version: "1"}})
}
