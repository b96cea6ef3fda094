package shm

import "testing"

// BenchmarkEnds measures what each end adds to a message: the other one has always answered before.
func BenchmarkEnds(b *testing.B) {
	b.Run("host", func(b *testing.B) {
		h, _ := inProcessOnly(b)
		theirs := newRing(h.control, replyRingAt, repliesAt)
		pool := h.NewPool(1 << 20)
		for b.Loop() {
			s, err := pool.Acquire(b.Context(), 100)
			if err != nil {
				b.Fatal(err)
			}
			theirs.write(descriptor{generation: s.generation + 1, arena: s.arena.number, slot: s.number, offset: 64})
			if _, err := s.Call(b.Context(), doNothing, 8); err != nil {
				b.Fatal(err)
			}
			s.Release()
		}
	})
	b.Run("plugin", func(b *testing.B) {
		h, p := inProcessOnly(b)
		ours := newRing(h.control, requestRingAt, requestsAt)
		pool := h.NewPool(1 << 20)
		s := acquire(b, pool, 100)
		n := uint64(0)
		var c *call
		for b.Loop() {
			n++
			ours.write(descriptor{generation: n, tag: doNothing, length: 8, arena: s.arena.number, slot: s.number})
			d, _ := p.next(false)
			var err error
			if c, _, err = p.serve(0, c, d, answer); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func inProcessOnly(b *testing.B) (*Host, *Plugin) {
	h := newHost(b)
	p, err := Open(h.theirs[0], h.theirs[1])
	if err != nil {
		b.Fatal(err)
	}
	p.running = make([]*call, 1)
	p.receive.alone, p.send.alone = true, true
	go func() { _ = p.listen() }()
	b.Cleanup(p.Close)
	return h, p
}
