package shm

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Pool is the slots of one kind of calls: a list of arenas that grows as calls need more or
// larger slots, within a bound.
type Pool struct {
	host  *Host
	bound int // bytes of all arenas together

	mu      sync.Mutex // protects the fields below; may be taken before Host.mu, not after
	arenas  []*arena   // by the size of their slots
	bytes   int
	growth  *growth       // under way
	changed chan struct{} // closed when a slot is released or a growth ends; nil if nobody waits
	closed  bool
}

// arena is equal slots in one region. Slots are taken from the end of free, so that those used
// last, which are in the caches, are used first.
type arena struct {
	pool      *Pool
	number    uint32
	slotBytes int
	region    region
	slots     []*Slot
	free      []*Slot // protected by the pool's mutex
}

// Slot is memory for one call, the caller's from Acquire to Release, except while a call that it
// has left is still with the plugin.
type Slot struct {
	arena  *arena
	number uint32
	mem    []byte
	signal chan struct{} // tells a parked caller to look again
	free   func()        // Release, as a value that is made once

	// Protected by Host.mu, but for a slot that is nobody's but the caller's.
	state      slotState
	generation uint64
	asked      int // bytes of the request
	answered   int // where the reply ends
	reply      Reply
	at         int // in Host.parked; -1 if not there
}

type slotState uint8

const (
	slotHeld     slotState = iota // free, or the caller's
	slotAsked                     // the plugin's
	slotAnswered                  // the caller's, who has not noticed yet
)

func (s slotState) String() string {
	return [...]string{"not under way", "under way", "answered already"}[s]
}

func (s *Slot) wake() {
	select {
	case s.signal <- struct{}{}:
	default: // it has been told and has not looked yet
	}
}

// growth is an arena that is being made.
type growth struct {
	slotBytes int
	err       error // why it came to nothing; set before Pool.changed is closed
}

// NewPool returns a pool that may have that many bytes.
func (h *Host) NewPool(bound int) *Pool { return &Pool{host: h, bound: bound} }

// Reserve makes an arena, if the bound and MaxSlots allow it.
func (p *Pool) Reserve(slots, slotBytes int) error {
	p.mu.Lock()
	err := p.begin(slots, slotBytes)
	g := p.growth
	p.mu.Unlock()
	if err != nil {
		return err
	}
	p.make(g, slots)
	return g.err
}

