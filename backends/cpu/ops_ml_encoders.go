package cpu

import (
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/ml"
)

// buildLabelEncoder builds LabelEncoder, which since opset 2 lists keys and values. Before, it
// had a list of strings that it turned into their places and places into strings.
func buildLabelEncoder(n *node) (kernel, error) {
	if n.Opset < 2 {
		classes := n.strings("classes_strings")
		places := make([]int64, len(classes))
		for i := range places {
			places[i] = int64(i)
		}
		return categoryMapper(n, classes, places)
	}
	switch n.input(0) {
	case backends.Bytes:
		return labelEncoder[string](n)
	case backends.FP32:
		return labelEncoder[float32](n)
	case backends.FP64:
		return labelEncoder[float64](n)
	case backends.Int16:
		return labelEncoder[int16](n)
	case backends.Int32:
		return labelEncoder[int32](n)
	case backends.Int64:
		return labelEncoder[int64](n)
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func labelEncoder[K ml.Key](n *node) (kernel, error) {
	switch n.output(0) {
	case backends.Bytes:
		return dictionary[K](n, n.string("default_string", "_Unused"))
	case backends.FP32:
		return dictionary[K](n, n.float("default_float", float32(math.Copysign(0, -1))))
	case backends.FP64:
		return dictionary[K](n, math.Copysign(0, -1))
	case backends.Int16:
		return dictionary[K](n, int16(-1))
	case backends.Int32:
		return dictionary[K](n, int32(-1))
	case backends.Int64:
		return dictionary[K](n, attribute(n, "default_int64", int64(-1)))
	}
	return nil, n.unsupported("an output of %v", n.output(0))
}

// dictionary returns the kernel that maps keys to values, and others to what default_tensor
// holds or else to otherwise.
func dictionary[K, V ml.Key](n *node, otherwise V) (kernel, error) {
	if v := tensorOf[V](n, "default_tensor", n.output(0)); len(v) > 0 {
		otherwise = v[0]
	}
	return mapping(n, listOf[K](n, "keys", n.input(0)), listOf[V](n, "values", n.output(0)), otherwise)
}

func mapping[K, V ml.Key](n *node, keys []K, values []V, otherwise V) (kernel, error) {
	d, err := ml.NewDictionary(keys, values, otherwise)
	if err != nil {
		return nil, err
	}
	return elementwise(n.output(0), d.Map), nil
}

// listOf returns the attribute called prefix with the word for its type, or else with _tensor.
func listOf[T ml.Key](n *node, prefix string, d backends.Datatype) []T {
	var list any
	switch d {
	case backends.Bytes:
		list = n.strings(prefix + "_strings")
	case backends.FP32:
		list = n.floats(prefix + "_floats")
	case backends.Int64:
		list = n.int64s(prefix + "_int64s")
	}
	if list, _ := list.([]T); len(list) > 0 {
		return list
	}
	return tensorOf[T](n, prefix+"_tensor", d)
}

func buildCategoryMapper(n *node) (kernel, error) {
	return categoryMapper(n, n.strings("cats_strings"), n.int64s("cats_int64s"))
}

// categoryMapper maps words to numbers, or numbers to words, as the input's datatype asks for.
func categoryMapper(n *node, words []string, numbers []int64) (kernel, error) {
	switch n.input(0) {
	case backends.Bytes:
		return mapping(n, words, numbers, attribute(n, "default_int64", int64(-1)))
	case backends.Int64:
		return mapping(n, numbers, words, n.string("default_string", "_Unused"))
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func buildOneHotEncoder(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.Bytes:
		return oneHot(n, n.strings("cats_strings"))
	case backends.Int64:
		return oneHot(n, n.int64s("cats_int64s"))
	case backends.Int32:
		return truncated[int32](n)
	case backends.FP32:
		return truncated[float32](n)
	case backends.FP64:
		return truncated[float64](n)
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func oneHot[K ml.Key](n *node, categories []K) (kernel, error) {
	e, err := ml.NewOneHot(categories, n.int("zeros", 1) != 0)
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error { return encode(r, e, out[0], view[K](in[0]), in[0].shape) }, nil
}

func encode[K ml.Key](r *run, e *ml.OneHot[K], t *tensor, x []K, shape []int) error {
	if err := r.makeTensor(t, backends.FP32, append(slices.Clone(shape), e.Width())); err != nil {
		return err
	}
	return e.Encode(view[float32](t), x)
}

// truncated returns the encoder for numbers whose whole parts are categories. It compares them
// as FP64, in which every element of an input is exact.
func truncated[T int32 | float32 | float64](n *node) (kernel, error) {
	var categories []float64
	for _, c := range n.int64s("cats_int64s") {
		categories = append(categories, float64(c))
	}
	e, err := ml.NewOneHot(categories, n.int("zeros", 1) != 0)
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		wholes := r.scratch()
		if err := r.makeTensor(wholes, backends.FP64, in[0].shape); err != nil {
			return err
		}
		dst := view[float64](wholes)
		for i, v := range view[T](in[0]) {
			dst[i] = math.Trunc(float64(v))
		}
		return encode(r, e, out[0], dst, in[0].shape)
	}, nil
}
