package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// Many callers of two versions, some impatient, over a few requests with a short TTL and a
// poor hash, while the cache is closed under them: every answer must be the right one.
func TestCacheGivesEveryCallerItsOwnAnswer(t *testing.T) {
	c := open(t, Options{MaxBytes: 1 << 20, TTL: time.Millisecond})
	c.sum = func(b []byte) uint64 { return sum(b) % 64 }
	versions := []struct {
		predictor backends.Predictor
		add       uint64
	}{{c.Wrap("v1", &model{add: 1000}), 1000}, {c.Wrap("v2", &model{add: 2000}), 2000}}
	var callers sync.WaitGroup
	for caller := range uint64(32) {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(caller, 3))
			for range 500 {
				v, n := versions[r.IntN(2)], r.Uint64N(40)
				ctx, cancel := context.WithCancel(t.Context())
				impatient := r.IntN(10) == 0
				if impatient {
					go cancel()
				}
				in := request(n)
				in.NoCache = r.IntN(20) == 0
				out, err := v.predictor.Predict(ctx, in)
				switch {
				case impatient && errors.Is(err, context.Canceled):
				case err != nil:
					t.Errorf("Predict(%d) = %v", n, err)
				case binary.LittleEndian.Uint64(out.Tensors[0].Data) != n+v.add:
					t.Errorf("Predict(%d) = %v, want %d", n, out.Tensors, n+v.add)
				}
				cancel()
			}
		})
	}
	callers.Go(func() {
		for c.Stats().Hits+c.Stats().Misses+c.Stats().Shared < 12000 {
			<-time.After(time.Millisecond)
		}
		c.Close()
	})
	callers.Wait()
	if s := c.Stats(); s.Hits == 0 || s.Shared == 0 || s.Misses == 0 {
		t.Errorf("Stats = %+v, want hits, shared and misses", s)
	}
}
