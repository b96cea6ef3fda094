package kernels

import "math"

// tile is a block of a product small enough for the registers. The assembly reads
// its fields.
//
//	for r in rows, j in cols:
//		x = flags&tileAdd ? c[r*cRow+j] : 0
//		x = factors[r]*terms[j] + rowTerms[r]*zeros[j] + sumBias[j], if bytes start with terms
//		for u, o in offsets: x += a[r*aRow+u*aStep] * b[o + j/16*panel + j%16]
//		if flags&tileFinish:
//			x = float32(x)*rowScales[r]*scales[j], if they are bytes
//			x = x*alpha + bias[j] + rowBias[r] + residual[r*residualRow+j], then clamped
//		c[r*cRow+j] = x
//
// With tilePaired there are two panels, both with the columns of the last one, and the second one
// of c and residual stands pair after the first instead of 16. The portable tile has one panel.
//
// The values of a and b are units. With BF16 below AVX512BF16 a has instead of each unit its two
// values as float32. Multiplications and additions are fused in assembly. b may be read up to the end of the last
// panel, all else only as far as rows and cols reach.
type tile struct {
	a, b, c     []float32
	offsets     []int
	bias        []float32 // nil or one per column
	rowBias     []float32 // nil or one per row
	residual    []float32 // nil or as c
	aRow, aStep int
	panel       int
	ahead       int // bytes from what is read of b to what to fetch for later
	fetch       int // the same, of all panels together
	cRow, pair  int
	residualRow int
	rows, cols  int
	times       int // how many such tiles stand side by side; 0 stands for 1
	flags       int
	precision   Precision // says what units are
	alpha       float32
	lo, hi      float32

	// Of bytes alone, whose sums are int32.
	terms     []int32   // nil, or one per column of whole panels
	factors   []int32   // one per row
	rowTerms  []int32   // one per row
	zeros     []int32   // nil for ones, or as terms
	sumBias   []int32   // nil or one per column
	rowScales []float32 // one per row
	scales    []float32 // one per column

	// What the assembly has passed of columns and of b, in bytes: zero where it begins.
	passed, passedB int
}

const (
	tileAdd    = 1 << iota // start from what c holds
	tileFinish             // the last block of k: apply what comes after the product
	tileScale              // alpha is not 1
	tileClamp              // lo and hi bound the result
	tilePaired             // the panels are two rows of an image
	tileExpect             // c is fetched for writing while the product is computed
)

func tilePortable(t *tile) {
	whole := t.cols * max(t.times, 1)
	for j := 0; j < whole; j += panelWidth {
		b := t.b[j/panelWidth*t.panel:]
		cols := min(whole-j, panelWidth)
		for r := range t.rows {
			var sums [panelWidth]float32
			x := sums[:cols]
			c := t.c[r*t.cRow+j:][:cols]
			switch {
			case t.flags&tileAdd != 0:
				copy(x, c)
			case t.terms != nil:
				t.startTerms(intsOf(x), r, j)
			}
			if len(t.offsets) > 0 {
				t.accumulate(x, t.a[r*t.aRow:], b)
			}
			if t.flags&tileFinish != 0 {
				t.finish(x, r, j)
			}
			copy(c, x)
		}
	}
}

func (t *tile) accumulate(x, a, b []float32) {
	switch t.precision {
	case BF16:
		t.accumulatePairs(x, a, b)
		return
	case Int8:
		t.accumulateBytes(intsOf(x), a, b)
		return
	}
	for k, o := range t.offsets {
		f := a[k*t.aStep]
		for j, v := range b[o:][:len(x)] {
			x[j] += f * v
		}
	}
}

func (t *tile) accumulatePairs(x, a, b []float32) {
	for u, o := range t.offsets {
		even, odd := a[u*t.aStep], a[u*t.aStep+1]
		for j, v := range b[o:][:len(x)] {
			unit := math.Float32bits(v)
			x[j] += even * math.Float32frombits(unit<<16)
			x[j] += odd * math.Float32frombits(unit&0xffff0000)
		}
	}
}

func (t *tile) finish(x []float32, r, j int) {
	for i, v := range x {
		if t.rowScales != nil {
			v = float32(intsOf(x[i:])[0]) * (t.rowScales[r] * t.scales[j+i])
		}
		if t.flags&tileScale != 0 {
			v *= t.alpha
		}
		if t.bias != nil {
			v += t.bias[j+i]
		}
		if t.rowBias != nil {
			v += t.rowBias[r]
		}
		if t.residual != nil {
			v += t.residual[r*t.residualRow+j+i]
		}
		if t.flags&tileClamp != 0 {
			v = clamp(v, t.lo, t.hi)
		}
		x[i] = v
	}
}

// startTerms starts the sums of row r from column j on.
func (t *tile) startTerms(x []int32, r, j int) {
	for i := range x {
		zero := int32(1)
		if t.zeros != nil {
			zero = t.zeros[j+i]
		}
		x[i] = t.factors[r]*t.terms[j+i] + t.rowTerms[r]*zero
		if t.sumBias != nil {
			x[i] += t.sumBias[j+i]
		}
	}
}
