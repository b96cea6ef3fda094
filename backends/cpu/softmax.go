package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// buildSoftmax builds Softmax, LogSoftmax and Hardmax. Before opset 13 all dimensions from
// the axis on are one row.
func buildSoftmax(n *node) (kernel, error) {
	joined, otherwise := n.Opset < 13, -1
	if joined {
		otherwise = 1
	}
	at := n.int("axis", otherwise)
	f32 := map[string]func(dst, src []float32, cols int){"Softmax": kernels.Softmax, "LogSoftmax": kernels.LogSoftmax, "Hardmax": hardmaxRows[float32]}
	f64 := map[string]func(dst, src []float64, cols int){"Softmax": softmaxRows, "LogSoftmax": logSoftmaxRows, "Hardmax": hardmaxRows[float64]}
	switch n.input(0) {
	case backends.FP32:
		return alongAxis(at, joined, f32[n.Op]), nil
	case backends.FP64:
		return alongAxis(at, joined, f64[n.Op]), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

// alongAxis applies f to rows along axis at, or from it on if joined.
func alongAxis[T float](at int, joined bool, f func(dst, src []T, cols int)) kernel {
	return func(r *run, in, out []*tensor) error {
		x := in[0]
		a, err := axis(at, max(1, x.rank()))
		if err != nil {
			return err
		}
		if joined || a >= x.rank()-1 {
			if err := r.makeOver(out[0], x, x.dtype, x.shape); err != nil {
				return err
			}
			return rowsOf(r, out[0], x, product(x.shape[min(a, x.rank()):]), f)
		}
		perm := reversed(x.rank())
		slices.Reverse(perm)
		perm = append(slices.Delete(perm, a, a+1), a)
		turned, done := r.scratch(), r.scratch()
		if err := r.transpose(turned, x, perm); err != nil {
			return err
		}
		if err := r.makeTensor(done, x.dtype, turned.shape); err != nil {
			return err
		}
		if err := rowsOf(r, done, turned, x.shape[a], f); err != nil {
			return err
		}
		return r.transpose(out[0], done, inverse(perm))
	}
}

func rowsOf[T float](r *run, y, x *tensor, cols int, f func(dst, src []T, cols int)) error {
	dst, src := view[T](y), view[T](x)
	if len(dst) == 0 {
		return nil
	}
	split(r, len(dst)/cols, rowGrain(4*cols), rows[T]{dst, src, cols, f})
	return nil
}

// rows is a function of rows and what it works on.
type rows[T float] struct {
	dst, src []T
	cols     int
	f        func(dst, src []T, cols int)
}

func (t *rows[T]) run(lo, hi int) {
	t.f(t.dst[lo*t.cols:hi*t.cols], t.src[lo*t.cols:hi*t.cols], t.cols)
}

// inverse returns the permutation that undoes perm.
func inverse(perm []int) []int {
	back := make([]int, len(perm))
	for i, p := range perm {
		back[p] = i
	}
	return back
}

func logSoftmaxRows(dst, src []float64, cols int) {
	for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
		var sum [1]float64
		logSumExpRows(sum[:], src[:cols], cols)
		for i, v := range src[:cols] {
			dst[i] = v - sum[0]
		}
	}
}

func softmaxRows(dst, src []float64, cols int) {
	logSoftmaxRows(dst, src, cols)
	for i, v := range dst {
		dst[i] = math.Exp(v)
	}
}

// hardmaxRows marks the first of the largest elements of each row.
func hardmaxRows[T float](dst, src []T, cols int) {
	for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
		clear(dst[:cols])
		var best [1]int64
		bestOfRows(best[:], src[:cols], func(a, b T) bool { return a > b }, false)
		dst[best[0]] = 1
	}
}
