package cpu

import (
	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu/ml"
)

func buildTreeClassifier(n *node) (kernel, error) {
	if n.input(0) == backends.FP64 {
		return narrowed(treeClassifier[float64](n))
	}
	k, err := treeClassifier[float32](n)
	if err != nil {
		return nil, err
	}
	return onFloats(n, k)
}

func treeClassifier[T float](n *node) (kernel, error) {
	l := n.labels("classlabels_strings", "classlabels_int64s")
	f, err := forestOf[T](n, "class", int64(l.len()))
	if err != nil {
		return nil, err
	}
	transform, err := ml.ParseTransform(n.string("post_transform", "NONE"))
	if err != nil {
		return nil, err
	}
	m, err := ml.NewClassifier(f, floatList[T](n, "base_values"), transform)
	if err != nil {
		return nil, err
	}
	return classifying(l, m.Classes(), func(r *run, x []T, columns int, classes []int32, scores []T) error {
		return m.Predict(x, columns, classes, scores, r.engine.pool.For)
	}), nil
}

func buildTreeRegressor(n *node) (kernel, error) {
	if n.input(0) == backends.FP64 {
		return narrowed(treeRegressor[float64](n))
	}
	k, err := treeRegressor[float32](n)
	if err != nil {
		return nil, err
	}
	return onFloats(n, k)
}

func treeRegressor[T float](n *node) (kernel, error) {
	f, err := forestOf[T](n, "target", attribute(n, "n_targets", int64(1)))
	if err != nil {
		return nil, err
	}
	aggregate, err := ml.ParseAggregate(n.string("aggregate_function", "SUM"))
	if err != nil {
		return nil, err
	}
	transform, err := ml.ParseTransform(n.string("post_transform", "NONE"))
	if err != nil {
		return nil, err
	}
	m, err := ml.NewRegressor(f, aggregate, floatList[T](n, "base_values"), transform)
	if err != nil {
		return nil, err
	}
	return regressing(m), nil
}

func regressing[T float](m *ml.Regressor[T]) kernel {
	return scoring(m.Targets(), func(r *run, x []T, columns int, scores []T) error {
		return m.Predict(x, columns, scores, r.engine.pool.For)
	})
}

// forestOf reads the tables of TreeEnsembleClassifier and TreeEnsembleRegressor, in which the
// names of what leaves hold begin with prefix.
func forestOf[T float](n *node, prefix string, targets int64) (*ml.Forest[T], error) {
	nodes := ml.NodeTable[T]{
		TreeIDs: n.int64s("nodes_treeids"), NodeIDs: n.int64s("nodes_nodeids"), FeatureIDs: n.int64s("nodes_featureids"),
		Modes: n.strings("nodes_modes"), Values: floatList[T](n, "nodes_values"), TrueIDs: n.int64s("nodes_truenodeids"),
		FalseIDs: n.int64s("nodes_falsenodeids"), MissingTrue: n.int64s("nodes_missing_value_tracks_true"),
	}
	weights := ml.WeightTable[T]{
		TreeIDs: n.int64s(prefix + "_treeids"), NodeIDs: n.int64s(prefix + "_nodeids"),
		Targets: n.int64s(prefix + "_ids"), Values: floatList[T](n, prefix+"_weights"),
	}
	return ml.NewForest(nodes, weights, targets)
}

// narrowed returns k, a kernel on FP64, with its scores, the last output, rounded to FP32.
func narrowed(k kernel, err error) (kernel, error) {
	if err != nil {
		return nil, err
	}
	round := converting(backends.FP32, func(v float64) float32 { return float32(v) })
	return func(r *run, in, out []*tensor) error {
		wide, last := r.scratch(), len(out)-1
		all := append(append([]*tensor{}, out[:last]...), wide)
		if err := k(r, in, all); err != nil || out[last] == nil {
			return err
		}
		return round(r, []*tensor{wide}, out[last:])
	}, nil
}

func buildTreeEnsemble(n *node) (kernel, error) {
	switch n.input(0) {
	case backends.FP32:
		return treeEnsemble[float32](n)
	case backends.FP64:
		return treeEnsemble[float64](n)
	}
	return nil, n.unsupported("an input of %v", n.input(0))
}

func treeEnsemble[T float](n *node) (kernel, error) {
	d := floatType[T]()
	f, err := ml.Ensemble[T]{
		Roots: n.int64s("tree_roots"), FeatureIDs: n.int64s("nodes_featureids"),
		Modes: tensorOf[uint8](n, "nodes_modes", backends.Uint8), Splits: tensorOf[T](n, "nodes_splits", d),
		TrueIDs: n.int64s("nodes_truenodeids"), FalseIDs: n.int64s("nodes_falsenodeids"),
		TrueLeafs: n.int64s("nodes_trueleafs"), FalseLeafs: n.int64s("nodes_falseleafs"),
		MissingTrue: n.int64s("nodes_missing_value_tracks_true"), Members: tensorOf[T](n, "membership_values", d),
		LeafTargets: n.int64s("leaf_targetids"), LeafWeights: tensorOf[T](n, "leaf_weights", d),
	}.Forest(attribute(n, "n_targets", int64(1)))
	if err != nil {
		return nil, err
	}
	aggregate, err := ml.NumberedAggregate(attribute(n, "aggregate_function", int64(ml.Sum)))
	if err != nil {
		return nil, err
	}
	transform, err := ml.NumberedTransform(attribute(n, "post_transform", int64(ml.NoTransform)))
	if err != nil {
		return nil, err
	}
	m, err := ml.NewRegressor(f, aggregate, nil, transform)
	if err != nil {
		return nil, err
	}
	return regressing(m), nil
}
