package ptx

import (
	"fmt"
	"math/bits"
)

// row is a register of all lanes of a warp, whatever its width: narrower values are extended by zeros,
// truths are 0 and 1.
type row [32]uint64

// pure is an instruction that computes a register of others, lane by lane.
type pure func(a, b, c uint64) uint64

type kind int

const (
	compute kind = iota // pure
	effect              // do
	branch
	leave
	barrier // of the block
)

// instruction is one of a kernel.
type instruction struct {
	line  int
	text  string
	ran   bool
	guard int // the predicate, or less than 0
	// negated is of the predicate.
	negated bool
	kind    kind

	pure       pure
	d, a, b, c int
	move       bool // a alone counts, and is nothing yet if it is moved before it is written

	do     func(w *warp, active uint32)
	whole  bool // do takes all lanes that have not ended
	group  int  // a register of the lanes that do takes, or less than 0
	label  string
	target int
}

// fault is what an execution ends with.
type fault struct{ error }

// warp is 32 lanes of a block. Those that stand at the least instruction run first, in step.
type warp struct {
	block  *block
	number int
	rows   []row
	known  []uint32 // lanes of a register that have been written
	local  [32][]byte
	copies [32]copies

	live   uint32 // lanes that have not ended
	parked uint32 // lanes that wait for others of the warp
	pc     [32]int
	fence  uint32 // barriers of the warp so far

	current *instruction
}

// fail ends the execution.
func (w *warp) fail(lane int, format string, args ...any) {
	who := ""
	if lane >= 0 {
		who = fmt.Sprintf("thread %d of ", w.number*32+lane)
	}
	panic(fault{fmt.Errorf("%s, line %d: %s: %sblock %v: %s", w.block.entry.name, w.current.line, w.current.text, who, w.block.number, fmt.Sprintf(format, args...))})
}

// get returns a register that lanes read.
func (w *warp) get(register int, active uint32) *row {
	if w.known[register]&active != active {
		w.fail(bits.TrailingZeros32(active&^w.known[register]), "register %d is read, and nobody has written it", register)
	}
	return &w.rows[register]
}

// set returns a register that lanes write.
func (w *warp) set(register int, active uint32) *row {
	w.known[register] |= active
	return &w.rows[register]
}

// next returns the lanes to run, where they stand, and the least instruction that others stand at.
func (w *warp) next() (active uint32, pc, limit int) {
	ready := w.live &^ w.parked
	if ready == 0 {
		w.parked, ready = 0, w.live
	}
	pc, limit = len(w.block.entry.code), len(w.block.entry.code)
	for m := ready; m != 0; m &= m - 1 {
		lane := bits.TrailingZeros32(m)
		switch at := w.pc[lane]; {
		case at < pc:
			active, pc, limit = 1<<lane, at, pc
		case at == pc:
			active |= 1 << lane
		default:
			limit = min(limit, at)
		}
	}
	return active, pc, limit
}

// run runs until all lanes have ended or wait for others of the block.
func (w *warp) run() {
	for w.live != 0 {
		stuck := w.parked == w.live
		active, pc, limit := w.next()
		if stuck && active != w.live {
			w.current = &w.block.entry.code[pc]
			w.fail(-1, "of lanes %#x, %#x wait here and others elsewhere", w.live, active)
		}
		if w.together(active, pc, limit) {
			return
		}
	}
}

// together runs lanes that stand at the same instruction until they part or meet others. It says
// whether they have come to a barrier of the block.
func (w *warp) together(active uint32, pc, limit int) bool {
	code := w.block.entry.code
	for pc < limit {
		in := &code[pc]
		in.ran = true
		w.current = in
		if w.block.steps--; w.block.steps < 0 {
			w.fail(-1, "the block does not end")
		}
		on := active
		if in.guard >= 0 {
			on = w.truth(in, active)
		}
		switch in.kind {
		case compute:
			w.compute(in, on)
		case branch:
			if on == active {
				pc = in.target
				continue
			}
			if on != 0 {
				w.put(on, in.target)
				w.put(active&^on, pc+1)
				return false
			}
		case leave:
			w.live &^= on
			w.put(active&^on, pc+1)
			return false
		default:
			if on != 0 && w.needs(in, on)&^on != 0 {
				if active == w.live {
					w.fail(-1, "lanes %#x of %#x are here, and no others come", on, w.live)
				}
				w.park(active, pc)
				return false
			}
			if in.kind == barrier {
				w.put(active, pc+1)
				return true
			}
			if on != 0 {
				in.do(w, on)
			}
		}
		pc++
	}
	w.put(active, pc)
	return false
}

// needs returns the lanes without which an instruction does not happen.
func (w *warp) needs(in *instruction, on uint32) uint32 {
	switch {
	case in.group >= 0:
		group := uint32(w.get(in.group, on)[bits.TrailingZeros32(on)])
		if on&^group != 0 {
			w.fail(-1, "lanes %#x are not of those named, %#x", on, group)
		}
		return w.live & group
	case in.whole:
		return w.live
	}
	return 0
}

func (w *warp) park(lanes uint32, pc int) {
	w.put(lanes, pc)
	w.parked |= lanes
}

func (w *warp) put(lanes uint32, pc int) {
	for m := lanes; m != 0; m &= m - 1 {
		w.pc[bits.TrailingZeros32(m)] = pc
	}
}

// truth returns the lanes for which the predicate of an instruction holds.
func (w *warp) truth(in *instruction, active uint32) uint32 {
	on := uint32(0)
	for lane, v := range w.get(in.guard, active) {
		on |= uint32(v&1) << lane
	}
	if in.negated {
		on = ^on
	}
	return on & active
}

func (w *warp) compute(in *instruction, active uint32) {
	if in.move {
		written := w.known[in.a] & active
		w.known[in.d] &^= active
		if active = written; active == 0 {
			return
		}
	}
	a, b, c, d, f := w.get(in.a, active), w.get(in.b, active), w.get(in.c, active), w.set(in.d, active), in.pure
	if active == ^uint32(0) {
		for i := range d {
			d[i] = f(a[i], b[i], c[i])
		}
		return
	}
	for m := active; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		d[i] = f(a[i], b[i], c[i])
	}
}
