package cuda

import (
	"slices"

	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// alignment is where buffers begin, a multiple of every access that kernels make.
const alignment = 256

func aligned(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// layout says where the buffers of a program lie: those that cross to the host in memory of the batch,
// inputs first, all others but weights in scratch memory, which one run after another uses.
type layout struct {
	inputs, outputs []int64 // offsets in the memory of a batch
	batch           int64   // bytes of it
	scratch         map[*lower.Buffer]int64
	parts           map[*lower.Op]*lower.Buffer // what operations need besides their operands
	bytes           int64                       // of scratch memory
}

// span is the operations during which a buffer is in use.
type span struct{ first, last int }

// newLayout gives every buffer of p its place. Buffers share memory where their lives do not overlap:
// the largest are placed first, each at the lowest place that is free as long as it lives. An operation
// needs as much besides its operands as parts says.
func newLayout(p *lower.Program, parts func(*lower.Op) int64) layout {
	l := layout{scratch: map[*lower.Buffer]int64{}, parts: map[*lower.Op]*lower.Buffer{}}
	crosses := map[*lower.Buffer]bool{}
	for _, t := range p.Inputs {
		crosses[t.Buffer] = true
		l.inputs = append(l.inputs, l.batch)
		l.batch += aligned(t.Buffer.Bytes)
	}
	for _, t := range p.Outputs {
		crosses[t.Buffer] = true
		l.outputs = append(l.outputs, l.batch)
		l.batch += aligned(t.Buffer.Bytes)
	}
	lives := livesOf(p, crosses)
	var order []*lower.Buffer
	for i, o := range p.Ops { // in this order, for equal sizes to be placed the same way every time
		if n := parts(o); n > 0 {
			b := &lower.Buffer{Bytes: n}
			l.parts[o], lives[b], order = b, span{i, i}, append(order, b)
		}
		for _, t := range o.Out {
			if _, ok := lives[t.Buffer]; ok && !slices.Contains(order, t.Buffer) {
				order = append(order, t.Buffer)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b *lower.Buffer) int { return int(b.Bytes - a.Bytes) })
	for i, b := range order {
		at := l.lowest(b, order[:i], lives)
		l.scratch[b] = at
		l.bytes = max(l.bytes, at+aligned(b.Bytes))
	}
	return l
}

func livesOf(p *lower.Program, crosses map[*lower.Buffer]bool) map[*lower.Buffer]span {
	lives := map[*lower.Buffer]span{}
	for i, o := range p.Ops {
		for _, t := range slices.Concat(o.In, o.Out) {
			if !t.Given() || t.Buffer.Weight != nil || crosses[t.Buffer] {
				continue
			}
			s, ok := lives[t.Buffer]
			if !ok {
				s.first = i
			}
			s.last = i
			lives[t.Buffer] = s
		}
	}
	return lives
}

// lowest returns the lowest offset at which b overlaps none of those placed that live while it does.
func (l layout) lowest(b *lower.Buffer, placed []*lower.Buffer, lives map[*lower.Buffer]span) int64 {
	var taken [][2]int64
	for _, other := range placed {
		if lives[other].first <= lives[b].last && lives[b].first <= lives[other].last {
			taken = append(taken, [2]int64{l.scratch[other], l.scratch[other] + aligned(other.Bytes)})
		}
	}
	slices.SortFunc(taken, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	at := int64(0)
	for _, t := range taken {
		if at+aligned(b.Bytes) <= t[0] {
			break
		}
		at = max(at, t[1])
	}
	return at
}
