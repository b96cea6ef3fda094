package null

import (
	"fmt"
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
	for _, transport := range []string{plugins.TransportShared, plugins.TransportGRPC} {
		t.Run(transport, func(t *testing.T) {
			open := func(t *testing.T) backends.Backend { return openProcess(t, transport) }
			backendtest.Run(t, open, backendtest.Fixture{Spec: backends.Spec{Model: "null", Version: "1"}})
		})
	}
}

func openProcess(t testing.TB, transport string) backends.Backend {
	self := plugins.Command{Path: os.Args[0], Env: append(os.Environ(), pluginKey+"=1", "GORACE=atexit_sleep_ms=0")}
	p, err := plugins.Start(t.Context(), self, plugins.Options{Name: "null", Transport: transport, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// BenchmarkPredict measures what crossing the process boundary costs, there and back.
func BenchmarkPredict(b *testing.B) {
	p := openProcess(b, plugins.TransportShared)
	defer func() { _ = p.Close() }()
	m, err := p.Load(b.Context(), backends.Spec{Model: "null"})
	if err != nil {
		b.Fatal(err)
	}
	for _, rows := range []int{1, 192} { // 3 KB, 602 KB
		in := backendtest.Example(m.Signature(), rows)
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			b.SetBytes(int64(len(in.Tensors[0].Data)))
			for b.Loop() {
				out, err := m.Predict(b.Context(), in)
				if err != nil {
					b.Fatal(err)
				}
				out.Release()
			}
		})
	}
}
