package cpu

import (
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/ml"
)

// pipelines is the domain ai.onnx.ml.
var pipelines = domain{
	"ArrayFeatureExtractor":  {buildExtractor, 1},
	"Binarizer":              {buildBinarizer, 1},
	"CategoryMapper":         {buildCategoryMapper, 1},
	"FeatureVectorizer":      {buildVectorizer, 1},
	"Imputer":                {buildImputer, 1},
	"LabelEncoder":           {buildLabelEncoder, 1},
	"LinearClassifier":       {buildLinearClassifier, 1},
	"LinearRegressor":        {buildLinearRegressor, 1},
	"Normalizer":             {buildNormalizer, 1},
	"OneHotEncoder":          {buildOneHotEncoder, 1},
	"SVMClassifier":          {buildSVMClassifier, 1},
	"SVMRegressor":           {buildSVMRegressor, 1},
	"Scaler":                 {buildScaler, 1},
	"TreeEnsemble":           {buildTreeEnsemble, 5},
	"TreeEnsembleClassifier": {buildTreeClassifier, 1},
	"TreeEnsembleRegressor":  {buildTreeRegressor, 1},
	"ZipMap":                 {buildZipMap, 1},
}

// matrix returns the rows and columns of t; a vector is one row.
func (t *tensor) matrix() (rows, columns int, err error) {
	switch t.rank() {
	case 1:
		return 1, t.shape[0], nil
	case 2:
		return t.shape[0], t.shape[1], nil
	}
	return 0, 0, backends.Errorf(backends.ErrInvalid, "an input of shape %v: rows of features are needed", t.shape)
}

// onFloats returns k for an input of any type of number, which k sees as FP32.
func onFloats(n *node, k kernel) (kernel, error) {
	if n.input(0) == backends.FP32 {
		return k, nil
	}
	widen, err := converter(n, n.input(0), backends.FP32)
	if err != nil {
		return nil, err
	}
	return func(r *run, in, out []*tensor) error {
		floats := []*tensor{r.scratch()}
		if err := widen(r, in[:1], floats); err != nil {
			return err
		}
		return k(r, floats, out)
	}, nil
}

// int64s returns the attribute, or nil if there is none.
func (n *node) int64s(name string) []int64 { return attribute[[]int64](n, name, nil) }

// tensorOf returns the elements of an attribute, converted to T, whose datatype is d.
func tensorOf[T element](n *node, name string, d backends.Datatype) []T {
	b := n.tensor(name)
	if b == nil {
		return nil
	}
	k, err := converter(n, b.Datatype, d)
	if err == nil {
		b, err = n.engine.converted(b, k)
	}
	t := new(tensor)
	if err == nil {
		err = t.importTensor(b)
	}
	if err != nil {
		n.fail(err)
		return nil
	}
	return slices.Clone(view[T](t))
}

// floatList returns the attribute, a list or a tensor called name_as_tensor.
func floatList[T float](n *node, name string) []T {
	if list := n.floats(name); len(list) > 0 {
		all := make([]T, len(list))
		for i, v := range list {
			all[i] = T(v)
		}
		return all
	}
	return tensorOf[T](n, name+"_as_tensor", floatType[T]())
}

// floatType returns the datatype of T.
func floatType[T float]() backends.Datatype {
	if _, ok := any(*new(T)).(float32); ok {
		return backends.FP32
	}
	return backends.FP64
}

// labels are what a classifier answers with: strings, or else integers.
type labels struct {
	strings []string
	ints    []int64
}

func (n *node) labels(strings, ints string) labels {
	return labels{n.strings(strings), n.int64s(ints)}
}

func (l labels) len() int {
	if len(l.strings) > 0 {
		return len(l.strings)
	}
	return len(l.ints)
}

// write makes t the labels of classes.
func (l labels) write(r *run, t *tensor, classes []int32) error {
	if len(l.strings) > 0 {
		return pickLabels(r, t, backends.Bytes, l.strings, classes)
	}
	return pickLabels(r, t, backends.Int64, l.ints, classes)
}

func pickLabels[T element](r *run, t *tensor, d backends.Datatype, labels []T, classes []int32) error {
	if err := r.makeTensor(t, d, r.list(len(classes))); err != nil {
		return err
	}
	dst := view[T](t)
	for i, c := range classes {
		dst[i] = labels[c]
	}
	return nil
}

// classifying returns the kernel of a classifier: predict fills classes and scores, of which a row
// has width, for the rows of x.
func classifying[T float](l labels, width int, predict func(r *run, x []T, columns int, classes []int32, scores []T) error) kernel {
	return func(r *run, in, out []*tensor) error {
		rows, columns, err := in[0].matrix()
		if err != nil {
			return err
		}
		classes, scores := r.scratch(), orScratch(r, out, 1)
		if err := r.makeTensor(classes, backends.Int32, r.list(rows)); err != nil {
			return err
		}
		if err := r.makeTensor(scores, floatType[T](), r.list(rows, width)); err != nil {
			return err
		}
		if err := predict(r, view[T](in[0]), columns, view[int32](classes), view[T](scores)); err != nil {
			return err
		}
		return l.write(r, out[0], view[int32](classes))
	}
}

