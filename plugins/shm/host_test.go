package shm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEchoBetweenProcesses(t *testing.T) {
	h, _ := process(t)
	pool := h.NewPool(1 << 20)
	for i := range 3 * ringLen { // thrice around the rings
		s := acquire(t, pool, 200)
		n := copy(s.Bytes(), fmt.Sprintf("message %d", i))
		reply, err := s.Call(t.Context(), doEcho, n)
		if want := fmt.Sprintf("message %d", i); err != nil || string(reply.Data) != want {
			t.Fatalf("Call = %q, %v, want %q", reply.Data, err, want)
		}
		s.Release()
	}
	if n := pool.Taken(); n != 0 {
		t.Errorf("%d slots taken, want none", n)
	}
}

func TestRequestThatFillsItsSlot(t *testing.T) {
	h, _ := process(t)
	s := acquire(t, h.NewPool(1<<20), slotGranularity)
	if reply, err := s.Call(t.Context(), doNothing, slotGranularity); err != nil || reply.Code != 7 || reply.Tag != 8 {
		t.Errorf("Call = %+v, %v, want code 7 and tag 8", reply, err)
	}
	s.Release()
}

func TestManyCallersBetweenProcesses(t *testing.T) {
	h, _ := process(t)
	pool := h.NewPool(1 << 20)
	var callers sync.WaitGroup
	for caller := range 64 {
		callers.Go(func() {
			want := bytes.Repeat([]byte{byte(caller)}, 100+caller)
			for range 200 {
				s, err := pool.Acquire(t.Context(), 512)
				if err != nil {
					t.Errorf("Acquire = %v", err)
					return
				}
				n := copy(s.Bytes(), want)
				reply, err := s.Call(t.Context(), doEcho, n)
				if err != nil || !bytes.Equal(reply.Data, want) {
					t.Errorf("Call = %v, %v, want %v", reply.Data, err, want)
					return
				}
				s.Release()
			}
		})
	}
	callers.Wait()
	if n := pool.Taken(); n != 0 {
		t.Errorf("%d slots taken, want none", n)
	}
}

func TestDeathEndsCalls(t *testing.T) {
	h, _ := process(t)
	pool := h.NewPool(1 << 20)
	waiting := acquire(t, pool, 100)
	result := make(chan error, 1)
	go func() {
		_, err := waiting.Call(t.Context(), doWait, 0)
		result <- err
	}()
	if _, err := acquire(t, pool, 100).Call(t.Context(), doDie, 0); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Call that ends the plugin = %v, want its status", err)
	}
	if err := <-result; err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Call beside it = %v, want its status", err)
	}
	if _, err := acquire(t, pool, 100).Call(t.Context(), doEcho, 0); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Call after it = %v, want its status", err)
	}
	if n := pool.Taken(); n != 0 {
		t.Errorf("%d slots taken, want none", n)
	}
}

func TestContextCrosses(t *testing.T) {
	h, _ := process(t)
	pool := h.NewPool(1 << 20)
	for situation, test := range map[string]struct {
		begin func() (context.Context, context.CancelFunc)
		want  error
	}{
		"cancelled": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
		"past its deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), time.Millisecond)
		}, context.DeadlineExceeded},
	} {
		ctx, cancel := test.begin()
		s := acquire(t, pool, 100)
		reply, err := s.Call(ctx, doWait, 0)
		switch {
		case err == nil && test.want == context.DeadlineExceeded: // both saw it, the plugin first
			if string(reply.Data) != test.want.Error() {
				t.Errorf("%s: Call = %q, want %q", situation, reply.Data, test.want)
			}
			s.Release()
		case !errors.Is(err, test.want):
			t.Errorf("%s: Call = %v, want %v", situation, err, test.want)
		}
		cancel()
		settles(t, pool)
	}
}

