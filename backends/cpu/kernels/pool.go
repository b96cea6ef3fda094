package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool runs loops on several threads. Its workers live until Close; loops may be started from
// several goroutines at once and from within a loop, and then share the workers.
type Pool struct {
	threads int
	jobs    chan *job // to workers that sleep
	awake   []worker
	loops   atomic.Int32 // under way on several threads
	workers sync.WaitGroup
}

// worker is what callers know of one.
type worker struct {
	looks atomic.Bool         // for a job
	offer atomic.Pointer[job] // that it is to take
	_     [48]byte            // until the next cache line
}

// A thread looks for what it waits for before it sleeps: sleeping and waking take as long as many steps
// of a model. It looks for some twenty microseconds, and for some two hundred while a loop is under way,
// whose last parts others compute: another one often follows. In between it lets others run.
const (
	looks       = 30
	looksInLoop = 300
	eachLook    = 500 // loads of a word
)

// soon returns when done does so with true, or after a moment.
func (p *Pool) soon(done func() bool) {
	idle := 0
	for range looksInLoop {
		for range eachLook {
			if done() {
				return
			}
		}
		runtime.Gosched()
		if p.loops.Load() > 0 {
			continue
		}
		if idle++; idle == looks {
			return
		}
	}
}

// NewPool returns a pool that runs a loop on up to threads goroutines, the caller's included.
// It panics if threads < 1.
func NewPool(threads int) *Pool {
	if threads < 1 {
		panic("kernels: a pool needs at least one thread")
	}
	p := &Pool{threads: threads, jobs: make(chan *job), awake: make([]worker, threads-1)}
	for i := range p.awake {
		p.workers.Go(func() { p.work(&p.awake[i]) })
	}
	return p
}

// Threads returns how many goroutines a loop may run on.
func (p *Pool) Threads() int { return p.threads }

// Close ends the workers and returns when they have ended. No loop may run or start after it.
func (p *Pool) Close() {
	close(p.jobs)
	p.workers.Wait()
}

func (p *Pool) work(w *worker) {
	for j := range p.jobs {
		for ; j != nil; j = p.look(w) {
			j.help()
		}
	}
}

// look waits a moment for another job.
func (p *Pool) look(w *worker) *job {
	w.looks.Store(true)
	p.soon(func() bool { return w.offer.Load() != nil })
	w.looks.Store(false)
	return w.offer.Swap(nil)
}

// For calls f for disjoint ranges that cover [0, n), at least grain indices long but for the last,
// and returns when all have returned. Where one range is enough it calls f(0, n) itself. A panic
// in f stops the handing out of ranges and is raised again in the caller.
func (p *Pool) For(n, grain int, f func(lo, hi int)) { p.Do(n, grain, function(f)) }

// Task is the body of a loop. Where it is a pointer to memory that is used again, a loop
// allocates nothing.
type Task interface {
	Do(lo, hi int)
}

type function func(lo, hi int)

func (f function) Do(lo, hi int) { f(lo, hi) }

// Do is For with a task.
func (p *Pool) Do(n, grain int, t Task) {
	grain = max(grain, 1)
	if n <= 0 {
		return
	}
	if p.threads == 1 || n <= grain {
		t.Do(0, n)
		return
	}
	step := max(grain, n/(tasksPerThread*p.threads))
	j := jobs.Get().(*job)
	j.n, j.step, j.task = int64(n), int64(step), t
	j.next.Store(0)
	p.loops.Add(1)
	p.invite(j, min(p.threads, (n+step-1)/step)-1)
	j.run()
	p.wait(j) // from here on nobody else has it
	p.loops.Add(-1)
	failure := j.failure.Swap(nil)
	j.task = nil
	jobs.Put(j)
	if failure != nil {
		panic(failure.value)
	}
}

// jobs are those that nobody works on.
var jobs = sync.Pool{New: func() any { return new(job) }}

// invite hands the job to workers that look for one, or sleep. A worker that is busy with another
// loop is not waited for: the caller does its part.
func (p *Pool) invite(j *job, helpers int) {
	for i := range p.awake {
		if helpers == 0 {
			return
		}
		if w := &p.awake[i]; w.looks.Load() {
			j.expect()
			if w.offer.CompareAndSwap(nil, j) {
				helpers--
			} else {
				j.leave()
			}
		}
	}
	for range helpers {
		j.expect()
		select {
		case p.jobs <- j:
		default:
			j.leave()
			return
		}
	}
}

// wait returns when no worker has the job, and none will take it.
func (p *Pool) wait(j *job) {
	if j.busy.Load() > 0 {
		for i := range p.awake {
			if w := &p.awake[i]; w.offer.Load() == j && w.offer.CompareAndSwap(j, nil) {
				j.leave()
			}
		}
	}
	p.soon(func() bool { return j.busy.Load() == 0 })
	j.helpers.Wait()
}

// job is one running loop.
type job struct {
	next    atomic.Int64 // the first index that nobody has taken
	n, step int64
	task    Task
	busy    atomic.Int32   // helpers
	helpers sync.WaitGroup // the same
	failure atomic.Pointer[failure]
}

type failure struct{ value any }

func (j *job) expect() {
	j.busy.Add(1)
	j.helpers.Add(1)
}

// leave is seen by who looks at busy last, so that it then finds nobody to sleep for.
func (j *job) leave() {
	j.helpers.Done()
	j.busy.Add(-1)
}

func (j *job) help() {
	defer j.leave()
	j.run()
}

func (j *job) run() {
	defer func() {
		if v := recover(); v != nil {
			j.failure.CompareAndSwap(nil, &failure{v})
			j.next.Store(j.n)
		}
	}()
	for {
		hi := j.next.Add(j.step)
		lo := hi - j.step
		if lo >= j.n {
			return
		}
		j.task.Do(int(lo), int(min(hi, j.n)))
	}
}
