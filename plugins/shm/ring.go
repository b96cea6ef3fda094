package shm

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// descriptor is a message: a request says which bytes of which slot the host has laid, a reply
// which of them the plugin has.
type descriptor struct {
	generation uint64 // of the slot: tells this call from earlier ones in the same place
	tag        uint64 // of a request: what the caller likes; of a reply: likewise the plugin
	offset     uint64 // in the slot
	length     uint64
	deadline   int64 // of a request, by the shared clock; 0 for none
	arena      uint32
	slot       uint32
	code       uint32 // of a reply
	_          uint32
	sequence   uint64 // its number from 1 on, stored after all else
}

// Each of these fails to compile when a descriptor is not a line.
var (
	_ [lineBytes - unsafe.Sizeof(descriptor{})]struct{}
	_ [unsafe.Sizeof(descriptor{}) - lineBytes]struct{}
)

// ring is one direction of a control region, as seen from one of its ends. The writing end and
// the reading end each count for themselves.
type ring struct {
	entries *[ringLen]descriptor
	asleep  *uint32 // 1 while the reader sleeps
	next    uint64  // the number of messages written, or read
}

func newRing(control region, entriesAt, asleepAt int) ring {
	return ring{
		entries: (*[ringLen]descriptor)(unsafe.Pointer(&control.mem[entriesAt])),
		asleep:  (*uint32)(unsafe.Pointer(&control.mem[asleepAt])),
	}
}

// write adds a message. The caller makes sure that there is one writer at a time.
func (r *ring) write(d descriptor) {
	e := &r.entries[r.next%ringLen]
	r.next++
	e.generation, e.tag, e.offset, e.length = d.generation, d.tag, d.offset, d.length
	e.deadline, e.arena, e.slot, e.code = d.deadline, d.arena, d.slot, d.code
	atomic.StoreUint64(&e.sequence, r.next)
}

// wake wakes the reader if it sleeps. It is to be called after write, and by who interrupts a
// sleep. It reports whether it did.
func (r *ring) wake() bool {
	if atomic.LoadUint32(r.asleep) == 0 || atomic.SwapUint32(r.asleep, 0) == 0 {
		return false
	}
	futexWake(r.asleep)
	return true
}

// ready reports whether a message is there to be read.
func (r *ring) ready() bool {
	return atomic.LoadUint64(&r.entries[r.next%ringLen].sequence) == r.next+1
}

// read returns the next message, which it has read once, if there is one.
func (r *ring) read() (d descriptor, ok bool) {
	if !r.ready() {
		return d, false
	}
	e := &r.entries[r.next%ringLen]
	r.next++
	d.generation, d.tag = atomic.LoadUint64(&e.generation), atomic.LoadUint64(&e.tag)
	d.offset, d.length = atomic.LoadUint64(&e.offset), atomic.LoadUint64(&e.length)
	d.deadline = atomic.LoadInt64(&e.deadline)
	d.arena, d.slot, d.code = atomic.LoadUint32(&e.arena), atomic.LoadUint32(&e.slot), atomic.LoadUint32(&e.code)
	return d, true
}

// maxSleep bounds a sleep, in case the peer is not there to end it.
const maxSleep = 100 * time.Millisecond

// sleep waits for a message or for an interruption: interrupted returns true, then wake is
// called.
func (r *ring) sleep(interrupted func() bool) {
	atomic.StoreUint32(r.asleep, 1)
	if !r.ready() && !interrupted() {
		futexWait(r.asleep, 1, maxSleep)
	}
	atomic.StoreUint32(r.asleep, 0)
}
