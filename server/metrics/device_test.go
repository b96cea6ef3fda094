package metrics

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// a device that says everything of itself.
func everything() Device {
	d := Device{ID: "GPU-a", Number: 1, Name: "H100", Driver: "580.1", Held: 100, Taken: 300, Read: time.Hour, Figures: map[string]float64{"of tomorrow": 1}}
	for kind := range deviceFigures {
		d.Figures[kind] = 0
	}
	maps.Copy(d.Figures, map[string]float64{
		"answers": 1, "utilization": 0.75, "memory_utilization": 0.5, "memory_total": 8e10, "memory_used": 3e10, "memory_free": 5e10, "power": 301.5, "power_limit": 700,
		"energy": 12345.678, "temperature": 64, "clock": 1.98e9, "memory_clock": 2.619e9, "corrected": 3, "uncorrected": 2, "throttled_heat": 1,
		"xid_31": 0, "xid_79": 2, "xid_of tomorrow": 1,
	})
	return d
}

func TestScrapeShowsDevices(t *testing.T) {
	m := New("")
	m.AddVersion("heavy", "1", func() Sample { return Sample{DeviceFailures: 4} }, func() []Device { return []Device{everything()} })
	m.AddVersion("light", "1", func() Sample { return Sample{} }, nil)
	text := scrape(t, m)
	for _, want := range []string{
		`thrum_device_info{device="1",driver="580.1",name="H100",uuid="GPU-a"} 1`,
		`thrum_device_up{device="1",uuid="GPU-a"} 1`,
		`thrum_device_utilization_ratio{device="1",uuid="GPU-a"} 0.75`,
		`thrum_device_memory_utilization_ratio{device="1",uuid="GPU-a"} 0.5`,
		`thrum_device_memory_total_bytes{device="1",uuid="GPU-a"} 8e+10`,
		`thrum_device_memory_used_bytes{device="1",uuid="GPU-a"} 3e+10`,
		`thrum_device_memory_free_bytes{device="1",uuid="GPU-a"} 5e+10`,
		`thrum_device_power_watts{device="1",uuid="GPU-a"} 301.5`,
		`thrum_device_power_limit_watts{device="1",uuid="GPU-a"} 700`,
		`thrum_device_energy_joules_total{device="1",uuid="GPU-a"} 12345.678`,
		`thrum_device_temperature_celsius{device="1",uuid="GPU-a"} 64`,
		`thrum_device_clock_hertz{clock="sm",device="1",uuid="GPU-a"} 1.98e+09`,
		`thrum_device_clock_hertz{clock="memory",device="1",uuid="GPU-a"} 2.619e+09`,
		`thrum_device_ecc_errors_total{device="1",kind="corrected",uuid="GPU-a"} 3`,
		`thrum_device_ecc_errors_total{device="1",kind="uncorrected",uuid="GPU-a"} 2`,
		`thrum_device_xid_errors_total{device="1",uuid="GPU-a",xid="31"} 0`,
		`thrum_device_xid_errors_total{device="1",uuid="GPU-a",xid="79"} 2`,
		`thrum_device_throttled{device="1",reason="heat",uuid="GPU-a"} 1`,
		`thrum_device_throttled{device="1",reason="power_limit",uuid="GPU-a"} 0`,
		`thrum_device_throttled{device="1",reason="heat_chip",uuid="GPU-a"} 0`,
		`thrum_device_throttled{device="1",reason="power_chip",uuid="GPU-a"} 0`,
		`thrum_device_throttled{device="1",reason="chip",uuid="GPU-a"} 0`,
		`thrum_device_throttled{device="1",reason="sync",uuid="GPU-a"} 0`,
		`thrum_device_held_bytes{device="1",model="heavy",uuid="GPU-a",version="1"} 100`,
		`thrum_device_process_bytes{device="1",model="heavy",uuid="GPU-a",version="1"} 300`,
		`thrum_device_failures_total{model="heavy",version="1"} 4`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("GET /metrics lacks %s", want)
		}
	}
	if strings.Contains(text, "tomorrow") || strings.Contains(text, `thrum_device_failures_total{model="light"`) {
		t.Error("GET /metrics has a figure of a kind that nobody knows, or devices of a version without any")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "thrum_device_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestWhatADeviceDoesNotSayIsAbsent(t *testing.T) {
	m := New("")
	m.AddVersion("a", "1", func() Sample { return Sample{} }, func() []Device { return []Device{{ID: "GPU-a", Held: 7}} })
	var got []string
	for line := range strings.Lines(scrape(t, m)) {
		if strings.HasPrefix(line, "thrum_device_") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`thrum_device_failures_total{model="a",version="1"} 0`,
		`thrum_device_held_bytes{device="0",model="a",uuid="GPU-a",version="1"} 7`,
		`thrum_device_info{device="0",driver="",name="",uuid="GPU-a"} 1`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("GET /metrics has %v, want %v", got, want)
	}
}

