package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/ml"
)

// featureKernel returns the kernel of an operator that makes a tensor of datatype d and of
// the shape of its input.
func featureKernel[T, R element](d backends.Datatype, f func(dst []R, x []T, columns int) error) kernel {
	return func(r *run, in, out []*tensor) error {
		_, columns, err := in[0].matrix()
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], d, in[0].shape); err != nil {
			return err
		}
		return f(view[R](out[0]), view[T](in[0]), columns)
	}
}

func buildScaler(n *node) (kernel, error) {
	offset, scale := n.floats("offset"), n.floats("scale")
	if len(scale) == 0 || len(offset) != len(scale) {
		return nil, backends.Errorf(backends.ErrInvalid, "%d offset and %d scale: they need the same number", len(offset), len(scale))
	}
	if n.input(0) == backends.FP64 {
		return featureKernel(backends.FP32, func(dst []float32, x []float64, columns int) error {
			return ml.Scale(dst, x, columns, offset, scale)
		}), nil
	}
	return onFloats(n, featureKernel(backends.FP32, func(dst []float32, x []float32, columns int) error {
		return ml.Scale(dst, x, columns, offset, scale)
	}))
}

func buildNormalizer(n *node) (kernel, error) {
	norm, err := ml.ParseNorm(n.string("norm", "MAX"))
	if err != nil {
		return nil, err
	}
	if n.input(0) == backends.FP64 {
		return featureKernel(backends.FP32, func(dst []float32, x []float64, columns int) error {
			ml.Normalize(dst, x, columns, norm)
			return nil
		}), nil
	}
	return onFloats(n, featureKernel(backends.FP32, func(dst []float32, x []float32, columns int) error {
		ml.Normalize(dst, x, columns, norm)
		return nil
	}))
}

func buildBinarizer(n *node) (kernel, error) {
	threshold := n.float("threshold", 0)
	switch n.input(0) {
	case backends.FP32:
		return binarizing[float32](n, threshold), nil
	case backends.FP64:
		return binarizing[float64](n, threshold), nil
	case backends.Int32:
		return binarizing[int32](n, threshold), nil
	case backends.Int64:
		return binarizing[int64](n, threshold), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func binarizing[T ml.Number](n *node, threshold float32) kernel {
	return elementwise(n.input(0), func(dst, src []T) { ml.Binarize(dst, src, threshold) })
}

func buildImputer(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return imputing(n, n.float("replaced_value_float", 0), n.floats("imputed_value_floats")), nil
	case backends.FP64:
		return imputing(n, float64(n.float("replaced_value_float", 0)), floatList[float64](n, "imputed_value_floats")), nil
	case backends.Int64:
		return imputing(n, attribute(n, "replaced_value_int64", int64(0)), n.int64s("imputed_value_int64s")), nil
	case backends.Int32:
		return imputingInt32(n)
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func imputing[T ml.Number](n *node, missing T, values []T) kernel {
	return featureKernel(n.input(0), func(dst, x []T, columns int) error {
		return ml.Impute(dst, x, columns, missing, values)
	})
}

// imputingInt32 refuses what the attributes, which are INT64, cannot put into an INT32.
func imputingInt32(n *node) (kernel, error) {
	missing, values := attribute(n, "replaced_value_int64", int64(0)), n.int64s("imputed_value_int64s")
	narrow := make([]int32, len(values))
	for i, v := range append(slices.Clone(values), missing) {
		if v != int64(int32(v)) {
			return nil, backends.Errorf(backends.ErrInvalid, "%d does not fit the INT32 elements of the input", v)
		}
		if i < len(narrow) {
			narrow[i] = int32(v)
		}
	}
	return imputing(n, int32(missing), narrow), nil
}

func buildExtractor(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return extracting[float32](n), nil
	case backends.FP64:
		return extracting[float64](n), nil
	case backends.Int32:
		return extracting[int32](n), nil
	case backends.Int64:
		return extracting[int64](n), nil
	case backends.Bytes:
		return extracting[string](n), nil
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func extracting[T element](n *node) kernel {
	d := n.input(0)
	return func(r *run, in, out []*tensor) error {
		x, at := in[0], view[int64](in[1])
		if x.rank() == 0 {
			return backends.Errorf(backends.ErrInvalid, "an input of no dimension has no columns")
		}
		columns := x.shape[x.rank()-1]
		shape := append(slices.Clone(x.shape[:x.rank()-1]), len(at))
		if x.rank() == 1 {
			shape = []int{1, len(at)}
		}
		if err := r.makeTensor(out[0], d, shape); err != nil {
			return err
		}
		return ml.Extract(view[T](out[0]), view[T](x), columns, at)
	}
}

func buildVectorizer(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return vectorizing[float32](n)
	case backends.FP64:
		return vectorizing[float64](n)
	case backends.Int32:
		return vectorizing[int32](n)
	case backends.Int64:
		return vectorizing[int64](n)
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

// vectorizing puts inputs side by side, each with as many columns as inputdimensions gives it.
func vectorizing[T ml.Number](n *node) (kernel, error) {
	widths := n.ints("inputdimensions")
	total := 0
	for _, w := range widths {
		if w < 0 || w > math.MaxInt32 {
			return nil, backends.Errorf(backends.ErrInvalid, "inputdimensions has %d", w)
		}
		total += w
	}
	if len(widths) != len(n.Inputs) {
		return nil, backends.Errorf(backends.ErrInvalid, "%d inputdimensions for %d inputs", len(widths), len(n.Inputs))
	}
	return func(r *run, in, out []*tensor) error {
		rows, _, err := in[0].matrix()
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], backends.FP32, []int{rows, total}); err != nil {
			return err
		}
		at := 0
		for i, x := range in {
			have, columns, err := x.matrix()
			if err != nil {
				return err
			}
			if have != rows {
				return backends.Errorf(backends.ErrInvalid, "inputs of %d and %d rows side by side", rows, have)
			}
			ml.Place(view[float32](out[0]), total, at, widths[i], view[T](x), columns)
			at += widths[i]
		}
		return nil
	}, nil
}
