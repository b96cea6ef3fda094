package cpu

import (
	"context"
	"runtime"
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// model is a plan that answers.
type model struct {
	signature backends.Signature
	plan      *plan
	engine    *engine
	runs      runs
	answers   answers

	gone func() // called by the first Close, when nothing runs any more

	life   sync.RWMutex // held for reading by every call under way, for writing by Close
	closed bool         // guarded by life
}

func newModel(s backends.Signature, p *plan, e *engine) *model {
	return &model{signature: s, plan: p, engine: e, gone: func() {}}
}

// Signature says what the model takes and gives.
func (m *model) Signature() backends.Signature { return m.signature }

// Predict runs the model. It looks at ctx between steps. The answer's memory is used again when
// its lease is released.
func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	m.life.RLock()
	defer m.life.RUnlock()
	if m.closed {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	if err := m.signature.Check(in); err != nil {
		return backends.Batch{}, err
	}
	r := m.runs.get()
	if r == nil {
		r = m.plan.newRun(m.engine)
	}
	defer m.runs.put(r)
	a := m.answers.get()
	if err := m.plan.compute(ctx, r, in, a); err != nil {
		m.answers.put(a)
		return backends.Batch{}, err
	}
	return a.batch(), nil
}

// Close waits for the calls under way and ends the model's threads.
func (m *model) Close() error {
	m.life.Lock()
	defer m.life.Unlock()
	if !m.closed {
		m.closed = true
		m.runs.free()
		m.engine.close()
		m.gone()
	}
	return nil
}

// runs holds those that execute nothing, as many as there are processors.
type runs struct {
	mu   sync.Mutex
	idle []*run // guarded by mu; the last one was used last
}

// get returns an idle run, or nil.
func (l *runs) get() *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle)
	if n == 0 {
		return nil
	}
	r := l.idle[n-1]
	l.idle = l.idle[:n-1]
	return r
}

func (l *runs) put(r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) >= runtime.GOMAXPROCS(0) {
		r.arena.free()
		return
	}
	l.idle = append(l.idle, r)
}

// free gives the memory of all idle runs back.
func (l *runs) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.idle {
		r.arena.free()
	}
	l.idle = nil
}
