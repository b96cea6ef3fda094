//go:build cuda

package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scrape returns the server's metrics whose names begin so.
func scrape(t *testing.T, admin, prefix string) map[string]float64 {
	t.Helper()
	r, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("GET /metrics = %d, %v", r.StatusCode, err)
	}
	series := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.HasPrefix(line, prefix) {
			if series[name+"}"], err = strconv.ParseFloat(value, 64); err != nil {
				t.Errorf("GET /metrics has %q: %v", line, err)
			}
		}
	}
	return series
}

// ofDevice is the labels of a pretended device, with others before and between.
func ofDevice(number int, before, between string) string {
	return fmt.Sprintf(`{%sdevice="%d",%suuid="GPU-ab010203-0405-0607-0809-0a0b0c0d0e%02x"}`, before, number, between, number)
}

// figures is what the pretended device says of itself.
func figures(number int) map[string]float64 {
	l := ofDevice(number, "", "")
	all := map[string]float64{
		"thrum_device_up" + l: 1, "thrum_device_utilization_ratio" + l: 0.87, "thrum_device_memory_utilization_ratio" + l: 0.41,
		"thrum_device_memory_total_bytes" + l: 85 << 30, "thrum_device_memory_free_bytes" + l: 60 << 30, "thrum_device_memory_used_bytes" + l: 25 << 30,
		"thrum_device_power_watts" + l: 312.5, "thrum_device_power_limit_watts" + l: 700, "thrum_device_energy_joules_total" + l: 5000000123.456,
		"thrum_device_temperature_celsius" + l:                                        -3,
		"thrum_device_clock_hertz" + ofDevice(number, `clock="sm",`, ""):              1.98e9,
		"thrum_device_clock_hertz" + ofDevice(number, `clock="memory",`, ""):          2.619e9,
		"thrum_device_ecc_errors_total" + ofDevice(number, "", `kind="corrected",`):   7,
		"thrum_device_ecc_errors_total" + ofDevice(number, "", `kind="uncorrected",`): 1 << 33,
	}
	for reason, value := range map[string]float64{"power_limit": 1, "heat_chip": 1, "heat": 0, "power_chip": 0, "chip": 0, "sync": 0} {
		all["thrum_device_throttled"+ofDevice(number, "", fmt.Sprintf(`reason="%s",`, reason))] = value
	}
	return all
}

// layersBytes is what the weights of the model of layers take on a device.
const layersBytes = 1280

// TestMetricsShowDevices has three instances of two models on one device, and one model on another.
func TestMetricsShowDevices(t *testing.T) {
	thrum := build(t)
	info := func(driver string) map[string]float64 {
		all := map[string]float64{}
		for number := range 2 {
			all["thrum_device_info"+ofDevice(number, "", fmt.Sprintf(`driver="%s",name="Fake GPU %d",`, driver, number))] = 1
		}
		return all
	}
	union := func(all ...map[string]float64) map[string]float64 {
		sum := map[string]float64{}
		for _, some := range all {
			maps.Copy(sum, some)
		}
		return sum
	}
	lost := map[string]float64{"thrum_device_up" + ofDevice(0, "", ""): 0, "thrum_device_up" + ofDevice(1, "", ""): 0}
	modest := union(figures(0), figures(1))
	maps.DeleteFunc(modest, func(name string, _ float64) bool {
		return strings.HasPrefix(name, "thrum_device_power_watts") || strings.HasPrefix(name, "thrum_device_ecc")
	})
	for _, c := range []struct {
		situation string
		settings  []string
		want      map[string]float64
	}{
		{"they say everything", []string{""}, union(info("580.65.06"), figures(0), figures(1))},
		{"they refuse some figures", []string{"power=4 ecc=3"}, union(info("580.65.06"), modest)},
		{"they are lost", []string{"result=15"}, union(info("580.65.06"), lost)},
		{"they do not answer", []string{"hang=1"}, info("")},
		{"the library does not start", []string{"init=9"}, info("")},
		{"there is no library", nil, info("")},
	} {
		t.Run(c.situation, func(t *testing.T) {
			dir := repository(t, "devices=2 memory=1073741824", c.settings...)
			at, admin := serveBoth(t, thrum, dir)
			if code, text := post(t, at, "/v2/repository/models/light/load"); code != 200 {
				t.Fatalf("load: %d %s", code, text)
			}
			if got := scrape(t, admin, "thrum_device_"); len(got) > 0 {
				t.Errorf("without a device, GET /metrics has %v", got)
			}
			for name, settings := range map[string]string{
				"one": "batching: {max_rows: 4}\ninstances: 2", "two": "batching: {max_rows: 256}", "three": "batching: {max_rows: 4}\noptions: {device: \"1\"}",
			} {
				if err := os.CopyFS(filepath.Join(dir, "models", name, "1"), os.DirFS("../../backends/cuda/testdata/layers")); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, "models", name, "model.yaml"), "backend: cuda\n"+settings+"\n", 0o644)
				if code, text := post(t, at, "/v2/repository/models/"+name+"/load"); code != 200 {
					t.Fatalf("load: %d %s", code, text)
				}
			}
			began := time.Now()
			got := scrape(t, admin, "thrum_device_")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("GET /metrics took %v", took)
			}
			held := map[string]float64{}
			for _, name := range []string{"one", "two", "three"} {
				number := 0
				if name == "three" {
					number = 1
				}
				series := "thrum_device_held_bytes" + strings.TrimSuffix(ofDevice(number, "", fmt.Sprintf(`model="%s",`, name)), "}") + `,version="1"}`
				held[name] = got[series]
				delete(got, series)
				if failures := fmt.Sprintf(`thrum_device_failures_total{model="%s",version="1"}`, name); got[failures] != 0 {
					t.Errorf("GET /metrics has %s %v", failures, got[failures])
				} else {
					delete(got, failures)
				}
			}
			if held["three"] == 0 || held["one"] != 2*held["three"]-layersBytes || held["two"] <= held["three"] {
				t.Errorf("two instances that share %d bytes of weights, one for large batches, and one hold %v bytes", layersBytes, held)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("GET /metrics has\n%s\nwant\n%s", lines(got), lines(c.want))
			}
			if code, text := infer(t, at, "one"); code != 200 {
				t.Errorf("infer: %d %s", code, text)
			}
		})
	}
}

func lines(series map[string]float64) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(series)) {
		all = append(all, fmt.Sprint(name, " ", series[name]))
	}
	return strings.Join(all, "\n")
}
