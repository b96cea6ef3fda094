package kernels

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestForCoversEveryIndexOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		pool := newTestPool(t, threads)
		for _, n := range []int{0, 1, 2, 7, 100, 1001} {
			for _, grain := range []int{-1, 1, 3, 64, 5000} {
				seen := make([]int, n) // ranges are disjoint, so the race detector sees an overlap
				pool.For(n, grain, func(lo, hi int) {
					if hi-lo < grain && hi != n {
						t.Errorf("For(%d, %d): range [%d, %d)", n, grain, lo, hi)
					}
					for i := lo; i < hi; i++ {
						seen[i]++
					}
				})
				if slices.Contains(seen, 0) || slices.Max(append(seen, 1)) > 1 {
					t.Errorf("For(%d, %d) with %d threads: visits %v, want 1 each", n, grain, threads, seen)
				}
			}
		}
	}
}

func TestForSpreadsOverWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(3)
		defer pool.Close()
		synctest.Wait() // until the workers wait for work
		var together sync.WaitGroup
		together.Add(3)
		pool.For(3, 1, func(lo, hi int) {
			together.Done()
			together.Wait() // returns only if three ranges run at the same time
		})
	})
}

func TestForMayBeCalledConcurrentlyAndNested(t *testing.T) {
	pool := newTestPool(t, 3)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			var mu sync.Mutex
			total := 0
			pool.For(20, 1, func(lo, hi int) {
				pool.For(hi-lo, 1, func(lo, hi int) {
					mu.Lock()
					defer mu.Unlock()
					total += hi - lo
				})
			})
			if total != 20 {
				t.Errorf("visited %d of 20", total)
			}
		})
	}
	callers.Wait()
}

func TestForRaisesPanicsInTheCaller(t *testing.T) {
	for _, threads := range []int{1, 3} {
		pool := newTestPool(t, threads)
		got := func() (value any) {
			defer func() { value = recover() }()
			pool.For(100, 1, func(lo, _ int) {
				if lo >= 0 {
					panic("broken")
				}
			})
			return nil
		}()
		if got != "broken" {
			t.Errorf("%d threads: recovered %v, want broken", threads, got)
		}
		visited := 0
		pool.For(1, 1, func(lo, hi int) { visited += hi - lo })
		if visited != 1 {
			t.Errorf("%d threads: the pool does not work after a panic", threads)
		}
	}
}

func TestForStopsAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		defer func() {
			if got := recover(); got != "broken" {
				t.Errorf("recovered %v, want broken", got)
			}
		}()
		synctest.Wait() // until the worker waits for work
		var together sync.WaitGroup
		together.Add(2)
		var arrived atomic.Int32
		pool.For(100, 1, func(_, _ int) {
			switch arrived.Add(1) {
			case 1:
				together.Done()
				together.Wait()
				panic("broken")
			case 2:
				together.Done()
				synctest.Wait() // until the panic has been noticed
			default:
				t.Error("a range was handed out after a panic")
			}
		})
	})
}

func TestCloseEndsTheWorkers(t *testing.T) {
	before := runtime.NumGoroutine()
	pools := make([]*Pool, 10)
	for i := range pools {
		pools[i] = NewPool(4)
		pools[i].For(100, 1, func(_, _ int) {})
	}
	for _, p := range pools {
		p.Close()
	}
	// A worker has left the wait group a moment before it has ended.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if runtime.NumGoroutine() <= before {
			return
		}
	}
	t.Errorf("%d goroutines, want %d as before", runtime.NumGoroutine(), before)
}

func TestNewPoolRefusesNoThreads(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("NewPool(0) did not panic")
		}
	}()
	NewPool(0)
}
