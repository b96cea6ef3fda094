package nvml

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cudatest"
)

// fake makes a library of cudatest with settings.
func fake(t *testing.T, settings string, old bool) (path string) {
	t.Helper()
	dir := t.TempDir()
	cudatest.AddManagement(t, dir, old)
	path = filepath.Join(dir, library)
	handle, err := purego.Dlopen(path, purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	configure, err := purego.Dlsym(handle, "fake_nvml_configure")
	if err != nil {
		t.Fatal(err)
	}
	text := append([]byte(settings), 0)
	purego.SyscallN(configure, uintptr(unsafe.Pointer(&text[0])))
	return path
}

// uuid is what the device of the fake is called.
var uuid = [16]byte{0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0}

const id = "GPU-ab010203-0405-0607-0809-0a0b0c0d0e00"

// all is what that device says.
var all = figures{
	backends.FigureAnswers: 1, backends.FigureUtilization: 0.87, backends.FigureMemoryUtilization: 0.41,
	backends.FigureMemoryTotal: 85 << 30, backends.FigureMemoryFree: 60 << 30, backends.FigureMemoryUsed: 25 << 30,
	backends.FigurePower: 312.5, backends.FigurePowerLimit: 700, backends.FigureEnergy: 5000000123.456, backends.FigureTemperature: -3,
	backends.FigureClock: 1.98e9, backends.FigureMemoryClock: 2.619e9, backends.FigureCorrected: 7, backends.FigureUncorrected: 1 << 33,
	backends.FigureThrottledPower: 1, backends.FigureThrottledHeat: 0, backends.FigureThrottledHotChip: 1,
	backends.FigureThrottledBrake: 0, backends.FigureThrottledHardware: 0, backends.FigureThrottledSync: 0,
}

func without(kinds ...backends.Figure) figures {
	some := maps.Clone(all)
	for _, kind := range kinds {
		delete(some, kind)
	}
	return some
}

func TestFigures(t *testing.T) {
	old := without(backends.FigureEnergy)
	old[backends.FigureTemperature] = 66 // which the function of before gives
	for _, c := range []struct {
		situation, settings string
		old                 bool
		want                figures
	}{
		{"a device that says everything", "", false, all},
		{"a library of before", "", true, old},
		{"no utilisation, as of a part of a device", "utilization=3", false, without(backends.FigureUtilization, backends.FigureMemoryUtilization)},
		{"no memory errors", "ecc=3", false, without(backends.FigureCorrected, backends.FigureUncorrected)},
		{"no permission", "power=4", false, without(backends.FigurePower)},
		{"a device that is lost", "result=15", false, figures{backends.FigureAnswers: 0}},
		{"one that is lost meanwhile", "ecc=15", false, figures{backends.FigureAnswers: 0}},
		{"one that has to be reset", "result=16", false, figures{backends.FigureAnswers: 0}},
		{"one that supports nothing", "result=3", false, figures{}},
		{"a driver that fails", "result=999", false, figures{}},
	} {
		l, err := open(fake(t, c.settings, c.old))
		if err != nil {
			t.Fatalf("%s: open = %v", c.situation, err)
		}
		d, err := l.Device(uuid)
		if err != nil || d.ID != id {
			t.Fatalf("%s: Device = %+v, %v, want %s", c.situation, d, err, id)
		}
		if got := figures(d.Figures()); !maps.Equal(got, c.want) {
			t.Errorf("%s: Figures = %v, want %v", c.situation, got, c.want)
		}
	}
}

func TestOpenSaysWhyNot(t *testing.T) {
	for _, c := range []struct{ situation, path, want string }{
		{"no library", "libnvidia-ml-that-is-not-there.so.1", "no management library"},
		{"another library", "libc.so.6", "nvmlInit_v2: error 13"},
		{"no driver", fake(t, "init=9", false), "the management library does not start: nvmlInit_v2: Driver Not Loaded"},
		{"an error without words", fake(t, "init=20", false), "nvmlInit_v2: error 20"},
	} {
		if _, err := open(c.path); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: open = %v, want an ErrUnavailable with %q", c.situation, err, c.want)
		}
	}
}

