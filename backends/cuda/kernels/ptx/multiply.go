package ptx

import (
	"math"
	"strings"
	"sync"
)

// fragments is a form of mma.sync: a product of 16 × depth and depth × 8, of which each lane holds
// registers of packed elements. In all forms lane l is number l%4 of group l/4. Of A the registers hold
// row l/4, the same plus 8, and both again half of the depth further; of B column l/4, and the same again
// half of the depth further; of C and D rows l/4 and that plus 8, two columns each.
type fragments struct {
	depth  int
	packed int // elements of a register
	a, b   func(register uint64, i int) float64
	whole  bool // sums are of 32 bits, and wrap
}

var forms = map[string]fragments{
	"m16n8k16.row.col.f32.f16.f16.f32":   {depth: 16, packed: 2, a: halfOf, b: halfOf},
	"m16n8k16.row.col.f32.bf16.bf16.f32": {depth: 16, packed: 2, a: brainOf, b: brainOf},
	"m16n8k8.row.col.f32.tf32.tf32.f32":  {depth: 8, packed: 1, a: tensorOf, b: tensorOf},
	"m16n8k32.row.col.s32.s8.s8.s32":     {depth: 32, packed: 4, a: signedOf, b: signedOf, whole: true},
	"m16n8k32.row.col.s32.u8.s8.s32":     {depth: 32, packed: 4, a: unsignedOf, b: signedOf, whole: true},
}

// halves are all numbers of half precision.
var halves = sync.OnceValue(func() []float64 {
	all := make([]float64, 1<<16)
	for i := range all {
		all[i] = float64(fromHalf(uint64(i)))
	}
	return all
})

func halfOf(r uint64, i int) float64     { return halves()[r>>(16*i)&0xffff] }
func brainOf(r uint64, i int) float64    { return float64(single(r >> (16 * i) & 0xffff << 16)) }
func signedOf(r uint64, i int) float64   { return float64(int8(r >> (8 * i))) }
func unsignedOf(r uint64, i int) float64 { return float64(uint8(r >> (8 * i))) }

// tensorOf ignores the bits that tf32 does not have.
func tensorOf(r uint64, _ int) float64 { return float64(single(r &^ 0x1fff)) }

// multiply appends a product of matrices: D, A, B and C.
func (p *parser) multiply(in instruction, op, args []string) error {
	if len(op) < 4 || !is(op[:3], "mma.sync.aligned") || len(args) != 4 {
		return errUnknown
	}
	f, ok := forms[strings.Join(op[3:], ".")]
	if !ok {
		return errUnknown
	}
	var r [4][]int
	for i, count := range []int{4, 4, 2, 4} {
		find := p.source
		if i == 0 {
			find = p.register
		}
		var err error
		if r[i], err = p.vector(args[i], 32, find); err != nil || len(r[i]) != count {
			return errUnknown
		}
	}
	in.kind, in.whole = effect, true
	in.do = func(w *warp, active uint32) {
		if active != ^uint32(0) {
			w.fail(-1, "lanes %#x are not the whole warp", active)
		}
		f.multiply(w, r)
	}
	p.entry.code = append(p.entry.code, in)
	return nil
}

func (f fragments) multiply(w *warp, r [4][]int) {
	const all = ^uint32(0)
	var given [4][4]*row
	for i := 1; i < len(r); i++ {
		for n, register := range r[i] {
			given[i][n] = w.get(register, all)
		}
	}
	var a [16][32]float64
	var b [8][32]float64
	for lane := range 32 {
		group, member := lane/4, lane%4
		for i := range f.packed {
			k := member*f.packed + i
			for n, register := range given[1] {
				a[group+n%2*8][k+n/2*f.depth/2] = f.a(register[lane], i)
			}
			for n, register := range given[2][:2] {
				b[group][k+n*f.depth/2] = f.b(register[lane], i)
			}
		}
	}
	var d [4]row
	for lane := range 32 {
		for n := range d {
			x, y := &a[lane/4+n/2*8], &b[lane%4*2+n%2]
			sum := 0.0
			for k := range f.depth {
				sum += x[k] * y[k]
			}
			c := given[3][n][lane]
			if f.whole {
				d[n][lane] = uint64(uint32(c) + uint32(int32(sum)))
			} else {
				d[n][lane] = ofSingle(float32(float64(math.Float32frombits(uint32(c))) + sum))
			}
		}
	}
	for n, register := range r[0] {
		*w.set(register, all) = d[n]
	}
}
