//go:build cuda

package main

import (
	"log/slog"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/plugins"
	"github.com/thrumserve/thrum/plugins/host"
)

// instances starts processes that serve the model of layers with a driver of those settings.
func instances(t *testing.T, settings string, n int) *host.Model {
	t.Helper()
	m, err := host.Open(t.Context(), host.Options{
		Command:   plugins.Command{Path: os.Args[0], Env: append(os.Environ(), env(t, settings)...)},
		Spec:      backends.Spec{Model: "layers", Version: "1", Dir: "../../backends/cuda/testdata/layers", MaxRows: 4},
		Instances: n,
		Log:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// holds returns what the instances of a model hold of the device, and what of that they share.
func holds(t *testing.T, m *host.Model) (all, shared uint64) {
	t.Helper()
	devices := m.Devices(t.Context())
	if len(devices) != 1 {
		t.Fatalf("Devices = %+v, want one", devices)
	}
	return devices[0].Held + devices[0].Shared, devices[0].Shared
}

// TestInstancesShareWeights looks at what several processes hold of a device: weights once where the driver
// shares memory, and also when all that had brought them are gone.
func TestInstancesShareWeights(t *testing.T) {
	for _, c := range []struct {
		situation, settings string
		shared              uint64
	}{
		{"a driver that shares memory", "memory=1073741824", layersBytes},
		{"a driver that does not", "memory=1073741824 share=801", 0},
	} {
		t.Run(c.situation, func(t *testing.T) {
			alone, shared := holds(t, instances(t, c.settings, 1))
			if alone == 0 || shared != 0 {
				t.Errorf("one instance holds %d bytes and shares %d of them, want some and none", alone, shared)
			}
			m := instances(t, c.settings, 3)
			want := 3*alone - 2*c.shared
			if got, shared := holds(t, m); got != want || shared != c.shared {
				t.Errorf("three instances hold %d bytes and share %d, want %d and %d", got, shared, want, c.shared)
			}
			first := m.PIDs()
			for _, pid := range first {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			for now := first; len(now) < 3 || slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(first, pid) }); now = m.PIDs() {
				if t.Context().Err() != nil {
					t.Fatal("they are not replaced")
				}
				runtime.Gosched()
			}
			if got, shared := holds(t, m); got != want || shared != c.shared {
				t.Errorf("those in their places hold %d bytes and share %d, want %d and %d", got, shared, want, c.shared)
			}
			out, err := m.Predict(t.Context(), backendtest.Example(m.Signature(), 3))
			if err != nil {
				t.Fatal(err)
			}
			out.Release()
		})
	}
}
