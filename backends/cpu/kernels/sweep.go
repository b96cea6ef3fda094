package kernels

// sweep is a window that moves over one lattice. The assembly reads its fields.
//
//	for r in rows, j in cols:
//		x = start; for k, o in offsets: x += weights[k] * src[o + r*srcRow + j]
//		dst[r*cols+j] = x, clamped
//
// If largest is set, x is the largest of start and the values of src instead, NaN if one is NaN,
// and weights and bounds are not used. src may be read up to 15 values past the last column of the
// last row.
type sweep struct {
	src, dst   []float32
	offsets    []int
	weights    []float32
	srcRow     int
	rows, cols int
	start      float32
	lo, hi     float32
	largest    bool
}

// sweeper computes sweeps over planes of one size, one after the other.
type sweeper struct {
	lattice *lattice
	scratch *scratch // one lattice, then the result before the gaps between its rows are taken out
	flat    bool
}

// newSweeper borrows its scratch, which the caller gives back. Padding has the value pad.
func newSweeper(l *lattice, pad float32) sweeper {
	s := borrow(2*(l.size+slack), 0)
	fill(s.data[:l.size], pad)
	// Rows of few vectors are computed as one long row, with what lies between them.
	const short = 4 * panelWidth
	return sweeper{lattice: l, scratch: s, flat: l.cols < short}
}

// run computes a sweep over a plane; it sets src and offsets.
func (w sweeper) run(s sweep, plane []float32) {
	w.lattice.fill(w.scratch.data, plane)
	s.src, s.offsets, s.srcRow = w.scratch.data, w.lattice.offsets, w.lattice.cols
	if !w.flat || CurrentLevel() == Portable {
		s.run(CurrentLevel())
		return
	}
	gaps := block{rows: s.rows, cols: s.cols, step: 1, dstRow: s.cols, srcRow: s.srcRow}
	dst := s.dst
	s.dst = w.scratch.data[w.lattice.size+slack:]
	s.rows, s.cols = 1, (s.rows-1)*s.srcRow+s.cols
	s.run(CurrentLevel())
	gaps.run(dst, s.dst)
}

func (s *sweep) portable() {
	if s.largest {
		s.largestPortable()
		return
	}
	s.sumPortable()
}

func (s *sweep) sumPortable() {
	for r := range s.rows {
		dst := s.dst[r*s.cols:][:s.cols]
		fill(dst, s.start)
		for k, o := range s.offsets {
			w := s.weights[k]
			for j, v := range s.src[o+r*s.srcRow:][:s.cols] {
				dst[j] += w * v
			}
		}
		for j, v := range dst {
			dst[j] = clamp(v, s.lo, s.hi)
		}
	}
}

func (s *sweep) largestPortable() {
	for r := range s.rows {
		dst := s.dst[r*s.cols:][:s.cols]
		fill(dst, s.start)
		for _, o := range s.offsets {
			for j, v := range s.src[o+r*s.srcRow:][:s.cols] {
				dst[j] = max(dst[j], v)
			}
		}
	}
}
