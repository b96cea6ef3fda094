package attack

import (
	"context"

	"github.com/thrumserve/thrum/loadtest/result"
)

// Run attacks until the schedule has ended and every answer is there or timed out, or ctx ends. What
// was measured until then is returned in any case; an error says that nothing could be.
func Run(ctx context.Context, o Options) (*result.Run, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := newSession(o)
	h, isHTTP := o.Target.(*HTTP)
	if !isHTTP {
		return s.run(ctx, attackTarget)
	}
	w, err := h.wire()
	if err != nil {
		return nil, err
	}
	if w.tls {
		return s.run(ctx, attackTarget)
	}
	return s.run(ctx, func(ctx context.Context, s *session) (float64, error) { return attackHTTP(ctx, s, w) })
}

// run attacks by a driver, which returns its share of a core.
func (s *session) run(ctx context.Context, drive func(context.Context, *session) (float64, error)) (*result.Run, error) {
	use, err := drive(ctx, s)
	if err != nil && s.began.IsZero() {
		return nil, err
	}
	run := s.finish(s.now(), use)
	if err != nil {
		return nil, err
	}
	return run, nil
}
