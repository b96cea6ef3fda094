package shm

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"unsafe"
)

// FuzzReplies plays a hostile plugin: whatever it writes to the rings, what the host takes for a
// reply is one to a call under way, within its slot and behind its request.
func FuzzReplies(f *testing.F) {
	reply := func(d descriptor) []byte {
		b := make([]byte, lineBytes)
		*(*descriptor)(unsafe.Pointer(&b[0])) = d
		return b
	}
	good := descriptor{generation: 1, arena: 1, slot: 0, offset: 64, length: 10, sequence: 1}
	again := good
	again.sequence = 2
	f.Add(reply(good))
	f.Add(append(reply(good), reply(again)...))
	for _, spoil := range []func(*descriptor){
		func(d *descriptor) { d.arena = 2 },
		func(d *descriptor) { d.slot = 4 },
		func(d *descriptor) { d.slot = 2 }, // free
		func(d *descriptor) { d.generation = 2 },
		func(d *descriptor) { d.offset = 50 },
		func(d *descriptor) { d.offset = 1 << 63 },
		func(d *descriptor) { d.length = slotGranularity },
		func(d *descriptor) { d.offset, d.length = 64, 1<<64-64 },
	} {
		bad := good
		spoil(&bad)
		f.Add(reply(bad))
	}
	f.Fuzz(func(t *testing.T, scribble []byte) {
		h, pool, slots := hostWithCalls(t, 2)
		defer h.Close()
		copy(h.control.mem[replyRingAt:], scribble)
		others, err := h.collect(slots[1], nil)
		if err == nil && len(scribble) >= lineBytes && binary.LittleEndian.Uint64(scribble[lineBytes-8:]) == 1 && len(others) == 0 && slots[1].state == slotAsked {
			t.Errorf("a reply was neither accepted nor refused")
		}
		answered := 0
		for _, s := range slots {
			if s.state != slotAnswered || len(s.reply.Data) == 0 {
				continue
			}
			answered++
			base := uintptr(unsafe.Pointer(&s.mem[0]))
			at := uintptr(unsafe.Pointer(unsafe.SliceData(s.reply.Data)))
			if at < base+uintptr(s.asked) || at+uintptr(len(s.reply.Data)) > base+uintptr(len(s.mem)) {
				t.Errorf("accepted a reply at %d of %d bytes in a slot of %d", at-base, len(s.reply.Data), len(s.mem))
			}
		}
		if taken := pool.Taken(); answered > taken {
			t.Errorf("%d replies to %d calls", answered, taken)
		}
	})
}

// hostWithCalls returns a host without a plugin and calls that are under way in it, each with a
// request of 60 bytes.
func hostWithCalls(t testing.TB, calls int) (*Host, *Pool, []*Slot) {
	t.Helper()
	h, err := NewHost(func(err error) error { return err })
	if err != nil {
		t.Fatal(err)
	}
	pool := h.NewPool(1 << 20)
	a, f, err := h.mapArena(pool, 4, slotGranularity)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	h.arenas, pool.arenas, pool.bytes = []*arena{a}, []*arena{a}, 4*slotGranularity
	slots := make([]*Slot, calls)
	for i := range slots {
		slots[i] = acquire(t, pool, 100)
		slots[i].state, slots[i].generation, slots[i].asked = slotAsked, 1, 60
	}
	return h, pool, slots
}

// FuzzRequests plays a hostile host: whatever it writes to the rings, a handler gets memory of
// one slot.
func FuzzRequests(f *testing.F) {
	request := func(d descriptor) []byte {
		b := make([]byte, lineBytes)
		*(*descriptor)(unsafe.Pointer(&b[0])) = d
		return b
	}
	good := descriptor{generation: 1, arena: 1, slot: 1, length: 10, sequence: 1, deadline: 5}
	f.Add(request(good))
	for _, spoil := range []func(*descriptor){
		func(d *descriptor) { d.arena = 2 },
		func(d *descriptor) { d.slot = 4 },
		func(d *descriptor) { d.offset = 1 },
		func(d *descriptor) { d.length = slotGranularity + 1 },
		func(d *descriptor) { d.length = 1 << 63 },
		func(d *descriptor) { d.length = slotGranularity }, // no room for a reply
	} {
		bad := good
		spoil(&bad)
		f.Add(request(bad))
	}
	f.Fuzz(func(t *testing.T, scribble []byte) {
		p := &Plugin{clock: newClock(), running: make([]*call, 1), cancelled: map[place]uint64{}}
		p.control.mem = make([]byte, controlBytes+lineBytes)
		p.requests = newRing(p.control, requestRingAt, requestsAt)
		arena := make([]byte, 4*slotGranularity)
		p.arenas = map[uint32]*mapping{1: {region: region{mem: arena}, slots: 4, slotBytes: slotGranularity}}
		copy(p.control.mem[requestRingAt:], scribble)
		for range ringLen {
			d, ok := p.requests.read()
			if !ok {
				return
			}
			c, r, err := p.begin(0, nil, d)
			if err != nil {
				return
			}
			_ = c.Err()
			p.end(0, c)
			slot := arena[d.slot*slotGranularity:][:slotGranularity]
			if len(r.Data)+len(r.Room) > len(slot) || len(r.Data) > 0 && &r.Data[0] != &slot[0] ||
				len(r.Room) > 0 && &r.Room[len(r.Room)-1] != &slot[len(slot)-1] {
				t.Errorf("%d bytes of request and %d of room are not of slot %d", len(r.Data), len(r.Room), d.slot)
			}
		}
	})
}

