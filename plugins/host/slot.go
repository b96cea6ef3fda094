package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// slot is the place of one instance: whatever happens to it, another one takes its place. The
// Model's mutex guards all but the number.
type slot struct {
	number int
	live   *instance // nil while there is none

	restarts int           // since an instance lived long enough for its start to have paid
	due      time.Time     // when the next start may begin
	began    time.Time     // when the start under way did; zero if none is
	took     time.Duration // what the last start took
	ended    time.Time     // when the last instance did, or the last start failed
	reason   string        // why
}

// comeback returns when an instance of s is expected to live, and false if s does not know
// because it waits for what becomes of another.
func (s *slot) comeback(b breaker, now time.Time) (time.Time, bool) {
	switch {
	case s.live != nil && s.live.ending: // it has been killed and is being waited for
		return later(now, b.until).Add(s.took), true
	case !s.began.IsZero():
		return later(now, s.began.Add(s.took)), true
	case b.state == BreakerHalfOpen:
		return time.Time{}, false
	}
	return later(now, later(s.due, b.until)).Add(s.took), true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// keep keeps an instance in s until m is closed.
func (m *Model) keep(s *slot) {
	for inst := s.live; inst != nil; inst = m.replace(s) {
		if !m.attend(inst) {
			return
		}
		m.bury(s, inst)
	}
}

// attend returns true when the instance has died and false when m is closed.
func (m *Model) attend(inst *instance) bool {
	paid := time.NewTimer(payback(inst.took))
	defer paid.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return false
		case <-inst.process.Done():
			return true
		case <-paid.C:
			m.update(func() { m.breaker = m.breaker.paid() })
		}
	}
}

// update changes the breaker, and tells if that opened or closed it. It also wakes everybody.
func (m *Model) update(change func()) {
	m.mu.Lock()
	before := m.breaker.public()
	change()
	after := m.breaker.public()
	m.notify()
	m.mu.Unlock()
	if before != after {
		m.tell(Event{Kind: BreakerChange, Reason: string(after)})
	}
}

// bury takes note of a death.
func (m *Model) bury(s *slot, inst *instance) {
	now := time.Now()
	lived := now.Sub(inst.born)
	reason := fmt.Sprint(inst.process.Err())
	m.update(func() {
		m.end(inst, now)
		s.live, s.ended, s.took = nil, now, inst.took
		if inst.verdict != "" {
			reason = "it was killed: " + inst.verdict
		}
		s.reason = "the last one ended: " + reason
		m.next(s, lived >= payback(inst.took), now)
	})
	m.tell(Event{Kind: Died, Instance: s.number, PID: inst.process.PID(), Reason: reason, After: lived})
	m.autopsy(inst.process)
	m.landed(inst)
	if err := inst.close(); err != nil {
		m.options.Log.Warn("instance left something behind", "instance", s.number, "error", err)
	}
}

// landed waits until every batch that a dead instance had has failed. Closing the process before
// would make them look as if they had come too late to be computed.
func (m *Model) landed(inst *instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(inst.flights) > 0 {
		m.wait(context.Background(), time.Time{})
	}
}

// next decides when s may start its next instance.
func (m *Model) next(s *slot, paid bool, now time.Time) {
	if paid {
		s.restarts = 0
	} else {
		m.breaker = m.breaker.failed(m.options.Restart, now)
	}
	s.due = now.Add(m.options.Restart.pause(s.restarts, rand.Float64()))
	s.restarts++
}

// replace starts instances in s until one lives. It returns nil when m is closed.
func (m *Model) replace(s *slot) *instance {
	for m.turn(s) {
		ctx, cancel := context.WithTimeout(m.ctx, m.startTimeout(s))
		inst, err := m.start(ctx, s)
		cancel()
		if err == nil {
			m.update(func() {
				m.restarts++
				if len(m.live()) == 0 { // what was lost has been waiting for this one
					m.outage, m.careful = inst.born, inst.born.Add(m.caution)
				}
				s.live, s.began, s.took = inst, time.Time{}, inst.took
			})
			return inst
		}
		if m.ctx.Err() != nil {
			return nil
		}
		now := time.Now()
		m.update(func() {
			s.ended, s.began = now, time.Time{}
			s.reason = "the last one failed to start: " + err.Error()
			m.next(s, false, now)
		})
		m.tell(Event{Kind: StartFailed, Instance: s.number, Reason: err.Error()})
	}
	return nil
}

// startTimeout is generous, and bounds nonetheless a start that hangs.
func (m *Model) startTimeout(s *slot) time.Duration {
	return min(max(10*s.took, 10*time.Second), m.loadTimeout)
}

// turn waits until s may start an instance. It returns false when m is closed.
func (m *Model) turn(s *slot) bool {
	trial := false
	defer func() {
		if trial {
			m.tell(Event{Kind: BreakerChange, Instance: s.number, Reason: string(BreakerHalfOpen)})
		}
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.ctx.Err() == nil {
		now := time.Now()
		due := later(s.due, m.breaker.until)
		if due.After(now) {
			m.wait(m.ctx, due)
			continue
		}
		next, admitted := m.breaker.admit(now)
		if admitted {
			trial = next.state != m.breaker.state
			m.breaker, s.began = next, now
			return true
		}
		m.wait(m.ctx, time.Time{})
	}
	return false
}
