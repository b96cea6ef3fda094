package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thrumserve/thrum/backends"
)

func open(t testing.TB, o Options) *Cache {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatalf("New(%+v) = %v", o, err)
	}
	t.Cleanup(c.Close)
	return c
}

func request(n uint64) backends.Batch {
	return backends.Batch{Tensors: []backends.Tensor{
		{Name: "x", Datatype: backends.Uint64, Shape: []int64{1}, Data: binary.LittleEndian.AppendUint64(nil, n)},
	}}
}

// model answers x with y = x + add after a while, and counts.
type model struct {
	add   uint64
	takes time.Duration
	tarry time.Duration // before it notices a cancellation
	fail  func() error  // nil: answer

	calls, canceled atomic.Int64
}

func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	m.calls.Add(1)
	if m.takes > 0 {
		select {
		case <-time.After(m.takes):
		case <-ctx.Done():
			m.canceled.Add(1)
			<-time.After(m.tarry)
			return backends.Batch{}, ctx.Err()
		}
	}
	if m.fail != nil {
		if err := m.fail(); err != nil {
			return backends.Batch{}, err
		}
	}
	x := binary.LittleEndian.Uint64(in.Tensors[0].Data)
	out := request(x + m.add)
	out.Tensors[0].Name = "y"
	out.Parameters = []backends.Parameter{{Name: "by", Value: `"model"`}}
	out.Trace = backends.Trace{Queue: 1, Compute: 2, BatchRows: 3}
	return out, nil
}

// expect predicts n through p and checks value and outcome.
func expect(t *testing.T, p backends.Predictor, in backends.Batch, want uint64, outcome backends.CacheOutcome) {
	t.Helper()
	out, err := p.Predict(t.Context(), in)
	if err != nil {
		t.Errorf("Predict: %v", err)
		return
	}
	if got := binary.LittleEndian.Uint64(out.Tensors[0].Data); got != want || out.Trace.Cache != outcome {
		t.Errorf("Predict = %d (%s), want %d (%s)", got, out.Trace.Cache, want, outcome)
	}
	if computed := outcome != backends.CacheHit && outcome != backends.CacheShared; computed != (out.Trace.Compute == 2) {
		t.Errorf("a %s has Trace %+v", outcome, out.Trace)
	}
}

// settle waits until flights have landed and ristretto has taken in what they stored.
func settle(c *Cache) {
	c.flights.running.Wait()
	c.store.entries.Wait()
}

func TestCacheHits(t *testing.T) {
	c := open(t, Options{MaxBytes: 1 << 20})
	m := &model{add: 100}
	p := c.Wrap("v1", m)
	in := request(1)
	expect(t, p, in, 101, backends.CacheMiss)
	settle(c)
	expect(t, p, in, 101, backends.CacheHit)
	expect(t, p, request(2), 102, backends.CacheMiss)
	in.Outputs = []string{"y"}
	expect(t, p, in, 101, backends.CacheMiss)
	settle(c)
	out, err := p.Predict(t.Context(), in)
	want := backends.Batch{
		Tensors:    []backends.Tensor{{Name: "y", Datatype: backends.Uint64, Shape: []int64{1}, Data: []byte{101, 0, 0, 0, 0, 0, 0, 0}}},
		Parameters: []backends.Parameter{{Name: "by", Value: `"model"`}},
		Trace:      backends.Trace{Cache: backends.CacheHit},
	}
	if err != nil || !reflect.DeepEqual(out, want) {
		t.Errorf("a hit gives %+v, %v, want %+v", out, err, want)
	}
	if m.calls.Load() != 3 {
		t.Errorf("%d predictions were computed, want 3", m.calls.Load())
	}
	held := costOf(newKey("v1", request(1), c.sum), want) + costOf(newKey("v1", request(2), c.sum), want) + costOf(newKey("v1", in, c.sum), want)
	if s := c.Stats(); s != (Stats{Hits: 2, Misses: 3, Entries: 3, Bytes: held}) {
		t.Errorf("Stats = %+v, want 2 hits, 3 misses and 3 entries of %d bytes", s, held)
	}
}

func TestCacheKeepsVersionsApart(t *testing.T) {
	c := open(t, Options{MaxBytes: 1 << 20})
	old, new := c.Wrap("digest1", &model{add: 1}), c.Wrap("digest2", &model{add: 2})
	for _, outcome := range []backends.CacheOutcome{backends.CacheMiss, backends.CacheHit} {
		expect(t, old, request(5), 6, outcome)
		expect(t, new, request(5), 7, outcome)
		settle(c)
	}
	expect(t, c.Wrap("digest1", &model{add: 99}), request(5), 6, backends.CacheHit)
}

