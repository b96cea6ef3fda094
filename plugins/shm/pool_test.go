package shm

import (
	"context"
	"errors"
	"testing"
)

func echoHost(t testing.TB) *Host {
	h, _ := inProcess(t, 1, answer)
	return h
}

func TestPoolGrowsWithinItsBound(t *testing.T) {
	pool := echoHost(t).NewPool(10 * slotGranularity)
	var held []*Slot
	for range 10 {
		held = append(held, acquire(t, pool, 100))
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { _, err := pool.Acquire(ctx, 100); failed <- err }()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire past the bound = %v, want it to wait until context.Canceled", err)
	}
	got := make(chan *Slot)
	go func() { s, _ := pool.Acquire(t.Context(), 100); got <- s }()
	held[3].Release()
	if s := <-got; s == nil || s != held[3] {
		t.Errorf("Acquire = %v, want the slot that was released", s)
	}
}

func TestPoolMakesRoomForLargerCalls(t *testing.T) {
	pool := echoHost(t).NewPool(16 * slotGranularity)
	small := acquire(t, pool, 100)
	if _, err := pool.Acquire(t.Context(), 17*slotGranularity); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Acquire of more than the bound = %v, want ErrTooLarge", err)
	}
	large := acquire(t, pool, 8*slotGranularity)
	large.Release()
	small.Release()
	whole := acquire(t, pool, 16*slotGranularity) // only where nothing else is
	if len(whole.Bytes()) != 16*slotGranularity {
		t.Errorf("a slot of %d bytes, want the whole bound", len(whole.Bytes()))
	}
	whole.Release()
	if reply, err := acquire(t, pool, 100).Call(t.Context(), doEcho, 3); err != nil || len(reply.Data) != 3 {
		t.Errorf("Call after that = %v, %v", reply, err)
	}
}

func TestSlotsAreBounded(t *testing.T) {
	h := echoHost(t)
	pool := h.NewPool(1 << 30)
	if err := pool.Reserve(MaxSlots, 1); err != nil {
		t.Fatal(err)
	}
	if err := h.NewPool(1<<30).Reserve(1, 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Reserve past MaxSlots = %v, want ErrTooLarge", err)
	}
	pool.Close()
	if err := h.NewPool(1<<30).Reserve(1, 1); err != nil {
		t.Errorf("Reserve once they are given up = %v", err)
	}
}

func TestClosedPoolKeepsWhatIsHeld(t *testing.T) {
	h := echoHost(t)
	pool := h.NewPool(1 << 20)
	s := acquire(t, pool, 100)
	pool.Close()
	pool.Close()
	s.Bytes()[0] = 1 // still mapped
	if _, err := pool.Acquire(t.Context(), 100); !errors.Is(err, ErrClosed) {
		t.Errorf("Acquire of a closed pool = %v, want ErrClosed", err)
	}
	s.Release()
	if len(pool.arenas) != 0 || len(h.arenas) != 0 || h.slots != 0 {
		t.Errorf("%d and %d arenas, %d slots left, want none", len(pool.arenas), len(h.arenas), h.slots)
	}
}

func TestDeathEndsWaitsForSlots(t *testing.T) {
	h := echoHost(t)
	pool := h.NewPool(slotGranularity)
	defer acquire(t, pool, 100).Release() // as an answer that is still being read
	failed := make(chan error)
	go func() { _, err := pool.Acquire(t.Context(), 100); failed <- err }()
	h.Fail(errBroken)
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("Acquire beside a death = %v, want ErrClosed", err)
	}
}

func TestSlotSizes(t *testing.T) {
	for _, size := range []int{1, slotGranularity, slotGranularity + 1, 100_000, 5 << 20, 1 << 30} {
		got := slotSize(size)
		if got < size || got%slotGranularity != 0 || got > size+size/4+slotGranularity {
			t.Errorf("slotSize(%d) = %d, want a little more", size, got)
		}
	}
}

func TestReleasedSlotsArePoisoned(t *testing.T) {
	if !poisons {
		t.Skip("only under the race detector")
	}
	pool := echoHost(t).NewPool(1 << 20)
	s := acquire(t, pool, 100)
	copy(s.Bytes(), "secret")
	reply, err := s.Call(t.Context(), doEcho, 6)
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	if string(reply.Data) == "secret" {
		t.Error("a reply reads as before after its release")
	}
}
