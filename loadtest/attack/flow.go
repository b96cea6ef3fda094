package attack

import (
	"strconv"
	"time"

	"github.com/thrumserve/thrum/loadtest/schedule"
)

// maxWaiting bounds the starts that are due and find no free connection.
const maxWaiting = 1 << 16

// ticket is a request that is about to be sent.
type ticket struct {
	number   uint64        // of all that are sent, from 0
	intended time.Duration // when it is meant to start
	step     int           // of the schedule
	waited   bool          // for a connection
	request  int           // which of Requests
}

// flow decides what is sent next. It knows no clock and no connections: it is told the time, since
// the beginning of the run, and asked for tickets while connections are free.
type flow struct {
	starts      []time.Duration
	steps       []schedule.Step
	concurrency int           // of a closed loop, which has no schedule; else 0
	duration    time.Duration // of a closed loop, with its warm-up
	timeout     time.Duration
	waiting     int // at most

	gone     int // Starts before it were sent or dropped
	due      int // starts[gone:due] wait to be sent
	step     int // of starts[gone], of a closed loop that of now
	crowded  int // Starts before it found no free connection
	underWay int // tickets given out and not back
	number   uint64
	dropped  uint64
	ended    bool // by a reason to stop: nothing more is sent

	refused int           // connections in a row that could not be made
	hold    time.Duration // a closed loop sends nothing before
}

func newFlow(o Options) flow {
	f := flow{starts: o.Schedule.Starts, steps: o.Schedule.Steps, concurrency: o.Concurrency, duration: o.WarmUp + o.Duration, timeout: o.Timeout, waiting: maxWaiting}
	if f.closed() {
		f.steps = []schedule.Step{{Name: strconv.Itoa(o.Concurrency) + " under way", Begin: o.WarmUp, End: f.duration}}
	}
	if f.closed() && o.WarmUp > 0 {
		f.steps = append([]schedule.Step{{Name: "warm-up", End: o.WarmUp, Warmup: true}}, f.steps...)
	}
	return f
}

func (f *flow) closed() bool { return f.concurrency > 0 }

// advance finds the starts that have come due, and drops those that have waited as long as a request
// may take, or that are too many.
func (f *flow) advance(now time.Duration) {
	for f.due < len(f.starts) && f.starts[f.due] <= now {
		f.due++
	}
	for f.gone < f.due && (f.due-f.gone > f.waiting || f.starts[f.gone]+f.timeout <= now) {
		f.gone++
		if !f.steps[f.stepOf(f.gone-1)].Warmup {
			f.dropped++
		}
	}
}

// stepOf returns the step of the i-th start; i never falls.
func (f *flow) stepOf(i int) int {
	for f.step < len(f.steps)-1 && f.starts[i] >= f.steps[f.step].End {
		f.step++
	}
	return f.step
}

// ready says whether there is something to be sent.
func (f *flow) ready(now time.Duration) bool {
	if f.closed() {
		return !f.over(now) && f.underWay < f.concurrency && now >= f.hold
	}
	return !f.ended && f.gone < f.due
}

// take gives out the ticket that ready has spoken of.
func (f *flow) take(now time.Duration) ticket {
	t := ticket{number: f.number, intended: now}
	if f.closed() {
		for f.step < len(f.steps)-1 && now >= f.steps[f.step].End {
			f.step++
		}
		t.step = f.step
	} else {
		t.intended, t.step, t.waited = f.starts[f.gone], f.stepOf(f.gone), f.gone < f.crowded
		f.gone++
	}
	f.number++
	f.underWay++
	return t
}

// The waits of a closed loop whose connections cannot be made: without them it would do nothing but
// try, as fast as it can.
const (
	leastHold = time.Millisecond
	mostHold  = 100 * time.Millisecond
)

// unreached says that a connection could not be made.
func (f *flow) unreached(now time.Duration) {
	if f.closed() {
		f.hold = now + min(leastHold<<min(f.refused, 10), mostHold)
		f.refused++
	}
}

// reached says that there was an answer.
func (f *flow) reached() { f.refused, f.hold = 0, 0 }

// refuse says that there is no free connection for what is ready.
func (f *flow) refuse() { f.crowded = f.due }

// forgo drops what should have been sent by now, for nothing more is sent.
func (f *flow) forgo(now time.Duration) {
	for ; f.gone < f.due && f.starts[f.gone]+late < now; f.gone++ {
		if !f.steps[f.stepOf(f.gone)].Warmup {
			f.dropped++
		}
	}
}

// back says that a ticket is answered or given up.
func (f *flow) back() { f.underWay-- }

// next is when there may be more to do, if ever.
func (f *flow) next(now time.Duration) (time.Duration, bool) {
	if f.closed() && !f.over(now) {
		if f.hold > now {
			return min(f.hold, f.duration), true
		}
		return f.duration, true
	}
	if f.ended || f.due == len(f.starts) {
		return 0, false
	}
	return f.starts[f.due], true
}

// over says that nothing will be sent any more.
func (f *flow) over(now time.Duration) bool {
	if f.closed() {
		return f.ended || now >= f.duration
	}
	return f.ended || f.gone == len(f.starts)
}

// sends says whether a start before end is still to be sent.
func (f *flow) sends(end time.Duration) bool {
	return !f.closed() && f.gone < len(f.starts) && f.starts[f.gone] < end
}

// begun is how many requests were meant to start until now.
func (f *flow) begun() int {
	if f.closed() {
		return int(f.number)
	}
	return f.due
}

// startsBefore is how many of them were before a time that is not long ago.
func (f *flow) startsBefore(end time.Duration) int {
	n := f.begun()
	for !f.closed() && n > 0 && f.starts[n-1] >= end {
		n--
	}
	return n
}

// inflight is how many of the first so many starts are under way or wait to be.
func (f *flow) inflight(starts int) int {
	if f.closed() || f.ended {
		return f.underWay
	}
	return f.underWay + max(starts-f.gone, 0)
}