// Acquire returns a slot of at least that many bytes. When none is free it makes another arena,
// and when the bound forbids that it waits for one to be released. A size beyond the bound is an
// ErrTooLarge.
func (p *Pool) Acquire(ctx context.Context, size int) (*Slot, error) {
	var waited *growth
	for {
		p.mu.Lock()
		if waited != nil && waited.err != nil {
			p.mu.Unlock()
			return nil, waited.err
		}
		s, err := p.take(size)
		if s != nil || err != nil {
			p.mu.Unlock()
			return s, err
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		waited = p.growth
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns a free slot, or sees to it that there will be one.
func (p *Pool) take(size int) (*Slot, error) {
	if p.closed {
		return nil, ErrClosed
	}
	wanted := 0 // slots that are there, but taken
	for _, a := range p.arenas {
		if a.slotBytes < size {
			continue
		}
		if n := len(a.free); n > 0 {
			s := a.free[n-1]
			a.free = a.free[:n-1]
			return s, nil
		}
		wanted += len(a.slots)
	}
	if p.growth != nil {
		return nil, nil
	}
	p.host.mu.Lock()
	err := p.host.usable()
	p.host.mu.Unlock()
	if err != nil {
		return nil, err
	}
	slotBytes := slotSize(size)
	if size > p.bound || slotBytes > p.bound {
		return nil, fmt.Errorf("a call of %d bytes, %w of %d", size, ErrTooLarge, p.bound)
	}
	slots := min(max(wanted, 4), max(1, growAtMost/slotBytes))
	for ; slots > 0; slots /= 2 {
		if p.begin(slots, slotBytes) == nil {
			go p.make(p.growth, slots)
			break
		}
	}
	return nil, nil
}

// growAtMost bounds what an arena takes that is made because slots were short, unless a single
// slot is larger.
const growAtMost = 64 << 20

// slotSize is the size of slots that are made for a call: a quarter more at most, so that there
// are few sizes and somewhat larger calls need no other.
func slotSize(size int) int {
	step := slotGranularity
	for 8*step < size {
		step *= 2
	}
	return max(align(size, step), slotGranularity)
}

// begin books a growth, for which it drops arenas that are idle and too small if it must.
func (p *Pool) begin(slots, slotBytes int) error {
	if p.closed {
		return ErrClosed
	}
	if slots < 1 || slotBytes < 1 || slots > MaxSlots || slotBytes > maxArenaBytes/slots {
		return fmt.Errorf("%d slots of %d bytes", slots, slotBytes)
	}
	slotBytes = align(slotBytes, slotGranularity)
	for p.bytes+slots*slotBytes > p.bound || !p.host.book(slots) {
		idle := slices.IndexFunc(p.arenas, func(a *arena) bool { return len(a.free) == len(a.slots) && a.slotBytes < slotBytes })
		if idle < 0 {
			return fmt.Errorf("%d slots of %d bytes, %w of %d", slots, slotBytes, ErrTooLarge, p.bound)
		}
		p.drop(p.arenas[idle])
	}
	p.bytes += slots * slotBytes
	p.growth = &growth{slotBytes: slotBytes}
	return nil
}

// make makes the arena that begin has booked.
func (p *Pool) make(g *growth, slots int) {
	a, err := p.host.newArena(p, slots, g.slotBytes)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.growth, g.err = nil, err
	if err == nil {
		at, _ := slices.BinarySearchFunc(p.arenas, g.slotBytes, func(a *arena, size int) int { return a.slotBytes - size })
		p.arenas = slices.Insert(p.arenas, at, a)
	} else {
		p.bytes -= slots * g.slotBytes
	}
	if p.closed && err == nil {
		p.drop(a)
	}
	p.notify()
}

func (p *Pool) notify() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// drop gives up an arena of which no slot is taken.
func (p *Pool) drop(a *arena) {
	p.arenas = slices.DeleteFunc(p.arenas, func(b *arena) bool { return a == b })
	p.bytes -= len(a.slots) * a.slotBytes
	p.host.forget(a)
	a.region.unmap()
}

// Bytes returns the memory of the slot.
func (s *Slot) Bytes() []byte { return s.mem }

// Release gives the slot back. Nobody may read it any more.
func (s *Slot) Release() {
	p := s.arena.pool
	if poisons {
		poison(s.mem[:s.answered])
	}
	s.asked, s.answered, s.reply = 0, 0, Reply{}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.arena.free = append(s.arena.free, s)
	if p.closed && len(s.arena.free) == len(s.arena.slots) {
		p.drop(s.arena)
	}
	p.notify()
}

// Releaser returns Release as a value, which is the same one for every call in the slot.
func (s *Slot) Releaser() func() { return s.free }

// Taken returns how many slots are not free: a leak, where no call is under way and no reply in
// use.
func (p *Pool) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, a := range p.arenas {
		n += len(a.slots) - len(a.free)
	}
	return n
}

// Close refuses later calls of Acquire and gives up the memory, of each arena once all of its
// slots have been released. It may be called twice.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, a := range slices.Clone(p.arenas) {
		if len(a.free) == len(a.slots) {
			p.drop(a)
		}
	}
	p.notify()
}

// book counts slots that are to be made, if there may be that many.
func (h *Host) book(slots int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.slots+slots > MaxSlots {
		return false
	}
	h.slots += slots
	return true
}

// newArena makes an arena whose slots have been booked.
func (h *Host) newArena(p *Pool, slots, slotBytes int) (*arena, error) {
	a, f, err := h.mapArena(p, slots, slotBytes)
	if err == nil {
		err = h.introduce(a, f)
		_ = f.Close()
		if err == nil {
			h.mu.Lock()
			h.arenas = append(h.arenas, a)
			h.mu.Unlock()
			return a, nil
		}
		a.region.unmap()
	}
	h.mu.Lock()
	h.slots -= slots
	h.mu.Unlock()
	return nil, err
}

func (h *Host) mapArena(p *Pool, slots, slotBytes int) (*arena, *os.File, error) {
	h.mu.Lock()
	err := h.usable()
	h.last++
	number := h.last
	h.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	r, f, err := newRegion("thrum-arena", slots*slotBytes)
	if err != nil {
		return nil, nil, err
	}
	a := &arena{pool: p, number: number, slotBytes: slotBytes, region: r, slots: make([]*Slot, slots)}
	for i := range a.slots {
		s := &Slot{
			arena: a, number: uint32(i), signal: make(chan struct{}, 1), at: -1,
			mem: r.mem[i*slotBytes : (i+1)*slotBytes : (i+1)*slotBytes],
		}
		s.free = s.Release
		a.slots[i] = s
	}
	a.free = slices.Clone(a.slots)
	slices.Reverse(a.free)
	return a, f, nil
}

// forget strikes an arena out that is used no more.
func (h *Host) forget(a *arena) {
	h.mu.Lock()
	h.arenas = slices.DeleteFunc(h.arenas, func(b *arena) bool { return a == b })
	h.slots -= len(a.slots)
	ended := h.err != nil
	h.mu.Unlock()
	if !ended {
		go func() { _ = h.tell(message{kind: messageDrop, arena: a.number}, nil) }()
	}
}