// With a hash that is the same for everything, answers are late at most, never wrong.
func TestCacheSurvivesCollisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{MaxBytes: 1 << 20})
		c.sum = func([]byte) uint64 { return 7 }
		m := &model{add: 100, takes: time.Millisecond}
		p := c.Wrap("v1", m)
		for range 3 {
			var callers sync.WaitGroup
			for i := range uint64(8) {
				callers.Go(func() {
					out, err := p.Predict(t.Context(), request(i/2))
					if err != nil || binary.LittleEndian.Uint64(out.Tensors[0].Data) != i/2+100 {
						t.Errorf("Predict(%d) = %v, %v, want %d", i/2, out.Tensors, err, i/2+100)
					}
				})
			}
			callers.Wait()
			settle(c)
		}
		s := c.Stats()
		if s.Entries != 1 || s.Hits == 0 || s.Hits+s.Shared+s.Misses != 24 {
			t.Errorf("Stats = %+v, want one entry that was hit, and 24 calls", s)
		}
		if len(c.flights.flying) != 0 {
			t.Errorf("%d flights are left", len(c.flights.flying))
		}
	})
}

// A caller that only shares a hash with a flight does not keep it alive.
func TestCacheCollisionDoesNotHoldAFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{MaxBytes: 1 << 20})
		c.sum = func([]byte) uint64 { return 7 }
		m := &model{takes: 20 * time.Millisecond}
		p := c.Wrap("v1", m)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		go p.Predict(ctx, request(1))
		synctest.Wait()
		expect(t, p, request(2), 2, backends.CacheMiss)
		if m.canceled.Load() != 1 {
			t.Errorf("%d predictions were cancelled, want the one that nobody waited for", m.canceled.Load())
		}
	})
}

func TestCacheBypass(t *testing.T) {
	c := open(t, Options{MaxBytes: 1 << 20})
	m := &model{}
	p := c.Wrap("v1", m)
	fresh := request(1)
	fresh.NoCache = true
	expect(t, p, fresh, 1, backends.CacheBypass)
	settle(c)
	expect(t, p, request(1), 1, backends.CacheMiss)
	settle(c)
	expect(t, p, fresh, 1, backends.CacheBypass)
	expect(t, p, request(1), 1, backends.CacheHit)
	m.fail = func() error { return backends.ErrUnavailable }
	if _, err := p.Predict(t.Context(), fresh); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("a failing bypass gives %v", err)
	}
	if s := c.Stats(); s.Bypassed != 3 || s.Misses != 1 || s.Hits != 1 {
		t.Errorf("Stats = %+v, want 3 bypassed, 1 miss, 1 hit", s)
	}
}

func TestCacheFliesOncePerMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{MaxBytes: 1 << 20})
		m := &model{add: 1, takes: 10 * time.Millisecond}
		p := c.Wrap("v1", m)
		begin := time.Now()
		var callers sync.WaitGroup
		callers.Go(func() { expect(t, p, request(1), 2, backends.CacheMiss) })
		synctest.Wait()
		for range 4 {
			callers.Go(func() { expect(t, p, request(1), 2, backends.CacheShared) })
		}
		callers.Go(func() { expect(t, p, request(2), 3, backends.CacheMiss) })
		callers.Wait()
		if took := time.Since(begin); took != 10*time.Millisecond || m.calls.Load() != 2 {
			t.Errorf("took %v and %d predictions, want 10ms and 2", took, m.calls.Load())
		}
		if s := c.Stats(); s.Misses != 2 || s.Shared != 4 {
			t.Errorf("Stats = %+v, want 2 misses and 4 shared", s)
		}
	})
}

