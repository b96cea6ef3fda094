package cache

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/thrumserve/thrum/backends"
)

// entryOverhead is charged for every entry beside its bytes: the entry itself, its places in
// ristretto's maps and what the allocator rounds up. With 24,000 to 137,000 entries of 16 to
// 2,000 bytes of data the heap grew by 340 to 390 bytes an entry beyond what costOf adds to
// this, and by 390 to 435 with a TTL (Go 1.26, linux/amd64).
const entryOverhead = 400

// entry is a prediction and the key it answers. It is immutable and shares memory with
// nothing: a row cut from a batch would keep the whole batch alive.
type entry struct {
	key     []byte
	answer  backends.Batch
	cost    int64
	expires time.Time // zero for never
}

func newEntry(k key, answer backends.Batch, cost int64) *entry {
	return &entry{key: k.bytes(), answer: clone(answer), cost: cost}
}

// clone returns what a caller reads of an answer, sharing no memory with it.
func clone(answer backends.Batch) backends.Batch {
	c := backends.Batch{Parameters: slices.Clone(answer.Parameters), Tensors: slices.Clone(answer.Tensors)}
	for i := range c.Tensors {
		t := &c.Tensors[i]
		t.Shape = slices.Clone(t.Shape)
		t.Data = bytes.Clone(t.Data)
	}
	return c
}

// costOf returns the bytes that an entry takes.
func costOf(k key, answer backends.Batch) int64 {
	n := entryOverhead + k.size()
	for _, t := range answer.Tensors {
		n += int(unsafe.Sizeof(t)) + len(t.Name) + 8*len(t.Shape) + len(t.Data)
	}
	for _, p := range answer.Parameters {
		n += int(unsafe.Sizeof(p)) + len(p.Name) + len(p.Value)
	}
	return int64(n)
}

// store keeps entries by digest within a budget of bytes. It is ristretto, with what ristretto
// leaves open closed: its keys are hashes, so the caller compares entry.key; it lets values
// queue up to be stored without counting their bytes, so the store counts all it holds; and
// it must not be used while it closes.
type store struct {
	options Options
	entries *ristretto.Cache[uint64, *entry]

	mu sync.RWMutex // held to read while entries is used, to write while it closes

	heldBytes, heldEntries               atomic.Int64 // stored or on the way in
	evicted, dropped, rejected, tooLarge atomic.Uint64
}

func newStore(o Options) (*store, error) {
	s := &store{options: o}
	var err error
	s.entries, err = ristretto.NewCache(&ristretto.Config[uint64, *entry]{
		// An eighth of the budget is for entries on their way in.
		MaxCost:            o.MaxBytes - o.MaxBytes/8,
		IgnoreInternalCost: true, // entryOverhead counts it
		// Ten counters, as ristretto advises, for every entry if those take 1 KiB. A
		// counter takes 3 bytes.
		NumCounters: min(o.MaxBytes/100, 1<<24),
		BufferItems: 64,
		OnEvict:     func(*ristretto.Item[*entry]) { s.evicted.Add(1) },
		OnReject:    func(*ristretto.Item[*entry]) { s.rejected.Add(1) },
		OnExit:      s.release,
		// A value is replaced only if it may not be given out any more.
		ShouldUpdate: func(_, old *entry) bool { return old.expired(time.Now()) },
	})
	return s, err
}

func (e *entry) expired(now time.Time) bool {
	return !e.expires.IsZero() && !now.Before(e.expires)
}

// get returns the answer to k, if it is here and not expired.
func (s *store) get(k key) (backends.Batch, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.entries.Get(k.digest)
	if !ok || !k.matches(e.key) || s.options.TTL > 0 && e.expired(time.Now()) {
		return backends.Batch{}, false
	}
	return e.answer, true
}

// put keeps a copy of the answer to k, unless it is too large, the entries on their way in
// exceed their share, or ristretto holds what it has for more valuable.
func (s *store) put(k key, answer backends.Batch) {
	cost := costOf(k, answer)
	if cost > s.options.MaxBytes/16 {
		s.tooLarge.Add(1)
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.heldBytes.Add(cost) > s.options.MaxBytes {
		s.heldBytes.Add(-cost)
		s.dropped.Add(1)
		return
	}
	s.heldEntries.Add(1)
	e := newEntry(k, answer, cost)
	if s.options.TTL > 0 {
		e.expires = time.Now().Add(s.options.TTL)
	}
	if !s.entries.SetWithTTL(k.digest, e, cost, s.options.TTL) {
		s.release(e)
		s.dropped.Add(1)
	}
}

// release is told of every entry that is not held any more. Ristretto passes nil for a victim
// that was gone already.
func (s *store) release(e *entry) {
	if e != nil {
		s.heldBytes.Add(-e.cost)
		s.heldEntries.Add(-1)
	}
}

// close frees everything. Afterwards get finds nothing and put keeps nothing.
func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.Close()
}
