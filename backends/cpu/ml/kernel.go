package ml

import (
	"math"
	"slices"
)

// SVMKernel is how a support vector machine compares rows with vectors.
type SVMKernel struct {
	kind                 int // of kernelNames
	gamma, coef0, degree float32
}

const (
	linearKernel = iota
	polyKernel
	rbfKernel
	sigmoidKernel
)

var kernelNames = []string{"LINEAR", "POLY", "RBF", "SIGMOID"}

// ParseSVMKernel returns the kernel of that name. params are gamma, coef0 and degree, or
// none where the kernel needs none.
func ParseSVMKernel(name string, params []float32) (SVMKernel, error) {
	kind := slices.Index(kernelNames, name)
	if kind < 0 {
		return SVMKernel{}, invalid("kernel_type %q is none of %v", name, kernelNames)
	}
	if len(params) != 3 && (len(params) != 0 || kind != linearKernel) {
		return SVMKernel{}, invalid("%d kernel_params: they are gamma, coef0 and degree", len(params))
	}
	k := SVMKernel{kind: kind}
	if len(params) == 3 {
		k.gamma, k.coef0, k.degree = params[0], params[1], params[2]
	}
	return k, nil
}

// compare returns the kernel of a row and the vector at the beginning of vectors.
func (k SVMKernel) compare(row, vectors []float32) float32 {
	if k.kind == linearKernel {
		return dot(row, vectors)
	}
	if k.kind == rbfKernel {
		var sum float32
		for i, v := range row {
			d := v - vectors[i]
			sum += d * d
		}
		return exp(-k.gamma * sum)
	}
	v := float64(k.gamma*dot(row, vectors) + k.coef0)
	if k.kind == polyKernel {
		return float32(math.Pow(v, float64(k.degree)))
	}
	return float32(math.Tanh(v))
}