func TestDevice(t *testing.T) {
	l, err := open(fake(t, "mig=1", false))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := l.Device(uuid); err != nil || d.ID != "MIG"+id[3:] {
		t.Errorf("Device of a part = %+v, %v, want MIG%s", d, err, id[3:])
	}
	if d, err := l.Device([16]byte{}); err == nil || !strings.Contains(err.Error(), "nvmlDeviceGetHandleByUUID") {
		t.Errorf("Device of none = %+v, %v", d, err)
	}
	if v := l.Driver(); v != "580.65.06" {
		t.Errorf("Driver = %q", v)
	}
	if l, err = open(fake(t, "driver=3", false)); err != nil || l.Driver() != "" {
		t.Errorf("Driver that is not told = %q, %v", l.Driver(), err)
	}
}

func TestFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults")
	tell := func(text string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	tell("13\n") // before anybody listens
	l, err := open(fake(t, "faults="+file, false))
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Device(uuid)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Faults()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		situation, told string
		want            uint64
	}{
		{"nothing", "", 0}, {"a fault", "79\n", 79}, {"nothing more", "", 0}, {"an event of another kind", "clock\n", 0}, {"an unknown fault", "999\n", 999},
	} {
		tell(c.told)
		if got, err := f.Next(5 * time.Millisecond); got != c.want || err != nil {
			t.Errorf("%s: Next = %d, %v, want %d", c.situation, got, err, c.want)
		}
	}
	other, err := d.Faults()
	if err != nil {
		t.Fatal(err)
	}
	tell("48\n")
	for _, f := range []*Faults{f, other} {
		if got, err := f.Next(time.Second); got != 48 || err != nil {
			t.Errorf("one of two who listen: Next = %d, %v, want 48", got, err)
		}
	}
	other.Close()
	if _, err := (&Faults{library: l}).Next(0); err == nil || !strings.Contains(err.Error(), "nvmlEventSetWait_v2") {
		t.Errorf("Next of no set = %v", err)
	}
}

func TestDevicesWithoutFaults(t *testing.T) {
	for _, c := range []struct{ situation, settings, id string }{
		{"a part of a device", "mig=1 faults=none", "MIG" + id[3:]}, {"one that tells of none", "", id}, {"one that is lost", "events=15 faults=none", id},
	} {
		l, err := open(fake(t, c.settings, false))
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.Device(uuid)
		if err != nil || d.ID != c.id {
			t.Fatalf("%s: Device = %+v, %v", c.situation, d, err)
		}
		if _, err := d.Faults(); err == nil || !strings.Contains(err.Error(), "nvmlDeviceRegisterEvents") {
			t.Errorf("%s: Faults = %v, want why not", c.situation, err)
		}
	}
	if got := Meaning(79); !strings.Contains(got, "off the bus") {
		t.Errorf("Meaning(79) = %q", got)
	}
	if got := Meaning(1000); !strings.Contains(got, "catalogue") {
		t.Errorf("Meaning(1000) = %q", got)
	}
}

func TestTaken(t *testing.T) {
	for _, c := range []struct {
		situation, settings string
		pid                 int
		want                uint64
	}{
		{"this process", "process=1048576", os.Getpid(), 1 << 20},
		{"another", "process=1048576", 1, 1},
		{"one that is not on the device", "process=1048576", 2, 0},
		{"one whose memory the driver does not know", "process=-1", os.Getpid(), 0},
		{"a device that does not say", "", os.Getpid(), 0},
		{"one that is lost", "process=1048576 result=15", os.Getpid(), 0},
	} {
		l, err := open(fake(t, c.settings, false))
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.Device(uuid)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Taken(c.pid); got != c.want {
			t.Errorf("%s: Taken = %d, want %d", c.situation, got, c.want)
		}
	}
}
