package cuda

import (
	"context"
	"errors"
	"time"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// Replayer is what models of this backend are besides, for measurements. Of the dimensions of their inputs
// nothing but the number of rows may vary.
type Replayer interface {
	// Replay computes a batch of that many rows n times, one after the other, of what earlier batches have
	// left on the device, and returns what one takes by the device's clock: without copies, and without
	// the host's waiting for it.
	Replay(ctx context.Context, rows, n int) (time.Duration, error)
}

// Replay implements Replayer.
func (m *model) Replay(ctx context.Context, rows, n int) (time.Duration, error) {
	var took time.Duration
	err := m.alone(ctx, rows, func(l *lane, x *executable) (err error) {
		e := m.engine
		took, err = e.timed(func() error {
			for range n {
				if err := e.context.Launch(l.graphs[x], e.streams.compute); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	})
	return took / time.Duration(n), err
}

// alone calls f with a lane that is ready for that many rows while no batch is put on the streams.
func (m *model) alone(ctx context.Context, rows int, f func(l *lane, x *executable) error) error {
	m.life.RLock()
	defer m.life.RUnlock()
	if m.closed {
		return backends.Errorf(backends.ErrUnavailable, "the model is closed")
	}
	bucket, ok := Bucket(m.buckets, rows)
	if !ok || !m.static() {
		return backends.Errorf(backends.ErrInvalid, "%d rows: no graph is captured for them alone", rows)
	}
	x, err := m.program(m.shapes(int64(bucket), 1))
	if err != nil {
		return err
	}
	var l *lane
	select {
	case l = <-m.engine.lanes:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { m.engine.lanes <- l }()
	return m.engine.failed(m.engine.context.In(func() error {
		if err := m.engine.ready(l, x); err != nil {
			return err
		}
		m.engine.submit.Lock()
		defer m.engine.submit.Unlock()
		return f(l, x)
	}))
}

// timed returns what the device takes for what f puts on the stream that computes.
func (e *engine) timed(f func() error) (took time.Duration, err error) {
	var ends [2]driver.Event
	for i := range ends {
		if ends[i], err = e.context.NewTimer(); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, e.context.CloseEvent(ends[i])) }()
	}
	// The device has done with all of it when this returns, whatever fails.
	err = errors.Join(e.context.Record(ends[0], e.streams.compute), f(), e.context.Record(ends[1], e.streams.compute), e.context.Synchronize(ends[1]))
	if err != nil {
		return 0, err
	}
	return e.context.Elapsed(ends[0], ends[1])
}