// hostile returns a host whose plugin answers every call as reply says, and the channel on which
// the host says what is wrong.
func hostile(t *testing.T, reply func(request descriptor) []descriptor) (*Host, <-chan error) {
	t.Helper()
	broken := make(chan error, 1)
	h, err := NewHost(func(err error) error { broken <- err; return errBroken })
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(h.theirs[0], h.theirs[1])
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.listen() }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			d, ok := p.next(false)
			if !ok {
				return
			}
			for _, r := range reply(d) {
				p.replies.write(r)
			}
			p.replies.wake()
		}
	}()
	t.Cleanup(func() {
		p.Close()
		<-ended
		h.Close()
	})
	return h, broken
}

func TestHostilePluginIsNotBelieved(t *testing.T) {
	for situation, reply := range map[string]func(d descriptor) []descriptor{
		"of another generation": func(d descriptor) []descriptor { d.generation++; return []descriptor{d} },
		"in no arena":           func(d descriptor) []descriptor { d.arena = 77; return []descriptor{d} },
		"in no slot":            func(d descriptor) []descriptor { d.slot = MaxSlots; return []descriptor{d} },
		"in a free slot":        func(d descriptor) []descriptor { d.slot++; return []descriptor{d} },
		"over the request":      func(d descriptor) []descriptor { d.offset = d.length - 1; return []descriptor{d} },
		"past the end": func(d descriptor) []descriptor {
			d.offset = 64
			d.length = slotGranularity - 63
			return []descriptor{d}
		},
		"past the end by a wrap": func(d descriptor) []descriptor { d.offset = 64; d.length = 1<<64 - 32; return []descriptor{d} },
	} {
		t.Run(situation, func(t *testing.T) {
			h, broken := hostile(t, reply)
			pool := h.NewPool(1 << 20)
			if _, err := acquire(t, pool, 100).Call(t.Context(), 0, 60); !errors.Is(err, errBroken) {
				t.Errorf("Call = %v, want errBroken", err)
			}
			if err := <-broken; err == nil {
				t.Error("nobody said what is wrong")
			}
			if _, err := acquire(t, pool, 100).Call(t.Context(), 0, 60); !errors.Is(err, ErrClosed) {
				t.Errorf("Call after that = %v, want ErrClosed", err)
			}
		})
	}
}

func TestSecondReplyIsNotBelieved(t *testing.T) {
	h, broken := hostile(t, func(d descriptor) []descriptor {
		d.offset, d.length = 64, 0
		return []descriptor{d, d}
	})
	_, first := acquire(t, h.NewPool(1<<20), 100).Call(t.Context(), 0, 60)
	if err := <-broken; err == nil || first != nil && !errors.Is(first, errBroken) {
		t.Errorf("Call = %v, broken by %v, want the second reply to end the plugin", first, err)
	}
}

func TestHostileSocket(t *testing.T) {
	for situation, answer := range map[string]message{
		"another arena":   {kind: messageMapped, arena: 99},
		"another message": {kind: messageDrop, arena: 1},
	} {
		h, err := NewHost(func(error) error { return errBroken })
		if err != nil {
			t.Fatal(err)
		}
		c, err := openSocket(h.theirs[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.send(c, nil); err != nil {
			t.Fatal(err)
		}
		if err := h.NewPool(1<<20).Reserve(1, 1); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Reserve = %v, want ErrClosed", situation, err)
		}
		h.Close()
	}
}

func TestPluginTrustsNoHost(t *testing.T) {
	for situation, d := range map[string]descriptor{
		"no such arena":       {arena: 5},
		"no such slot":        {arena: 1, slot: 4},
		"a request too large": {arena: 1, length: slotGranularity + 1},
		"an offset":           {arena: 1, offset: 64},
	} {
		var calls atomic.Int32
		h, served := inProcess(t, 1, func(context.Context, Request) Answer { calls.Add(1); return Answer{} })
		if err := h.NewPool(1<<20).Reserve(4, slotGranularity); err != nil {
			t.Fatal(err)
		}
		h.requests.write(d)
		h.requests.wake()
		if err := <-served; err == nil || calls.Load() > 0 {
			t.Errorf("%s: Serve = %v after %d calls, want an error before any", situation, err, calls.Load())
		}
	}
}
