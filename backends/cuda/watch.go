package cuda

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/nvml"
)

const (
	watchPeriod = time.Second            // a watch looks so often whether it is to end
	lateFaults  = 200 * time.Millisecond // so long after a failure its fault may be told
)

// watch counts the faults of one device, beside other processes that do.
type watch struct {
	device string // its ID
	stop   <-chan struct{}
	ledger atomic.Pointer[ledger] // nil as long as the device tells of none
	said   map[uint64]bool        // faults that the log has already
}

// listener tells of faults, as nvml.Faults does.
type listener interface {
	Next(patience time.Duration) (xid uint64, err error)
	Close()
}

// run counts in a ledger what l tells of until the watch is stopped.
func (w *watch) run(l listener, into *ledger) {
	defer l.Close()
	defer into.close()
	w.ledger.Store(into)
	defer w.ledger.Store(nil)
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		xid, err := l.Next(watchPeriod)
		switch {
		case err != nil: // as of a device that is lost: at once, again and again
			time.Sleep(watchPeriod)
		case xid != 0 && into.take():
			w.count(xid, into)
		}
	}
}

// count counts a fault, and says so if it is the first of its kind.
func (w *watch) count(xid uint64, into *ledger) {
	if err := into.add(xid); err != nil {
		slog.Warn("a fault of a device is not counted", "device", w.device, "xid", xid, "error", err)
	}
	if !w.said[xid] {
		w.said[xid] = true
		slog.Warn("a device has a fault", "device", w.device, "xid", xid, "meaning", nvml.Meaning(xid))
	}
}

// figures adds how many faults there have been: the commonest from none on, so that the first is seen to come.
func (w *watch) figures(into map[backends.Figure]float64) {
	l := w.ledger.Load()
	if l == nil {
		return
	}
	for xid := range nvml.Common() {
		into[backends.FigureXid(xid)] = 0
	}
	all, err := l.read()
	if err != nil {
		slog.Debug("the faults of a device are not known", "device", w.device, "error", err)
	}
	for _, e := range all {
		into[backends.FigureXid(e.xid)] = float64(e.count)
	}
}
