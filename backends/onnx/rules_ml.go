package onnx

import (
	"slices"
	"strconv"

	"github.com/thrumserve/thrum/backends"
)

// rows returns the first dimension of a table; a vector is a table of one row.
func (c *call) rows() Dim {
	dims, ok := c.shape(0)
	switch {
	case !ok:
		return unknown
	case len(dims) < 2:
		return fixed(1)
	}
	return dims[0]
}

// list returns how many elements an attribute's list has.
func (c *call) list(name string) int64 {
	switch all := c.Attrs[name].(type) {
	case []int64:
		return int64(len(all))
	case []float32:
		return int64(len(all))
	case []string:
		return int64(len(all))
	case *backends.Tensor:
		return max(0, all.Elements())
	}
	return 0
}

// classes returns the number of classes that a classifier's labels name, and sets the type of
// its first output.
func (c *call) classes(strings, ints string) int64 {
	if n := c.list(strings); n > 0 {
		c.setType(0, backends.Bytes)
		return n
	}
	c.setType(0, backends.Int64)
	return c.list(ints)
}

func (c *call) setClassifier(classes Dim) {
	c.set(0, []Dim{c.rows()})
	c.set(1, []Dim{c.rows(), classes})
}

func linearClassifier(c *call) error {
	labels := c.classes("classlabels_strings", "classlabels_ints")
	scores := unknown
	if labels > 0 {
		scores = fixed(labels)
	} else if n := c.list("intercepts"); n > 0 {
		scores = fixed(n)
	}
	c.setClassifier(scores)
	return nil
}

// svmClassifier leaves the number of scores open where there are no probabilities: it is the
// number of pairs of classes then.
func svmClassifier(c *call) error {
	scores := unknown
	if labels := c.classes("classlabels_strings", "classlabels_ints"); labels > 0 && c.list("prob_a") > 0 {
		scores = fixed(labels)
	}
	c.setClassifier(scores)
	return nil
}

func treeClassifier(c *call) error {
	labels := c.classes("classlabels_strings", "classlabels_int64s")
	if labels == 0 {
		return invalid(c.Node, "it has no class labels")
	}
	c.setClassifier(fixed(labels))
	return nil
}

func regressor(c *call) error {
	name := "n_targets"
	if c.Op == "LinearRegressor" {
		name = "targets"
	}
	n := c.int(name, 1)
	if n < 1 {
		return invalid(c.Node, "%s is %d", name, n)
	}
	c.set(0, []Dim{c.rows(), fixed(n)})
	return nil
}

func labelEncoder(c *call) error {
	dt := backends.Invalid
	for name, is := range map[string]backends.Datatype{
		"values_strings": backends.Bytes, "values_int64s": backends.Int64, "values_floats": backends.FP32,
	} {
		if c.list(name) > 0 {
			dt = is
		}
	}
	if t, ok := c.Attrs["values_tensor"].(*backends.Tensor); ok {
		dt = t.Datatype
	}
	if c.Opset < 2 {
		return categoryMapper(c)
	}
	c.setType(0, dt)
	return sameShape(c)
}

// categoryMapper maps strings to integers and integers to strings.
func categoryMapper(c *call) error {
	c.setType(0, backends.Bytes)
	if c.Inputs[0].Datatype == backends.Bytes {
		c.setType(0, backends.Int64)
	}
	return sameShape(c)
}

func arrayFeatureExtractor(c *call) error {
	in, ok := c.shape(0)
	at, okAt := c.shape(1)
	if !ok || !okAt || len(in) == 0 {
		return nil
	}
	out := append(slices.Clone(in[:len(in)-1]), product(at...))
	if len(in) == 1 {
		out = slices.Insert(out, 0, fixed(1))
	}
	c.set(0, out)
	return nil
}

func featureVectorizer(c *call) error {
	sum := fixed(0)
	for _, n := range c.intList("inputdimensions") {
		sum = plus(sum, number(n).dim())
	}
	if c.list("inputdimensions") == 0 {
		sum = unknown
	}
	c.set(0, []Dim{c.rows(), sum})
	return nil
}

func oneHotEncoder(c *call) error {
	n := max(c.list("cats_int64s"), c.list("cats_strings"))
	if n == 0 {
		return invalid(c.Node, "it has no categories")
	}
	if in, ok := c.shape(0); ok {
		c.set(0, append(slices.Clone(in), fixed(n)))
	}
	return nil
}

// zipMap passes a table of scores on. What was a sequence of maps from label to score is a
// tensor here whose columns the labels name.
func zipMap(c *call) error {
	var labels []string
	if all, ok := c.Attrs["classlabels_strings"].([]string); ok && len(all) > 0 {
		labels = all
	}
	for _, n := range c.intList("classlabels_int64s") {
		labels = append(labels, strconv.FormatInt(n, 10))
	}
	out := c.Outputs[0]
	out.Datatype = backends.FP32
	out.Labels = labels
	dims := []Dim{c.rows(), fixed(int64(len(labels)))}
	if in, ok := c.shape(0); ok && (len(in) == 0 || len(in) > 2 || !agree(in[len(in)-1], dims[1])) {
		return invalid(c.Node, "%d labels for scores of shape %v", len(labels), sizes(in, -1))
	}
	c.set(0, dims)
	return nil
}
