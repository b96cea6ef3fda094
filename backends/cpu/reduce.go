package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// rowReduction reduces each of len(dst) rows of width elements to one; width may be 0.
type rowReduction[T number] func(dst, src []T, width int)

// buildReduce builds the Reduce operators.
func buildReduce(n *node) (kernel, error) {
	switch d := n.input(0); d {
	case backends.FP32:
		if f, ok := fastReductions[n.Op]; ok {
			return reducing(n, f), nil
		}
		return reducing(n, floatReduction[float32](n.Op)), nil
	case backends.FP64:
		return reducing(n, floatReduction[float64](n.Op)), nil
	case backends.Int32:
		return reducing(n, integerReduction[int32](n.Op)), nil
	case backends.Int64:
		return reducing(n, integerReduction[int64](n.Op)), nil
	case backends.Uint32:
		return reducing(n, integerReduction[uint32](n.Op)), nil
	case backends.Uint64:
		return reducing(n, integerReduction[uint64](n.Op)), nil
	case backends.Int8:
		return reducing(n, integerReduction[int8](n.Op)), nil
	case backends.Uint8, backends.Bool:
		return reducing(n, integerReduction[uint8](n.Op)), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

// fastReductions are those that kernels has.
var fastReductions = map[string]rowReduction[float32]{
	"ReduceSum": kernels.SumRows,
	"ReduceMax": kernels.MaxRows,
	"ReduceMin": kernels.MinRows,
	"ReduceMean": func(dst, src []float32, width int) {
		kernels.SumRows(dst, src, width)
		divLoop(dst, dst, []float32{float32(width)})
	},
}

// reducing brings the axes that are reduced to the end and applies f to the rows.
func reducing[T number](n *node, f rowReduction[T]) kernel {
	axes := n.list("axes", 1)
	keep, noop := n.int("keepdims", 1) != 0, n.int("noop_with_empty_axes", 0) != 0
	return func(r *run, in, out []*tensor) error {
		list, err := axes(in)
		if err != nil {
			return err
		}
		if len(list) == 0 && noop {
			return reduceNothing(r, in[0], out[0], f)
		}
		s, err := r.reductionOf(in[0].shape, list, keep)
		if err != nil {
			return err
		}
		src := in[0]
		if !slices.IsSorted(s.perm) {
			src = r.scratch()
			if err := r.transpose(src, in[0], s.perm); err != nil {
				return err
			}
		}
		if err := r.makeTensor(out[0], in[0].dtype, s.out); err != nil {
			return err
		}
		reduceRows(r, out[0], src, s.width, f)
		return nil
	}
}

// reduceRows applies f to all rows of src, which have the given width.
func reduceRows[T number](r *run, out, src *tensor, width int, f rowReduction[T]) {
	to, from := view[T](out), view[T](src)
	split(r, len(to), rowGrain(width), reduced[T]{to, from, width, f})
}

// reduced is what a reduction of rows works on.
type reduced[T number] struct {
	dst, src []T
	width    int
	f        rowReduction[T]
}

func (t *reduced[T]) run(lo, hi int) { t.f(t.dst[lo:hi], t.src[lo*t.width:hi*t.width], t.width) }

// reduceNothing reduces each element by itself.
func reduceNothing[T number](r *run, src, dst *tensor, f rowReduction[T]) error {
	if err := r.makeTensor(dst, src.dtype, src.shape); err != nil {
		return err
	}
	f(view[T](dst), view[T](src), 1)
	return nil
}

// reduction says how dimensions are reduced.
type reduction struct {
	perm  []int // the dimensions kept, then those reduced
	width int   // elements reduced to one
	out   []int
}

// reductionOf plans to reduce the axes of shape, all if there are none.
func (r *run) reductionOf(shape, axes []int, keep bool) (s reduction, err error) {
	rank := len(shape)
	reduce := r.ints(rank)
	for _, a := range axes {
		if a, err = axis(a, rank); err != nil {
			return s, err
		}
		if reduce[a]++; reduce[a] > 1 {
			return s, backends.Errorf(backends.ErrInvalid, "axes %v name one dimension twice", axes)
		}
	}
	s = reduction{perm: r.ints(rank)[:0], width: 1, out: r.ints(rank)[:0]}
	for d, n := range shape {
		if len(axes) > 0 && reduce[d] == 0 {
			s.perm, s.out = append(s.perm, d), append(s.out, n)
			continue
		}
		s.width *= n
		if keep {
			s.out = append(s.out, 1)
		}
	}
	for d := range shape {
		if len(axes) == 0 || reduce[d] > 0 {
			s.perm = append(s.perm, d)
		}
	}
	return s, nil
}

// integerReduction returns the reduction of an operator on integers.
func integerReduction[T integer](op string) rowReduction[T] {
	switch op {
	case "ReduceSum":
		return accumulate(0, func(a, v T) T { return a + v }, same[T])
	case "ReduceProd":
		return accumulate(1, func(a, v T) T { return a * v }, same[T])
	case "ReduceSumSquare":
		return accumulate(0, func(a, v T) T { return a + v*v }, same[T])
	case "ReduceMax":
		return extreme(func(a, v T) T { return max(a, v) }, least[T]())
	case "ReduceMin":
		return extreme(func(a, v T) T { return min(a, v) }, ^least[T]())
	case "ReduceMean":
		return func(dst, src []T, width int) {
			accumulate(0, func(a, v T) T { return a + v }, same[T])(dst, src, width)
			for i := range dst {
				dst[i] /= T(max(width, 1))
			}
		}
	}
	// What is left rounds: it is calculated in float64.
	f := floatReduction[float64](op)
	return func(dst, src []T, width int) {
		reals, sums := make([]float64, len(src)), make([]float64, len(dst))
		for i, v := range src {
			reals[i] = float64(v)
		}
		f(sums, reals, width)
		for i, v := range sums {
			dst[i] = T(v)
		}
	}
}

// least returns the smallest value of T.
func least[T integer]() T {
	var zero T
	if ^zero > 0 {
		return 0
	}
	v := T(1)
	for v > 0 {
		v <<= 1
	}
	return v
}

// floatReduction returns the reduction of an operator on floats. It adds up in float64.
func floatReduction[T float](op string) rowReduction[T] {
	switch op {
	case "ReduceSum":
		return accumulateReal[T](func(v float64) float64 { return v }, same)
	case "ReduceMean":
		return meanRows[T]
	case "ReduceProd":
		return accumulate(1, func(a, v T) T { return a * v }, same[T])
	case "ReduceMax":
		return extreme(func(a, v T) T { return max(a, v) }, T(math.Inf(-1)))
	case "ReduceMin":
		return extreme(func(a, v T) T { return min(a, v) }, T(math.Inf(1)))
	case "ReduceL1":
		return accumulateReal[T](math.Abs, same)
	case "ReduceL2":
		return accumulateReal[T](square, math.Sqrt)
	case "ReduceSumSquare":
		return accumulateReal[T](square, same)
	case "ReduceLogSum":
		return accumulateReal[T](same, math.Log)
	}
	return logSumExpRows[T]
}

func square(v float64) float64 { return v * v }

func accumulate[T number](start T, add func(sum, v T) T, finish func(T) T) rowReduction[T] {
	return func(dst, src []T, width int) {
		for i := range dst {
			sum := start
			for _, v := range src[i*width : (i+1)*width] {
				sum = add(sum, v)
			}
			dst[i] = finish(sum)
		}
	}
}

func accumulateReal[T float](part, finish func(float64) float64) rowReduction[T] {
	return func(dst, src []T, width int) {
		for i := range dst {
			sum := 0.0
			for _, v := range src[i*width : (i+1)*width] {
				sum += part(float64(v))
			}
			dst[i] = T(finish(sum))
		}
	}
}

// extreme is like accumulate for an f that has no neutral element but what of gives for no
// elements at all.
func extreme[T number](f func(a, v T) T, none T) rowReduction[T] {
	return accumulate(none, f, same[T])
}

func meanRows[T float](dst, src []T, width int) {
	accumulateReal[T](same, func(sum float64) float64 { return sum / float64(width) })(dst, src, width)
}

// logSumExpRows takes the largest out of the sum so that no power overflows.
func logSumExpRows[T float](dst, src []T, width int) {
	for i := range dst {
		row := src[i*width : (i+1)*width]
		top := math.Inf(-1)
		for _, v := range row {
			top = max(top, float64(v))
		}
		if math.IsInf(top, 0) {
			dst[i] = T(top)
			continue
		}
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
		dst[i] = T(top + math.Log(sum))
	}
}
