package attack

import (
	"slices"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
	"github.com/thrumserve/thrum/loadtest/schedule"
)

// late is what a send may be after its intended start.
const late = time.Millisecond

// outcome is a place in result.Outcomes.
type outcome int

const (
	ok outcome = iota
	rejected
	tooLate
	failed
	broken
	wrong
	outcomes
)

// outcomeOf is what an answer with an HTTP status means.
func outcomeOf(status int) outcome {
	switch {
	case status >= 200 && status < 300:
		return ok
	case status == 429 || status == 503:
		return rejected
	case status == 504:
		return tooLate
	default:
		return failed
	}
}

// recorder counts what becomes of requests.
type recorder struct {
	perStep []stepRecord
	told    int              // steps before it are over for good
	causes  [outcomes]string // of the first of each

	sent   uint64
	late   uint64 // with a connection at hand
	queued uint64 // late because they waited for a connection
	delay  *result.Histogram

	window  windowRecord
	offered int // starts before this window
}

type stepRecord struct {
	schedule.Step
	open    int // requests without an answer
	rows    uint64
	arrived uint64 // OK answers, while it lasted
	latency [outcomes]*result.Latency
}

type windowRecord struct {
	begin  time.Duration
	counts [outcomes]uint64
	late   uint64
	ok     *result.Histogram
}

func newRecorder(steps []schedule.Step) *recorder {
	r := &recorder{delay: result.NewHistogram(), window: windowRecord{ok: result.NewHistogram()}}
	for _, s := range steps {
		r.perStep = append(r.perStep, stepRecord{Step: s})
	}
	return r
}

// send counts a request that is sent now.
func (r *recorder) send(t ticket, now time.Duration) {
	r.perStep[t.step].open++
	delay := now - t.intended
	if delay > late {
		r.window.late++
	}
	if r.perStep[t.step].Warmup {
		return
	}
	r.sent++
	r.delay.Record(delay)
	switch {
	case delay <= late:
	case t.waited:
		r.queued++
	default:
		r.late++
	}
}

// answer counts what became of a request that was sent at a time.
func (r *recorder) answer(t ticket, sent, now time.Duration, o outcome, rows int) {
	r.window.counts[o]++
	if o == ok {
		r.window.ok.Record(now - t.intended)
		if at := r.stepAt(now); at >= 0 {
			r.perStep[at].arrived++
		}
	}
	s := &r.perStep[t.step]
	s.open--
	if s.Warmup {
		return
	}
	if s.latency[o] == nil {
		s.latency[o] = &result.Latency{Intended: result.NewHistogram(), Sent: result.NewHistogram()}
	}
	s.latency[o].Intended.Record(now - t.intended)
	s.latency[o].Sent.Record(now - sent)
	if o == ok {
		s.rows += uint64(rows)
	}
}

// warmUp is how much of the run is not counted.
func (r *recorder) warmUp() (d time.Duration) {
	for _, s := range r.perStep {
		if s.Warmup {
			d += s.End - s.Begin
		}
	}
	return d
}

// slowest returns how long the slowest answer took from its send.
func (r *recorder) slowest() time.Duration {
	most := time.Duration(0)
	for _, s := range r.perStep {
		for _, l := range s.latency {
			if l != nil {
				most = max(most, l.Sent.Max())
			}
		}
	}
	return most
}

// stepAt returns the step that lasts at a time, or -1 after the last one.
func (r *recorder) stepAt(now time.Duration) int {
	return slices.IndexFunc(r.perStep, func(s stepRecord) bool { return now < s.End })
}

// cause keeps why the first request with an outcome had it.
func (r *recorder) cause(o outcome, text string) {
	if r.causes[o] == "" {
		r.causes[o] = text
	}
}

// roll ends the window. starts is how many were meant to start until now, inflight how many of them
// are without an answer.
func (r *recorder) roll(now time.Duration, starts, inflight int) result.Window {
	w := result.Window{
		Begin: r.window.begin, Offered: uint64(starts - r.offered), Inflight: inflight,
		Late: r.window.late, OK: r.window.ok, Outcomes: map[result.Outcome]uint64{},
	}
	for o, n := range r.window.counts {
		if n > 0 {
			w.Outcomes[result.Outcomes[o]] = n
		}
	}
	r.offered = starts
	r.window = windowRecord{begin: now, ok: result.NewHistogram()}
	return w
}

// counted are the steps up to the end of the run.
func (r *recorder) counted(end time.Duration) []result.Step {
	var steps []result.Step
	for _, s := range r.perStep {
		if s.Warmup || s.Begin >= end {
			continue
		}
		steps = append(steps, s.step(end))
	}
	return steps
}

// step is what has been counted up to a time.
func (s *stepRecord) step(end time.Duration) result.Step {
	step := result.Step{Name: s.Name, Duration: min(s.End, end) - s.Begin, Rate: s.Rate, Rows: s.rows, Arrived: s.arrived,
		Outcomes: map[result.Outcome]*result.Latency{}}
	for o, l := range s.latency {
		if l != nil {
			step.Outcomes[result.Outcomes[o]] = l
		}
	}
	return step
}
