//go:build !purego

package kernels

import (
	"math"
	"unsafe"
)

// The functions here are the one place that branches on the level. Assembly gets pointers to
// slices whose lengths have been checked, and no more work at a time than takes some microseconds.

// maxRows returns how many rows a tile may have.
func maxRows(l Level) int {
	switch min(l, AVX512) {
	case AVX512:
		return 14
	case AVX2:
		return 6
	}
	return 4
}

// maxPanels returns how many panels a tile of so many rows may have, a power of two. For a single row
// four sums keep up with the cache that B comes from, and more panels are more places to read at
// once; many rows fill the registers with fewer panels.
func maxPanels(l Level, rows int) int {
	switch {
	case l >= AVX512 && rows <= 4 || l == AVX2 && rows == 1:
		return 4
	case l >= AVX512 || l == AVX2 && rows <= 3:
		return 2
	}
	return 1
}

func (t *tile) run(l Level) {
	switch {
	case l == Portable:
		tilePortable(t)
	case t.precision == BF16 && l >= AVX512BF16:
		tileBF16AVX512BF16(t)
	case t.precision == BF16 && l >= AVX512:
		tileBF16AVX512(t)
	case t.precision == BF16:
		tileBF16AVX2(t)
	case t.precision == Int8 && l >= AVX512VNNI:
		tileInt8AVX512VNNI(t)
	case t.precision == Int8 && l >= AVX512:
		tileInt8AVX512(t)
	case t.precision == Int8:
		tileInt8AVX2(t)
	case l >= AVX512:
		tileAVX512(t)
	default:
		tileAVX2(t)
	}
}

// run computes the sums of the block.
func (s *spots) run(l Level) {
	switch {
	case l == Portable:
		s.portable()
	case s.precision == BF16:
		spotsBF16AVX512BF16(s)
	default:
		spotsAVX512(s)
	}
}

// run transforms the planes, with as many at a time as may not be preempted.
func (w *winogradIn) transform(l Level, m int) {
	if l == Portable {
		w.portable(m)
		return
	}
	const planes = 256
	for whole := *w; whole.planes > 0; whole.planes -= planes {
		w.planes = min(planes, whole.planes)
		if m == 2 {
			winogradIn2AVX512(w)
		} else {
			winogradIn4AVX512(w)
		}
		if whole.planes > planes {
			w.src, w.dst = w.src[planes*w.plane:], w.dst[planes*panelWidth:]
		}
	}
}

// run makes the results.
func (w *winogradOut) run(l Level, m int) {
	switch {
	case l == Portable:
		w.portable(m)
	case m == 2:
		winogradOut2AVX512(w)
	default:
		winogradOut4AVX512(w)
	}
}

// turn writes the sums of the block to planes.
func (s *spots) turn(l Level) {
	if l == Portable {
		s.turnPortable()
	} else {
		turnSpotsAVX512(s)
	}
}

// run computes the plane, with as many rows at a time as may not be preempted.
func (d *depth) run() {
	whole := *d
	step := max(1, 64*1024/whole.cols)
	for row := 0; row < whole.rows; row += step {
		d.dst, d.rows = whole.dst[row*whole.cols:], min(step, whole.rows-row)
		d.from(whole, whole.top-row*whole.stride)
		switch {
		case len(d.weights) == 9 && d.stride == 1:
			depth3x1AVX512(d)
		case len(d.weights) == 9:
			depth3x2AVX512(d)
		case d.stride == 1:
			depth5x1AVX512(d)
		default:
			depth5x2AVX512(d)
		}
	}
	*d = whole
}

// from starts so many rows above the plane, or below where there are fewer than none.
func (d *depth) from(whole depth, top int) {
	below := min(max(0, -top), whole.height)
	d.top, d.height = top+below, whole.height-below
	d.src = whole.src[below*whole.width:]
}

// run computes the sweep, with as many rows at a time as may not be preempted.
func (s *sweep) run(l Level) {
	if l == Portable {
		s.portable()
		return
	}
	const products = 256 * 1024
	rows := max(1, products/(len(s.offsets)*(s.cols+panelWidth)))
	for row := 0; row < s.rows; row += rows {
		part := *s
		part.src, part.dst = s.src[row*s.srcRow:], s.dst[row*s.cols:]
		part.rows = min(rows, s.rows-row)
		switch {
		case l >= AVX512 && s.largest:
			sweepMaxAVX512(&part)
		case l >= AVX512:
			sweepAVX512(&part)
		case s.largest:
			sweepMaxAVX2(&part)
		default:
			sweepAVX2(&part)
		}
	}
}

