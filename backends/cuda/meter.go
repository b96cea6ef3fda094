package cuda

import (
	"context"
	"log/slog"
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

// management returns what reads a device through the management library, which it opens the first
// time, and nothing where there is none.
func management() func(uuid [16]byte) backends.Device {
	open := sync.OnceValue(func() *nvml.Library {
		l, err := nvml.Open()
		if err != nil {
			slog.Warn("what devices say of themselves is not known", "error", err)
		}
		return l
	})
	var known sync.Map // nvml.Device by UUID: one that is lost is not found again
	return func(uuid [16]byte) backends.Device {
		l := open()
		if l == nil {
			return backends.Device{}
		}
		found, ok := known.Load(uuid)
		if !ok {
			d, err := l.Device(uuid)
			if err != nil {
				return backends.Device{Driver: l.Driver()}
			}
			found, _ = known.LoadOrStore(uuid, d)
		}
		d, at := found.(nvml.Device), monotonic()
		return backends.Device{ID: d.ID, Driver: l.Driver(), Figures: d.Figures(), Read: at}
	}
}

func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // which every kernel has
	return time.Duration(t.Nano())
}
