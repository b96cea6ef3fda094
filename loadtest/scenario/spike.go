package scenario

import (
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

// calm is how many windows in a row have to be within the goal for a spike to be over.
const calm = 3

// Recovery returns how long after end, the end of a spike, a run was within the goal again and
// stayed there for three seconds: latency at the percentile and errors together. ok is false if it
// did not come back.
func Recovery(r *result.Run, end time.Duration, g Goal) (after time.Duration, ok bool) {
	within := 0
	for _, w := range r.Windows {
		if w.Begin < end {
			continue
		}
		if !g.holdsIn(w) {
			within = 0
			continue
		}
		if within++; within == calm {
			return w.Begin - (calm-1)*time.Second - end, true
		}
	}
	return 0, false
}

// holdsIn takes a window by its sample alone: a second has too few requests for more.
func (g Goal) holdsIn(w result.Window) bool {
	var total uint64
	for _, n := range w.Outcomes {
		total += n
	}
	over := total - min(total, w.OK.Within(g.Limit))
	return total > 0 && float64(over) <= (1-g.Percentile)*float64(total)
}
