package shm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

func putMagic(control region) {
	binary.LittleEndian.PutUint64(control.mem[magicAt:], controlMagic)
}

// Plugin is the end of the process that answers calls.
type Plugin struct {
	control region
	socket  *net.UnixConn
	clock   clock

	receive  turns // of the worker that waits for requests, and
	requests ring  // reads them
	spin     spinner

	send    turns // of a worker that
	replies ring  // writes a reply

	closed atomic.Bool
	watch  func(mem []byte) (end func()) // may be nil

	mu        sync.Mutex // protects the fields below
	arenas    map[uint32]*mapping
	running   []*call
	cancelled map[place]uint64 // generations of calls that are cancelled and not running yet
	err       error            // why it is closed
}

// mapping is an arena as the plugin sees it.
type mapping struct {
	region    region
	slots     uint32
	slotBytes uint64
	end       func() // of who watches; may be nil
}

// turns is a mutex among workers, which costs nothing where there is only one.
type turns struct {
	sync.Mutex
	alone bool
}

func (t *turns) begin() {
	if !t.alone {
		t.Lock()
	}
}

func (t *turns) end() {
	if !t.alone {
		t.Unlock()
	}
}

type place struct{ arena, slot uint32 }

// Open opens what the process has inherited from its host: the two of Host.Files. It takes both
// over.
func Open(control, socket *os.File) (*Plugin, error) {
	defer control.Close()
	defer socket.Close()
	r, err := openRegion(control, controlBytes)
	if err != nil {
		return nil, fmt.Errorf("control region: %w", err)
	}
	if magic := binary.LittleEndian.Uint64(r.mem[magicAt:]); magic != controlMagic {
		r.unmap()
		return nil, fmt.Errorf("control region: magic %#x, not %#x: host and plugin are of versions that do not fit", magic, uint64(controlMagic))
	}
	conn, err := openSocket(socket)
	if err != nil {
		r.unmap()
		return nil, err
	}
	return &Plugin{
		control: r, socket: conn, clock: newClock(),
		requests: newRing(r, requestRingAt, requestsAt),
		replies:  newRing(r, replyRingAt, repliesAt),
		spin:     newSpinner(false),
		arenas:   map[uint32]*mapping{}, cancelled: map[place]uint64{},
	}, nil
}

// Spin sets how to wait for requests, before Serve. See Host.Spin.
func (p *Plugin) Spin(how Spinning) { p.spin.how = how }

// Watch sets who is told of memory in which calls arrive, before Serve. end is called before the memory
// goes, when no call is under way in it.
func (p *Plugin) Watch(mapped func(mem []byte) (end func())) { p.watch = mapped }

// Request is a call as it arrives.
type Request struct {
	Tag  uint64
	Data []byte // what the host has laid; the host may still change it
	Room []byte // for the data of the reply

	at uint64 // where Room begins in the slot
}

// Answer is what becomes of a Request: the reply's data are the first Length bytes of its Room.
type Answer struct {
	Code   uint32
	Tag    uint64
	Length int
}

// Handler answers one call. ctx ends with the caller's interest in it; nothing of the request
// may be used after the return.
type Handler func(ctx context.Context, r Request) Answer

// Serve answers calls in the order of their arrival, so many at a time, each in the goroutine
// that has received it, until Close. An error is what the host has done that no host may do.
func (p *Plugin) Serve(workers int, handle Handler) error {
	p.running = make([]*call, workers)
	p.receive.alone, p.send.alone = workers == 1, workers == 1
	var all sync.WaitGroup
	all.Go(func() {
		if err := p.listen(); err != nil {
			p.fail(fmt.Errorf("socket: %w", err))
		}
		p.Close()
	})
	for i := range workers {
		all.Go(func() {
			if err := p.work(i, handle); err != nil {
				p.fail(err)
			}
		})
	}
	all.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.arenas {
		m.region.unmap()
	}
	p.arenas = nil
	p.control.unmap()
	return p.err
}

// Close ends Serve once the calls under way have been answered.
func (p *Plugin) Close() { p.fail(nil) }

func (p *Plugin) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Swap(true) {
		return
	}
	p.err = err
	_ = p.socket.Close()
	if p.control.mem != nil {
		p.requests.wake()
	}
}

func (p *Plugin) work(worker int, handle Handler) error {
	roused := false
	var c *call
	for {
		d, ok := p.next(roused)
		if !ok {
			return nil
		}
		var err error
		if c, roused, err = p.serve(worker, c, d, handle); err != nil {
			return err
		}
	}
}

