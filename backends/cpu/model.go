package cpu

import (
	"context"
	"sync"

	"github.com/thrumserve/thrum/backends"
)

// model is a plan that answers.
type model struct {
	signature backends.Signature
	plan      *plan
	engine    *engine
	runs      sync.Pool // of *run

	gone func() // called by the first Close, when nothing runs any more

	life   sync.RWMutex // held for reading by every call under way, for writing by Close
	closed bool         // guarded by life
}

func newModel(s backends.Signature, p *plan, e *engine) *model {
	m := &model{signature: s, plan: p, engine: e, gone: func() {}}
	m.runs.New = func() any { return p.newRun(e) }
	return m
}

// Signature says what the model takes and gives.
func (m *model) Signature() backends.Signature { return m.signature }

// Predict runs the model. It looks at ctx between steps.
func (m *model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	m.life.RLock()
	defer m.life.RUnlock()
	if m.closed {
		return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	if err := m.signature.Check(in); err != nil {
		return backends.Batch{}, err
	}
	r := m.runs.Get().(*run)
	defer m.runs.Put(r)
	tensors, err := m.plan.execute(ctx, r, in.Tensors, m.plan.wanted(in.Outputs))
	m.own(tensors)
	return backends.Batch{Tensors: tensors}, err
}

// Close waits for the calls under way and ends the model's threads.
func (m *model) Close() error {
	m.life.Lock()
	defer m.life.Unlock()
	if !m.closed {
		m.closed = true
		m.engine.close()
		m.gone()
	}
	return nil
}
