package kernels

import "math"

// Softmax sets each row of cols values to exp(x - max) / sum. A row with a NaN or +Inf, or of -Inf
// alone, becomes NaN. dst may be src.
func Softmax(dst, src []float32, cols int) {
	eachRow("Softmax", dst, src, cols, softmaxRow)
}

// LogSoftmax sets each row of cols values to x - max - log(sum(exp(x - max))). dst may be src.
func LogSoftmax(dst, src []float32, cols int) {
	eachRow("LogSoftmax", dst, src, cols, logSoftmaxRow)
}

// Norm describes a normalisation of rows as long as Scale.
type Norm struct {
	Scale   []float32 // one per column
	Bias    []float32 // one per column, or nil
	Epsilon float32
}

// LayerNorm sets each row to (x - mean) / sqrt(variance + Epsilon) * Scale + Bias. dst may be src.
func LayerNorm(dst, src []float32, n Norm) {
	n.check()
	eachRow("LayerNorm", dst, src, len(n.Scale), n.layerRow)
}

// RMSNorm sets each row to x / sqrt(mean(x^2) + Epsilon) * Scale + Bias. dst may be src.
func RMSNorm(dst, src []float32, n Norm) {
	n.check()
	eachRow("RMSNorm", dst, src, len(n.Scale), n.rmsRow)
}

func (n Norm) check() {
	if n.Bias != nil && len(n.Bias) != len(n.Scale) {
		panic("kernels: Norm: scale and bias differ in length")
	}
}

func eachRow(name string, dst, src []float32, cols int, f func(dst, src []float32)) {
	if len(dst) != len(src) || cols < 0 || cols == 0 && len(src) > 0 || cols > 0 && len(src)%cols != 0 {
		panic("kernels: " + name + ": lengths are no whole rows")
	}
	for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
		f(dst[:cols], src[:cols])
	}
}

// SumRows sets sums[i] to the sum of the i-th row of cols values of src.
func SumRows(sums, src []float32, cols int) {
	reduceRows("SumRows", sums, src, cols, sum)
}

// MaxRows sets maxima[i] to the largest of the i-th row of cols values of src, NaN if one is NaN.
// The largest of no values is -Inf.
func MaxRows(maxima, src []float32, cols int) {
	reduceRows("MaxRows", maxima, src, cols, largest)
}

// MinRows sets minima[i] to the smallest of the i-th row of cols values of src, NaN if one is NaN.
// The smallest of no values is +Inf.
func MinRows(minima, src []float32, cols int) {
	reduceRows("MinRows", minima, src, cols, smallest)
}

func reduceRows(name string, dst, src []float32, cols int, f func([]float32) float32) {
	if cols < 0 || len(src) != len(dst)*cols {
		panic("kernels: " + name + ": lengths are no whole rows")
	}
	for i := range dst {
		dst[i] = f(src[i*cols : (i+1)*cols])
	}
}

func softmaxRow(dst, src []float32) {
	total := expSum(dst, src, largest(src))
	Combine(Div, dst, dst, []float32{total})
}

func logSoftmaxRow(dst, src []float32) {
	s := borrow(len(src), 0)
	defer s.giveBack()
	top := largest(src)
	total := expSum(s.data, src, top)
	// The two are subtracted one after the other: where top is large, their sum loses the logarithm.
	Combine(Sub, dst, src, []float32{top})
	Combine(Sub, dst, dst, []float32{float32(math.Log(float64(total)))})
}

func (n Norm) layerRow(dst, src []float32) {
	mean := sum(src) / float32(len(src))
	variance := sumSquares(src, mean) / float32(len(src))
	normalize(dst, src, n, moments{mean, inverseRoot(variance + n.Epsilon)})
}

func (n Norm) rmsRow(dst, src []float32) {
	square := sumSquares(src, 0) / float32(len(src))
	normalize(dst, src, n, moments{0, inverseRoot(square + n.Epsilon)})
}

func inverseRoot(x float32) float32 { return float32(1 / math.Sqrt(float64(x))) }

// moments are what a row is shifted and scaled by.
type moments struct{ mean, factor float32 }

func sumPortable(x []float32) float32 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return float32(s)
}

func sumSquaresPortable(x []float32, center float32) float32 {
	var s float64
	for _, v := range x {
		d := float64(v) - float64(center)
		s += d * d
	}
	return float32(s)
}

func largestPortable(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

func smallestPortable(x []float32) float32 {
	m := float32(math.Inf(1))
	for _, v := range x {
		m = min(m, v)
	}
	return m
}

// expSumPortable sets dst[i] = exp(src[i]-shift) and returns the sum.
func expSumPortable(dst, src []float32, shift float32) float32 {
	var total float64
	for i, x := range src {
		e := math.Exp(float64(x - shift))
		dst[i] = float32(e)
		total += e
	}
	return float32(total)
}

// normalizePortable sets dst[i] = (src[i]-mean)*factor*scale[i] + bias[i].
func normalizePortable(dst, src []float32, n Norm, m moments) {
	for i, x := range src {
		y := (x - m.mean) * m.factor * n.Scale[i]
		if n.Bias != nil {
			y += n.Bias[i]
		}
		dst[i] = y
	}
}
