package ptx

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// barrier appends one of a block or of a warp.
func (p *parser) barrier(in instruction, op, args []string) error {
	switch {
	case is(op, "bar.sync") && len(args) == 1 && args[0] == "0":
		in.kind, in.whole = barrier, true
	case is(op, "bar.warp.sync") && len(args) == 1:
		group, err := p.source(args[0], 32)
		if err != nil {
			return err
		}
		in.kind, in.group = effect, group
		in.do = func(w *warp, active uint32) {
			if active != w.live {
				w.fail(-1, "a barrier of a part of a warp")
			}
			w.fence++
		}
	default:
		return errUnknown
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}

// shuffle appends an exchange of registers: result and whether the lane asked for is there, what is
// given, from whom it is taken, clamp and segments, the lanes that take part.
func (p *parser) shuffle(in instruction, op, args []string) error {
	if len(args) != 5 || !is(op, "shfl.sync.bfly.b32") && !is(op, "shfl.sync.idx.b32") {
		return errUnknown
	}
	result, there, _ := strings.Cut(args[0], "|")
	d, err := p.register(result, 32)
	if err != nil {
		return err
	}
	inside, err := p.register(there, 1)
	if err != nil {
		return err
	}
	s, err := p.sources(32, args[1:]...)
	if err != nil {
		return err
	}
	across := op[2] == "bfly"
	in.kind, in.group = effect, s[3]
	in.do = func(w *warp, active uint32) {
		given, others, clamps := *w.get(s[0], active), w.get(s[1], active), w.get(s[2], active)
		d, inside := w.set(d, active), w.set(inside, active)
		for m := active; m != 0; m &= m - 1 {
			lane := bits.TrailingZeros32(m)
			by, clamp := int(others[lane]&31), clamps[lane]
			segments := int(clamp >> 8 & 31)
			from := lane&segments | by&^segments
			if across {
				from = lane ^ by
			}
			ok := from <= lane&segments|int(clamp&31)&^segments
			if !ok {
				from = lane
			}
			if active>>from&1 == 0 {
				w.fail(lane, "lane %d takes no part", from)
			}
			d[lane], inside[lane] = given[from]&0xffffffff, truth(ok)
		}
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}

// matrices appends a load of four matrices of 8 × 8 elements of two bytes: the lanes of eight give the
// addresses of the rows of one, each gets two elements of a row, or of a column.
func (p *parser) matrices(in instruction, op, args []string) error {
	transposed := is(op, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16")
	if !transposed && !is(op, "ldmatrix.sync.aligned.m8n8.x4.shared.b16") || len(args) != 2 {
		return errUnknown
	}
	to, err := p.vector(args[0], 32, p.register)
	if err != nil || len(to) != 4 {
		return errUnknown
	}
	base, offset, err := p.place(args[1])
	if err != nil {
		return err
	}
	in.kind, in.whole = effect, true
	in.do = func(w *warp, active uint32) {
		if active != ^uint32(0) {
			w.fail(-1, "lanes %#x are not the whole warp", active)
		}
		var rows [32][]byte
		at := w.get(base, active)
		for lane := range rows {
			addr := uint32(at[lane] + offset)
			r, from := w.block.variable(addr, 16)
			if r == nil || addr&15 != 0 {
				w.fail(lane, "a row of 16 bytes at %#x is misaligned or of no variable in shared memory", addr)
			}
			if why := r.reads(w, several, from, 16); why != "" {
				w.fail(lane, "a row at %#x of shared memory: %s", addr, why)
			}
			rows[lane] = r.data[from : from+16]
		}
		for i, r := range to {
			m, d := rows[8*i:8*i+8], w.set(r, active)
			for lane := range 32 {
				group, two := lane/4, lane%4*2
				v := uint64(binary.LittleEndian.Uint32(m[group][2*two:]))
				if transposed {
					v = uint64(binary.LittleEndian.Uint16(m[two][2*group:])) | uint64(binary.LittleEndian.Uint16(m[two+1][2*group:]))<<16
				}
				d[lane] = v
			}
		}
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}
