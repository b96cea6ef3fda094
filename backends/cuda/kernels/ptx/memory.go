package ptx

import (
	"fmt"
	"unsafe"
)

// space is a state space.
type space int

const (
	genericSpace space = iota
	globalSpace
	sharedSpace
	localSpace
	paramSpace
)

func (s space) String() string {
	return [...]string{"generic", "global", "shared", "local", "param"}[s]
}

const (
	guard       = 1024    // bytes of nobody before and behind a variable in shared memory
	dynamicBase = 1 << 20 // of dynamic shared memory
	localBase   = 1 << 60 // of local memory among generic addresses
)

func address(data []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data)))) }

// stamp says who has last accessed a byte of shared memory.
type stamp struct {
	epoch uint32 // barriers of the block before that
	fence uint32 // barriers of the warp before that
	warp  int16
	lane  int16
}

// Lanes that are none, and a warp.
const (
	several = -1 // of a warp; as a warp, of a block
	copying = -2 // an asynchronous copy that nobody has waited for
)

// region is a variable in shared memory.
type region struct {
	variable
	wrote, read []stamp
}

// before says whether what a stamp tells of happened before what a thread does now.
func (s stamp) before(w *warp, lane int) bool {
	return s.epoch != w.block.epoch || s.warp == int16(w.number) && (s.fence != w.fence || s.lane == int16(lane) && lane >= 0)
}

// reads says why a thread, or all of a warp, may not read bytes; it is empty if it may.
func (r *region) reads(w *warp, lane, from, n int) string {
	now := stamp{w.block.epoch, w.fence, int16(w.number), int16(lane)}
	for i := from; i < from+n; i++ {
		switch s := r.wrote[i]; {
		case s.lane == copying && s.epoch >= w.block.begin:
			return "an asynchronous copy to this place is not waited for"
		case !s.before(w, lane):
			return fmt.Sprintf("thread %d of warp %d has written here, and no barrier is between", s.lane, s.warp)
		}
		if was := r.read[i]; was.epoch == now.epoch && was != now {
			if was.warp != now.warp {
				r.read[i] = stamp{now.epoch, now.fence, several, several}
				continue
			}
			if was.fence == now.fence && was.lane != now.lane {
				r.read[i] = stamp{now.epoch, now.fence, now.warp, several}
				continue
			}
		}
		r.read[i] = now
	}
	return ""
}

// writes is reads for a write.
func (r *region) writes(w *warp, lane, from, n int, as int16) string {
	for i := from; i < from+n; i++ {
		switch s := r.wrote[i]; {
		case s.lane == copying && s.epoch >= w.block.begin:
			return "an asynchronous copy to this place is not waited for"
		case !s.before(w, lane):
			return fmt.Sprintf("thread %d of warp %d has written here, and no barrier is between", s.lane, s.warp)
		case !r.read[i].before(w, lane):
			return fmt.Sprintf("thread %d of warp %d has read here, and no barrier is between", r.read[i].lane, r.read[i].warp)
		}
		r.wrote[i] = stamp{w.block.epoch, w.fence, int16(w.number), as}
	}
	return ""
}

// access is what an instruction does with memory.
type access struct {
	space space
	bytes int // of a thread
	write bool
}

