package kernels

import "math"

// Softmax sets each row of cols values to exp(x - max) / sum. A row with a NaN or +Inf, or of -Inf
// alone, becomes NaN. dst may be src.
func Softmax(dst, src []float32, cols int) {
	eachRow("Softmax", dst, src, cols, softmaxPortable)
}

// LogSoftmax sets each row of cols values to x - max - log(sum(exp(x - max))). dst may be src.
func LogSoftmax(dst, src []float32, cols int) {
	eachRow("LogSoftmax", dst, src, cols, logSoftmaxPortable)
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
	eachRow("LayerNorm", dst, src, len(n.Scale), func(dst, src []float32) { layerNormPortable(dst, src, n) })
}

// RMSNorm sets each row to x / sqrt(mean(x^2) + Epsilon) * Scale + Bias. dst may be src.
func RMSNorm(dst, src []float32, n Norm) {
	n.check()
	eachRow("RMSNorm", dst, src, len(n.Scale), func(dst, src []float32) { rmsNormPortable(dst, src, n) })
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

func softmaxPortable(dst, src []float32) {
	top := float64(largest(src))
	var total float64
	for i, x := range src {
		e := math.Exp(float64(x) - top)
		dst[i] = float32(e)
		total += e
	}
	for i := range dst {
		dst[i] = float32(float64(dst[i]) / total)
	}
}

func logSoftmaxPortable(dst, src []float32) {
	top := float64(largest(src))
	var total float64
	for _, x := range src {
		total += math.Exp(float64(x) - top)
	}
	shift := top + math.Log(total)
	for i, x := range src {
		dst[i] = float32(float64(x) - shift)
	}
}

func layerNormPortable(dst, src []float32, n Norm) {
	var mean, variance float64
	for _, x := range src {
		mean += float64(x)
	}
	mean /= float64(len(src))
	for _, x := range src {
		d := float64(x) - mean
		variance += d * d
	}
	variance /= float64(len(src))
	n.scaleRow(dst, src, float32(mean), float32(1/math.Sqrt(variance+float64(n.Epsilon))))
}

func rmsNormPortable(dst, src []float32, n Norm) {
	var squares float64
	for _, x := range src {
		squares += float64(x) * float64(x)
	}
	squares /= float64(len(src))
	n.scaleRow(dst, src, 0, float32(1/math.Sqrt(squares+float64(n.Epsilon))))
}

func (n Norm) scaleRow(dst, src []float32, mean, factor float32) {
	for i, x := range src {
		y := (x - mean) * factor * n.Scale[i]
		if n.Bias != nil {
			y += n.Bias[i]
		}
		dst[i] = y
	}
}

func sum(x []float32) float32 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return float32(s)
}

func largest(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

func smallest(x []float32) float32 {
	m := float32(math.Inf(1))
	for _, v := range x {
		m = min(m, v)
	}
	return m
}