// applyLevel reports whether there is assembly for the activation; if so it is done.
func applyLevel(l Level, dst, src []float32, a Activation) bool {
	if l >= AVX512 {
		return applyAVX512(unsafe.SliceData(dst), unsafe.SliceData(src), len(dst), &a)
	}
	return applyAVX2(unsafe.SliceData(dst), unsafe.SliceData(src), len(dst), &a)
}

func combineLevel(l Level, op Operator, dst, a, b []float32) {
	var repeated [2][panelWidth]float32
	step := 4 * 8
	if l >= AVX512 {
		step = 4 * 16
	}
	stepA, stepB := step, step
	if len(a) != len(dst) {
		fill(repeated[0][:], a[0])
		a, stepA = repeated[0][:], 0
	}
	if len(b) != len(dst) {
		fill(repeated[1][:], b[0])
		b, stepB = repeated[1][:], 0
	}
	if l >= AVX512 {
		combineAVX512(op, unsafe.SliceData(dst), unsafe.SliceData(a), unsafe.SliceData(b), len(dst), stepA, stepB)
		return
	}
	combineAVX2(op, unsafe.SliceData(dst), unsafe.SliceData(a), unsafe.SliceData(b), len(dst), stepA, stepB)
}

func sum(x []float32) float32 {
	var total float32
	for part := range chunks(x) {
		switch min(CurrentLevel(), AVX512) {
		case AVX512:
			total += sumAVX512(unsafe.SliceData(part), len(part))
		case AVX2:
			total += sumAVX2(unsafe.SliceData(part), len(part))
		default:
			return sumPortable(x)
		}
	}
	return total
}

func sumSquares(x []float32, center float32) float32 {
	var total float32
	for part := range chunks(x) {
		switch min(CurrentLevel(), AVX512) {
		case AVX512:
			total += sumSquaresAVX512(unsafe.SliceData(part), len(part), center)
		case AVX2:
			total += sumSquaresAVX2(unsafe.SliceData(part), len(part), center)
		default:
			return sumSquaresPortable(x, center)
		}
	}
	return total
}

func largest(x []float32) float32 {
	m := float32(math.Inf(-1))
	for part := range chunks(x) {
		switch min(CurrentLevel(), AVX512) {
		case AVX512:
			m = max(m, largestAVX512(unsafe.SliceData(part), len(part)))
		case AVX2:
			m = max(m, largestAVX2(unsafe.SliceData(part), len(part)))
		default:
			return largestPortable(x)
		}
	}
	return m
}

func smallest(x []float32) float32 {
	m := float32(math.Inf(1))
	for part := range chunks(x) {
		switch min(CurrentLevel(), AVX512) {
		case AVX512:
			m = min(m, smallestAVX512(unsafe.SliceData(part), len(part)))
		case AVX2:
			m = min(m, smallestAVX2(unsafe.SliceData(part), len(part)))
		default:
			return smallestPortable(x)
		}
	}
	return m
}

// chunks returns the parts of x that assembly is given one after the other.
func chunks(x []float32) func(yield func([]float32) bool) {
	return func(yield func([]float32) bool) {
		for len(x) > 0 {
			n := min(len(x), chunk)
			if !yield(x[:n]) {
				return
			}
			x = x[n:]
		}
	}
}

// expSum sets dst[i] = exp(src[i]-shift) and returns the sum.
func expSum(dst, src []float32, shift float32) float32 {
	var total float32
	for part := range chunks(src) {
		switch min(CurrentLevel(), AVX512) {
		case AVX512:
			total += expSumAVX512(unsafe.SliceData(dst), unsafe.SliceData(part), len(part), shift)
		case AVX2:
			total += expSumAVX2(unsafe.SliceData(dst), unsafe.SliceData(part), len(part), shift)
		default:
			return expSumPortable(dst, src, shift)
		}
		dst = dst[len(part):]
	}
	return total
}