// at returns the memory of a thread at an address. What must not be is a fault.
func (w *warp) at(a access, lane int, addr uint64) []byte {
	if addr&uint64(a.bytes-1) != 0 {
		w.fail(lane, "address %#x of %d bytes in %v space is misaligned", addr, a.bytes, a.space)
	}
	switch a.space {
	case sharedSpace:
		r, from := w.block.variable(uint32(addr), a.bytes)
		if r == nil {
			w.fail(lane, "%d bytes at %#x are of no variable in shared memory", a.bytes, addr)
		}
		why := ""
		if a.write {
			why = r.writes(w, lane, from, a.bytes, int16(lane))
		} else {
			why = r.reads(w, lane, from, a.bytes)
		}
		if why != "" {
			w.fail(lane, "%d bytes at %#x of shared memory: %s", a.bytes, addr, why)
		}
		return r.data[from : from+a.bytes]
	case localSpace:
		if n := uint64(len(w.local[lane])); addr >= n || addr+uint64(a.bytes) > n {
			w.fail(lane, "%d bytes at %#x are not within %d bytes of local memory", a.bytes, addr, len(w.local[lane]))
		}
		return w.local[lane][addr : addr+uint64(a.bytes)]
	case paramSpace:
		for _, p := range w.block.entry.parameters {
			if from := addr - p.address; from < uint64(p.size) && from+uint64(a.bytes) <= uint64(p.size) {
				return w.block.arguments[addr : addr+uint64(a.bytes)]
			}
		}
		w.fail(lane, "%d bytes at %d are of no parameter", a.bytes, addr)
	case genericSpace:
		if addr >= localBase {
			return w.at(access{localSpace, a.bytes, a.write}, lane, addr-localBase)
		}
	}
	return w.global(a, lane, addr)
}

// operand is memory of a launch. Threads of it have written what writers says.
type operand struct {
	variable
	writers []uint32
}

// global returns memory of an operand, which becomes the first: the next access is likely to be there, too.
func (w *warp) global(a access, lane int, addr uint64) []byte {
	for i := range w.block.memory {
		m := &w.block.memory[i]
		if addr-m.address < uint64(m.size) {
			if from := int(addr - m.address); from+a.bytes <= m.size {
				for k := 0; !a.write && m.writers != nil && k < a.bytes; k++ {
					if who := m.writers[from+k]; who != 0 && who != w.thread(lane) {
						w.fail(lane, "%d bytes at %#x: another thread of the launch has written here", a.bytes, addr)
					}
				}
				if i > 0 {
					w.block.memory[0], w.block.memory[i] = w.block.memory[i], w.block.memory[0]
					m = &w.block.memory[0]
				}
				return m.data[from : from+a.bytes]
			}
			w.fail(lane, "%d bytes at %#x end behind an operand of %d bytes, which begins %d bytes before", a.bytes, addr, m.size, addr-m.address)
		}
	}
	near := ""
	for _, m := range w.block.memory {
		switch d := int64(addr - m.address); {
		case d < 0 && d >= -4096:
			near = fmt.Sprintf(", %d bytes before one of %d", -d, m.size)
		case d >= int64(m.size) && d <= int64(m.size)+4096:
			near = fmt.Sprintf(", %d bytes behind one of %d", d-int64(m.size), m.size)
		}
	}
	w.fail(lane, "%d bytes at %#x are of no operand%s", a.bytes, addr, near)
	return nil
}

// thread numbers those of a launch, from 1 on.
func (w *warp) thread(lane int) uint32 { return w.block.threads + uint32(w.number*32+lane) + 1 }

// claim notes that a thread writes data to an operand, which no other may have done unless it was the same.
func (w *warp) claim(lane int, addr uint64, old, data []byte) {
	m := &w.block.memory[0]
	if m.writers == nil {
		m.writers = make([]uint32, m.size)
	}
	who := m.writers[addr-m.address:]
	for i, v := range data {
		if who[i] != 0 && who[i] != w.thread(lane) && old[i] != v {
			w.fail(lane, "%d bytes at %#x: another thread of the launch has written something else here", len(data), addr)
		}
		who[i] = w.thread(lane)
	}
}

// variable returns the variable in shared memory that holds all of n bytes.
func (b *block) variable(addr uint32, n int) (*region, int) {
	for i := range b.shared {
		r := &b.shared[i]
		if from := uint64(addr) - r.address; from < uint64(r.size) && from+uint64(n) <= uint64(r.size) {
			return r, int(from)
		}
	}
	return nil, 0
}
