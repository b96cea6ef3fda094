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
func (m Memory) PackB(b Matrix, p Precision) *Packed {
	b.check("PackB: B")
	if p == Int8 {
		return &Packed{precision: p, k: b.K, n: b.N, units: p.units(b.K), asBytes: m.packInt8(b)}
	}
	packed := &Packed{precision: p, k: b.K, n: b.N, units: p.units(b.K)}
	packed.offsets = panelOffsets(packed.units)
	packed.data = m.make(panels(b.N)*packed.units*panelWidth, func(dst []float32) { packPanels(dst, b, p) })
	return packed
}

// PackConv is the function PackConv with a place for the result.
func (m Memory) PackConv(c Conv, weights []float32, p Precision) *PackedConv {
	return m.PackConvBy(AnySize, c, weights, p)
}

// PackConvBy is PackConv for a method that Method has returned for a convolution of this kind.
func (m Memory) PackConvBy(how Method, c Conv, weights []float32, p Precision) *PackedConv {
	packed := newPackedConv(c, len(weights), p)
	if packed.precision == Int8 {
		packed.bytes = m.packInt8Conv(packed.conv, weights)
		return packed
	}
	if packed.method = how; how.tile() > 0 {
		packed.weights = m.transformWeights(packed, weights)
		return packed
	}
	if packed.panels = how == AnySize && packed.beside(); packed.panels {
		packed.weights = m.packBeside(packed, weights)
		packed.matrix = packed.asMatrix()
		return packed
	}
	packed.weights = m.make(packed.conv.Filters*packed.row, func(dst []float32) {
		for f := range packed.conv.Filters {
			row := dst[f*packed.row:][:packed.row]
			clear(row)
			packed.packFilter(row, weights[f*packed.depth:][:packed.depth])
		}
	})
	return packed
}