// normalize sets dst[i] = (src[i]-mean)*factor*scale[i] + bias[i].
func normalize(dst, src []float32, n Norm, m moments) {
	scale, bias := n.Scale, n.Bias
	for part := range chunks(src) {
		switch min(CurrentLevel(), AVX512) {
		case AVX512:
			normalizeAVX512(unsafe.SliceData(dst), unsafe.SliceData(part), unsafe.SliceData(scale), unsafe.SliceData(bias), len(part), m.mean, m.factor)
		case AVX2:
			normalizeAVX2(unsafe.SliceData(dst), unsafe.SliceData(part), unsafe.SliceData(scale), unsafe.SliceData(bias), len(part), m.mean, m.factor)
		default:
			normalizePortable(dst, src, n, m)
			return
		}
		dst, scale = dst[len(part):], scale[len(part):]
		if bias != nil {
			bias = bias[len(part):]
		}
	}
}

// rowChunk is how many rows assembly is given at a time where each is up to a cache line.
const rowChunk = 2048

// copyPanel copies rows of a whole panel.
func copyPanel(panel []float32, b Matrix) {
	if CurrentLevel() == Portable {
		packTail(panel, b)
		return
	}
	for k := 0; k < b.K; k += rowChunk {
		n := min(rowChunk, b.K-k)
		to, from := panel[k*panelWidth:][:n*panelWidth], b.Data[k*b.Stride:]
		_ = from[(n-1)*b.Stride+panelWidth-1]
		copyRows(unsafe.SliceData(to), unsafe.SliceData(from), 4*b.Stride, n)
	}
}

// transposePanel writes what of the panel comes from whole blocks of 8 x 8 values, and returns how
// many values of the columns in those blocks are done.
func transposePanel(panel []float32, b Matrix) int {
	if CurrentLevel() == Portable || b.K < 8 {
		return 0
	}
	for c := 0; c+8 <= b.N; c += 8 {
		for k := 0; k+8 <= b.K; k += rowChunk {
			n := min(rowChunk, b.K-k) / 8
			to, from := panel[k*panelWidth+c:], b.Data[c*b.Stride+k:]
			_, _ = to[(8*n-1)*panelWidth+7], from[7*b.Stride+8*n-1]
			transpose8(unsafe.SliceData(to), unsafe.SliceData(from), 4*b.Stride, n)
		}
	}
	return b.K / 8 * 8
}

// run moves the block.
func (b block) run(dst, src []float32) {
	level := CurrentLevel()
	if level == Portable || b.step > 2 {
		b.portable(dst, src)
		return
	}
	for rows := max(1, 4*chunk/b.cols); b.rows > 0; b.rows -= rows {
		part := b
		part.rows = min(rows, b.rows)
		part.assembly(level, dst, src)
		if b.rows > rows {
			dst, src = dst[rows*b.dstRow:], src[rows*b.srcRow:]
		}
	}
}

func (b block) assembly(level Level, dst, src []float32) {
	_, _ = dst[(b.rows-1)*b.dstRow+b.cols-1], src[(b.rows-1)*b.srcRow+(b.cols-1)*b.step]
	to, from := unsafe.SliceData(dst), unsafe.SliceData(src)
	switch {
	case b.step == 2:
		everySecond(to, from, b.rows, b.cols, 4*b.dstRow, 4*b.srcRow)
	case level >= AVX512:
		copyBlockAVX512(to, from, b.rows, b.cols, 4*b.dstRow, 4*b.srcRow)
	default:
		copyBlockAVX2(to, from, b.rows, b.cols, 4*b.dstRow, 4*b.srcRow)
	}
}

// gatherPanel sets dst[k*16+i] = src[offsets[k]+positions[i]].
func gatherPanel(dst, src []float32, offsets []int, positions []int32) {
	level := CurrentLevel()
	if level == Portable {
		gatherPortable(dst, src, offsets, positions)
		return
	}
	at := unsafe.SliceData(positions[:panelWidth])
	for len(offsets) > 0 {
		n := min(len(offsets), rowChunk)
		to := unsafe.SliceData(dst[:n*panelWidth])
		if level >= AVX512 {
			gatherAVX512(to, unsafe.SliceData(src), unsafe.SliceData(offsets), at, n)
		} else {
			gatherAVX2(to, unsafe.SliceData(src), unsafe.SliceData(offsets), at, n)
		}
		dst, offsets = dst[n*panelWidth:], offsets[n:]
	}
}
