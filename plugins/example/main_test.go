package main

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
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	self := plugins.Command{Path: os.Args[0], Env: append(os.Environ(), pluginKey+"=1", "GORACE=atexit_sleep_ms=0")}
	open := func(t *testing.T) backends.Backend {
		o := plugins.Options{Name: "example", AutoMTLS: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
		p, err := plugins.Start(t.Context(), self, o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	backendtest.Run(t, open, backendtest.Fixture{Spec: backends.Spec{Model: "mean", Version: "1"}})
}
