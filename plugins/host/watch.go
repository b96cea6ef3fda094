package host

import (
	"fmt"
	"time"
)

// lateLook is how long after a batch was found to be late it is looked at again. A host that was
// stopped itself finds every batch late, and then the answers that have been waiting for it.
const lateLook = 50 * time.Millisecond

// guard sees to it that somebody looks at inst while it is busy. It does so at intervals and not
// when each batch is due: setting a timer for each would cost more than the batch. m.mu is held.
func (m *Model) guard(inst *instance) {
	switch {
	case inst.watched:
	case inst.watch == nil:
		inst.watch = time.AfterFunc(m.options.Hang.Floor, func() { m.look(inst) })
	default:
		inst.watch.Reset(m.options.Hang.Floor)
	}
	inst.watched = true
}

// look kills inst if it hangs.
func (m *Model) look(inst *instance) {
	if m.condemn(inst, time.Now()) {
		m.tell(Event{Kind: Hung, Instance: inst.number, PID: inst.process.PID(), Reason: inst.verdict})
		_ = inst.process.Kill() // one that cannot be killed is gone
	}
}

// condemn returns whether inst hangs. It is given nothing more then and is to be killed.
func (m *Model) condemn(inst *instance, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	inst.watched = false
	if len(inst.flights) == 0 || inst.ending {
		return false
	}
	f := inst.flights[0]
	again, hung := f.overdue(now)
	if !hung {
		inst.watched = true
		inst.watch.Reset(min(again, m.options.Hang.Floor))
		return false
	}
	inst.verdict = fmt.Sprintf("it hung: a batch of %d rows was not answered within %v", f.rows, f.limit.Round(time.Millisecond))
	m.doubt(inst, now)
	m.hangs++
	m.notify()
	return true
}

// overdue returns whether f, the oldest of its instance, has been late twice, or else after
// how long to look again.
func (f *flight) overdue(now time.Time) (again time.Duration, hung bool) {
	left := f.first.Add(f.limit).Sub(now)
	switch {
	case left > 0:
		return left, false
	case !f.late:
		f.late = true
		return lateLook, false
	}
	return 0, true
}
