package ptx

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
)

var spaces = map[string]space{"global": globalSpace, "shared": sharedSpace, "local": localSpace, "param": paramSpace}

// memory appends a load or a store: state space, how many elements, their type.
func (p *parser) memory(in instruction, op, args []string, write bool) error {
	if len(op) == 0 {
		return errUnknown
	}
	a := access{write: write}
	if s, ok := spaces[op[0]]; ok {
		a.space, op = s, op[1:]
	}
	if len(op) > 0 && op[0] == "nc" && a.space == globalSpace && !write {
		op = op[1:]
	}
	n := 1
	if len(op) == 2 && (op[0] == "v2" || op[0] == "v4") {
		n, op = int(op[0][1]-'0'), op[1:]
	}
	if len(op) != 1 || len(args) != 2 || write && a.space == paramSpace {
		return errUnknown
	}
	t, err := typeOf(op[0])
	if err != nil {
		return err
	}
	base, offset, err := p.place(args[1])
	if err != nil {
		return err
	}
	find := p.register
	if write {
		find = p.source
	}
	data, err := p.vector(args[0], 0, find)
	if err != nil || len(data) != n {
		return fmt.Errorf("%d registers for %d elements: %w", len(data), n, err)
	}
	a.bytes = n * t.bits / 8
	if a.bytes > 16 {
		return fmt.Errorf("%d bytes at once", a.bytes)
	}
	masks := make([]uint64, n)
	for i, r := range data {
		masks[i] = p.mask(r)
	}
	narrow := a.space == sharedSpace
	in.kind = effect
	in.do = func(w *warp, active uint32) {
		at := w.get(base, active)
		var all [4]*row
		for i, r := range data {
			if write {
				all[i] = w.get(r, active)
			} else {
				all[i] = w.set(r, active)
			}
		}
		for m := active; m != 0; m &= m - 1 {
			lane := bits.TrailingZeros32(m)
			addr := at[lane] + offset
			if narrow {
				addr = uint64(uint32(addr))
			}
			memory := w.at(a, lane, addr)
			if !write {
				for i := range data {
					all[i][lane] = get(memory[i*t.bits/8:], t) & masks[i]
				}
				continue
			}
			var next [16]byte
			for i := range data {
				put(next[i*t.bits/8:], t, all[i][lane])
			}
			if a.space == globalSpace || a.space == genericSpace && addr < localBase {
				w.claim(lane, addr, memory, next[:a.bytes])
			}
			copy(memory, next[:a.bytes])
		}
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}

func get(from []byte, t kindOf) uint64 {
	var v uint64
	switch t.bits {
	case 8:
		v = uint64(from[0])
	case 16:
		v = uint64(binary.LittleEndian.Uint16(from))
	case 32:
		v = uint64(binary.LittleEndian.Uint32(from))
	default:
		v = binary.LittleEndian.Uint64(from)
	}
	return uint64(t.signed(v))
}

func put(to []byte, t kindOf, v uint64) {
	switch t.bits {
	case 8:
		to[0] = byte(v)
	case 16:
		binary.LittleEndian.PutUint16(to, uint16(v))
	case 32:
		binary.LittleEndian.PutUint32(to, uint32(v))
	default:
		binary.LittleEndian.PutUint64(to, v)
	}
}

// copies are asynchronous copies of a thread that have not landed, in order.
type copies struct {
	waiting []copied
	group   int // of those that come next
}

type copied struct {
	group int
	to    uint32
	data  [16]byte
}

// copy appends a part of the protocol of asynchronous copies.
func (p *parser) copy(in instruction, op, args []string) error {
	in.kind = effect
	switch {
	case is(op, "cp.async.cg.shared.global") && len(args) == 4 && args[2] == "16":
		to, toOffset, err := p.place(args[0])
		if err != nil {
			return err
		}
		from, fromOffset, err := p.place(args[1])
		if err != nil {
			return err
		}
		size, err := p.source(args[3], 32)
		if err != nil {
			return err
		}
		in.do = func(w *warp, active uint32) {
			to, from, size := w.get(to, active), w.get(from, active), w.get(size, active)
			for m := active; m != 0; m &= m - 1 {
				lane := bits.TrailingZeros32(m)
				w.begin(lane, uint32(to[lane]+toOffset), from[lane]+fromOffset, size[lane])
			}
		}
	case is(op, "cp.async.commit_group") && len(args) == 0:
		in.do = func(w *warp, active uint32) {
			for m := active; m != 0; m &= m - 1 {
				w.copies[bits.TrailingZeros32(m)].group++
			}
		}
	case is(op, "cp.async.wait_group") && len(args) == 1:
		n, err := strconv.ParseUint(args[0], 10, 16)
		if err != nil {
			return err
		}
		in.do = func(w *warp, active uint32) {
			for m := active; m != 0; m &= m - 1 {
				w.land(bits.TrailingZeros32(m), int(n))
			}
		}
	default:
		return errUnknown
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}

// begin begins a copy of 16 bytes, of which as many as size says are read and the others zeros.
func (w *warp) begin(lane int, to uint32, from, size uint64) {
	c := copied{group: w.copies[lane].group, to: to}
	if size > 16 || from&15 != 0 || to&15 != 0 {
		w.fail(lane, "a copy of %d bytes from %#x to %#x: at most 16, at multiples of 16", size, from, to)
	}
	if size > 0 {
		copy(c.data[:], w.global(access{globalSpace, int(size), false}, lane, from))
	}
	r, at := w.block.variable(to, 16)
	if r == nil {
		w.fail(lane, "16 bytes at %#x are of no variable in shared memory", to)
	}
	if why := r.writes(w, lane, at, 16, copying); why != "" {
		w.fail(lane, "16 bytes at %#x of shared memory: %s", to, why)
	}
	w.copies[lane].waiting = append(w.copies[lane].waiting, c)
}

// land ends copies of all groups but the last n.
func (w *warp) land(lane, n int) {
	q := &w.copies[lane]
	done := 0
	for _, c := range q.waiting {
		if c.group >= q.group-n {
			break
		}
		r, at := w.block.variable(c.to, 16)
		copy(r.data[at:], c.data[:])
		for i := at; i < at+16; i++ {
			r.wrote[i] = stamp{w.block.epoch, w.fence, int16(w.number), int16(lane)}
		}
		done++
	}
	q.waiting = append(q.waiting[:0], q.waiting[done:]...)
}
