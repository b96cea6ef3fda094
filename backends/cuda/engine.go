package cuda

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/cublaslt"
	"github.com/thrumserve/thrum/backends/cuda/driver"
	"github.com/thrumserve/thrum/backends/cuda/kernels"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// lanes is how many batches are under way at once: while one is computed, the next is copied in and
// the one before it out.
const lanes = 2

// engine is what the programs of one version share on a device: weights, kernels, streams and the
// scratch memory that one run after another uses.
type engine struct {
	context Context
	module  Module
	account *Account
	purpose string // of its memory, for errors
	end     func(error)
	pins    *pins
	tf32    bool
	// processors of the device, among which products are divided
	processors int64
	products   *products
	streams    struct{ in, compute, out, capture driver.Stream }
	lanes      chan *lane
	finished   chan *batch // in the order in which they were put on the streams

	submit sync.Mutex // held while a batch is put on the streams

	mu        sync.Mutex
	weights   map[string]uint64
	shared    shared
	functions map[string]driver.Function
	scratch   []block
	held      map[uint64]func() // memory to free, and what tells the account
}

// block is memory of the device.
type block struct {
	at    uint64
	bytes int64
}

// lane is the memory of one batch under way, and the graphs that compute in it.
type lane struct {
	memory block
	fault  []byte // pinned: the device writes here, and nothing but of a fault
	staged []byte // pinned; for inputs that lie in memory which is not
	graphs map[*executable]driver.Exec
	tables map[*executable][]uint64 // what launches read besides, in memory of their own

	copied, computed, done driver.Event
}

// faultBytes is what the device says of a run in which an index is of no row.
const faultBytes = 4