// settles waits until every slot has been released.
func settles(t *testing.T, p *Pool) {
	t.Helper()
	deadline := time.After(soon)
	for {
		p.mu.Lock()
		taken := 0
		for _, a := range p.arenas {
			taken += len(a.slots) - len(a.free)
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		if taken == 0 {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d slots are still taken", taken)
		}
	}
}

func TestCancelledWhileQueued(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	cancelled := make(chan error, 1)
	h, _ := inProcess(t, 1, func(ctx context.Context, r Request) Answer {
		if r.Tag == doNothing {
			close(entered)
			<-leave
			return Answer{}
		}
		cancelled <- ctx.Err()
		return Answer{}
	})
	pool := h.NewPool(1 << 20)
	first := acquire(t, pool, 1)
	done := make(chan error, 1)
	go func() { _, err := first.Call(t.Context(), doNothing, 0); done <- err }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	second := acquire(t, pool, 1)
	if _, err := second.Call(ctx, doEcho, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Call = %v, want context.Canceled", err)
	}
	// The plugin reads the socket in order: once it has mapped another arena it knows.
	if err := h.NewPool(1<<20).Reserve(1, 1); err != nil {
		t.Fatal(err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("Call before it = %v", err)
	}
	if err := <-cancelled; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the plugin's context: %v, want context.Canceled", err)
	}
	first.Release()
	settles(t, pool)
}

func TestSlotOfALeftCallIsNotUsedAgain(t *testing.T) {
	leave := make(chan struct{})
	h, _ := inProcess(t, 1, func(ctx context.Context, r Request) Answer {
		<-leave
		return Answer{Length: copy(r.Room, "late")}
	})
	pool := h.NewPool(slotGranularity)
	if err := pool.Reserve(1, slotGranularity); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := acquire(t, pool, 100).Call(ctx, doEcho, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call = %v, want context.DeadlineExceeded", err)
	}
	if _, err := pool.Acquire(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Acquire while the plugin has the only slot = %v, want context.DeadlineExceeded", err)
	}
	close(leave)
	acquire(t, pool, 100).Release()
}

func TestWorkersRunAtTheSameTime(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	h, _ := inProcess(t, 2, func(context.Context, Request) Answer {
		both.Done()
		both.Wait()
		return Answer{}
	})
	pool := h.NewPool(1 << 20)
	var callers sync.WaitGroup
	for range 2 {
		s := acquire(t, pool, 1)
		callers.Go(func() {
			if _, err := s.Call(t.Context(), doEcho, 0); err != nil {
				t.Errorf("Call = %v", err)
			}
			s.Release()
		})
	}
	callers.Wait()
}

func BenchmarkCall(b *testing.B) {
	h, _ := process(b)
	pool := h.NewPool(1 << 20)
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			oneCall(b, pool)
		}
	})
	b.Run("64 callers", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				oneCall(b, pool)
			}
		})
	})
}

func oneCall(b *testing.B, pool *Pool) {
	s, err := pool.Acquire(b.Context(), 100)
	if err == nil {
		_, err = s.Call(b.Context(), doNothing, 8)
	}
	if err != nil {
		b.Error(err)
		return
	}
	s.Release()
}

// TestContextsOfCalls: a context that somebody waits for is no other call's, ever.
func TestContextsOfCalls(t *testing.T) {
	var mu sync.Mutex // the race detector does not see that calls follow each other
	var kept []context.Context
	h, _ := inProcess(t, 1, func(ctx context.Context, r Request) Answer {
		if r.Tag == doWait {
			ctx.Done()
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("a call under way has %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, ctx)
		return Answer{}
	})
	pool := h.NewPool(1 << 20)
	for _, tag := range []uint64{doWait, doNothing, doNothing, doWait, doNothing} {
		s := acquire(t, pool, 8)
		if _, err := s.Call(t.Context(), tag, 8); err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	mu.Lock()
	defer mu.Unlock()
	for _, i := range []int{0, 3} {
		select {
		case <-kept[i].Done():
		default:
			t.Errorf("the context of call %d outlives it", i)
		}
		if slices.Contains(kept[i+1:], kept[i]) {
			t.Errorf("the context of call %d is a later one's, too", i)
		}
	}
}
