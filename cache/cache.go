// Package cache gives predictions that were already made.
//
// A hit is exact: the value holds the whole canonical request (see key) and it is compared
// byte by byte every time, so that no hash decides what a caller gets. The hash that finds the
// value is hash/maphash: it runs at the speed of memory, and its random seed keeps clients from
// aiming for collisions, which could only cost hits.
//
// A miss is computed once, however many callers ask for the same at the same time. They get
// the answer directly; the cache gets a copy afterwards. Errors are never kept.
//
// Beside its budget a Cache takes, for ristretto's counters and queue, half a megabyte and up
// to a sixteenth of the budget, and two goroutines until Close.
package cache

import (
	"context"
	"hash/maphash"
	"sync/atomic"

	"github.com/thrumserve/thrum/backends"
)

// Cache is a bounded set of predictions. Its methods may be called concurrently.
type Cache struct {
	sum     func([]byte) uint64
	store   *store
	flights flights

	hits, misses, shared, bypassed atomic.Uint64
}

// Stats is what a Cache has done and what it holds.
type Stats struct {
	Hits     uint64 // calls answered from the cache
	Misses   uint64 // calls that computed
	Shared   uint64 // calls that waited for the computation of another
	Bypassed uint64 // calls that asked for a fresh answer

	Evicted  uint64 // predictions that made room for others or had expired
	Dropped  uint64 // predictions not kept because too many came at once
	Rejected uint64 // predictions not kept because those in the cache are used more
	TooLarge uint64 // predictions not kept because of their size

	Bytes   int64 // held now, keys and overhead included
	Entries int64 // held now
}

// New returns an empty cache.
func New(o Options) (*Cache, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	store, err := newStore(o)
	if err != nil {
		return nil, err
	}
	seed := maphash.MakeSeed()
	return &Cache{
		sum:     func(b []byte) uint64 { return maphash.Bytes(seed, b) },
		store:   store,
		flights: flights{flying: map[uint64]*flight{}},
	}, nil
}

// Wrap returns a predictor that answers from c what next has answered before. id must differ
// between any two predictors that may answer differently: it is a digest of the version's
// content. Predictors with equal ids share their predictions.
//
// The answers are shared between callers. A call whose NoCache is set goes straight to next.
// The outcome is in the answer's Trace, whose other fields are set for calls that computed. A
// call returns as soon as its context ends, without disturbing others that wait for the same
// prediction; next runs under a context without deadline, which has the values of the first
// caller's and is cancelled when nobody waits any more. An error of next goes to all who wait
// for it. After Close every call goes to next.
func (c *Cache) Wrap(id string, next backends.Predictor) backends.Predictor {
	return &predictor{cache: c, id: id, next: next}
}

type predictor struct {
	cache *Cache
	id    string
	next  backends.Predictor
}

// Predict implements backends.Predictor.
func (p *predictor) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	c := p.cache
	if in.NoCache {
		c.bypassed.Add(1)
		return p.compute(ctx, in, backends.CacheBypass)
	}
	if err := ctx.Err(); err != nil {
		return backends.Batch{}, err
	}
	k := newKey(p.id, in, c.sum)
	if answer, ok := c.store.get(k); ok {
		c.hits.Add(1)
		answer.Trace.Cache = backends.CacheHit
		return answer, nil
	}
	f, leads := c.flights.join(k)
	if leads {
		c.misses.Add(1)
		p.launch(ctx, f, in)
		return c.wait(ctx, f, leads)
	}
	if f != nil && f.key.equal(k) {
		c.shared.Add(1)
		return c.wait(ctx, f, leads)
	}
	if f != nil {
		c.flights.leave(f)
	}
	c.misses.Add(1)
	return p.compute(ctx, in, backends.CacheMiss)
}

// compute asks next in the goroutine of the caller.
func (p *predictor) compute(ctx context.Context, in backends.Batch, outcome backends.CacheOutcome) (backends.Batch, error) {
	out, err := p.next.Predict(ctx, in)
	if err != nil {
		return backends.Batch{}, err
	}
	out.Trace.Cache = outcome
	return out, nil
}

// launch runs f in a goroutine of its own.
func (p *predictor) launch(ctx context.Context, f *flight, in backends.Batch) {
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer p.cache.flights.land(f)
		out, err := predict(ctx, p.next, in)
		f.out, f.err = detach(out), err
		close(f.done)
		if f.err == nil {
			p.cache.store.put(f.key, f.out)
		}
	}()
}

// detach returns an answer that many may read for as long as they like.
func detach(answer backends.Batch) backends.Batch {
	if answer.Lease == nil {
		return answer
	}
	defer answer.Release()
	own := clone(answer)
	own.Trace = answer.Trace
	return own
}

// wait returns the answer of f, or leaves it when ctx ends.
func (c *Cache) wait(ctx context.Context, f *flight, leads bool) (backends.Batch, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		c.flights.leave(f)
		return backends.Batch{}, ctx.Err()
	}
	if f.err != nil {
		return backends.Batch{}, f.err
	}
	out := f.out
	if leads {
		out.Trace.Cache = backends.CacheMiss
	} else {
		out.Trace = backends.Trace{Cache: backends.CacheShared}
	}
	return out, nil
}

// Stats returns what c has done and what it holds.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits:     c.hits.Load(),
		Misses:   c.misses.Load(),
		Shared:   c.shared.Load(),
		Bypassed: c.bypassed.Load(),
		Evicted:  c.store.evicted.Load(),
		Dropped:  c.store.dropped.Load(),
		Rejected: c.store.rejected.Load(),
		TooLarge: c.store.tooLarge.Load(),
		Bytes:    c.store.heldBytes.Load(),
		Entries:  c.store.heldEntries.Load(),
	}
}

// Close waits for the computations under way and frees what c holds. It may be called twice.
func (c *Cache) Close() {
	c.flights.close()
	c.store.close()
}
