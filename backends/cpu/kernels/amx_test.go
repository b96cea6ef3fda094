package kernels

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/thrumserve/thrum/backends/cpu/kernels/peak"
)

// The processor refuses to multiply tiles whose sizes do not fit each other.
func TestSizesOfTilesFit(t *testing.T) {
	if size := unsafe.Sizeof(tileSizes{}); size != 64 {
		t.Fatalf("sizes of tiles take %d bytes, want 64", size)
	}
	for rows := 1; rows <= maxTileRows; rows++ {
		for units := 1; units <= tileUnits; units++ {
			s := sizes(rows, units)
			left, right := []int{4}, []int{5, 6, 7}
			if rows > tileHeight {
				left, right = []int{4, 5}, []int{6, 7}
			}
			height := 0
			for i, a := range left {
				height += int(s.rows[a])
				for j, b := range right {
					sum := 2*i + j
					if s.rows[sum] != s.rows[a] || s.rowBytes[sum] != s.rowBytes[b] || s.rowBytes[a] != 4*uint16(s.rows[b]) {
						t.Errorf("sizes(%d, %d): tiles %d, %d and %d do not fit: %+v", rows, units, sum, a, b, s)
					}
				}
			}
			if height != rows || int(s.rowBytes[4]) != 4*units || s.rowBytes[0] != 4*panelWidth || s.layout != 1 || s.start != 0 {
				t.Errorf("sizes(%d, %d) = %+v", rows, units, s)
			}
			if slices.Max(s.rows[:8]) > 16 || slices.Max(s.rows[8:]) > 0 || slices.Max(s.rowBytes[8:]) > 0 {
				t.Errorf("sizes(%d, %d) = %+v is beyond what there is", rows, units, s)
			}
		}
	}
}

// interpret is run in Go. It reads only what its tiles reach.
func (p *tileProduct) interpret(precision Precision) {
	at := func(from *float32, bytes int) *uint32 { return (*uint32)(unsafe.Add(unsafe.Pointer(from), bytes)) }
	for panel := range p.panels {
		for tile := range p.rowTiles {
			a, b := 4+tile, 4+p.rowTiles
			for r := range int(p.tiles.rows[a]) {
				row := tile*tileHeight + r
				for j := range panelWidth {
					sum := (*float32)(unsafe.Pointer(at(p.sums, row*p.sumsRow+4*(panel*panelWidth+j))))
					if p.add == 0 {
						*sum = 0
					}
					for step := range p.steps {
						for u := range int(p.tiles.rows[b]) {
							left := *at(p.a, row*p.aRow+64*step+4*u)
							right := *at(p.b, panel*p.panel+1024*step+4*(u*panelWidth+j))
							*sum = addUnits(precision, *sum, left, right)
						}
					}
				}
			}
		}
	}
}

// addUnits adds the product of two units to a sum.
func addUnits(precision Precision, sum float32, a, b uint32) float32 {
	if precision == BF16 {
		even := math.Float32frombits(a<<16) * math.Float32frombits(b<<16)
		return sum + even + math.Float32frombits(a&upperHalf)*math.Float32frombits(b&upperHalf)
	}
	total := int32(math.Float32bits(sum))
	for i := range 4 {
		total += int32(int8(a>>(8*i))) * int32(uint8(b>>(8*i)))
	}
	return math.Float32frombits(uint32(total))
}

const upperHalf = 0xffff0000

// whole returns n units of small integers, so that every sum is exact.
func (s source) whole(precision Precision, n int) []float32 {
	x := guarded(s.t, n)
	for i := range x {
		if precision == BF16 {
			x[i] = pair(float32(s.IntN(17)-8), float32(s.IntN(17)-8))
		} else {
			x[i] = math.Float32frombits(s.Uint32())
		}
	}
	return x
}

// Parts of a product of tiles make the whole, whatever its size.
func TestTileProductsAreTheSums(t *testing.T) {
	for _, precision := range []Precision{BF16, Int8} {
		for _, rows := range []int{1, 2, 15, 16, 17, 31, 32} {
			for _, cols := range []int{1, 16, 17, 48, 80, 250} {
				for _, units := range []int{0, 1, 15, 16, 17, 48, 16*33 + 5} {
					t.Run(fmt.Sprintf("%v %dx%dx%d", precision, rows, cols, units), func(t *testing.T) {
						checkTileProducts(t, precision, rows, cols, units)
					})
				}
			}
		}
	}
}