// scoring returns the kernel of a regressor: predict fills scores, of which a row has width,
// for the rows of x.
func scoring[T float](width int, predict func(r *run, x []T, columns int, scores []T) error) kernel {
	return func(r *run, in, out []*tensor) error {
		rows, columns, err := in[0].matrix()
		if err != nil {
			return err
		}
		if err := r.makeTensor(out[0], floatType[T](), r.list(rows, width)); err != nil {
			return err
		}
		return predict(r, view[T](in[0]), columns, view[T](out[0]))
	}
}

func buildLinearClassifier(n *node) (kernel, error) {
	l := n.labels("classlabels_strings", "classlabels_ints")
	intercepts := n.floats("intercepts")
	targets := len(intercepts)
	if targets == 0 {
		targets = l.len()
	}
	transform, err := ml.ParseTransform(n.string("post_transform", "NONE"))
	if err != nil {
		return nil, err
	}
	m, err := ml.NewLinear(n.floats("coefficients"), intercepts, int64(targets), transform)
	if err != nil {
		return nil, err
	}
	both, width := targets == 1 && l.len() == 2, targets
	if both {
		width = 2
	}
	switch {
	case targets == 1 && !both && len(l.strings) > 0:
		l = labels{strings: []string{"0", "1"}}
	case targets == 1 && !both:
		l = labels{ints: []int64{0, 1}}
	case l.len() < targets:
		return nil, backends.Errorf(backends.ErrInvalid, "%d class labels for %d classes", l.len(), targets)
	}
	return onFloats(n, classifying(l, width, func(r *run, x []float32, columns int, classes []int32, scores []float32) error {
		return m.Classify(x, columns, classes, scores, both, r.engine.pool.For)
	}))
}

func buildLinearRegressor(n *node) (kernel, error) {
	targets := attribute(n, "targets", int64(1))
	transform, err := ml.ParseTransform(n.string("post_transform", "NONE"))
	if err != nil {
		return nil, err
	}
	intercepts := n.floats("intercepts")
	if int64(len(intercepts)) != targets {
		intercepts = nil
	}
	m, err := ml.NewLinear(n.floats("coefficients"), intercepts, targets, transform)
	if err != nil {
		return nil, err
	}
	return onFloats(n, scoring(m.Targets(), func(r *run, x []float32, columns int, scores []float32) error {
		return m.Regress(x, columns, scores, r.engine.pool.For)
	}))
}

func (n *node) svmKernel() (ml.SVMKernel, error) {
	return ml.ParseSVMKernel(n.string("kernel_type", "LINEAR"), n.floats("kernel_params"))
}

func buildSVMClassifier(n *node) (kernel, error) {
	l := n.labels("classlabels_strings", "classlabels_ints")
	transform, err := ml.ParseTransform(n.string("post_transform", "NONE"))
	if err != nil {
		return nil, err
	}
	k, err := n.svmKernel()
	if err != nil {
		return nil, err
	}
	m := &ml.SVMClassifier{
		Kernel: k, Classes: l.len(), VectorsPerClass: n.int64s("vectors_per_class"),
		SupportVectors: n.floats("support_vectors"), Coefficients: n.floats("coefficients"),
		Rho: n.floats("rho"), ProbA: n.floats("prob_a"), ProbB: n.floats("prob_b"), Transform: transform,
	}
	if err := m.Prepare(); err != nil {
		return nil, err
	}
	return onFloats(n, classifying(l, m.Scores(), func(r *run, x []float32, columns int, classes []int32, scores []float32) error {
		return m.Predict(x, columns, classes, scores, r.engine.pool.For)
	}))
}

func buildSVMRegressor(n *node) (kernel, error) {
	k, err := n.svmKernel()
	if err != nil {
		return nil, err
	}
	m := &ml.SVMRegressor{
		Kernel: k, SupportVectors: n.floats("support_vectors"), Coefficients: n.floats("coefficients"),
		Rho: n.floats("rho"), OneClass: n.int("one_class", 0) != 0,
	}
	if n.int("n_supports", 0) == 0 {
		m.SupportVectors = nil
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return onFloats(n, scoring(1, func(r *run, x []float32, columns int, scores []float32) error {
		return m.Predict(x, columns, scores, r.engine.pool.For)
	}))
}

// buildZipMap passes the scores on: their columns have names in the signature.
func buildZipMap(*node) (kernel, error) {
	return func(_ *run, in, out []*tensor) error {
		rows, columns, err := in[0].matrix()
		if err != nil {
			return err
		}
		out[0].share(in[0], []int{rows, columns})
		return nil
	}, nil
}
