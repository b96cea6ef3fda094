package host

import (
	"context"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// mostFlights keeps an instance from idling while the next batch is laid.
const mostFlights = 2

// caution returns for how long after a death instances are given one batch at a time, so that
// the next death has one suspect. It has to outlast the repetition of what was lost: at worst
// row by row and each of them twice. It should not last longer: it costs throughput.
func caution(rows int, rowCost time.Duration) time.Duration {
	return min(max(100*time.Millisecond, time.Duration(3*rows)*min(rowCost, time.Second)), 10*time.Second)
}

// board gives f to an instance. It waits for one that is free, and, where none lives, for a
// restart that is expected in time.
func (m *Model) board(ctx context.Context, f *flight) (*instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var until time.Time // when to give a restart up; zero while some instance lives
	for {
		now, live := time.Now(), m.live()
		switch inst := choose(live, m.most(now)); {
		case m.closed:
			return nil, backends.Errorf(backends.ErrUnavailable, "the model is closed")
		case inst != nil:
			f.limit = m.options.Hang.limit(&m.costs, f.rows)
			inst.add(f, now)
			m.guard(inst)
			return inst, nil
		case len(live) > 0:
			until = time.Time{}
		case until.IsZero():
			until = m.patience(ctx, now)
		}
		if !until.IsZero() && !m.comeback(now).Before(until) {
			return nil, m.unavailable(now)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m.wait(ctx, until)
	}
}

// choose returns the instance with the fewest flights, below most, or nil. Of equal ones it is
// the first, so that at low load it is one instance whose caches are warm.
func choose(live []*instance, most int) *instance {
	var least *instance
	for _, inst := range live {
		if n := len(inst.flights); n < most {
			least, most = inst, n
		}
	}
	return least
}

// most returns how many flights an instance may have.
func (m *Model) most(now time.Time) int {
	if now.Before(m.careful) {
		return 1
	}
	return mostFlights
}

// patience returns until when a batch may wait for a restart.
func (m *Model) patience(ctx context.Context, now time.Time) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return now.Add(m.options.Patience)
}

// live returns the instances that may be given batches. m.mu is held, as in the next ones.
func (m *Model) live() []*instance {
	live := make([]*instance, 0, 8)
	for _, s := range m.slots {
		if s.live != nil && !s.live.ending {
			live = append(live, s.live)
		}
	}
	return live
}

// flying returns how many batches are under way.
func (m *Model) flying() int {
	n := 0
	for _, s := range m.slots {
		if s.live != nil {
			n += len(s.live.flights)
		}
	}
	return n
}

// comeback returns when the next instance is expected to live.
func (m *Model) comeback(now time.Time) time.Time {
	earliest := now.Add(longestLoad)
	for _, s := range m.slots {
		if at, ok := s.comeback(m.breaker, now); ok && at.Before(earliest) {
			earliest = at
		}
	}
	return earliest
}

// unavailable is the error of who cannot be answered because no instance lives.
func (m *Model) unavailable(now time.Time) error {
	wait := m.comeback(now).Sub(now)
	err := backends.Errorf(backends.ErrUnavailable, "no instance of this version lives, the next one is expected in %v; %s",
		wait.Round(time.Millisecond), m.why())
	return backends.WithRetryAfter(err, wait)
}

// why returns how the last instance ended.
func (m *Model) why() string {
	var last *slot
	for _, s := range m.slots {
		if s.reason != "" && (last == nil || s.ended.After(last.ended)) {
			last = s
		}
	}
	if last == nil {
		return "none has been started"
	}
	return last.reason
}

// change returns a channel that is closed by the next change.
func (m *Model) change() <-chan struct{} {
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}

// notify wakes everybody who waits for a change.
func (m *Model) notify() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// wait returns after a change, when ctx ends, or at until if that is not zero. It lets go of
// m.mu meanwhile.
func (m *Model) wait(ctx context.Context, until time.Time) {
	change := m.change()
	m.mu.Unlock()
	defer m.mu.Lock()
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	select {
	case <-change:
	case <-ctx.Done():
	}
}
