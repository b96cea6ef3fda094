package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/thrumserve/thrum/backends"
)

var doubler = backends.Signature{
	Batched: true,
	Inputs:  []backends.TensorSpec{{Name: "x", Datatype: backends.Int64, Shape: []int64{-1}}},
	Outputs: []backends.TensorSpec{{Name: "y", Datatype: backends.Int64, Shape: []int64{-1}}},
}

func request(values ...int64) backends.Batch {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return backends.Batch{Tensors: []backends.Tensor{{Name: "x", Datatype: backends.Int64, Shape: []int64{int64(len(values))}, Data: data}}}
}

func values(b backends.Batch) []int64 {
	var all []int64
	for data := b.Tensors[0].Data; len(data) > 0; data = data[8:] {
		all = append(all, int64(binary.LittleEndian.Uint64(data)))
	}
	return all
}

// What a fake instance does with these rows. All others it doubles.
const (
	poison = -1 // it dies at once
	tar    = -2 // it hangs until it is killed
)

// factory makes fake processes. Starting one takes startTakes, a batch takes a millisecond for
// each row, one batch after the other.
type factory struct {
	t          *testing.T
	startTakes time.Duration

	mu      sync.Mutex
	fail    error // of the next loads
	started []time.Duration
	all     []*fakeProcess
	born    time.Time
	leases  int
	devices []backends.Device // of every process; nil if there are none
}

func newFactory(t *testing.T) *factory {
	return &factory{t: t, startTakes: 100 * ms, born: time.Now()}
}

func (f *factory) start(ctx context.Context, _ shared) (process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &fakeProcess{factory: f, pid: len(f.all) + 1, died: make(chan struct{}), turn: make(chan struct{}, 1)}
	f.all = append(f.all, p)
	f.started = append(f.started, time.Since(f.born))
	return p, nil
}

func (f *factory) setFail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// of returns the process of an instance that lives.
func of(m *Model, instance int) *fakeProcess {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.slots[instance].live.process.(*fakeProcess)
}

func (f *factory) starts() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

// lent returns how many answers were not released.
func (f *factory) lent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leases
}

type fakeProcess struct {
	factory *factory
	pid     int
	turn    chan struct{} // held by the batch that is computed

	mu      sync.Mutex
	died    chan struct{}
	dead    error
	closed  bool
	batches [][]int64
	stopped bool // it answers nothing more

	deviceFailed bool // once it has died
}

func (p *fakeProcess) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

func (p *fakeProcess) DeviceFailed() bool { return p.Err() != nil && p.deviceFailed }

func (p *fakeProcess) Load(ctx context.Context, _ backends.Spec) (backends.Model, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(p.factory.startTakes):
	}
	p.factory.mu.Lock()
	defer p.factory.mu.Unlock()
	if p.factory.fail != nil {
		return nil, p.factory.fail
	}
	return (*fakeModel)(p), nil
}

func (p *fakeProcess) die(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead == nil {
		p.dead = backends.Errorf(backends.ErrUnavailable, "plugin died: %s", why)
		close(p.died)
	}
}

func (p *fakeProcess) Done() <-chan struct{} { return p.died }
func (p *fakeProcess) Kill() error           { p.die("signal: killed"); return nil }
func (p *fakeProcess) PID() int              { return p.pid }

func (p *fakeProcess) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *fakeProcess) Close() error {
	p.die("closed")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("closed twice")
	}
	p.closed = true
	return nil
}

func (p *fakeProcess) seen() [][]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.batches)
}

type fakeModel fakeProcess

func (m *fakeModel) Signature() backends.Signature { return doubler }
func (m *fakeModel) Close() error                  { return nil }
func (m *fakeModel) Metered() bool                 { return m.factory.devices != nil }

func (m *fakeModel) Devices(ctx context.Context) ([]backends.Device, error) {
	m.mu.Lock()
	stopped := m.stopped
	m.mu.Unlock()
	if stopped {
		<-ctx.Done()
	}
	return m.factory.devices, ctx.Err()
}

func (m *fakeModel) Predict(ctx context.Context, in backends.Batch) (backends.Batch, error) {
	p, x := (*fakeProcess)(m), values(in)
	if err := p.Err(); err != nil {
		return backends.Batch{}, err
	}
	if err := p.compute(ctx, x); err != nil {
		return backends.Batch{}, err
	}
	for i := range x {
		x[i] *= 2
	}
	out := request(x...)
	out.Tensors[0].Name = "y"
	p.factory.mu.Lock()
	defer p.factory.mu.Unlock()
	p.factory.leases++
	out.Lease = backends.NewLease(func() {
		p.factory.mu.Lock()
		defer p.factory.mu.Unlock()
		p.factory.leases--
	})
	return out, nil
}

func (p *fakeProcess) compute(ctx context.Context, x []int64) error {
	select {
	case p.turn <- struct{}{}:
	case <-p.died:
		return p.crashed()
	}
	defer func() { <-p.turn }()
	p.mu.Lock()
	p.batches = append(p.batches, slices.Clone(x))
	p.mu.Unlock()
	takes := time.Duration(len(x)) * ms
	switch {
	case slices.Contains(x, poison):
		p.die("signal: segmentation fault")
	case slices.Contains(x, tar):
		takes = 1000 * time.Hour
	}
	select {
	case <-p.died:
		return p.crashed()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(takes):
		return nil
	}
}

// crashed is the error of a batch over which the process died, or was closed. It takes a moment
// to get about.
func (p *fakeProcess) crashed() error {
	time.Sleep(ms)
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return p.Err()
	}
	return backends.Errorf(backends.ErrCrashed, "%w", p.Err())
}

// openFake opens a model on fake processes. It is closed, and must have given back what it was
// lent, at the end of the test.
func openFake(t *testing.T, f *factory, o Options) *Model {
	t.Helper()
	o.start = f.start
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return m
}

func closeFake(t *testing.T, f *factory, m *Model) {
	t.Helper()
	for range 2 {
		if err := m.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	for _, p := range f.all {
		if !p.closed {
			t.Errorf("process %d was not closed", p.pid)
		}
	}
	if n := f.lent(); n != 0 {
		t.Errorf("%d answers were not released", n)
	}
}

// ask predicts and returns what came of it, as text.
func ask(ctx context.Context, m backends.Predictor, x ...int64) string {
	out, err := m.Predict(ctx, request(x...))
	if err != nil {
		return kind(err)
	}
	defer out.Release()
	return fmt.Sprint(values(out))
}

func kind(err error) string {
	switch {
	case errors.Is(err, backends.ErrCrashed) && errors.Is(err, backends.ErrUnavailable):
		return "crashed and unavailable: " + err.Error()
	case errors.Is(err, backends.ErrCrashed):
		return "crashed"
	case errors.Is(err, backends.ErrUnavailable):
		return "unavailable"
	}
	return err.Error()
}
