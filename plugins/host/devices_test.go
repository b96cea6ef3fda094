package host

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
)

func device(id string, number int, held uint64, read time.Duration) backends.Device {
	return backends.Device{ID: id, Number: number, Held: held, Read: read, Figures: map[backends.Figure]float64{backends.FigurePower: read.Seconds()}}
}

func sharing(d backends.Device, n uint64) backends.Device {
	d.Shared = n
	return d
}

func taking(d backends.Device, n uint64) backends.Device {
	d.Taken = n
	return d
}

func TestMergeDevices(t *testing.T) {
	for _, c := range []struct {
		situation string
		told      [][]backends.Device
		want      []backends.Device
	}{
		{"nobody says anything", [][]backends.Device{nil, nil}, nil},
		{"several instances on one device", [][]backends.Device{{device("a", 0, 10, 2)}, {device("a", 0, 5, 3)}, {device("a", 0, 1, 1)}}, []backends.Device{device("a", 0, 16, 3)}},
		{"on several", [][]backends.Device{{device("b", 1, 10, 1)}, nil, {device("a", 0, 5, 1), device("c", 2, 1, 1)}},
			[]backends.Device{device("a", 0, 5, 1), device("b", 1, 10, 1), device("c", 2, 1, 1)}},
		{"which share memory of it", [][]backends.Device{{sharing(device("a", 0, 10, 1), 100)}, {device("a", 0, 1, 3)}, {sharing(device("a", 0, 5, 2), 100)}},
			[]backends.Device{sharing(device("a", 0, 16, 3), 100)}},
		{"which they take more of", [][]backends.Device{{taking(device("a", 0, 10, 1), 50)}, {taking(device("a", 0, 5, 2), 60)}}, []backends.Device{taking(device("a", 0, 15, 2), 110)}},
		{"of which one does not know that", [][]backends.Device{{taking(device("a", 0, 10, 1), 50)}, {device("a", 0, 5, 2)}, {taking(device("a", 0, 5, 1), 60)}}, []backends.Device{device("a", 0, 20, 2)}},
		{"which they number differently", [][]backends.Device{{device("a", 0, 10, 1)}, {device("b", 0, 5, 1)}, {device("a", 1, 2, 2)}},
			[]backends.Device{device("b", 0, 5, 1), device("a", 1, 12, 2)}},
	} {
		if got := mergeDevices(c.told); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: mergeDevices = %+v, want %+v", c.situation, got, c.want)
		}
	}
}

func TestDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t)
		f.devices = []backends.Device{device("a", 0, 10, 1)}
		m := openFake(t, f, Options{Instances: 3})
		of(m, 1).stop() // and answers no more
		began := time.Now()
		got := m.Devices(t.Context())
		if len(got) != 1 || got[0].Held != 20 || time.Since(began) != deviceTimeout {
			t.Errorf("Devices = %+v after %v, want what two of three instances hold after %v", got, time.Since(began), deviceTimeout)
		}
		if !m.Metered() {
			t.Error("a model on devices is not metered")
		}
		closeFake(t, f, m)
		if got := m.Devices(t.Context()); got != nil {
			t.Errorf("Devices of a model that is closed = %+v", got)
		}
	})
}

func TestAModelWithoutDevicesIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t)
		m := openFake(t, f, Options{})
		of(m, 0).stop()
		if began, got := time.Now(), m.Devices(t.Context()); got != nil || time.Since(began) != 0 || m.Metered() {
			t.Errorf("Devices = %+v after %v, metered %v, want none at once", got, time.Since(began), m.Metered())
		}
		closeFake(t, f, m)
	})
}

func TestDeviceFailuresAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t)
		m := openFake(t, f, Options{Instances: 2})
		for i, failed := range []bool{true, false, true} {
			p := of(m, i%2)
			p.deviceFailed = failed
			p.die("exit status")
			time.Sleep(time.Minute)
		}
		if s := m.Stats(); s.DeviceFailures != 2 || s.Restarts != 3 {
			t.Errorf("Stats = %+v, want 2 failures of the device in 3 restarts", s)
		}
		closeFake(t, f, m)
	})
}