func TestCacheLetsImpatientCallersGo(t *testing.T) {
	type fate struct {
		err   error
		after time.Duration
	}
	call := func(ctx context.Context, p backends.Predictor) chan fate {
		done, begin := make(chan fate, 1), time.Now()
		go func() {
			_, err := p.Predict(ctx, request(1))
			done <- fate{err, time.Since(begin)}
		}()
		synctest.Wait()
		return done
	}
	const ms = time.Millisecond
	type caller struct {
		patience time.Duration
		want     fate
	}
	short, patient := caller{5 * ms, fate{context.DeadlineExceeded, 5 * ms}}, caller{time.Second, fate{nil, 20 * ms}}
	for _, test := range []struct {
		situation string
		callers   []caller // the first leads
		canceled  int64
		then      backends.CacheOutcome // of a caller 6 ms after the first
	}{
		{"the leader leaves, others stay", []caller{short, patient, patient}, 0, backends.CacheShared},
		{"one who joined leaves", []caller{patient, short}, 0, backends.CacheShared},
		{"all leave, and the prediction tarries", []caller{short, short}, 1, backends.CacheMiss},
		{"the only one leaves", []caller{short}, 1, backends.CacheMiss},
	} {
		t.Run(test.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := open(t, Options{MaxBytes: 1 << 20})
				m := &model{takes: 20 * ms, tarry: 5 * ms}
				p := c.Wrap("v1", m)
				var fates []chan fate
				for _, caller := range test.callers {
					ctx, cancel := context.WithTimeout(t.Context(), caller.patience)
					defer cancel()
					fates = append(fates, call(ctx, p))
				}
				for after, want := range map[time.Duration]backends.CacheOutcome{6 * ms: test.then, 12 * ms: backends.CacheShared} {
					time.AfterFunc(after, func() { expect(t, p, request(1), 1, want) })
				}
				for i, caller := range test.callers {
					if got := <-fates[i]; got != caller.want {
						t.Errorf("caller %d: %+v, want %+v", i, got, caller.want)
					}
				}
				<-time.After(30 * ms)
				if got := m.canceled.Load(); got != test.canceled {
					t.Errorf("%d predictions were cancelled, want %d", got, test.canceled)
				}
			})
		})
	}
}

func TestCacheRefusesEndedContext(t *testing.T) {
	c := open(t, Options{MaxBytes: 1 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := &model{}
	if _, err := c.Wrap("v1", m).Predict(ctx, request(1)); !errors.Is(err, context.Canceled) || m.calls.Load() != 0 {
		t.Errorf("Predict = %v after %d predictions, want context.Canceled and none", err, m.calls.Load())
	}
}

type valueKey struct{}

func TestCacheKeepsTheValuesOfTheContext(t *testing.T) {
	c := open(t, Options{MaxBytes: 1 << 20})
	var seen context.Context
	p := c.Wrap("v1", backends.PredictorFunc(func(ctx context.Context, in backends.Batch) (backends.Batch, error) {
		seen = ctx
		return in, ctx.Err()
	}))
	if _, err := p.Predict(context.WithValue(t.Context(), valueKey{}, 1), request(1)); err != nil || seen.Value(valueKey{}) != 1 {
		t.Errorf("the prediction saw value %v, %v, want 1", seen.Value(valueKey{}), err)
	}
	settle(c)
	if seen.Err() == nil {
		t.Errorf("the context of the prediction outlives it")
	}
}

func TestCacheNeverKeepsErrors(t *testing.T) {
	down := backends.Errorf(backends.ErrUnavailable, "down")
	for _, test := range []struct {
		situation string
		fail      func() error
		want      string
	}{
		{"an error", func() error { return down }, "down"},
		{"a panic", func() error { panic("boom") }, "the model panicked: boom"},
	} {
		t.Run(test.situation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := open(t, Options{MaxBytes: 1 << 20})
				m := &model{takes: time.Millisecond, fail: test.fail}
				p := c.Wrap("v1", m)
				var callers sync.WaitGroup
				for range 3 {
					callers.Go(func() {
						if out, err := p.Predict(t.Context(), request(1)); err == nil || err.Error() != test.want || out.Tensors != nil {
							t.Errorf("Predict = %v, %v, want %q", out, err, test.want)
						}
					})
				}
				callers.Wait()
				settle(c)
				if m.calls.Load() != 1 {
					t.Errorf("%d predictions, want one for all three", m.calls.Load())
				}
				m.fail = nil
				expect(t, p, request(1), 1, backends.CacheMiss)
			})
		})
	}
}

func TestCacheNeverServesPastTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{MaxBytes: 1 << 20, TTL: time.Minute})
		m := &model{}
		p := c.Wrap("v1", m)
		expect(t, p, request(1), 1, backends.CacheMiss)
		settle(c)
		<-time.After(time.Minute - 1)
		expect(t, p, request(1), 1, backends.CacheHit)
		<-time.After(1)
		m.add = 10
		expect(t, p, request(1), 11, backends.CacheMiss)
		settle(c)
		expect(t, p, request(1), 11, backends.CacheHit)
		if s := c.Stats(); s.Entries != 1 {
			t.Errorf("Stats = %+v, want the new entry in place of the old", s)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 || s.Evicted != 1 {
			t.Errorf("Stats = %+v, want no memory held for what has expired", s)
		}
	})
}

