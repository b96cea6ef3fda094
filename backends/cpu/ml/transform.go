package ml

import (
	"math"
	"slices"
)

// Transform is what is done to the scores of a row at the end.
type Transform uint8

// The transforms, numbered as TreeEnsemble numbers them.
const (
	NoTransform Transform = iota
	Softmax
	Logistic
	SoftmaxZero // a softmax that leaves scores of zero at zero
	Probit
)

var transforms = []string{"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}

// ParseTransform returns the transform of that name.
func ParseTransform(name string) (Transform, error) {
	i := slices.Index(transforms, name)
	if i < 0 {
		return 0, invalid("post_transform %q is none of %v", name, transforms)
	}
	return Transform(i), nil
}

// NumberedTransform returns the transform with that number.
func NumberedTransform(n int64) (Transform, error) {
	if n < 0 || n >= int64(len(transforms)) {
		return 0, invalid("post_transform %d: there are 0 to %d", n, len(transforms)-1)
	}
	return Transform(n), nil
}

// apply transforms the scores of one row in place.
func apply[T Float](t Transform, scores []T) {
	switch t {
	case Softmax:
		softmax(scores)
	case Logistic:
		each(scores, logistic)
	case SoftmaxZero:
		softmaxZero(scores)
	case Probit:
		each(scores, probit)
	}
}

// finishSeen transforms the scores of one row in place. A score that no leaf spoke of is 0
// first, whatever its base value, as in ONNX Runtime.
func finishSeen[T Float](t Transform, scores []T, seen []bool) {
	for i := range scores {
		if !seen[i] {
			scores[i] = 0
		}
	}
	apply(t, scores)
}

// complement makes the scores of two classes of that of the second, which is a probability or becomes one.
func complement[T Float](t Transform, score T) (T, T) {
	switch t {
	case Logistic:
		score = T(logistic(float32(score)))
	case Probit:
		score = T(probit(float32(score)))
	}
	return 1 - score, score
}

func each[T Float](scores []T, f func(float32) float32) {
	for i, s := range scores {
		scores[i] = T(f(float32(s)))
	}
}

func exp[T Float](x T) T { return T(math.Exp(float64(x))) }

func softmax[T Float](scores []T) {
	top := T(math.Inf(-1))
	for _, s := range scores {
		top = max(top, s)
	}
	var sum T
	for i, s := range scores {
		scores[i] = exp(s - top)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
}

func softmaxZero[T Float](scores []T) {
	const zero = 1e-7
	top := T(math.Inf(-1))
	for _, s := range scores {
		top = max(top, s)
	}
	scale := exp(-top)
	var sum T
	for i, s := range scores {
		if s > zero || s < -zero {
			scores[i] = exp(s - top)
			sum += scores[i]
		} else {
			scores[i] = s * scale
		}
	}
	for i := range scores {
		scores[i] /= sum
	}
}

func logistic(x float32) float32 {
	v := 1 / (1 + exp(-max(x, -x)))
	if x < 0 {
		return 1 - v
	}
	return v
}

func probit(p float32) float32 { return math.Sqrt2 * erfInv(2*p-1) }

// erfInv is Winitzki's approximation of the inverse error function, in float32 throughout
// because the reference is: it is off by up to 2e-3, and exact values would differ from it.
func erfInv(x float32) float32 {
	var pi, a0 float32 = 3.14159, 0.147
	l := float32(math.Log(float64((1 - x) * (1 + x))))
	a := 2/(pi*a0) + 0.5*l
	b := 1 / a0 * l
	root := float32(math.Sqrt(float64(-a + float32(math.Sqrt(float64(a*a-b))))))
	if x < 0 {
		return -root
	}
	return root
}
