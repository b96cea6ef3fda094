package cuda

import (
	"context"
	"encoding/binary"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/driver"
)

// batch is rows on their way through the device.
type batch struct {
	lane *lane
	done chan error
}

// complete waits for batches, one after another, and is the only goroutine that waits for the device.
func (e *engine) complete() {
	for b := range e.finished {
		b.done <- e.failed(e.context.In(func() error { return e.context.Synchronize(b.lane.done) }))
	}
}

// place is pinned memory for an output, or nil where nobody wants it.
type place []byte

// run computes one batch with x: inputs as they lie in the host's memory, which may be shorter than
// the program's where rows are missing, and outputs to places. It returns when the answer is there.
func (e *engine) run(ctx context.Context, x *executable, inputs [][]byte, outputs []place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var l *lane
	select {
	case l = <-e.lanes:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { e.lanes <- l }()
	b := &batch{lane: l, done: make(chan error, 1)}
	err := e.context.In(func() error {
		if err := e.ready(l, x); err != nil {
			return err
		}
		return e.put(b, x, inputs, outputs)
	})
	if err != nil {
		return e.failed(err)
	}
	// The memory of inputs and outputs is the caller's again once this has returned, so that the
	// device has to have done with it even where nobody waits for the answer any more.
	if err := <-b.done; err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(l.fault) != 0 {
		return e.faulty(l)
	}
	return ctx.Err()
}

// put puts a batch on the streams: copies in, the graph, copies out, each stream waiting for the one
// before. A batch that is alone has nothing to overlap with and goes through one stream, by four calls less.
func (e *engine) put(b *batch, x *executable, inputs [][]byte, outputs []place) error {
	c, l := e.context, b.lane
	pinned, err := e.stage(l, inputs)
	if err != nil {
		return err
	}
	e.submit.Lock()
	defer e.submit.Unlock()
	in, out := e.streams.in, e.streams.out
	if len(e.lanes) == lanes-1 {
		in, out = e.streams.compute, e.streams.compute
	}
	clear(l.fault)
	for i, mem := range pinned {
		if err == nil && len(mem) > 0 {
			err = c.CopyIn(l.memory.at+uint64(x.layout.inputs[i]), mem, in)
		}
	}
	steps := []func() error{
		func() error { return e.follow(e.streams.compute, in, l.copied) },
		func() error { return c.Launch(l.graphs[x], e.streams.compute) },
		func() error { return e.follow(out, e.streams.compute, l.computed) },
	}
	for _, step := range steps {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return err
	}
	if err := e.copyOut(l, x, outputs, out); err != nil {
		e.end(err) // the device may have yet to write to memory that will be another's
		return err
	}
	e.finished <- b
	return nil
}

// follow has a stream wait for what has been put on the one before.
func (e *engine) follow(s, before driver.Stream, done driver.Event) error {
	if s == before {
		return nil
	}
	if err := e.context.Record(done, before); err != nil {
		return err
	}
	return e.context.Wait(s, done)
}

// copyOut puts the copies of an answer on a stream.
func (e *engine) copyOut(l *lane, x *executable, outputs []place, s driver.Stream) error {
	for i, to := range outputs {
		if len(to) == 0 {
			continue
		}
		if err := e.context.CopyOut(to, l.memory.at+uint64(x.layout.outputs[i]), s); err != nil {
			return err
		}
	}
	return e.context.Record(l.done, s)
}

// stage returns inputs in pinned memory: as they are, where their memory is, else copied.
func (e *engine) stage(l *lane, inputs [][]byte) ([][]byte, error) {
	pinned, total := make([][]byte, len(inputs)), 0
	for i, mem := range inputs {
		if e.pins.has(mem) {
			pinned[i] = mem
			continue
		}
		total += int(aligned(int64(len(mem))))
	}
	if total > len(l.staged) {
		if err := e.restage(l, total); err != nil {
			return nil, err
		}
	}
	at := 0
	for i, mem := range inputs {
		if pinned[i] == nil {
			pinned[i] = l.staged[at : at+copy(l.staged[at:], mem)]
			at += int(aligned(int64(len(mem))))
		}
	}
	return pinned, nil
}

// restage gives a lane more memory for inputs that are not pinned.
func (e *engine) restage(l *lane, n int) error {
	if l.staged != nil {
		if err := e.context.FreeHost(l.staged); err != nil {
			return err
		}
		l.staged = nil
	}
	mem, err := e.context.HostAlloc(n)
	l.staged = mem
	return err
}

// faulty refuses a batch in which an index is of no row, and forgets it: its rows must not pad others.
func (e *engine) faulty(l *lane) error {
	err := e.context.In(func() error { return e.context.Fill(l.memory.at, make([]byte, l.memory.bytes)) })
	if err != nil {
		return e.failed(err)
	}
	return backends.Errorf(backends.ErrInvalid, "an index in the input is of no row of its table")
}