// serve answers a request of a worker, whose last call was that one, and reports whether it had to
// wake the host for it.
func (p *Plugin) serve(worker int, last *call, d descriptor, handle Handler) (c *call, roused bool, err error) {
	c, r, err := p.begin(worker, last, d)
	if err != nil {
		return nil, false, err
	}
	a := handle(c, r)
	p.end(worker, c)
	if a.Length < 0 || a.Length > len(r.Room) {
		return nil, false, fmt.Errorf("an answer of %d bytes in a room of %d", a.Length, len(r.Room))
	}
	d.code, d.tag, d.deadline = a.Code, a.Tag, 0
	d.offset, d.length = r.at, uint64(a.Length)
	p.send.begin()
	p.replies.write(d)
	p.send.end()
	return c, p.replies.wake(), nil
}

// next returns the next request, or false after Close.
func (p *Plugin) next(roused bool) (descriptor, bool) {
	p.receive.begin()
	defer p.receive.end()
	for {
		if d, ok := p.requests.read(); ok {
			return d, true
		}
		if p.closed.Load() {
			return descriptor{}, false
		}
		if !p.spin.wait(&p.requests, roused) {
			p.requests.sleep(p.closed.Load)
		}
		roused = false
	}
}

// begin checks a request and makes it the worker's, whose last call was that one.
func (p *Plugin) begin(worker int, last *call, d descriptor) (*call, Request, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.arenas[d.arena]
	if m == nil || d.slot >= m.slots {
		return nil, Request{}, fmt.Errorf("a request in slot %d of arena %d, which does not exist", d.slot, d.arena)
	}
	if d.offset != 0 || d.length > m.slotBytes {
		return nil, Request{}, fmt.Errorf("a request of %d bytes at %d of a slot of %d", d.length, d.offset, m.slotBytes)
	}
	at := uint64(d.slot) * m.slotBytes
	mem := m.region.mem[at : at+m.slotBytes : at+m.slotBytes]
	room := min(align(int(d.length), lineBytes), len(mem))
	c := last.next(p.clock, d)
	p.running[worker] = c
	if len(p.cancelled) > 0 {
		where := place{d.arena, d.slot}
		if p.cancelled[where] == d.generation {
			c.cancel()
		}
		delete(p.cancelled, where)
	}
	return c, Request{Tag: d.tag, Data: mem[:d.length:d.length], Room: mem[room:], at: uint64(room)}, nil
}

func (p *Plugin) end(worker int, c *call) {
	p.mu.Lock()
	p.running[worker] = nil
	p.mu.Unlock()
	c.end()
}

// listen does what the host says over the socket.
func (p *Plugin) listen() error {
	for {
		m, f, err := receiveMessage(p.socket)
		if errors.Is(err, io.EOF) || p.closed.Load() {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case m.kind == messageArena && f != nil:
			err = p.add(m, f)
		case m.kind == messageDrop && f == nil:
			p.drop(m.arena)
		case m.kind == messageCancel && f == nil:
			p.cancel(place{m.arena, m.slot}, m.size)
		default:
			err = fmt.Errorf("message %d that is none", m.kind)
		}
		if f != nil {
			_ = f.Close()
		}
		if err != nil {
			return err
		}
	}
}

func (p *Plugin) add(m message, f *os.File) error {
	if m.slot == 0 || m.slot > MaxSlots || m.size == 0 || m.size > maxArenaBytes/uint64(m.slot) {
		return fmt.Errorf("an arena of %d slots of %d bytes", m.slot, m.size)
	}
	answer := message{kind: messageMapped, arena: m.arena}
	r, err := openRegion(f, int(uint64(m.slot)*m.size))
	if err != nil {
		answer.kind = messageFailed
	} else {
		p.mu.Lock()
		_, known := p.arenas[m.arena]
		if !known {
			p.arenas[m.arena] = &mapping{region: r, slots: m.slot, slotBytes: m.size}
			if p.watch != nil {
				p.arenas[m.arena].end = p.watch(r.mem)
			}
		}
		p.mu.Unlock()
		if known {
			r.unmap()
			return fmt.Errorf("arena %d twice", m.arena)
		}
	}
	return answer.send(p.socket, nil)
}

// drop unmaps an arena, in which no call is under way, or the host could not have dropped it.
func (p *Plugin) drop(number uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.arenas[number]
	inUse := slices.ContainsFunc(p.running, func(c *call) bool { return c != nil && c.where.arena == number })
	if m == nil || inUse {
		return
	}
	delete(p.arenas, number)
	if m.end != nil {
		m.end()
	}
	m.region.unmap()
}

func (p *Plugin) cancel(where place, generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.running {
		if c != nil && c.where == where && c.generation == generation {
			c.cancel()
			return
		}
	}
	if m := p.arenas[where.arena]; m != nil && where.slot < m.slots {
		p.cancelled[where] = generation
	}
}
