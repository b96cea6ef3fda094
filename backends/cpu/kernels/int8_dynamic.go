package kernels

import "math"

// Products of precision Int8 have operands of float32. Each column of B has been quantised by
// itself, symmetrically, when it was packed; each row of A is quantised by itself when it is
// multiplied, asymmetrically, so that all bytes are used and a row's result depends on no other. In
// a convolution a filter is such a column, and an image is such a row. A row of A with a value that
// is not finite gives NaN, as a column of B does.

// asBytes are weights quantised to bytes.
type asBytes struct {
	bytes  *PackedBytes
	scales []float32 // one per column
}

// packInt8 packs a matrix for products of precision Int8.
func (m Memory) packInt8(b Matrix) asBytes {
	p := newPackedBytes(Bytes{Signed: true}, b.K, b.N)
	data := m.make(p.size()+b.N, func(dst []float32) {
		rows := quantizedColumns(b, dst[p.size():])
		p.fill(dst[:p.size()], rows, true)
	})
	p.take(data[:p.size()])
	return asBytes{p, data[p.size():]}
}

// quantizedColumns returns the columns of b as rows of bytes, and sets their scales.
func quantizedColumns(b Matrix, scales []float32) Bytes {
	q := Bytes{Data: make([]byte, b.K*b.N), Stride: b.K, Signed: true}
	column := make([]float32, b.K)
	for j := range b.N {
		for k := range column {
			if b.Transposed {
				column[k] = b.Data[j*b.Stride+k]
			} else {
				column[k] = b.Data[k*b.Stride+j]
			}
		}
		scales[j] = quantizeSymmetric(q.Data[j*b.K:][:b.K], column)
	}
	return q
}

// quantizeSymmetric quantises to signed bytes, but for -128, and returns the scale: NaN if a value
// is not finite.
func quantizeSymmetric(dst []byte, src []float32) float32 {
	top := max(largest(src), -smallest(src), 0)
	scale := top / 127
	switch {
	case math.IsInf(float64(top), 0) || top != top:
		clear(dst)
		return float32(math.NaN())
	case scale == 0:
		clear(dst)
		return 0
	}
	ByteType{Signed: true}.quantize(dst, src, scale, false)
	return scale
}

// spreadOf returns the scale and the zero point with which values from low to high, and zero, take
// all signed bytes. The scale is NaN if one of the bounds is not finite.
func spreadOf(low, high float32) (scale float32, zero int32) {
	low, high = min(low, 0), max(high, 0)
	scale = high/255 - low/255
	switch {
	case scale-scale != 0:
		return float32(math.NaN()), 0
	case scale == 0:
		return 0, 0
	}
	return scale, int32(max(-128, min(127, math.RoundToEven(float64(-128-low/scale)))))
}

// quantizeSpread quantises with what spreadOf returned.
func quantizeSpread(dst []byte, src []float32, scale float32, zero int32) {
	t := ByteType{Signed: true, Zero: zero}
	inverse := 1 / scale
	switch {
	case scale != scale || scale == 0:
		clear(dst)
	case math.IsInf(float64(inverse), 0):
		t.quantize(dst, src, scale, false)
	default:
		t.quantize(dst, src, inverse, true)
	}
}

// gemm is Gemm.
func (b asBytes) gemm(p *Pool, m int, a []float32, lda int, c []float32, ldc int, ep Epilogue) {
	t := ByteGemm{M: m, B: b.bytes}.begin()
	t.values, t.stride = a, lda
	t.c, t.cRow, t.residualRow, t.ep = c, ldc, ldc, ep
	t.floats(nil, b.scales)
	t.run(p)
}

// quantize makes units of a row of A and returns its scale, its zero point and the sum of its bytes.
func (l byteRows) quantize(i int, row []float32) (scale float32, zero, sum int32) {
	scale, zero = spreadOf(smallest(row), largest(row))
	to := l.units[i*l.row:][:l.words]
	if leftStep(Int8, CurrentLevel()) == 1 {
		bytes := bytesOf(to)
		quantizeSpread(bytes[:len(row)], row, scale, zero)
		clear(bytes[len(row):])
		return scale, zero, sumSigned(bytes[:len(row)], 0)
	}
	s := borrow(Int8.units(len(row)), 0)
	defer s.giveBack()
	bytes := bytesOf(s.data)[:len(row)]
	quantizeSpread(bytes, row, scale, zero)
	return scale, zero, leftBytes(to, bytes, 0)
}

// convAsBytes are a convolution's weights quantised to bytes.
type convAsBytes struct {
	bytes  *PackedByteConv
	scales []float32 // one per filter
}

// packInt8Conv packs a convolution of precision Int8.
func (m Memory) packInt8Conv(c Conv, weights []float32) convAsBytes {
	q := Bytes{Data: make([]byte, len(weights)), Signed: true}
	scales := make([]float32, c.Filters)
	if c.Filters > 0 {
		depth := len(weights) / c.Filters
		for f := range scales {
			scales[f] = quantizeSymmetric(q.Data[f*depth:][:depth], weights[f*depth:][:depth])
		}
	}
	return convAsBytes{m.PackByteConv(c, q), scales}
}

// conv2D is Conv2D.
func (b convAsBytes) conv2D(p *Pool, x, y Images, ep Epilogue) {
	size := x.C * x.H * x.W
	s := borrow(Int8.units(x.N*size)+2*x.N, 0)
	defer s.giveBack()
	scales, zeros := s.data[:x.N], intsOf(s.data[x.N:][:x.N])
	bytes := bytesOf(s.data[2*x.N:])[:x.N*size]
	for i := range x.N {
		image := x.Data[i*size:][:size]
		scales[i], zeros[i] = spreadOf(smallest(image), largest(image))
		p.For(size, elementGrain, func(lo, hi int) {
			quantizeSpread(bytes[i*size+lo:i*size+hi], image[lo:hi], scales[i], zeros[i])
		})
	}
	ByteConv{
		X: ByteImages{bytes, x.N, x.C, x.H, x.W, true, zeros}, W: b.bytes, Size: [2]int{y.H, y.W},
	}.Floats(p, y.Data, Scaling{RowScale: scales, Scale: b.scales, Epilogue: ep})
}
