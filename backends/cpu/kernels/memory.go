package kernels

// Memory returns n values, the first of which starts a cache line, that nobody writes to after
// fill. It may know already what fill would write, and then does not call it. It is the place for
// what is packed once and read by every run; a nil Memory is new memory each time.
type Memory func(n int, fill func(dst []float32)) []float32

func (m Memory) make(n int, fill func(dst []float32)) []float32 {
	if m != nil {
		return m(n, fill)
	}
	data := aligned(n)
	fill(data)
	return data
}

// PackB is the function PackB with a place for the result.
func (m Memory) PackB(b []float32, k, n, ldb int, transposed bool) *Packed {
	rows, cols := k, n
	if transposed {
		rows, cols = n, k
	}
	checkMatrix("PackB: B", b, shape{rows, cols, ldb})
	data := m.make(panels(n)*k*panelWidth, func(dst []float32) {
		packPanels(dst, b, packing{k: k, n: n, row: ldb, transposed: transposed})
	})
	return &Packed{k: k, n: n, data: data, offsets: panelOffsets(k)}
}

// PackConv is the function PackConv with a place for the result.
func (m Memory) PackConv(c Conv, weights []float32) *PackedConv {
	p := newPackedConv(c, len(weights))
	p.weights = m.make(p.conv.Filters*p.row, func(dst []float32) {
		for f := range p.conv.Filters {
			row := dst[f*p.row:][:p.row]
			clear(row[copy(row, weights[f*p.depth:][:p.depth]):])
		}
	})
	return p
}
