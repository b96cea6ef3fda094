package cuda

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// gauge reads devices: it takes its time, and a device whose UUID begins with 9 never answers.
type gauge struct {
	takes time.Duration
	asked atomic.Int64
	end   chan struct{}
}

func (g *gauge) read(uuid [16]byte) backends.Device {
	n := g.asked.Add(1)
	if uuid[0] == 9 {
		<-g.end
	}
	time.Sleep(g.takes)
	return backends.Device{ID: "GPU-of-the-library", Driver: "1", Read: time.Duration(n), Figures: map[backends.Figure]float64{backends.FigurePower: float64(n)}}
}

func TestADeviceIsReadOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{takes: 10 * time.Millisecond}
		m := newMeter(g.read)
		for at := time.Duration(0); at < 10*time.Second; at += 100 * time.Millisecond {
			for range 5 { // at once
				go m.ask([16]byte{1}).wait(t.Context())
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := g.asked.Load(); n != 10 {
			t.Errorf("asked all the time, a device is read %d times in 10 s, want 10", n)
		}
		time.Sleep(time.Hour)
		if n := g.asked.Load(); n != 10 {
			t.Errorf("a device is read %d times, want none where nobody asks", n-10)
		}
		if d := m.ask([16]byte{1}).wait(t.Context()); d.Figures[backends.FigurePower] != 11 {
			t.Errorf("after an hour it says %v, want something new", d.Figures)
		}
	})
}

func TestADeviceThatHangsHoldsOneThread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{end: make(chan struct{})}
		m := newMeter(g.read)
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), meterPatience)
			if d := m.ask([16]byte{9}).wait(ctx); d.Figures != nil {
				t.Errorf("a device that hangs says %v", d.Figures)
			}
			cancel()
			time.Sleep(time.Minute)
		}
		if d := m.ask([16]byte{1}).wait(t.Context()); d.Figures == nil {
			t.Error("another device says nothing")
		}
		if n := g.asked.Load(); n != 2 {
			t.Errorf("%d reads, want one of each device", n)
		}
		close(g.end)
	})
}

// loaded adds models that hold so many bytes of devices.
func loaded(b *Backend, held map[int][]uint64) {
	for device, all := range held {
		for _, n := range all {
			account := NewAccount("", n+1)
			if _, err := account.Reserve("a model", n); err != nil {
				panic(err)
			}
			b.models[&model{device: device, engine: &engine{account: account}}] = true
		}
	}
}

func TestDevices(t *testing.T) {
	const whole = "-0000-0000-0000-000000000000"
	for _, c := range []struct {
		situation string
		held      map[int][]uint64
		want      map[int]uint64
		ids       []string
	}{
		{"no model is loaded", nil, map[int]uint64{}, nil},
		{"several on one", map[int][]uint64{1: {10, 20, 30}}, map[int]uint64{1: 60}, []string{"GPU-of-the-library"}},
		{"one that hangs beside another", map[int][]uint64{0: {5}, 1: {7}}, map[int]uint64{0: 5, 1: 7}, []string{"GPU-09000000" + whole, "GPU-of-the-library"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &gauge{end: make(chan struct{})}
			b := backendOf(&machine{devices: []Device{{Name: "Nine", UUID: [16]byte{9}}, {Name: "One", UUID: [16]byte{1}}}})
			b.meter = newMeter(g.read)
			loaded(b, c.held)
			began := time.Now()
			all, err := b.Devices(t.Context())
			if err != nil || time.Since(began) > meterPatience {
				t.Errorf("%s: Devices = %v after %v", c.situation, err, time.Since(began))
			}
			held := map[int]uint64{}
			for i, d := range all {
				held[d.Number] = d.Held
				if d.ID != c.ids[i] || d.Name != b.machine.Devices()[d.Number].Name || (d.Figures != nil) != (d.Number == 1) {
					t.Errorf("%s: device %d = %+v, want %s", c.situation, i, d, c.ids[i])
				}
			}
			if !maps.Equal(held, c.want) {
				t.Errorf("%s: Devices hold %v, want %v", c.situation, held, c.want)
			}
			close(g.end)
		})
	}
	refusal := errors.New("no machine")
	if _, err := New(func() (Machine, error) { return nil, refusal }, nil).Devices(t.Context()); err != refusal {
		t.Errorf("Devices without a machine = %v, want %v", err, refusal)
	}
}

func TestEqualDevicesAreDescribedTogether(t *testing.T) {
	first, second := big, big
	first.UUID, second.UUID = [16]byte{1}, [16]byte{2}
	if got := describe([]Device{first, second}); got != "2 × Big (sm_90, 80.0 GiB)" {
		t.Errorf("describe = %s", got)
	}
}