// newEngine makes streams and lanes.
func newEngine(c Context, image []byte, account *Account, purpose string, b *Backend) (*engine, error) {
	e := &engine{
		context: c, account: account, purpose: purpose, end: b.end, pins: &b.pins, lanes: make(chan *lane, lanes), finished: make(chan *batch, lanes), products: newProducts(nil, ours),
		weights: map[string]uint64{}, functions: map[string]driver.Function{}, held: map[uint64]func(){},
	}
	err := c.In(func() (err error) {
		if e.module, err = c.Load(image); err != nil {
			return err
		}
		for _, s := range []*driver.Stream{&e.streams.in, &e.streams.compute, &e.streams.out, &e.streams.capture} {
			if *s, err = c.NewStream(); err != nil {
				return err
			}
		}
		for range lanes {
			l, err := newLane(c)
			if err != nil {
				return err
			}
			e.lanes <- l
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(e.failed(err), e.close())
	}
	go e.complete()
	return e, nil
}

func newLane(c Context) (*lane, error) {
	l := &lane{graphs: map[*executable]driver.Exec{}, tables: map[*executable][]uint64{}}
	var err [4]error
	l.fault, err[0] = c.HostAlloc(faultBytes)
	l.copied, err[1] = c.NewEvent()
	l.computed, err[2] = c.NewEvent()
	l.done, err[3] = c.NewEvent()
	return l, errors.Join(err[:]...)
}

// failed ends the process where an error stays.
func (e *engine) failed(err error) error {
	if driver.Sticky(err) {
		e.end(err)
	}
	return err
}

// alloc returns n bytes of the device, which the account grants and close frees.
func (e *engine) alloc(n int64) (uint64, error) {
	release, err := e.account.Reserve(e.purpose, uint64(n))
	if err != nil {
		return 0, err
	}
	at, err := e.context.Alloc(n, e.streams.capture)
	if err != nil {
		release()
		return 0, e.failed(err)
	}
	e.held[at] = release
	return at, nil
}

// free gives memory from alloc back.
func (e *engine) free(at uint64) error {
	release := e.held[at]
	delete(e.held, at)
	release()
	return e.failed(e.context.Free(at, e.streams.capture))
}

// scratchOf returns scratch memory of at least n bytes. Runs follow each other on one stream, so that
// all may use the same.
func (e *engine) scratchOf(n int64) (uint64, error) {
	for _, b := range e.scratch {
		if b.bytes >= n {
			return b.at, nil
		}
	}
	n = max(aligned(n), alignment)
	at, err := e.alloc(n)
	if err == nil {
		e.scratch = append(e.scratch, block{at, n})
	}
	return at, err
}

// executable is a program with its places, ready to be captured.
type executable struct {
	program *lower.Program
	layout  layout
	scratch uint64
	weights map[*lower.Buffer]uint64
	retired atomic.Bool // it has made room for others: lanes drop their graphs of it

	processors int64
}

// executable returns p with places for what it computes.
func (e *engine) executable(p *lower.Program) *executable {
	unplaced := binding{tf32: e.tf32, processors: e.processors, address: func(*lower.Buffer) uint64 { return 0 }}
	return &executable{program: p, layout: newLayout(p, unplaced.partsOf), weights: map[*lower.Buffer]uint64{}, processors: e.processors}
}

// prepare makes a program ready: its weights are on the device then, and its memory is there.
func (e *engine) prepare(p *lower.Program) (*executable, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.executable(p)
	if _, err := x.binding(0, e.tf32).launches(p); err != nil { // before memory is taken
		return nil, err
	}
	err := e.context.In(func() (err error) {
		for _, o := range p.Ops {
			for _, t := range o.In {
				if !t.Given() || t.Buffer.Weight == nil {
					continue
				}
				if x.weights[t.Buffer], err = e.weight(t.Buffer); err != nil {
					return err
				}
			}
		}
		x.scratch, err = e.scratchOf(x.layout.bytes)
		return err
	})
	return x, err
}

// binding says where everything lies for a batch whose memory begins at an address.
func (x *executable) binding(memory uint64, tf32 bool) binding {
	crossing := map[*lower.Buffer]uint64{}
	for i, t := range x.program.Inputs {
		crossing[t.Buffer] = memory + uint64(x.layout.inputs[i])
	}
	for i, t := range x.program.Outputs {
		crossing[t.Buffer] = memory + uint64(x.layout.outputs[i])
	}
	parts := func(o *lower.Op) uint64 {
		if b := x.layout.parts[o]; b != nil {
			return x.scratch + uint64(x.layout.scratch[b])
		}
		return 0
	}
	return binding{tf32: tf32, processors: x.processors, parts: parts, address: func(b *lower.Buffer) uint64 {
		if b.Weight != nil {
			return x.weights[b]
		}
		if at, ok := crossing[b]; ok {
			return at
		}
		return x.scratch + uint64(x.layout.scratch[b])
	}}
}

// ready makes a lane ready for a program: it has room for its batch and a graph of it. The context
// is current.
func (e *engine) ready(l *lane, x *executable) error {
	if _, ok := l.graphs[x]; ok {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for old := range l.graphs {
		if !old.retired.Load() {
			continue
		}
		if err := e.drop(l, old); err != nil {
			return err
		}
	}
	if need := max(x.layout.batch, alignment); l.memory.bytes < need {
		if err := e.enlarge(l, need); err != nil {
			return err
		}
	}
	b := x.binding(l.memory.at, e.tf32)
	b.place, b.fault = e.place(l, x), addressOf(l.fault)
	if err := e.choose(b, x, l); err != nil {
		return err
	}
	g, err := e.captured(b, x)
	if cublaslt.Refused(err) {
		e.products.refuse("a graph does not take what the library does", err)
		g, err = e.captured(b, x)
	}
	if err == nil {
		l.graphs[x] = g
	}
	return err
}

// captured makes a graph of a program.
func (e *engine) captured(b binding, x *executable) (driver.Exec, error) {
	steps, err := e.steps(b, x.program)
	if err != nil {
		return 0, err
	}
	return e.capture(steps)
}

// drop frees what a lane has of a program.
func (e *engine) drop(l *lane, x *executable) error {
	err := e.failed(e.context.DestroyExec(l.graphs[x]))
	delete(l.graphs, x)
	for _, at := range l.tables[x] {
		err = errors.Join(err, e.free(at))
	}
	delete(l.tables, x)
	return err
}

// place brings what launches read besides to the device, where it stays as long as the lane's graph of x.
func (e *engine) place(l *lane, x *executable) func(data []byte) (uint64, error) {
	return func(data []byte) (uint64, error) {
		at, err := e.alloc(aligned(int64(len(data))))
		if err != nil {
			return 0, err
		}
		l.tables[x] = append(l.tables[x], at)
		return at, e.failed(e.context.Fill(at, data))
	}
}

// displace frees what place has brought for x since there were so many.
func (e *engine) displace(l *lane, x *executable, kept int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	for _, at := range l.tables[x][kept:] {
		err = errors.Join(err, e.free(at))
	}
	l.tables[x] = l.tables[x][:kept]
	return err
}

// enlarge gives a lane more memory. Graphs that compute in what it had are made anew when they are
// needed.
func (e *engine) enlarge(l *lane, n int64) error {
	for x := range l.graphs {
		if err := e.drop(l, x); err != nil {
			return err
		}
	}
	if l.memory.bytes > 0 {
		if err := e.free(l.memory.at); err != nil {
			return err
		}
		l.memory = block{}
	}
	at, err := e.alloc(aligned(n))
	if err != nil {
		return err
	}
	l.memory = block{at, aligned(n)}
	// What pads a batch are rows of earlier ones, and zeros at first.
	return e.failed(e.context.Fill(at, make([]byte, l.memory.bytes)))
}

// capture makes a graph of steps.
func (e *engine) capture(steps []step) (driver.Exec, error) {
	for _, st := range steps { // before the stream records
		if _, err := e.function(st); err != nil {
			return 0, err
		}
	}
	s := e.streams.capture
	if err := e.context.BeginCapture(s); err != nil {
		return 0, e.failed(err)
	}
	failed := e.issue(steps, s)
	g, err := e.context.EndCapture(s)
	if err != nil {
		return 0, e.failed(errors.Join(failed, err))
	}
	if failed != nil {
		return 0, e.failed(errors.Join(failed, e.context.DestroyGraph(g)))
	}
	exec, err := e.context.Instantiate(g)
	return exec, e.failed(errors.Join(err, e.context.DestroyGraph(g)))
}

// issue puts steps on a stream.
func (e *engine) issue(steps []step, s driver.Stream) error {
	for _, st := range steps {
		f, err := e.function(st)
		if m := st.product; m != nil {
			err = m.plan.Multiply(m.way, m.at, m.workspace, s)
		} else if err == nil {
			err = e.context.Call(f, st.kernel, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// function returns the kernel of a step, none for a product of the library's.
func (e *engine) function(st step) (driver.Function, error) {
	if st.product != nil {
		return 0, nil
	}
	name := st.kernel.Name
	f, ok := e.functions[name]
	if !ok {
		var err error
		if f, err = e.module.Function(name); err != nil {
			return 0, e.failed(backends.Errorf(backends.ErrUnsupported, "kernel %s: %w", name, err))
		}
		e.functions[name] = f
	}
	if st.kernel.Shared > kernels.PlainShared {
		return f, e.failed(e.context.AllowShared(f, kernels.MostShared))
	}
	return f, nil
}

// close frees everything. No batch may be under way.
func (e *engine) close() error {
	var all []error
	err := e.context.In(func() error {
		for range len(e.lanes) {
			l := <-e.lanes
			for _, g := range l.graphs {
				all = append(all, e.context.DestroyExec(g))
			}
			for _, mem := range [][]byte{l.fault, l.staged} {
				if mem != nil {
					all = append(all, e.context.FreeHost(mem))
				}
			}
			all = append(all, e.context.CloseEvent(l.done), e.context.CloseEvent(l.copied), e.context.CloseEvent(l.computed))
		}
		all = append(all, e.products.close())
		for at := range e.held {
			all = append(all, e.free(at))
		}
		if e.shared.bytes > 0 {
			all = append(all, e.context.Unmap(e.shared.mapping))
			if e.shared.release != nil {
				e.shared.release()
			}
		}
		for _, s := range []driver.Stream{e.streams.in, e.streams.compute, e.streams.out, e.streams.capture} {
			if s != 0 {
				all = append(all, e.context.CloseStream(s))
			}
		}
		return nil
	})
	close(e.finished)
	return e.failed(errors.Join(append(all, err)...))
}
