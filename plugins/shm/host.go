package shm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// socketTimeout bounds how long the plugin may take to map an arena or to make room in the
// socket. It is generous: a plugin that needs it hangs.
const socketTimeout = 10 * time.Second

// Host is the end of the process that makes calls. Its methods, and those of its pools and
// slots, may be called concurrently, but a slot belongs to one goroutine at a time.
//
// There is no goroutine that waits for replies. One of the callers, the leader, does it for all:
// it takes the replies that are there in one go, wakes those whose they are, and when its own is
// among them passes the role on to the caller that came last, which is the one whose reply will
// take longest. So a caller that is alone writes its request and reads its reply itself.
type Host struct {
	broken func(error) error
	clock  clock
	socket *net.UnixConn
	theirs []*os.File

	grow sync.Mutex // held for one exchange over the socket: an arena and its answer
	send sync.Mutex // held for one message over the socket

	control region
	nudged  atomic.Bool // the leader is to look for something else than replies
	replies ring        // the leader's
	spin    spinner     // the leader's

	mu       sync.Mutex // protects the fields below, and the states of slots
	requests ring       // its write; wake is free
	leading  bool       // a caller is the leader
	parked   []*Slot    // callers that wait for their reply or to become the leader
	arenas   []*arena
	slots    int    // of all arenas, and those being made
	calls    int    // that may use the control region
	closed   bool   // the last of them is to unmap it
	last     uint32 // the number of the newest arena
	err      error  // why no more calls are possible
}

// NewHost returns the host of a plugin that is to inherit Files. broken is called at most once,
// from any goroutine, when the plugin does what no plugin may do, which the error describes; it
// must see to it that the plugin ends, and returns what the calls under way fail with.
func NewHost(broken func(error) error) (*Host, error) {
	control, controlFile, err := newRegion("thrum-control", controlBytes)
	if err != nil {
		return nil, err
	}
	socket, socketFile, err := socketPair()
	if err != nil {
		_ = controlFile.Close()
		control.unmap()
		return nil, err
	}
	putMagic(control)
	return &Host{
		broken:   broken,
		clock:    newClock(),
		socket:   socket,
		theirs:   []*os.File{controlFile, socketFile},
		control:  control,
		requests: newRing(control, requestRingAt, requestsAt),
		replies:  newRing(control, replyRingAt, repliesAt),
		spin:     newSpinner(true),
	}, nil
}

// Spin sets how to wait for replies, before the first call. It is for measurements: each of both
// ends is set, and neither way is good for every machine.
func (h *Host) Spin(how Spinning) { h.spin.how = how }

// Files returns what the plugin inherits and hands to Open, in that order. They are to be closed
// by CloseFiles once the plugin has started.
func (h *Host) Files() []*os.File { return h.theirs }

// CloseFiles closes Files.
func (h *Host) CloseFiles() {
	for _, f := range h.theirs {
		_ = f.Close()
	}
}

// Fail makes every call under way fail with err, and every later one with an ErrClosed: the
// plugin has ended. The first error stays. What replies hold remains readable.
func (h *Host) Fail(err error) {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return
	}
	h.err = err
	_ = h.socket.Close()
	for _, s := range h.parked {
		s.wake()
	}
	h.interrupt()
	h.mu.Unlock()
	for p := range h.pools() {
		p.mu.Lock()
		p.notify() // those that wait for a slot
		p.mu.Unlock()
	}
}

// pools returns the pools that have arenas.
func (h *Host) pools() map[*Pool]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[*Pool]bool)
	for _, a := range h.arenas {
		all[a.pool] = true
	}
	return all
}

// Close fails with ErrClosed what is still under way and gives up the memory, but for arenas
// with slots that are not released yet, which follow with their last slot. The plugin must have
// ended, or it fails.
func (h *Host) Close() {
	h.Fail(ErrClosed)
	h.CloseFiles()
	h.mu.Lock()
	h.closed = true
	h.unmap()
	h.mu.Unlock()
	for p := range h.pools() {
		p.Close()
	}
}

// unmap gives up the control region after the last call that uses it.
func (h *Host) unmap() {
	if h.closed && h.calls == 0 && h.control.mem != nil {
		h.control.unmap()
	}
}

// nudge makes the leader look at its context and at h.err.
func (h *Host) nudge() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interrupt()
}

func (h *Host) interrupt() {
	if h.control.mem != nil {
		h.nudged.Store(true)
		h.replies.wake()
	}
}

// Reply is what the plugin answers to a call.
type Reply struct {
	Code uint32
	Tag  uint64
	Data []byte // in the slot; the plugin may still change it
}