func checkTileProducts(t *testing.T, precision Precision, rows, cols, units int) {
	s := newSource(t, uint64(rows*cols*1000+units))
	const skipped = 3 // rows of A that the product begins after
	aRow, panel := units+5, units*panelWidth+32
	a := s.whole(precision, max(0, (skipped+rows-1)*aRow+units))
	b := s.whole(precision, (panels(cols)-1)*panel+units*panelWidth)
	room := panels(cols)*panelWidth + 16
	g := product{precision: precision, a: a, aRow: aRow, aStep: 1, b: b, offsets: panelOffsets(units), panel: panel}
	part, whole := span{skipped, skipped + rows}, segment{cols: cols}
	got := s.values((rows-1)*room + panels(cols)*panelWidth)
	run := func(p *tileProduct) { p.interpret(precision) }
	if Best() >= AMX {
		run = func(p *tileProduct) { p.run(precision) }
	}
	if units == 0 {
		clear(got)
	} else {
		for parts := g.tileParts(got, room, part, whole); parts.next(); {
			if work := parts.panels * parts.steps; work > tilesPerCall {
				t.Errorf("a call reads %d tiles of B, want no more than %d", work, tilesPerCall)
			}
			run(&parts.tileProduct)
		}
	}
	for r := range rows {
		for j := range panels(cols) * panelWidth {
			var want float32
			for u := range units {
				left := math.Float32bits(a[(skipped+r)*aRow+u])
				right := math.Float32bits(b[j/panelWidth*panel+u*panelWidth+j%panelWidth])
				want = addUnits(precision, want, left, right)
			}
			if x := got[r*room+j]; math.Float32bits(x) != math.Float32bits(want) {
				t.Fatalf("sum of row %d and column %d = %x, want %x", r, j, math.Float32bits(x), math.Float32bits(want))
			}
		}
	}
}

func TestFinishedSumsAreEqualAtEveryLevel(t *testing.T) {
	for _, cols := range []int{1, 15, 16, 17, 32, 47, 70} {
		for with := range 1 << 5 {
			s := newSource(t, uint64(cols))
			const rows = 5
			room := panels(cols)*panelWidth + 16
			x := tile{
				a: s.odd(rows * room), aRow: room, cRow: cols + 3, residualRow: cols + 1,
				rows: rows, cols: cols, alpha: 0.75, lo: -0.5, hi: 0.5,
			}
			flag := func(bit int, then func()) {
				if with>>bit&1 != 0 {
					then()
				}
			}
			flag(0, func() { x.flags |= tileScale })
			flag(1, func() { x.bias = s.odd(cols) })
			flag(2, func() { x.rowBias = s.odd(rows) })
			flag(3, func() { x.residual = s.odd((rows-1)*x.residualRow + cols) })
			flag(4, func() { x.flags |= tileClamp })
			want := s.values((rows-1)*x.cRow + cols)
			before := s.copyOf(want)
			x.c = want
			kept := slices.Clone(x.a)
			x.finishSumsPortable()
			copy(x.a, kept)
			for _, level := range Levels() {
				x.c = s.copyOf(before)
				x.finishSums(level)
				equal(t, fmt.Sprintf("%v, %d columns with %05b", level, cols, with), x.c, want)
				copy(x.a, kept)
			}
		}
	}
}

// Threads that are interrupted while they use tiles find them again: with more threads than
// processors, all of which multiply while others allocate, no sum is wrong.
func TestTilesAreKeptWhereThreadsAreInterrupted(t *testing.T) {
	if Best() < AMX {
		t.Skipf("this machine has no tiles: its levels are %v", Levels())
	}
	before := CurrentLevel()
	if err := SetLevel(AMX); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := SetLevel(before); err != nil {
			t.Error(err)
		}
	}()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	pool := newTestPool(t, 1)
	const m, k, n, threads, rounds = 33, 150, 70, 12, 40
	s := newSource(t, 1)
	var group sync.WaitGroup
	for i := range threads {
		precision := []Precision{BF16, Int8}[i%2]
		a, b := s.values(m*k), s.values(k*n)
		packed := PackB(Matrix{Data: b, K: k, N: n, Stride: n}, BF16)
		bytes := PackBytes(Bytes{Data: bytesOf(b), Stride: n}, k, n, false)
		multiply := func(c []float32) {
			if precision == BF16 {
				Gemm(pool, m, a, k, packed, c, n, Epilogue{})
				return
			}
			ByteGemm{M: m, A: Bytes{Data: bytesOf(a), Stride: k, Signed: true}, B: bytes}.Int32(pool, intsOf(c), n)
		}
		want := make([]float32, m*n)
		multiply(want)
		group.Go(func() {
			for range rounds {
				c := make([]float32, m*n) // work for the collector
				multiply(c)
				for j := range want {
					if math.Float32bits(c[j]) != math.Float32bits(want[j]) {
						t.Errorf("%v: [%d] = %v, want %v", precision, j, c[j], want[j])
						return
					}
				}
			}
		})
		group.Go(func() {
			for range rounds / 8 {
				runtime.GC()
				runtime.Gosched()
			}
		})
	}
	group.Wait()
}

func TestPeaksOfTiles(t *testing.T) {
	if Best() < AMX {
		t.Skipf("this machine has no tiles: its levels are %v", Levels())
	}
	if pairs, bytes := peak.PairTiles(10), peak.ByteTiles(10); pairs != 10*4*2*16*16*32 || bytes != 10*4*2*16*16*64 {
		t.Errorf("PairTiles(10), ByteTiles(10) = %d, %d", pairs, bytes)
	}
}
