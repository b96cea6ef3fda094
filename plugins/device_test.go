package plugins

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
)

// metered is a backend with devices.
type metered struct {
	*backendtest.Fake
	devices []backends.Device
	err     error
}

func (m metered) Devices(context.Context) ([]backends.Device, error) { return m.devices, m.err }

func gpu() backends.Device {
	return backends.Device{
		ID: "GPU-1", Number: 3, Name: "a device", Driver: "1.2", Held: 1 << 40, Shared: 5, Taken: 7, Read: time.Hour,
		Figures: map[backends.Figure]float64{backends.FigurePower: 1.5, backends.FigureAnswers: 0},
	}
}

// lyingDevice has a power that no device has.
func lyingDevice() backends.Device {
	d := gpu()
	d.Figures[backends.FigurePower] = math.Inf(1)
	return d
}

func TestDevicesCross(t *testing.T) {
	for _, c := range []struct {
		role    string
		metered bool
		want    []backends.Device
		err     string
	}{
		{"fake", false, nil, ""},
		{"metered", true, []backends.Device{gpu()}, ""},
		{"metered: none", true, nil, ""},
		{"metered: error", true, nil, "no device today"},
		{"metered: lie", true, nil, `device "GPU-1": "power" is +Inf`},
	} {
		for _, transport := range []string{TransportShared, TransportGRPC} {
			p := start(t, command(c.role), Options{Transport: transport})
			got, err := p.Devices(t.Context())
			if p.Metered() != c.metered || !reflect.DeepEqual(got, c.want) || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s by %s: Devices = %+v, %v, metered %v, want %+v, %q, %v", c.role, transport, got, err, p.Metered(), c.want, c.err, c.metered)
			}
		}
	}
}

func TestCheckDevices(t *testing.T) {
	with := func(change func(*backends.Device)) []backends.Device {
		d := gpu()
		change(&d)
		return []backends.Device{d}
	}
	for _, c := range []struct {
		situation string
		devices   []backends.Device
		want      string
	}{
		{"none", nil, ""},
		{"a good one", []backends.Device{gpu()}, ""},
		{"the same twice", []backends.Device{gpu(), gpu()}, "named twice"},
		{"no name", with(func(d *backends.Device) { d.ID = "" }), "not at all"},
		{"a long name", with(func(d *backends.Device) { d.Name = strings.Repeat("x", maxDeviceText+1) }), "more than 96 bytes"},
		{"a driver that is no text", with(func(d *backends.Device) { d.Driver = "\xff" }), "not UTF-8"},
		{"a negative number", with(func(d *backends.Device) { d.Number = -1 }), "number -1"},
		{"a large number", with(func(d *backends.Device) { d.Number = maxDeviceIndex + 1 }), "number 65537"},
		{"no number at all", with(func(d *backends.Device) { d.Figures["power"] = math.NaN() }), "NaN"},
		{"many figures", with(func(d *backends.Device) {
			for i := range maxFigures {
				d.Figures[backends.Figure(rune('A'+i))] = 1
			}
		}), "66 figures, at most 64"},
		{"many devices", make([]backends.Device, maxDevices+1), "65 devices, at most 64"},
	} {
		err := checkDevices(c.devices)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: checkDevices = %v, want %q", c.situation, err, c.want)
		}
	}
}

func TestAFailedDeviceIsTold(t *testing.T) {
	for _, c := range []struct {
		do     string
		failed bool
	}{{"exit 74", true}, {"exit 1", false}, {"crash", false}} {
		p := start(t, command("fake"), Options{})
		m := load(t, p, 1)
		if p.DeviceFailed() {
			t.Error("the device of a process that lives has failed")
		}
		if _, err := m.Predict(t.Context(), doing(c.do)); !errors.Is(err, backends.ErrCrashed) {
			t.Errorf("%s: Predict = %v, want ErrCrashed", c.do, err)
		}
		within(t, "Done", p.Done())
		if p.DeviceFailed() != c.failed {
			t.Errorf("%s: DeviceFailed = %v, want %v", c.do, p.DeviceFailed(), c.failed)
		}
	}
	if backends.DeviceFailed != 74 {
		t.Error("the test means another status")
	}
}
