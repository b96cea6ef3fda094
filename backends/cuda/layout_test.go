package cuda

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cuda/lower"
)

// tensorOf returns a tensor in a buffer of so many bytes.
func tensorOf(bytes int64) lower.Tensor {
	return lower.Tensor{Buffer: &lower.Buffer{Bytes: bytes}, Type: backends.Uint8, Shape: []int64{bytes}, Strides: []int64{1}}
}

func copying(to, from lower.Tensor) *lower.Op {
	return &lower.Op{Kind: lower.Map{}, In: []lower.Tensor{from}, Out: []lower.Tensor{to}}
}

func TestAChainNeedsTwoBuffers(t *testing.T) {
	in, out := tensorOf(100), tensorOf(100)
	p := &lower.Program{Inputs: []lower.Tensor{in}, Outputs: []lower.Tensor{out}}
	at := in
	for range 10 {
		next := tensorOf(1000)
		p.Ops = append(p.Ops, copying(next, at))
		at = next
	}
	p.Ops = append(p.Ops, copying(out, at))
	l := newLayout(p, none)
	if want := 2 * aligned(1000); l.bytes != want {
		t.Errorf("a chain of ten takes %d bytes, want %d", l.bytes, want)
	}
	if l.batch != 2*aligned(100) || l.inputs[0] != 0 || l.outputs[0] != aligned(100) {
		t.Errorf("the batch takes %d bytes, inputs at %v, outputs at %v", l.batch, l.inputs, l.outputs)
	}
}

func TestWeightsTakeNoScratch(t *testing.T) {
	out := tensorOf(10)
	w := lower.NewWeight("w", backends.Uint8, []int64{1 << 20}, nil)
	l := newLayout(&lower.Program{Ops: []*lower.Op{copying(out, w)}, Outputs: []lower.Tensor{out}}, none)
	if l.bytes != 0 || len(l.scratch) != 0 {
		t.Errorf("scratch of %d bytes: %v", l.bytes, l.scratch)
	}
}

// TestNothingOverlaps lays out programs at random: what lives at the same time lies apart.
func TestNothingOverlaps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		p := &lower.Program{Inputs: []lower.Tensor{tensorOf(50)}}
		made := slices.Clone(p.Inputs)
		for range 1 + r.IntN(40) {
			next := tensorOf(1 + r.Int64N(5000))
			o := copying(next, made[r.IntN(len(made))])
			o.In = append(o.In, made[r.IntN(len(made))], lower.Tensor{})
			p.Ops = append(p.Ops, o)
			made = append(made, next)
		}
		l := newLayout(p, none)
		lives := livesOf(p, map[*lower.Buffer]bool{p.Inputs[0].Buffer: true})
		if len(lives) != len(l.scratch) {
			t.Fatalf("%d buffers live, %d have a place", len(lives), len(l.scratch))
		}
		for a, life := range lives {
			if end := l.scratch[a] + a.Bytes; end > l.bytes || l.scratch[a]%alignment != 0 {
				t.Errorf("a buffer lies from %d to %d of %d", l.scratch[a], end, l.bytes)
			}
			for b, other := range lives {
				if a != b && life.first <= other.last && other.first <= life.last && l.scratch[a] < l.scratch[b]+b.Bytes && l.scratch[b] < l.scratch[a]+a.Bytes {
					t.Errorf("buffers of %v and %v overlap: %d+%d and %d+%d", life, other, l.scratch[a], a.Bytes, l.scratch[b], b.Bytes)
				}
			}
		}
	}
}

func none(*lower.Op) int64 { return 0 }

// TestPartsLieBesideOperands gives an operation memory of its own, which others use before and after.
func TestPartsLieBesideOperands(t *testing.T) {
	in, a, b, out := tensorOf(300), tensorOf(300), tensorOf(300), tensorOf(300)
	p := &lower.Program{Ops: []*lower.Op{copying(a, in), copying(b, a), copying(out, b)}, Inputs: []lower.Tensor{in}, Outputs: []lower.Tensor{out}}
	l := newLayout(p, func(o *lower.Op) int64 {
		if o == p.Ops[2] {
			return 500
		}
		return 0
	})
	parts := l.parts[p.Ops[2]]
	if len(l.parts) != 1 || parts.Bytes != 500 {
		t.Fatalf("parts = %v, want 500 bytes for one operation", l.parts)
	}
	at, from := l.scratch[parts], l.scratch[b.Buffer]
	if at < from+512 && from < at+512 {
		t.Errorf("parts lie at %d and what is read meanwhile at %d, both of 512 bytes", at, from)
	}
	if l.bytes != 1024 {
		t.Errorf("%d bytes of scratch, want 1024: the first operand makes room for the parts", l.bytes)
	}
}
