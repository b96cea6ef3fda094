package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// flight is one batch with an instance. The Model's mutex guards first, limit, late and left;
// the others belong to who computes it until done is closed.
type flight struct {
	rows  int
	first time.Time     // when no batch was before it any more
	limit time.Duration // from then on
	late  bool          // it was found to be beyond its limit once
	left  bool          // nobody waits for it

	done   chan struct{}
	out    backends.Batch
	err    error
	missed bool // it never reached the instance, which had gone
}

func newFlight(parts []backends.Batch) *flight {
	f := &flight{done: make(chan struct{})}
	for _, p := range parts {
		f.rows += p.Rows()
	}
	return f
}

// fly has inst compute the batch and lands it.
func (m *Model) fly(ctx context.Context, inst *instance, f *flight, parts []backends.Batch) {
	f.out, f.err = inst.predict(ctx, parts)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.answered = m.answered || f.err == nil
	if !f.first.IsZero() && f.err == nil {
		m.costs.observe(f.rows, now.Sub(f.first))
	}
	switch crashed := errors.Is(f.err, backends.ErrCrashed); {
	case crashed:
		m.end(inst, now)
		f.err = backends.Errorf(backends.ErrCrashed, "%s", inst.epitaph(f.err))
	case f.err != nil && inst.process.Err() != nil:
		m.end(inst, now)
		f.missed = true
	}
	inst.remove(f, now)
	if f.left {
		f.out.Release()
	}
	m.notify()
	close(f.done)
}

// end takes inst out of service. One that lost a batch is killed, if it is not dead already:
// whatever is left of it answers nobody any more.
func (m *Model) end(inst *instance, now time.Time) {
	if inst.ending {
		return
	}
	m.doubt(inst, now)
	_ = inst.process.Kill() // one that cannot be killed is gone, or its Close says so
}

// doubt gives inst nothing more and begins a time of caution.
func (m *Model) doubt(inst *instance, now time.Time) {
	inst.ending = true
	rows := 0
	for _, f := range inst.flights {
		rows += f.rows
	}
	m.caution = caution(rows, m.costs.of(1))
	m.careful = later(m.careful, now.Add(m.caution))
}

// epitaph says how the instance ended, for a batch that failed with err.
func (i *instance) epitaph(err error) string {
	if i.verdict != "" {
		return fmt.Sprintf("the instance was killed: %s", i.verdict)
	}
	return err.Error()
}

// leave is told that nobody waits for f any more.
func (m *Model) leave(f *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-f.done:
		f.out.Release()
	default:
		f.left = true
	}
}
