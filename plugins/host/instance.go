package host

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/thrumserve/thrum/backends"
)

// process is what this package needs of a plugins.Process.
type process interface {
	Load(ctx context.Context, spec backends.Spec) (backends.Model, error)
	Done() <-chan struct{}
	Err() error
	Kill() error
	PID() int
	DeviceFailed() bool
	Close() error
}

// instance is a process that has loaded the model and proved itself. The mutex of the Model
// guards the last fields.
type instance struct {
	number  int
	process process
	model   backends.Model
	born    time.Time     // when it was ready
	took    time.Duration // to be so

	flights []*flight   // batches that it was given and has not answered, oldest first
	watch   *time.Timer // runs look; nil before the first batch
	watched bool        // it is going to
	ending  bool        // it is given nothing more: it has died, is being killed, or is out of reach
	verdict string      // why it is being killed
}

// start starts an instance, loads the model and has it prove itself.
func (m *Model) start(ctx context.Context, s *slot) (_ *instance, err error) {
	begin := time.Now()
	held, done := m.weights.take()
	defer func() { done(err) }()
	p, err := m.options.start(ctx, held)
	if err != nil {
		return nil, err
	}
	model, err := p.Load(ctx, m.options.Spec)
	if err == nil {
		err = m.prove(ctx, model)
	}
	if err != nil {
		err = errors.Join(err, p.Close())
		m.autopsy(p)
		return nil, err
	}
	inst := &instance{number: s.number, process: p, model: model, born: time.Now(), took: time.Since(begin)}
	m.tell(Event{Kind: Ready, Instance: s.number, PID: p.PID(), After: inst.took})
	return inst, nil
}

func (m *Model) prove(ctx context.Context, model backends.Model) error {
	if known := m.signature; known.Outputs != nil && !reflect.DeepEqual(known, model.Signature()) {
		return backends.Errorf(backends.ErrInvalid, "the model's files have changed since they were loaded: load the version again")
	}
	if m.options.Prove == nil {
		return nil
	}
	return m.options.Prove(ctx, measured{model, m})
}

// measured is a model that is proving itself, whose batches are the first to tell what they cost.
type measured struct {
	backends.Model
	host *Model
}

func (m measured) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	begin := time.Now()
	out, err := m.Model.Predict(ctx, in)
	if err == nil {
		m.host.mu.Lock()
		defer m.host.mu.Unlock()
		m.host.costs.observe(in.Rows(), time.Since(begin))
	}
	return out, err
}

// predict computes a batch.
func (i *instance) predict(ctx context.Context, parts []backends.Batch) (out backends.Batch, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the plugin's client panicked: %v", p)
		}
	}()
	if len(parts) == 1 {
		return i.model.Predict(ctx, parts[0])
	}
	if joiner, ok := i.model.(backends.Joiner); ok {
		return joiner.PredictJoined(ctx, parts)
	}
	return i.model.Predict(ctx, backends.Join(parts))
}

// add gives the instance another batch. The Model's mutex is held, as in the next ones.
func (i *instance) add(f *flight, now time.Time) {
	i.flights = append(i.flights, f)
	if len(i.flights) == 1 {
		f.first = now
	}
}

// remove takes out a batch that has been answered. The one behind it is next.
func (i *instance) remove(f *flight, now time.Time) {
	at := slices.Index(i.flights, f)
	i.flights = slices.Delete(i.flights, at, at+1)
	if at == 0 && len(i.flights) > 0 {
		i.flights[0].first = now
	}
}

// close ends the process and then frees what the host has of the model.
func (i *instance) close() error {
	return errors.Join(i.process.Close(), i.model.Close())
}
