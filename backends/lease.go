package backends

import "sync/atomic"

// Lease keeps memory that is not the garbage collector's readable: a slot that a plugin
// process has written its answer to, say. All of an answer may lie there, its shapes too. Each of its holders calls Release once when it has
// read what it needs; after the last one the memory is used again. A nil Lease is valid and
// means that there is nothing to give back.
type Lease struct {
	holders atomic.Int64
	free    func()
}

// NewLease returns a lease with one holder. free is called once, after the last Release, in
// the goroutine of the last holder.
func NewLease(free func()) *Lease {
	l := &Lease{free: free}
	l.holders.Store(1)
	return l
}

// Retain adds n holders. The caller must be one.
func (l *Lease) Retain(n int) {
	if l != nil && l.holders.Add(int64(n)) <= int64(n) {
		panic("backends: Lease.Retain after the last Release")
	}
}

// Release ends the hold of the caller, who must not touch the memory again.
func (l *Lease) Release() {
	if l == nil {
		return
	}
	switch n := l.holders.Add(-1); {
	case n == 0:
		l.free()
	case n < 0:
		panic("backends: Lease.Release by more holders than there are")
	}
}

// Renew makes l, a lease that nobody holds, a lease with one holder again, so that who lends the
// same memory over and over needs no new one. free is as in NewLease. A holder that releases l
// once too often may then end the hold of another.
func (l *Lease) Renew(free func()) {
	if !l.holders.CompareAndSwap(0, 1) {
		panic("backends: Lease.Renew while it is held")
	}
	l.free = free
}
