package cuda

import (
	"bytes"
	"context"
	"errors"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/driver"
	"github.com/thrumserve/thrum/backends/cuda/lower"
	"github.com/thrumserve/thrum/backends/weights"
)

// bundle is weights one behind another, in an order in which all processes of a version find them.
type bundle struct {
	weights []*lower.Buffer
	offsets []int64
	bytes   int64
}

// bundleOf returns the weights that p reads.
func bundleOf(p *lower.Program) bundle {
	var all bundle
	seen := map[string]bool{}
	for _, o := range p.Ops {
		for _, t := range o.In {
			if !t.Given() || t.Buffer.Weight == nil || seen[t.Buffer.Weight.Key] {
				continue
			}
			seen[t.Buffer.Weight.Key] = true
			all.weights, all.offsets = append(all.weights, t.Buffer), append(all.offsets, all.bytes)
			all.bytes += max(aligned(t.Buffer.Bytes), alignment)
		}
	}
	return all
}

// shared is memory of the device that other processes of the version map, too.
type shared struct {
	mapping driver.Mapping
	bytes   int64  // 0 if there is none
	release func() // tells the account of the process that has made it; nil in others
}

// granted returns how many bytes the account has granted for it.
func (s shared) granted() uint64 {
	if s.release == nil {
		return 0
	}
	return uint64(s.bytes)
}

// bringWeights brings the weights that p reads to the device, where they are not there in memory that other
// processes of the version have brought them to.
func (e *engine) bringWeights(ctx context.Context, p *lower.Program, spec backends.Spec) error {
	all := bundleOf(p)
	if all.bytes == 0 {
		return nil
	}
	locker, _ := weights.OpenLocker(ctx, spec.Weights, spec.Locker)
	if locker != nil { // else they are of this process alone
		defer locker.Close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.context.In(func() error {
		if locker != nil {
			if found, err := e.findWeights(locker, all); found || err != nil {
				return err
			}
			if left, err := e.leaveWeights(locker, all); left || err != nil {
				return err
			}
		}
		at, err := e.alloc(all.bytes)
		if err != nil {
			return err
		}
		return e.fill(at, all)
	})
}

// findWeights looks for all in a locker. It believes what is what this process would have brought, byte for byte:
// the model's file may have changed since, and whoever brought it may have died of a fault of the device.
func (e *engine) findWeights(locker *weights.Locker, all bundle) (bool, error) {
	handle, n, err := locker.Look()
	if err != nil || handle == nil {
		return false, nil
	}
	defer handle.Close()
	if n != all.bytes {
		return false, nil
	}
	m, err := e.context.MapShared(handle, n)
	if err != nil {
		return false, e.stays(err)
	}
	_ = e.context.ReadOnly(m) // a driver that cannot has one safeguard less
	same, err := e.holds(m.Address, all)
	if err != nil || !same {
		return false, e.stays(errors.Join(err, e.context.Unmap(m)))
	}
	e.shared = shared{mapping: m, bytes: n}
	e.adopt(m.Address, all)
	return true, nil
}

// leaveWeights makes memory that others can map, brings all there and leaves it in a locker.
func (e *engine) leaveWeights(locker *weights.Locker, all bundle) (bool, error) {
	release, err := e.account.Reserve(e.purpose, uint64(all.bytes))
	if err != nil {
		return false, err
	}
	m, handle, err := e.context.Share(all.bytes)
	if err != nil {
		release()
		return false, e.stays(err)
	}
	defer handle.Close()
	e.shared = shared{m, all.bytes, release}
	if err := e.fill(m.Address, all); err != nil {
		return false, err
	}
	_ = e.context.ReadOnly(m)
	_ = locker.Put(handle, all.bytes) // else nobody finds it
	return true, nil
}

// stays returns an error that stays, and no other: there is another way.
func (e *engine) stays(err error) error {
	if driver.Sticky(err) {
		return e.failed(err)
	}
	return nil
}

// fill brings all to memory of the device.
func (e *engine) fill(at uint64, all bundle) error {
	for i, b := range all.weights {
		if b.Bytes == 0 {
			continue
		}
		if err := e.context.Fill(at+uint64(all.offsets[i]), b.Weight.Data()[:b.Bytes]); err != nil {
			return e.failed(err)
		}
	}
	e.adopt(at, all)
	return nil
}

// holds says whether all lie at an address.
func (e *engine) holds(at uint64, all bundle) (bool, error) {
	for i, b := range all.weights {
		if b.Bytes == 0 {
			continue
		}
		there := make([]byte, b.Bytes)
		if err := e.context.Read(there, at+uint64(all.offsets[i])); err != nil {
			return false, err
		}
		if !bytes.Equal(there, b.Weight.Data()[:b.Bytes]) {
			return false, nil
		}
	}
	return true, nil
}

// adopt remembers where weights are.
func (e *engine) adopt(at uint64, all bundle) {
	for i, b := range all.weights {
		e.weights[b.Weight.Key] = at + uint64(all.offsets[i])
	}
}

// weight returns where a weight is, and brings it there the first time.
func (e *engine) weight(b *lower.Buffer) (uint64, error) {
	if at, ok := e.weights[b.Weight.Key]; ok {
		return at, nil
	}
	one := bundle{weights: []*lower.Buffer{b}, offsets: []int64{0}, bytes: max(aligned(b.Bytes), alignment)}
	at, err := e.alloc(one.bytes)
	if err != nil {
		return 0, err
	}
	return at, e.fill(at, one)
}
