// Package host answers for a version of a model with several plugin processes, its instances,
// and outlives each of them: one that dies or hangs is replaced while the others go on.
//
// Every instance has a goroutine that waits for its death and starts the next one; the batches
// choose an instance under one mutex. When to start again, how long a batch may take and which
// instance is next are functions without a clock (restart.go, cost.go, choose).
package host

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/plugins"
)

// Options say what to run and how to keep it running. Command and Spec are required.
type Options struct {
	Command   plugins.Command
	Plugin    plugins.Options
	Spec      backends.Spec
	Instances int // 1 if 0; several share the memory that their weights take, where they can

	// Prove, if not nil, is asked of every instance once it has loaded the model, at first and
	// after each restart; one that fails takes no traffic.
	Prove func(ctx context.Context, m backends.Model) error

	Patience time.Duration // for a restart, of a batch whose context has no deadline; 5 s if 0
	Restart  Restart
	Hang     Hang

	OnEvent func(Event)  // called in order for each instance, from several goroutines; may be nil
	Log     *slog.Logger // slog.Default() if nil

	start func(ctx context.Context, s shared) (process, error) // plugins.Start, except in tests
}

func (o Options) withDefaults() Options {
	o.Instances = cmp.Or(o.Instances, 1)
	o.Patience = cmp.Or(o.Patience, 5*time.Second)
	o.Restart = o.Restart.withDefaults(o.Instances)
	o.Hang = o.Hang.withDefaults()
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.start == nil {
		o.start = func(ctx context.Context, s shared) (process, error) {
			plugin := o.Plugin
			plugin.Weights, plugin.Locker = s.weights, s.locker
			p, err := plugins.Start(ctx, o.Command, plugin)
			if err != nil {
				return nil, err
			}
			return p, nil
		}
	}
	return o
}

// longestLoad bounds the loading of an instance where Open's context does not.
const longestLoad = 5 * time.Minute

// Model is a version of a model. It implements backends.Model and backends.Joiner.
//
// Predict fails with an ErrCrashed where the instance died, or had to be killed, over the batch
// or over another that it computed at the same time. For a while after a death an instance is
// given one batch at a time: whoever asks again with the same batch is told by the next
// ErrCrashed whose fault it is. Where no instance lives and none will in time, Predict fails
// with an ErrUnavailable that says when to try again.
//
// A batch that an instance has been given is computed to its end, whoever still waits for it:
// only so it is known whether the instance is busy or hangs.
type Model struct {
	options     Options
	signature   backends.Signature
	metered     bool // there are devices that say something of themselves
	loadTimeout time.Duration
	weights     shelf

	ctx     context.Context // ends when the model is closed
	stop    context.CancelFunc
	keepers sync.WaitGroup
	close   sync.Once
	err     error // of the first Close

	mu       sync.Mutex
	changed  chan struct{} // closed by the next change; nil while nobody waits for one
	slots    []*slot
	breaker  breaker
	costs    costs
	careful  time.Time     // until then instances are given one batch at a time
	caution  time.Duration // from the last death, or from the end of an outage
	outage   time.Time     // when the last time without any instance ended
	answered bool          // a batch, since the last Excuse
	closed   bool
	restarts uint64
	hangs    uint64
	failures uint64 // of devices
}

