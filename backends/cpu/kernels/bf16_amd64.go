//go:build !purego

package kernels

// pairRows makes pairs of the values of two rows.
//
//	for r in rows, i in cols: dst[r*dstRow + i/16*panel + i%16] = pair(src[r*srcRow+i], odd[r*srcRow+i])
func (c *conversion) pairRows(l Level) {
	if l == Portable {
		c.pairRowsPortable()
		return
	}
	_ = c.dst[(c.rows-1)*c.dstRow+(c.cols-1)/panelWidth*c.panel+(c.cols-1)%panelWidth]
	_, _ = c.src[(c.rows-1)*c.srcRow+c.cols-1], c.odd[(c.rows-1)*c.srcRow+c.cols-1]
	for rows, cols := range c.parts() {
		part := c.part(rows, cols)
		part.dst = c.dst[rows.lo*c.dstRow+cols.lo/panelWidth*c.panel:]
		switch {
		case l >= AVX512BF16:
			pairRowsAVX512BF16(part)
		case l >= AVX512:
			pairRowsAVX512(part)
		default:
			pairRowsAVX2(part)
		}
	}
}

// round rounds values that stay float32.
//
//	for r in rows, i in cols: dst[r*dstRow+i] = round(src[r*srcRow+i])
func (c *conversion) round(l Level) {
	if l == Portable {
		c.roundPortable()
		return
	}
	_, _ = c.dst[(c.rows-1)*c.dstRow+c.cols-1], c.src[(c.rows-1)*c.srcRow+c.cols-1]
	for rows, cols := range c.parts() {
		part := c.part(rows, cols)
		part.dst = c.dst[rows.lo*c.dstRow+cols.lo:]
		if l >= AVX512 {
			roundAVX512(part)
		} else {
			roundAVX2(part)
		}
	}
}

// pairUp makes pairs of the values of a row.
//
//	for r in rows, i in cols/2: dst[r*dstRow+i] = pair(src[r*srcRow+2*i], src[r*srcRow+2*i+1])
func (c *conversion) pairUp(l Level) {
	whole := c.cols / panelWidth * panelWidth
	if l == Portable || whole == 0 {
		c.pairUpPortable(0)
		return
	}
	_, _ = c.dst[(c.rows-1)*c.dstRow+(c.cols-1)/2], c.src[(c.rows-1)*c.srcRow+c.cols-1]
	vectors := *c
	vectors.cols = whole
	for rows, cols := range vectors.parts() {
		part := c.part(rows, cols)
		part.dst = c.dst[rows.lo*c.dstRow+cols.lo/2:]
		switch {
		case l >= AVX512BF16:
			pairUpAVX512BF16(part)
		case l >= AVX512:
			pairUpAVX512(part)
		default:
			pairUpAVX2(part)
		}
	}
	c.pairUpPortable(whole)
}

// parts returns the rows and columns that assembly is given one after the other.
func (c *conversion) parts() func(yield func(rows, cols span) bool) {
	return func(yield func(rows, cols span) bool) {
		step := max(1, 4*chunk/c.cols)
		for r := 0; r < c.rows; r += step {
			for i := 0; i < c.cols; i += 4 * chunk {
				if !yield(span{r, min(r+step, c.rows)}, span{i, min(i+4*chunk, c.cols)}) {
					return
				}
			}
		}
	}
}
