package cpu

import "slices"

// maxRecord bounds what is recorded of an execution, so that long loops have no layout.
const maxRecord = 1 << 14

// maxSpare bounds how many pieces of memory an execution keeps to use again.
const maxSpare = 64

// memory is what a run takes its values' memory from: places of the arena that a layout names,
// and as soon as the execution does something else than the layout says, places that are free,
// or the heap where there are none.
type memory struct {
	arena  arena
	answer *answer // of the execution under way; nil if nothing is known to leave

	layout *layout // followed so far; nil if there is none, or not any more
	seen   int     // of its record
	taken  int     // blocks
	record []int   // of the execution, where no layout is followed
	lost   bool    // there is more than record can hold
	want   int     // bytes that an arena takes which holds all that has been recorded

	headers []*buffer // all, of which the first so many are in use or have been
	idle    []*buffer // those that can be used again
	spare   [][]byte  // memory of the heap that this execution has given back
}

// begin prepares for an execution as l says, or for one that nothing is known of.
func (m *memory) begin(l *layout, a *answer) {
	m.layout, m.answer = l, a
	m.seen, m.taken, m.record, m.lost = 0, 0, m.record[:0], false
	if l != nil {
		m.want = max(m.want, l.arena)
	}
	m.arena.reserve(m.want)
	if l != nil && len(m.arena.mem) < l.arena {
		m.layout = nil
	}
}

// end forgets all blocks. No value may have any.
func (m *memory) end() {
	m.arena.live = m.arena.live[:0]
	m.layout, m.answer, m.spare = nil, nil, nil
	if len(m.headers) > maxRecord {
		m.headers = nil
	}
	m.idle = append(m.idle[:0], m.headers...)
}

// take returns a buffer of n bytes with one use.
func (m *memory) take(n int) *buffer {
	b := m.header()
	*b = buffer{uses: 1, number: m.taken}
	m.taken++
	if m.follows(n) {
		m.follow(b, n)
		return b
	}
	m.write(n)
	b.inside = m.arena.find(b, n)
	if !b.inside {
		b.mem, b.leaves = m.heap(n), true
	}
	return b
}

// heap returns n bytes of the heap: the smallest that has been given back, unless it is much
// larger.
func (m *memory) heap(n int) []byte {
	best := -1
	for i, s := range m.spare {
		if cap(s) >= n && cap(s) <= 2*n+4096 && (best < 0 || cap(s) < cap(m.spare[best])) {
			best = i
		}
	}
	if best < 0 {
		return alignedMemory(n)
	}
	s := m.spare[best]
	m.spare = slices.Delete(m.spare, best, best+1)
	return s[:n]
}

func (m *memory) header() *buffer {
	if n := len(m.idle); n > 0 {
		b := m.idle[n-1]
		m.idle = m.idle[:n-1]
		return b
	}
	b := new(buffer)
	m.headers = append(m.headers, b)
	return b
}

// follows says whether the layout holds still when the given event happens. Once it does not,
// it holds no more.
func (m *memory) follows(event int) bool {
	if m.layout == nil {
		return false
	}
	if m.seen < len(m.layout.record) && m.layout.record[m.seen] == event {
		m.seen++
		return true
	}
	m.record = append(m.record[:0], m.layout.record[:m.seen]...)
	m.layout = nil
	m.arena.sort()
	return false
}

// follow lays b, of n bytes, where the layout says.
func (m *memory) follow(b *buffer, n int) {
	place := m.layout.places[b.number]
	if place < 0 {
		b.mem, b.leaves = m.answer.mem[^place:][:n:n], true
		return
	}
	b.inside = true
	m.arena.put(b, n, place)
	m.arena.live = append(m.arena.live, b)
}

// write records an event.
func (m *memory) write(event int) {
	if len(m.record) == maxRecord {
		m.lost = true
		return
	}
	m.record = append(m.record, event)
}

// giveBack ends the last use of b.
func (m *memory) giveBack(b *buffer) {
	if !m.follows(^b.number) {
		m.write(^b.number)
	}
	switch {
	case b.inside:
		m.arena.remove(b)
	case m.layout == nil && len(m.spare) < maxSpare:
		m.spare = append(m.spare, b.mem)
	}
	m.idle = append(m.idle, b)
}

// drop ends t's use of its memory.
func (r *run) drop(t *tensor) {
	if b := t.buf; b != nil {
		if b.uses--; b.uses == 0 {
			r.giveBack(b)
		}
	}
	t.raw, t.strings, t.buf = nil, nil, nil
}
