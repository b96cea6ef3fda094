package attack

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/thrumserve/thrum/loadtest/result"
)

const (
	window         = time.Second
	mostFound      = 1024 // connections, where the caller names no number
	defaultTimeout = 10 * time.Second
	reachTimeout   = 5 * time.Second
	maxLateShare   = 0.001 // of requests,
	fewLate        = 2     // and so many in any case
	maxUse         = 0.9   // of the generator's core
	hopeless       = 0.01  // of the starts so far, dropped
)

// session is an attack whichever way its target is driven: what is to be sent, what was, and when to
// end. One goroutine at a time uses it, but for watch.
type session struct {
	Options
	flow
	*recorder
	checker
	began   time.Time
	cpu     time.Duration // of the process, until began
	nextEnd time.Duration // of the window

	course  chan second
	watched chan struct{} // closed when all windows were seen
	seen    []result.Window
	reason  atomic.Pointer[string] // to stop, by the caller
	wake    func()                 // ends the generator's wait
	spread  bool                   // over goroutines
	stopped string
	stopAt  time.Duration

	oldest    func() (sent time.Duration, any bool) // of the requests under way
	connected func() int                            // how many connections are open
	abandoned string                                // why too little is known of those under way at the end
}

// second is a window that has ended, and the steps that have by then.
type second struct {
	result.Window
	steps []result.Step
}

func newSession(o Options) *session {
	s := &session{Options: o, flow: newFlow(o), checker: newChecker(), nextEnd: window, watched: make(chan struct{}), wake: func() {}, connected: func() int { return 0 }}
	s.recorder = newRecorder(s.steps)
	// So that it never blocks, even if OnWindow does.
	s.course = make(chan second, int((s.steps[len(s.steps)-1].End+o.Timeout)/window)+4)
	return s
}

