package host

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// deviceTimeout bounds the wait for what devices say: a plugin answers sooner, unless it is stopped.
const deviceTimeout = time.Second

// meter is a model in a plugin that may have devices.
type meter interface {
	Metered() bool
	Devices(ctx context.Context) ([]backends.Device, error)
}

func metered(m backends.Model) bool {
	d, ok := m.(meter)
	return ok && d.Metered()
}

// Metered says whether the version is on devices that say something of themselves.
func (m *Model) Metered() bool { return m.metered }

// Devices asks all instances for their devices, and returns each device once, by its number: as it was
// read last, with what all instances hold of its memory: the sum of what each holds by itself, and once
// what they share. An instance that does not answer within a second is left out.
func (m *Model) Devices(ctx context.Context) []backends.Device {
	m.mu.Lock()
	live, closed := m.live(), m.closed
	m.mu.Unlock()
	if !m.metered || closed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deviceTimeout)
	defer cancel()
	told := make([][]backends.Device, len(live))
	var asked sync.WaitGroup
	for i, inst := range live {
		asked.Go(func() {
			devices, err := inst.model.(meter).Devices(ctx)
			if err != nil {
				m.options.Log.Debug("an instance says nothing of its devices", "instance", inst.number, "error", err)
				return
			}
			told[i] = devices
		})
	}
	asked.Wait()
	return mergeDevices(told)
}

// mergeDevices makes one list of what several instances say.
func mergeDevices(told [][]backends.Device) []backends.Device {
	var all []backends.Device
	for _, d := range slices.Concat(told...) {
		i := slices.IndexFunc(all, func(other backends.Device) bool { return other.ID == d.ID })
		if i < 0 {
			all = append(all, d)
			continue
		}
		held, shared, taken := all[i].Held+d.Held, max(all[i].Shared, d.Shared), all[i].Taken+d.Taken
		if all[i].Taken == 0 || d.Taken == 0 {
			taken = 0
		}
		if d.Read > all[i].Read {
			all[i] = d
		}
		all[i].Held, all[i].Shared, all[i].Taken = held, shared, taken
	}
	slices.SortFunc(all, func(a, b backends.Device) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// autopsy counts a process that has ended because its device answered it no more.
func (m *Model) autopsy(p process) {
	if p.DeviceFailed() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.failures++
	}
}
