package cpu

import (
	"slices"
	"sync"
	"sync/atomic"
)

// maxBuckets bounds the sets of input shapes that a plan is prepared for. The one that has not
// been asked for the longest makes room.
const maxBuckets = 64

// maxRecords bounds how often a bucket's layout is made anew because an execution did something
// else than the one that was recorded.
const maxRecords = 8

// bucket is what a plan knows of executions with certain shapes of the inputs and certain
// outputs wanted.
type bucket struct {
	key     []int
	wanted  []int                   // outputs, by index
	needed  []bool                  // the steps that they need; nil for all
	special atomic.Pointer[special] // nil before the first execution
	layout  atomic.Pointer[layout]
	records atomic.Int32 // how many layouts there were
}

// buckets holds the buckets of a plan, the last one that was asked for first.
type buckets struct {
	mu  sync.Mutex
	all []*bucket // guarded by mu
}

// find returns the bucket of that key, nil if there is none.
func (b *buckets) find(key []int) *bucket {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.all, func(k *bucket) bool { return slices.Equal(k.key, key) })
	if i < 0 {
		return nil
	}
	found := b.all[i]
	copy(b.all[1:i+1], b.all[:i])
	b.all[0] = found
	return found
}

// add keeps a bucket. Another of the same key may have been added meanwhile: it is not asked for
// any more.
func (b *buckets) add(k *bucket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) == maxBuckets {
		b.all = b.all[:maxBuckets-1]
	}
	b.all = slices.Insert(b.all, 0, k)
}

// learn makes the layout of what has been recorded, if it is to be believed at all.
func (k *bucket) learn(record []int, leaves func(block int) bool) *layout {
	if k.records.Add(1) > maxRecords {
		return nil
	}
	l := newLayout(record, leaves)
	k.layout.Store(l)
	return l
}
