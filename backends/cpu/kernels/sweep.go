package kernels

// sweep is a window that moves over one lattice. The assembly knows the offsets of its fields
// (gen/sweep.go).
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
