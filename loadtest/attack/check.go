package attack

import (
	"bytes"
	"time"
)

// maxChecks bounds the answers that wait to be compared. Those that find no room are not compared.
const maxChecks = 256

// sample is an answer that is compared beside the attack, so that a slow comparison makes no send late.
type sample struct {
	ticket
	sent, answered time.Duration
	reply          Reply
	err            error // that it differs
}

// checker compares answers in a goroutine of its own.
type checker struct {
	samples  chan sample
	verdicts chan sample
	checked  uint64
}

func newChecker() checker {
	return checker{make(chan sample, maxChecks), make(chan sample, maxChecks), 0}
}

// compare runs until samples is closed.
func (c *checker) compare(equal func(int, Reply) error) {
	defer close(c.verdicts)
	for s := range c.samples {
		s.err = equal(s.request, s.reply)
		c.verdicts <- s
	}
}

// offer takes an answer to be compared and says whether there was room. It keeps a copy.
func (c *checker) offer(s sample) bool {
	s.reply.Body = bytes.Clone(s.reply.Body)
	select {
	case c.samples <- s:
		return true
	default:
		return false
	}
}

// learn counts the answers that have been compared.
func (s *session) learn() {
	for len(s.verdicts) > 0 {
		s.decide(<-s.verdicts)
	}
}

// learnAll waits for those that have not been.
func (s *session) learnAll() {
	close(s.samples)
	for v := range s.verdicts {
		s.decide(v)
	}
}

func (s *session) decide(v sample) {
	o := ok
	if v.err != nil {
		o = wrong
		s.cause(wrong, v.err.Error())
	}
	if !s.perStep[v.step].Warmup {
		s.checked++
	}
	s.answer(v.ticket, v.sent, v.answered, o, s.Requests[v.request].Rows)
}