func (o *Options) validate() error {
	switch {
	case o.Target == nil:
		return errors.New("an attack needs a target")
	case len(o.Requests) == 0:
		return errors.New("an attack needs at least one request to send")
	case o.Concurrency < 0 || o.Connections < 0 || o.Ready < 0 || o.Timeout < 0:
		return errors.New("concurrency, connections and timeout cannot be negative")
	case (len(o.Schedule.Starts) > 0) == (o.Concurrency > 0):
		return errors.New("an attack follows either a schedule with starts or a concurrency")
	case o.WarmUp < 0 || o.WarmUp > 0 && o.Concurrency == 0:
		return errors.New("a warm-up is that of a closed loop: a schedule has its own")
	case o.Concurrency > 0 && o.Duration <= 0:
		return errors.New("a closed loop needs a duration")
	case o.Concurrency > 0 && o.Connections > 0 && o.Connections < o.Concurrency:
		return fmt.Errorf("%d requests at a time need as many connections, not %d", o.Concurrency, o.Connections)
	case o.Concurrency == 0 && len(o.Schedule.Steps) == 0:
		return errors.New("a schedule needs at least one step")
	case !(o.Check.Share >= 0 && o.Check.Share <= 1) || o.Check.Share > 0 && o.Check.Equal == nil:
		return fmt.Errorf("to check a share of %v of the answers, it has to be between 0 and 1 and known what is equal", o.Check.Share)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Connections == 0 {
		o.Connections = max(mostFound, o.Concurrency)
	}
	if o.Pick == nil {
		n := uint64(len(o.Requests))
		o.Pick = func(i uint64) int { return int(i % n) }
	}
	return nil
}

// start begins the time of the attack.
func (s *session) start() {
	go s.watch()
	go s.compare(s.Check.Equal)
	s.cpu, s.began = processCPU(), time.Now()
}

func (s *session) now() time.Duration { return time.Since(s.began) }

// watch shows windows to the caller and asks whether to stop.
func (s *session) watch() {
	defer close(s.watched)
	for w := range s.course {
		w.OK.Pack()
		s.seen = append(s.seen, w.Window)
		if s.OnWindow != nil {
			s.OnWindow(w.Window)
		}
		for _, step := range w.steps {
			s.OnStep(step)
		}
		if s.Stop == nil || s.reason.Load() != nil {
			continue
		}
		if reason := s.Stop(); reason != "" {
			s.reason.Store(&reason)
			s.wake()
		}
	}
}

// goOn does what is due beside sending and reading. It says whether the attack goes on.
func (s *session) goOn(ctx context.Context, now time.Duration) bool {
	s.advance(now)
	s.learn()
	if reason := s.reason.Load(); reason != nil {
		s.halt(*reason, now)
	}
	s.pass(now)
	if ctx.Err() != nil {
		s.halt(context.Cause(ctx).Error(), now)
		s.abandon(now)
		return false
	}
	return !s.over(now) || s.underWay > 0
}

// pass ends the windows that are over. It comes before whatever belongs to the next one.
func (s *session) pass(now time.Duration) {
	for now >= s.nextEnd {
		starts := s.startsBefore(s.nextEnd)
		s.course <- second{s.rolled(s.nextEnd, starts), s.complete(now)}
		s.nextEnd += window
		if reason := s.hopeless(now); reason != "" {
			s.halt(reason, now)
		}
	}
}

// rolled is the window that ends, before which so many starts were meant to be.
func (s *session) rolled(end time.Duration, starts int) result.Window {
	w := s.roll(end, starts, s.inflight(starts))
	w.Open = s.connected()
	return w
}

// complete returns the steps of which all has become known since it was asked last.
func (s *session) complete(now time.Duration) (steps []result.Step) {
	for ; s.OnStep != nil && s.told < len(s.perStep); s.told++ {
		if p := &s.perStep[s.told]; p.open > 0 || now < p.End || s.sends(p.End) {
			break
		} else if !p.Warmup {
			steps = append(steps, p.step(p.End))
		}
	}
	return steps
}

func (s *session) halt(reason string, now time.Duration) {
	if s.stopped == "" && !s.ended {
		s.stopped, s.stopAt, s.ended = reason, now, true
		s.forgo(now)
	}
}

// usual is how long an answer may be awaited before it is suspected of never coming.
const usual = 100 * time.Millisecond

// abandon takes note of requests that are under way for longer than any answer took: with them left
// out, a server that hangs would look well.
func (s *session) abandon(now time.Duration) {
	sent, any := s.oldest()
	if age := now - sent; any && age > max(usual, s.slowest()) {
		s.abandoned = fmt.Sprintf("%d requests were under way when it ended, one for %v, longer than any answer took: what would have become of them is not known",
			s.underWay, age.Round(time.Millisecond))
	}
}

// hopeless is why the rest of the schedule is not worth it.
func (s *session) hopeless(now time.Duration) string {
	if !s.closed() && float64(s.dropped) > hopeless*float64(s.due) {
		return fmt.Sprintf("%d of %d starts could not be sent: the schedule is beyond what can be sent", s.dropped, s.due)
	}
	return ""
}

// draw takes the next ticket, which is sent now.
func (s *session) draw() (ticket, time.Duration) {
	now := s.now()
	s.pass(now)
	t := s.take(now)
	t.request = s.Pick(t.number)
	s.send(t, now)
	return t, now
}

// settle counts an answer, once it is known whether it is right.
func (s *session) settle(t ticket, sent time.Duration, r Reply) {
	now := s.now()
	s.pass(now)
	s.back()
	s.reached()
	o := outcomeOf(r.Status)
	if o != ok {
		s.cause(o, fmt.Sprintf("status %d: %.*s", r.Status, enough, r.Body))
	} else if s.sampled(t.number) && s.offer(sample{ticket: t, sent: sent, answered: now, reply: r}) {
		return
	}
	s.answer(t, sent, now, o, s.Requests[t.request].Rows)
}

// lose counts a request that gets no answer.
func (s *session) lose(t ticket, sent time.Duration, o outcome, cause string) {
	now := s.now()
	s.pass(now)
	s.back()
	s.cause(o, cause)
	s.answer(t, sent, now, o, 0)
}

// sampled chooses by chance, so that no request is left out for its place among the others.
func (s *session) sampled(number uint64) bool {
	return s.Check.Share > 0 && float64(mixed(number+s.Options.Schedule.Seed<<32)>>11)/(1<<53) < s.Check.Share
}

// mixed returns bits that look like chance: the output function of SplitMix64 (Steele, Lea, Flood 2014).
func mixed(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// finish makes the run, once nothing is under way.
func (s *session) finish(now time.Duration, use float64) *result.Run {
	s.pass(now)
	s.learnAll()
	if now > s.nextEnd-window {
		s.course <- second{Window: s.rolled(now, s.begun())}
	}
	close(s.course)
	<-s.watched
	end := s.steps[len(s.steps)-1].End
	if s.stopped != "" {
		end = s.stopAt
	}
	run := &result.Run{
		Asked: result.Asked{
			Profile: s.Options.Schedule.Profile, Closed: s.closed(), Seed: s.Options.Schedule.Seed,
			Connections: s.Options.Connections, Timeout: s.Options.Timeout, WarmUp: s.warmUp(),
		},
		Began: s.began, Took: now, Windows: s.seen, Steps: s.counted(end), Stopped: s.stopped,
		Generator: result.Generator{Sent: s.recorder.sent, Late: s.late, Queued: s.queued, Dropped: s.dropped, Delay: s.delay, CPU: processCPU() - s.cpu, Spread: s.spread},
		Server:    result.Server{Checked: s.checked},
	}
	for o, cause := range s.causes {
		if cause != "" {
			if run.Causes == nil {
				run.Causes = map[result.Outcome]string{}
			}
			run.Causes[result.Outcomes[o]] = cause
		}
	}
	if s.closed() {
		run.Asked.Profile = s.steps[len(s.steps)-1].Name
	}
	run.Invalid = s.invalid(use)
	return run
}

// invalid is why the figures cannot be believed. use is the generator's share of its core.
func (s *session) invalid(use float64) []string {
	var reasons []string
	if n := s.recorder.sent; float64(s.late) > maxLateShare*float64(n)+fewLate {
		reasons = append(reasons, fmt.Sprintf("%d of %d requests (%.2f %%) were sent more than %v after their intended start, at most 0.1 %% may be: the generator had no time: lower the rate or give it a core of its own",
			s.late, n, 100*float64(s.late)/float64(n), late))
	}
	if s.abandoned != "" {
		reasons = append(reasons, s.abandoned)
	}
	if s.dropped > 0 {
		reasons = append(reasons, fmt.Sprintf("%d starts were dropped, as %d waited or one for %v: the schedule is beyond what can be sent to this server from here",
			s.dropped, s.waiting, s.Options.Timeout))
	}
	if use > maxUse {
		reasons = append(reasons, fmt.Sprintf("the generator used %.0f %% of its core, at most %.0f %% may be: lower the rate", 100*use, 100*maxUse))
	}
	return reasons
}
