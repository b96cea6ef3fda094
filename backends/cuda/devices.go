package cuda

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/nvml"
)

// Devices returns the devices on which models are loaded, with what their accounts have granted. It
// implements plugins.Meter.
func (b *Backend) Devices(ctx context.Context) ([]backends.Device, error) {
	if b.refusal != nil {
		return nil, b.refusal
	}
	known, held := b.machine.Devices(), b.held()
	readings := map[int]*reading{}
	for number := range held {
		readings[number] = b.meter.ask(known[number].UUID)
	}
	ctx, cancel := context.WithTimeout(ctx, meterPatience)
	defer cancel()
	var all []backends.Device
	for _, number := range slices.Sorted(maps.Keys(held)) {
		d := readings[number].wait(ctx)
		d.ID = cmp.Or(d.ID, nvml.Whole(known[number].UUID))
		d.Number, d.Name, d.Held, d.Shared = number, known[number].Name, held[number].alone, held[number].shared
		all = append(all, d)
	}
	return all, nil
}

// holding is how many bytes of a device this process holds, and how many it shares with others.
type holding struct{ alone, shared uint64 }

// held returns what the models of each device hold.
func (b *Backend) held() map[int]holding {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := map[int]holding{}
	for m := range b.models {
		h := held[m.device]
		h.alone += m.engine.account.Used() - m.engine.shared.granted()
		h.shared += uint64(m.engine.shared.bytes)
		held[m.device] = h
	}
	return held
}