// Call sends the first length bytes of the slot and waits for the reply. When it fails the slot
// is not the caller's any more: if ctx ends, Call returns at once, tells the plugin, and the slot
// is used again once the plugin has answered. Otherwise the error is that of Fail, or an ErrClosed
// if nothing has been sent.
func (s *Slot) Call(ctx context.Context, tag uint64, length int) (Reply, error) {
	h := s.arena.pool.host
	var deadline int64
	if t, ok := ctx.Deadline(); ok {
		deadline = h.clock.nanoseconds(t)
	}
	h.mu.Lock()
	if err := h.usable(); err != nil {
		h.mu.Unlock()
		s.Release()
		return Reply{}, err
	}
	h.calls++
	s.state = slotAsked
	s.asked = length
	s.generation++
	h.requests.write(descriptor{
		generation: s.generation, tag: tag, length: uint64(length), deadline: deadline, arena: s.arena.number, slot: s.number,
	})
	leads := !h.leading
	h.leading = true
	if !leads {
		h.park(s)
	}
	h.mu.Unlock()
	roused := h.requests.wake()
	return h.await(ctx, s, leads, roused)
}

// usable returns an ErrClosed that says why no more calls are possible, if none are.
func (h *Host) usable() error {
	if h.err == nil || h.err == ErrClosed {
		return h.err
	}
	return fmt.Errorf("%w: %v", ErrClosed, h.err)
}

// await returns the reply to the call in s. leads says that the caller is the leader; otherwise
// s is parked.
func (h *Host) await(ctx context.Context, s *Slot, leads, roused bool) (Reply, error) {
	for !leads {
		select {
		case <-s.signal:
		case <-ctx.Done():
		}
		h.mu.Lock()
		if h.ended(ctx, s) {
			h.unpark(s)
			return h.end(ctx, s)
		}
		if leads = !h.leading; leads {
			h.unpark(s)
			h.leading = true
		}
		h.mu.Unlock()
	}
	h.lead(ctx, s, roused)
	return h.end(ctx, s)
}

// ended reports whether the caller has no reason to wait any more.
func (h *Host) ended(ctx context.Context, s *Slot) bool {
	return s.state == slotAnswered || h.err != nil || ctx.Err() != nil
}

// end is called with h.mu held, which it releases, by a caller that has ended.
func (h *Host) end(ctx context.Context, s *Slot) (Reply, error) {
	reply, state, err := s.reply, s.state, h.err
	if state != slotAnswered && err == nil {
		h.leave(s)
		h.mu.Unlock()
		return Reply{}, ctx.Err()
	}
	s.state = slotHeld
	h.calls--
	h.unmap()
	h.mu.Unlock()
	if state != slotAnswered {
		s.Release()
		return Reply{}, err
	}
	return reply, nil
}

// leave makes a goroutine wait for the reply in place of the caller, so that somebody does.
func (h *Host) leave(s *Slot) {
	cancel := message{kind: messageCancel, arena: s.arena.number, slot: s.number, size: s.generation}
	leads := !h.leading
	h.leading = true
	if !leads {
		h.park(s)
	}
	go func() {
		go func() { _ = h.tell(cancel, nil) }()
		if _, err := h.await(context.Background(), s, leads, false); err == nil {
			s.Release()
		}
	}()
}

// lead takes replies until the caller has ended, and returns with h.mu held and the role passed
// on.
func (h *Host) lead(ctx context.Context, s *Slot, roused bool) {
	stop := func() bool { return true }
	defer func() { stop() }()
	watched := false
	var buffer [64]*Slot
	for {
		if !h.spin.wait(&h.replies, roused) && !h.yield() {
			if !watched && ctx.Done() != nil {
				watched = true
				stop = context.AfterFunc(ctx, h.nudge)
			}
			h.replies.sleep(h.nudged.Load)
			h.nudged.Store(false)
		}
		roused = false
		h.mu.Lock()
		others, err := h.collect(s, buffer[:0])
		if err != nil {
			h.mu.Unlock()
			h.Fail(h.broken(err))
			h.mu.Lock()
		}
		ends := h.ended(ctx, s)
		if ends {
			h.leading = false
			if n := len(h.parked); n > 0 {
				others = append(others, h.parked[n-1])
			}
		}
		if len(others) > 0 { // not under the mutex: each takes a while, and they all want it
			h.mu.Unlock()
			for _, other := range others {
				other.wake()
			}
			h.mu.Lock()
		}
		if ends {
			return
		}
		h.mu.Unlock()
	}
}