// Open starts and loads all instances, several at a time. The first failure is the error, and
// then nothing is left running. The instances live until Close, not until ctx ends.
func Open(ctx context.Context, o Options) (*Model, error) {
	m := &Model{options: o.withDefaults(), loadTimeout: longestLoad}
	if deadline, ok := ctx.Deadline(); ok {
		m.loadTimeout = time.Until(deadline)
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.slots = make([]*slot, m.options.Instances)
	m.weights.none = len(m.slots) < 2
	loads, ctx := errgroup.WithContext(ctx)
	for i := range m.slots {
		s := &slot{number: i}
		m.slots[i] = s
		loads.Go(func() (err error) {
			s.live, err = m.start(ctx, s)
			return err
		})
	}
	if err := loads.Wait(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.signature = m.slots[0].live.model.Signature()
	m.metered = metered(m.slots[0].live.model)
	for _, s := range m.slots {
		m.keepers.Go(func() { m.keep(s) })
	}
	return m, nil
}

// mostMisses bounds how many instances a batch is given to that turn out to have gone before.
const mostMisses = 8

// Signature implements backends.Model.
func (m *Model) Signature() backends.Signature { return m.signature }

// Predict implements backends.Predictor.
func (m *Model) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	return m.PredictJoined(ctx, []backends.Batch{in})
}

// PredictJoined implements backends.Joiner.
func (m *Model) PredictJoined(ctx context.Context, parts []backends.Batch) (backends.Batch, error) {
	for range mostMisses {
		f := newFlight(parts)
		inst, err := m.board(ctx, f)
		if err != nil {
			return backends.Batch{}, err
		}
		go m.fly(context.WithoutCancel(ctx), inst, f, parts)
		select {
		case <-f.done:
		case <-ctx.Done():
			m.leave(f)
			return backends.Batch{}, ctx.Err()
		}
		if !f.missed {
			return f.out, f.err
		}
	}
	return backends.Batch{}, backends.Errorf(backends.ErrUnavailable, "%d instances went away just before they were given this batch", mostMisses)
}

// trials is how often a request is given to an instance, with others and alone, until it is known
// that instances end over it.
const trials = 3

// Excuse is told that a request has been found over which instances ended, and will not be given
// to one again. It says nothing about the model that they did, if other requests were answered
// since the last time, so they do not count for the breaker then.
func (m *Model) Excuse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answered {
		m.breaker, m.answered = m.breaker.excused(trials), false
	}
}

// Close lets the batches under way return, ends all instances and waits for that.
func (m *Model) Close() error {
	m.close.Do(func() {
		m.drain()
		m.stop()
		m.keepers.Wait()
		errs := make([]error, len(m.slots))
		var closing sync.WaitGroup
		for i, s := range m.slots {
			if s.live != nil {
				closing.Go(func() { errs[i] = s.live.close() })
			}
		}
		closing.Wait()
		m.weights.close()
		m.err = errors.Join(errs...)
	})
	return m.err
}

// drain refuses new batches and waits until none is under way.
func (m *Model) drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.notify()
	for m.flying() > 0 {
		change := m.change()
		m.mu.Unlock()
		<-change
		m.mu.Lock()
	}
}

// Stats is what a Model has and what has happened to it.
type Stats struct {
	Wanted, Live int    // instances
	Restarts     uint64 // instances started in place of one that died
	Hangs        uint64 // instances killed because they hung
	Breaker      BreakerState
	Transport    string // how tensors cross, such as "shm" or "grpc"; empty while none lives
	SharedBytes  int64  // weights that are in memory once for all instances

	DeviceFailures uint64 // instances that ended because their device answered them no more
}

// Stats returns what m has now and what has happened so far.
func (m *Model) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Stats{
		Wanted: len(m.slots), Restarts: m.restarts, Hangs: m.hangs, Breaker: m.breaker.public(),
		SharedBytes: m.weights.bytes(), DeviceFailures: m.failures,
	}
	for _, inst := range m.live() {
		s.Live++
		s.Transport = transport(inst.model)
	}
	return s
}

// transport returns how a model's tensors cross, as it says.
func transport(m backends.Model) string {
	if t, ok := m.(interface{ Transport() string }); ok {
		return t.Transport()
	}
	return "grpc"
}

// Live returns nil if some instance has lived all the time since then, and else an ErrUnavailable
// that says why not and when to try again. Since now, it says whether one lives.
func (m *Model) Live(since time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	switch {
	case len(m.live()) == 0:
		return m.unavailable(now)
	case m.outage.After(since):
		err := backends.Errorf(backends.ErrUnavailable, "no instance of this version lived until %v ago; %s", now.Sub(m.outage).Round(time.Millisecond), m.why())
		return backends.WithRetryAfter(err, 0)
	}
	return nil
}

// PIDs returns the processes that live.
func (m *Model) PIDs() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var pids []int
	for _, inst := range m.live() {
		pids = append(pids, inst.process.PID())
	}
	return pids
}
