package batching

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// Thousands of calls of all kinds at once: every answer must hold the caller's own rows.
func TestBatcherGivesEveryCallerItsOwnRows(t *testing.T) {
	m := backends.PredictorFunc(func(_ context.Context, in backends.Batch) (backends.Batch, error) {
		if x := values(in.Tensors[0]); slices.Contains(x, -1) {
			return backends.Batch{}, backends.Errorf(backends.ErrInvalid, "-1 is bad")
		}
		return double(in), nil
	})
	b, err := New(m, doubler, Options{MaxRows: 16, MaxQueueRows: 256, Inflight: 2})
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for caller := range 64 {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(caller), 7))
			for range 200 {
				predictRandomly(t, b, r)
			}
		})
	}
	callers.Wait()
	if err := b.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if s := b.Stats(); s.QueuedRows != 0 || s.QueuedCalls != 0 || s.Inflight != 0 {
		t.Errorf("Stats after Close = %+v, want nothing queued or executing", s)
	}
}

func predictRandomly(t *testing.T, b *Batcher, r *rand.Rand) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	columns := 1 + r.IntN(2)
	x := make([]int64, columns*r.IntN(6))
	for i := range x {
		x[i] = r.Int64N(1 << 40)
	}
	bad := len(x) > 0 && r.IntN(50) == 0
	if bad {
		x[r.IntN(len(x))] = -1
	}
	in := request(x...)
	in.Tensors[0].Shape = []int64{int64(len(x) / columns), int64(columns)}
	impatient := r.IntN(10) == 0
	if impatient {
		go cancel()
	}
	out, err := b.Predict(ctx, in)
	switch {
	case impatient && errors.Is(err, context.Canceled), errors.Is(err, backends.ErrOverloaded):
	case bad:
		if !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("a bad request got %v, want an ErrInvalid", err)
		}
	case err != nil:
		t.Errorf("Predict(%v) = %v", x, err)
	default:
		for i := range x {
			x[i] *= 2
		}
		if got := values(out.Tensors[0]); !slices.Equal(got, x) {
			t.Errorf("got %v, want %v", got, x)
		}
	}
}