// mostYields bounds how long a leader waits while others run, at some microseconds each.
const mostYields = 64

// yield lets other goroutines run as long as there are any, and reports whether the leader has
// something to do by then. A leader that sleeps keeps a processor from them until the runtime
// notices, so it is to sleep only when there is nothing else to do.
func (h *Host) yield() bool {
	for range mostYields {
		begin := time.Now()
		runtime.Gosched()
		if h.replies.ready() || h.nudged.Load() {
			return true
		}
		if time.Since(begin) < nobodyRan {
			return false
		}
	}
	return false
}

// nobodyRan is longer than it takes to yield where no other goroutine wants to run.
const nobodyRan = 2 * time.Microsecond

// collect takes the replies that are there and appends the slots they answer, but for the
// leader's.
func (h *Host) collect(leader *Slot, others []*Slot) ([]*Slot, error) {
	for {
		d, ok := h.replies.read()
		if !ok {
			return others, nil
		}
		s, err := h.accept(d)
		if err != nil {
			return others, err
		}
		if s != leader {
			h.unpark(s)
			others = append(others, s)
		}
	}
}

// accept checks a reply and gives it to the slot that it answers.
func (h *Host) accept(d descriptor) (*Slot, error) {
	i := slices.IndexFunc(h.arenas, func(a *arena) bool { return a.number == d.arena })
	if i < 0 || uint64(d.slot) >= uint64(len(h.arenas[i].slots)) {
		return nil, fmt.Errorf("a reply in slot %d of arena %d, which does not exist", d.slot, d.arena)
	}
	s := h.arenas[i].slots[d.slot]
	if s.state != slotAsked || d.generation != s.generation {
		return nil, fmt.Errorf("a reply to call %d of slot %d, where call %d is %s", d.generation, d.slot, s.generation, s.state)
	}
	size := uint64(len(s.mem))
	if d.offset < uint64(s.asked) || d.offset > size || d.length > size-d.offset {
		return nil, fmt.Errorf("a reply of %d bytes at %d of a slot of %d bytes with a request of %d", d.length, d.offset, size, s.asked)
	}
	s.state = slotAnswered
	s.answered = int(d.offset + d.length)
	s.reply = Reply{Code: d.code, Tag: d.tag, Data: s.mem[d.offset : d.offset+d.length : d.offset+d.length]}
	return s, nil
}

func (h *Host) park(s *Slot) {
	s.at = len(h.parked)
	h.parked = append(h.parked, s)
}

// unpark may be called of a slot that is not parked.
func (h *Host) unpark(s *Slot) {
	if s.at < 0 {
		return
	}
	end := len(h.parked) - 1
	h.parked[s.at] = h.parked[end]
	h.parked[s.at].at = s.at
	h.parked[end] = nil
	h.parked = h.parked[:end]
	s.at = -1
}

// tell sends the plugin a message.
func (h *Host) tell(m message, f *os.File) error {
	h.send.Lock()
	defer h.send.Unlock()
	if err := h.socket.SetWriteDeadline(time.Now().Add(socketTimeout)); err != nil {
		return err
	}
	return m.send(h.socket, f)
}

// introduce has the plugin map an arena.
func (h *Host) introduce(a *arena, f *os.File) error {
	h.grow.Lock()
	defer h.grow.Unlock()
	err := h.tell(message{kind: messageArena, arena: a.number, slot: uint32(len(a.slots)), size: uint64(a.slotBytes)}, f)
	if err == nil {
		err = h.socket.SetReadDeadline(time.Now().Add(socketTimeout))
	}
	if err != nil {
		return h.lost(err)
	}
	answer, stray, err := receiveMessage(h.socket)
	if stray != nil {
		_ = stray.Close()
		err = errors.New("a file from the plugin")
	}
	switch {
	case err != nil:
		return h.lost(err)
	case answer.arena != a.number || answer.kind != messageMapped && answer.kind != messageFailed:
		return h.lost(fmt.Errorf("message %d about arena %d in answer to arena %d", answer.kind, answer.arena, a.number))
	case answer.kind == messageFailed:
		return fmt.Errorf("the plugin cannot map %d bytes", a.slotBytes*len(a.slots))
	}
	return nil
}

// lost says that the socket, and with it the plugin, is of no use any more. The first reason
// counts: a plugin that has ended has been noticed otherwise.
func (h *Host) lost(err error) error {
	h.mu.Lock()
	known := h.err
	h.mu.Unlock()
	if known == nil {
		h.Fail(h.broken(fmt.Errorf("no answer about an arena: %w", err)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.usable()
}