func TestADeviceIsGivenOnce(t *testing.T) {
	m := New("")
	reading := func(id string, number int, power float64, read time.Duration) Device {
		return Device{ID: id, Number: number, Held: uint64(power), Read: read, Figures: map[string]float64{"power": power}}
	}
	var first, second Device
	m.AddVersion("a", "1", func() Sample { return Sample{} }, func() []Device { return []Device{first} })
	m.AddVersion("b", "1", func() Sample { return Sample{} }, func() []Device { return []Device{second, reading("GPU-b", 1, 50, 1)} })
	for _, c := range []struct {
		situation     string
		first, second Device
		want          string // of GPU-a
	}{
		{"the first is newer", reading("GPU-a", 0, 10, 2), reading("GPU-a", 0, 20, 1), `thrum_device_power_watts{device="0",uuid="GPU-a"} 10`},
		{"the second is", reading("GPU-a", 0, 10, 2), reading("GPU-a", 0, 20, 3), `thrum_device_power_watts{device="0",uuid="GPU-a"} 20`},
		{"another number", reading("GPU-a", 0, 10, 2), reading("GPU-a", 3, 20, 4), `thrum_device_power_watts{device="3",uuid="GPU-a"} 20`},
		{"both are from before", reading("GPU-a", 0, 10, 2), reading("GPU-a", 0, 20, 3), ""},
		{"still from before", reading("GPU-a", 0, 10, 2), reading("GPU-a", 0, 20, 3), ""},
		{"the same as the last one", reading("GPU-a", 0, 10, 2), reading("GPU-a", 0, 20, 4), `thrum_device_power_watts{device="0",uuid="GPU-a"} 20`},
	} {
		first, second = c.first, c.second
		var got []string
		text := scrape(t, m)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "thrum_device_power_watts{") && strings.Contains(line, "GPU-a") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: GET /metrics has %v, want %q", c.situation, got, c.want)
		}
		if n := strings.Count(text, "thrum_device_held_bytes{"); n != 3 || !strings.Contains(text, `thrum_device_power_watts{device="1",uuid="GPU-b"} 50`) {
			t.Errorf("%s: %d series of what versions hold, want 3, and the other device", c.situation, n)
		}
	}
}

// TestAHangingDeviceHoldsNoRequestUp records requests while a scrape waits for a device.
func TestAHangingDeviceHoldsNoRequestUp(t *testing.T) {
	m := New("")
	asked, answer := make(chan bool), make(chan bool)
	m.AddVersion("a", "1", func() Sample { return Sample{} }, func() []Device {
		asked <- true
		<-answer
		return nil
	})
	scraped := make(chan bool)
	go func() {
		scrape(t, m)
		close(scraped)
	}()
	<-asked
	m.AddVersion("b", "1", func() Sample { return Sample{} }, nil).Remove()
	m.ObserveRequest(Request{Model: "a", Version: "1", Code: 200})
	close(answer)
	<-scraped
}
