//go:build cuda

package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMetricsCountFaults has faults of a device on which three instances of two models are, which all learn
// of them.
func TestMetricsCountFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults")
	dir := repository(t, "devices=2 memory=1073741824", "faults="+file)
	for name, settings := range map[string]string{"one": "instances: 2", "two": "batching: {max_rows: 8}"} {
		if err := os.CopyFS(filepath.Join(dir, "models", name, "1"), os.DirFS("../../backends/cuda/testdata/layers")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "models", name, "model.yaml"), "backend: cuda\n"+settings+"\n", 0o644)
	}
	at, admin := serveBoth(t, build(t), dir)
	ask := func(name, what string) {
		t.Helper()
		if code, text := post(t, at, "/v2/repository/models/"+name+"/"+what); code != 200 {
			t.Fatalf("%s %s: %d %s", what, name, code, text)
		}
	}
	happens := func(xid string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(xid + "\n")
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	series := func(xid string) string {
		l := ofDevice(0, "", "")
		return "thrum_device_xid_errors_total" + l[:len(l)-1] + `,xid="` + xid + `"}`
	}
	counted := func(want map[string]float64) {
		t.Helper()
		var got map[string]float64
		deadline, again := time.After(20*time.Second), time.Tick(100*time.Millisecond)
		for {
			got = scrape(t, admin, "thrum_device_xid_errors_total")
			begun := len(got) >= 12 // the commonest, some processes read later than others
			maps.DeleteFunc(got, func(_ string, n float64) bool { return n == 0 })
			if begun && maps.Equal(got, want) {
				return
			}
			select {
			case <-again:
			case <-deadline:
				t.Fatalf("GET /metrics has %v, want %v", got, want)
			}
		}
	}
	ask("one", "load")
	ask("two", "load")
	counted(nil)
	happens("79")
	counted(map[string]float64{series("79"): 1})
	ask("one", "unload") // whose instances may be those that count
	ask("one", "load")
	happens("31")
	happens("185")
	counted(map[string]float64{series("79"): 1, series("31"): 1, series("185"): 1})
	ask("one", "unload")
	ask("two", "unload")
	ask("two", "load")
	counted(map[string]float64{series("79"): 1, series("31"): 1, series("185"): 1})
}

// TestMetricsShowWhatProcessesTake has two instances of a model, each with what the driver says of it.
func TestMetricsShowWhatProcessesTake(t *testing.T) {
	dir := repository(t, "memory=1073741824", "process=500000000")
	write(t, filepath.Join(dir, "models", "heavy", "model.yaml"), "backend: cuda\ninstances: 2\nbatching: {max_rows: 4}\n", 0o644)
	at, admin := serveBoth(t, build(t), dir)
	if code, text := post(t, at, "/v2/repository/models/heavy/load"); code != 200 {
		t.Fatalf("load: %d %s", code, text)
	}
	l := ofDevice(0, "", `model="heavy",`)
	want := map[string]float64{"thrum_device_process_bytes" + l[:len(l)-1] + `,version="1"}`: 1e9}
	if got := scrape(t, admin, "thrum_device_process_bytes"); !maps.Equal(got, want) {
		t.Errorf("GET /metrics has %v, want %v", got, want)
	}
}