func TestCacheStoresCopies(t *testing.T) {
	c := open(t, Options{MaxBytes: 1 << 20})
	in := request(1)
	batch := make([]byte, 1<<10)
	p := c.Wrap("v1", backends.PredictorFunc(func(context.Context, backends.Batch) (backends.Batch, error) {
		return backends.Batch{Tensors: []backends.Tensor{
			{Name: "y", Datatype: backends.Uint8, Shape: []int64{4}, Data: batch[8:12]},
		}}, nil
	}))
	if _, err := p.Predict(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	settle(c)
	batch[8] = 99
	out, err := p.Predict(t.Context(), in)
	if err != nil || out.Trace.Cache != backends.CacheHit || !bytes.Equal(out.Tensors[0].Data, make([]byte, 4)) {
		t.Fatalf("Predict = %+v, %v, want the answer as it was", out, err)
	}
	if cap(out.Tensors[0].Data) > 16 {
		t.Errorf("the entry holds %d bytes for 4", cap(out.Tensors[0].Data))
	}
	in.Tensors[0].Data[0] = 2
	if _, hit := c.store.get(newKey("v1", in, c.sum)); hit {
		t.Errorf("the stored key changes with the request's memory")
	}
}

func TestCacheKeepsToItsBudget(t *testing.T) {
	const budget = 1 << 20
	c := open(t, Options{MaxBytes: budget})
	size := 1000
	p := c.Wrap("v1", backends.PredictorFunc(func(context.Context, backends.Batch) (backends.Batch, error) {
		return backends.Batch{Tensors: []backends.Tensor{{Name: "y", Datatype: backends.Uint8, Shape: []int64{int64(size)}, Data: make([]byte, size)}}}, nil
	}))
	for i := range uint64(3000) {
		if _, err := p.Predict(t.Context(), request(i)); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); s.Bytes > budget+2000 { // one put may be about to give up
			t.Fatalf("%d bytes held, at most %d may be", s.Bytes, budget)
		}
	}
	settle(c)
	s := c.Stats()
	if s.Bytes < budget/2 || s.Entries < 300 || s.Entries > budget/1000 {
		t.Errorf("Stats = %+v, want a cache that is used", s)
	}
	if s.Evicted+s.Rejected+s.Dropped+uint64(s.Entries) != 3000 {
		t.Errorf("Stats = %+v: the 3000 predictions are not accounted for", s)
	}
	size = budget / 16
	if _, err := p.Predict(t.Context(), request(3000)); err != nil {
		t.Fatal(err)
	}
	settle(c)
	if s := c.Stats(); s.TooLarge != 1 {
		t.Errorf("Stats = %+v, want 1 too large", s)
	}
}

func TestStoreDropsWhatComesTooFast(t *testing.T) {
	s, err := newStore(Options{MaxBytes: minBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.heldBytes.Store(minBytes) // as if that much were on its way in
	k := newKey("v1", request(1), sum)
	s.put(k, request(1))
	if s.dropped.Load() != 1 || s.heldBytes.Load() != minBytes || s.heldEntries.Load() != 0 {
		t.Errorf("%d dropped, %d bytes of %d entries held, want 1, %d of 0", s.dropped.Load(), s.heldBytes.Load(), s.heldEntries.Load(), minBytes)
	}
}

func TestCacheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{MaxBytes: 1 << 20})
		m := &model{takes: 10 * time.Millisecond}
		p := c.Wrap("v1", m)
		expect(t, p, request(1), 1, backends.CacheMiss)
		begin := time.Now()
		go expect(t, p, request(2), 2, backends.CacheMiss)
		synctest.Wait()
		c.Close()
		if took := time.Since(begin); took != 10*time.Millisecond {
			t.Errorf("Close took %v, want the 10ms of the prediction under way", took)
		}
		c.Close()
		expect(t, p, request(1), 1, backends.CacheMiss)
		c.store.put(newKey("v1", request(3), c.sum), request(3))
		if s := c.Stats(); s.Bytes != 0 || s.Entries != 0 {
			t.Errorf("Stats = %+v, want nothing held", s)
		}
	})
}

func TestOptionsValidate(t *testing.T) {
	for _, test := range []struct {
		situation string
		options   Options
		want      string
	}{
		{"smallest", Options{MaxBytes: 1 << 20}, ""},
		{"with a TTL", Options{MaxBytes: 1 << 20, TTL: time.Second}, ""},
		{"zero value", Options{}, "cache.max_bytes is 0: at least 1048576 are needed"},
		{"negative TTL", Options{MaxBytes: 1 << 20, TTL: -time.Second},
			"cache.ttl is -1s: it must not be negative; 0 keeps predictions until they are evicted"},
	} {
		t.Run(test.situation, func(t *testing.T) {
			got := ""
			c, err := New(test.options)
			if err != nil {
				got = err.Error()
			} else {
				c.Close()
			}
			if got != test.want || err != nil && !errors.Is(err, backends.ErrInvalid) {
				t.Errorf("New(%+v) = %q, want %q", test.options, got, test.want)
			}
		})
	}
}
