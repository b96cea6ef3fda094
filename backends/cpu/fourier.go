package cpu

import (
	"math"
	"math/bits"
	"math/cmplx"
)

// transform computes discrete Fourier transforms of one length, in time proportional to
// n·log n for every n.
type transform struct {
	n       int
	size    int          // a power of two: n, or enough to convolve with chirp
	turns   []complex128 // exp(-2πi·k/size) for the first half of k
	chirp   []complex128 // exp(-πi·k²/n), nil where n is a power of two
	filter  []complex128 // the transform of the chirp's conjugate
	scratch []complex128
}

// newTransform prepares transforms of n elements, at least 1.
func newTransform(n int) *transform {
	t := &transform{n: n, size: n}
	if n&(n-1) == 0 {
		t.turns = turns(n)
		return t
	}
	t.size = 1 << bits.Len(uint(2*n-2))
	t.turns = turns(t.size)
	t.chirp, t.filter, t.scratch = make([]complex128, n), make([]complex128, t.size), make([]complex128, t.size)
	for k := range n {
		t.chirp[k] = cmplx.Rect(1, -math.Pi*float64(k*k%(2*n))/float64(n))
		t.filter[k] = cmplx.Conj(t.chirp[k])
		t.filter[(t.size-k)%t.size] = t.filter[k]
	}
	t.powers(t.filter)
	return t
}

func turns(n int) []complex128 {
	all := make([]complex128, n/2)
	for k := range all {
		all[k] = cmplx.Rect(1, -2*math.Pi*float64(k)/float64(n))
	}
	return all
}

// forward replaces x, of n elements, by its transform.
func (t *transform) forward(x []complex128) {
	if t.chirp == nil {
		t.powers(x)
		return
	}
	// A transform is a convolution with a chirp, which longer transforms compute.
	clear(t.scratch)
	for k, c := range t.chirp {
		t.scratch[k] = x[k] * c
	}
	t.powers(t.scratch)
	for k, f := range t.filter {
		t.scratch[k] = cmplx.Conj(t.scratch[k] * f)
	}
	t.powers(t.scratch)
	for k, c := range t.chirp {
		x[k] = cmplx.Conj(t.scratch[k]) / complex(float64(t.size), 0) * c
	}
}

// inverse replaces x, of n elements, by what it is the transform of.
func (t *transform) inverse(x []complex128) {
	for i, v := range x {
		x[i] = cmplx.Conj(v)
	}
	t.forward(x)
	for i, v := range x {
		x[i] = cmplx.Conj(v) / complex(float64(t.n), 0)
	}
}

// powers transforms x, of size elements.
func (t *transform) powers(x []complex128) {
	shift := 64 - bits.Len(uint(len(x)-1))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); len(x) > 1 && i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < len(x); half *= 2 {
		step := len(x) / (2 * half)
		for from := 0; from < len(x); from += 2 * half {
			for k := range half {
				a, b := x[from+k], x[from+k+half]*t.turns[k*step]
				x[from+k], x[from+k+half] = a+b, a-b
			}
		}
	}
}
