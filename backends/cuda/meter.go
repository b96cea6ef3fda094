package cuda

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/nvml"
)

const (
	meterPeriod   = time.Second            // a device is read at most once in that time
	meterPatience = 400 * time.Millisecond // so long somebody waits who wants to know
)

// meter reads what devices say of themselves, each in a goroutine of its own and one at a time: a
// device that does not answer keeps nobody waiting for long, and no more than one thread for good.
type meter struct {
	read func(uuid [16]byte) backends.Device

	mu    sync.Mutex
	asked map[[16]byte]*reading // the last one of each
}

// reading is a device that is being read, or has been.
type reading struct {
	begun  time.Time
	done   chan struct{}
	device backends.Device // once done is closed
}

func newMeter(read func(uuid [16]byte) backends.Device) *meter {
	return &meter{read: read, asked: map[[16]byte]*reading{}}
}

// ask returns the reading of a device that is under way, or has been begun within the last period, or
// else begins one.
func (m *meter) ask(uuid [16]byte) *reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.asked[uuid]; r != nil && !r.stale() {
		return r
	}
	r := &reading{begun: time.Now(), done: make(chan struct{})}
	m.asked[uuid] = r
	go func() {
		defer close(r.done)
		r.device = m.read(uuid)
	}()
	return r
}

func (r *reading) stale() bool {
	select {
	case <-r.done:
		return time.Since(r.begun) >= meterPeriod
	default:
		return false
	}
}

// wait returns what was read, nothing if ctx ends before.
func (r *reading) wait(ctx context.Context) backends.Device {
	select {
	case <-r.done:
	case <-ctx.Done():
		select {
		case <-r.done: // while somebody waited for another
		default:
			return backends.Device{}
		}
	}
	return r.device
}

// management asks devices how they are, and counts their faults, through the management library.
type management struct {
	open    func() *nvml.Library // the first time; nil where there is none
	stop    chan struct{}        // closed when nothing is to be watched any more
	known   sync.Map             // nvml.Device by UUID: one that is lost is not found again
	watches sync.Map             // *watch by UUID
}

func newManagement() *management {
	return &management{stop: make(chan struct{}), open: sync.OnceValue(func() *nvml.Library {
		l, err := nvml.Open()
		if err != nil {
			slog.Warn("what devices say of themselves is not known", "error", err)
		}
		return l
	})}
}

// device finds a device, and says whether there is a library that knows it.
func (m *management) device(uuid [16]byte) (nvml.Device, bool) {
	l := m.open()
	if l == nil {
		return nvml.Device{}, false
	}
	found, ok := m.known.Load(uuid)
	if !ok {
		d, err := l.Device(uuid)
		if err != nil {
			return nvml.Device{}, false
		}
		found, _ = m.known.LoadOrStore(uuid, d)
	}
	return found.(nvml.Device), true
}

// read returns what a device says of itself, nothing where there is no library.
func (m *management) read(uuid [16]byte) backends.Device {
	l := m.open()
	if l == nil {
		return backends.Device{}
	}
	d, ok := m.device(uuid)
	if !ok {
		return backends.Device{Driver: l.Driver()}
	}
	at, figures := monotonic(), d.Figures()
	if w, ok := m.watches.Load(uuid); ok {
		w.(*watch).figures(figures)
	}
	return backends.Device{ID: d.ID, Driver: l.Driver(), Figures: figures, Taken: d.Taken(os.Getpid()), Read: at}
}

// watch counts the faults of a device from now on, if it tells of them.
func (m *management) watch(uuid [16]byte) {
	w := &watch{stop: m.stop, said: map[uint64]bool{}}
	if _, watched := m.watches.LoadOrStore(uuid, w); watched {
		return
	}
	go func() { // in which the library may hang
		d, ok := m.device(uuid)
		if !ok {
			return
		}
		w.device = d.ID
		faults, err := d.Faults()
		if err != nil {
			slog.Debug("a device tells of no faults", "device", d.ID, "error", err)
			return
		}
		into, err := openLedger(os.TempDir(), d.ID)
		if err != nil {
			slog.Warn("the faults of a device are not counted", "device", d.ID, "error", err)
			faults.Close()
			return
		}
		w.run(faults, into)
	}()
}

// settle waits for the fault over which the process is about to end.
func (m *management) settle() {
	for _, w := range m.watches.Range {
		if w.(*watch).ledger.Load() != nil {
			time.Sleep(lateFaults)
			return
		}
	}
}

func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // which every kernel has
	return time.Duration(t.Nano())
}
