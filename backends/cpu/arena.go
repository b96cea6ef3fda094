package cpu

import (
	"runtime"
	"slices"
	"sync/atomic"
)

// maxArenas bounds the memory of all arenas of one model. What does not fit is taken from the
// heap instead.
const maxArenas = 1 << 30

// hugeArena is the size from which on huge pages pay: arenas of this size are mapped, and ask
// for them.
const hugeArena = 4 << 20

// arena is one piece of memory that holds the values of an execution.
type arena struct {
	mem     []byte
	live    []*buffer // that lie in mem, by place where places are looked for
	all     *atomic.Int64
	mapped  []byte
	cleanup runtime.Cleanup
}

// reserve makes a, in which nothing lies, hold n bytes where the bound allows it.
func (a *arena) reserve(n int) {
	if a.all == nil || n <= len(a.mem) {
		return
	}
	a.free()
	if a.all.Add(int64(n)) > maxArenas {
		a.all.Add(int64(-n))
		return
	}
	if n >= hugeArena {
		a.mapped, a.mem = mapMemory(n)
	}
	if a.mapped == nil {
		a.mem = alignedMemory(n)
		return
	}
	a.cleanup = runtime.AddCleanup(a, unmapMemory, a.mapped)
}

// free gives the memory back. Nothing may lie in it.
func (a *arena) free() {
	if len(a.mem) == 0 {
		return
	}
	a.all.Add(int64(-len(a.mem)))
	if a.mapped != nil {
		a.cleanup.Stop()
		unmapMemory(a.mapped)
	}
	a.mem, a.mapped = nil, nil
}

// put lays b, of n bytes, at a place that is free.
func (a *arena) put(b *buffer, n, place int) {
	b.at, b.end = place, place+wholeLines(n)
	b.mem = a.mem[b.at : b.at+n : b.end]
}

// find lays b, of n bytes, into the smallest gap between what is live, and says whether there
// is one.
func (a *arena) find(b *buffer, n int) bool {
	size := wholeLines(n)
	best, room, before, end := -1, 0, 0, 0
	for i := range len(a.live) + 1 {
		next := len(a.mem)
		if i < len(a.live) {
			next = a.live[i].at
		}
		if gap := next - end; gap >= size && (best < 0 || gap < room) {
			best, room, before = end, gap, i
		}
		if i < len(a.live) {
			end = a.live[i].end
		}
	}
	if best < 0 {
		return false
	}
	a.put(b, n, best)
	a.live = slices.Insert(a.live, before, b)
	return true
}

// remove ends b's place.
func (a *arena) remove(b *buffer) {
	if i := slices.Index(a.live, b); i >= 0 {
		a.live = slices.Delete(a.live, i, i+1)
	}
}

// sort orders what is live by place, as find needs it.
func (a *arena) sort() {
	slices.SortFunc(a.live, func(x, y *buffer) int { return x.at - y.at })
}

// alignedMemory returns n bytes that start with a cache line.
func alignedMemory(n int) []byte {
	m := make([]byte, n+cacheLine-1)
	past := int(addressOf(m) % cacheLine)
	return m[(cacheLine-past)%cacheLine:][:n:n]
}
