package cache

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// lender answers out of memory that it overwrites once it is given back.
func lender(m *model, returned *int) backends.PredictorFunc {
	return func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		out, err := m.Predict(ctx, in)
		out.Lease = backends.NewLease(func() {
			*returned++
			clear(out.Tensors[0].Data)
		})
		return out, err
	}
}

func TestCacheGivesBackWhatItWasLent(t *testing.T) {
	returned := 0
	m := &model{add: 5}
	c := open(t, Options{MaxBytes: 1 << 20})
	p := c.Wrap("v1", lender(m, &returned))
	expect(t, p, request(1), 6, backends.CacheMiss)
	settle(c)
	expect(t, p, request(1), 6, backends.CacheHit)
	if returned != 1 {
		t.Errorf("%d answers given back, want 1", returned)
	}
}

func TestCachePassesALeaseOnWhereItIsBypassed(t *testing.T) {
	returned := 0
	p := open(t, Options{MaxBytes: 1 << 20}).Wrap("v1", lender(&model{add: 5}, &returned))
	in := request(1)
	in.NoCache = true
	out, err := p.Predict(t.Context(), in)
	if err != nil || binary.LittleEndian.Uint64(out.Tensors[0].Data) != 6 || returned != 0 {
		t.Fatalf("Predict = %+v, %v with %d given back, want 6 that the caller gives back", out, err, returned)
	}
	out.Release()
	if returned != 1 {
		t.Errorf("%d answers given back, want 1", returned)
	}
}
