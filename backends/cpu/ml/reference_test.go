package ml

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
)

// refCase is a case of testdata/reference.json, which testdata/reference.py wrote.
type refCase struct {
	Op         string
	Opset      int
	Attributes map[string]refAttribute
	Inputs     []refTensor
	Outputs    []refTensor
}

type refAttribute struct {
	kind  string
	value json.RawMessage
}

func (a *refAttribute) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&a.kind, &a.value})
}

type refTensor struct {
	Datatype string
	Shape    []int
	Data     []any
}

func referenceCases(t *testing.T, ops ...string) []refCase {
	t.Helper()
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []refCase }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(file.Cases, func(c refCase) bool { return !slices.Contains(ops, c.Op) })
}

// number reads null as NaN and "inf" as infinity.
func number(v any) float64 {
	switch v := v.(type) {
	case nil:
		return math.NaN()
	case string:
		return math.Inf(map[string]int{"inf": 1, "-inf": -1}[v])
	}
	return v.(float64)
}

func numbers[T Float | int64 | uint8](all []any) []T {
	var list []T
	for _, v := range all {
		list = append(list, T(number(v)))
	}
	return list
}

func ints(c refCase, name string) []int64 {
	var v []int64
	if a, ok := c.Attributes[name]; ok {
		json.Unmarshal(a.value, &v)
	}
	return v
}

func text(c refCase, name, otherwise string) string {
	if a, ok := c.Attributes[name]; ok {
		json.Unmarshal(a.value, &otherwise)
	}
	return otherwise
}

func whole(c refCase, name string, otherwise int64) int64 {
	if a, ok := c.Attributes[name]; ok {
		json.Unmarshal(a.value, &otherwise)
	}
	return otherwise
}

func strings(c refCase, name string) []string {
	var v []string
	if a, ok := c.Attributes[name]; ok {
		json.Unmarshal(a.value, &v)
	}
	return v
}

// floats reads a list, or the tensor that may stand for it.
func floats[T Float | uint8](c refCase, name string) []T {
	if a, ok := c.Attributes[name]; ok && a.kind == "floats" {
		var v []any
		json.Unmarshal(a.value, &v)
		return numbers[T](v)
	}
	a, ok := c.Attributes[name]
	if !ok {
		a, ok = c.Attributes[name+"_as_tensor"]
	}
	if !ok {
		return nil
	}
	var v refTensor
	json.Unmarshal(a.value, &v)
	return numbers[T](v.Data)
}

func forestOf[T Float](c refCase, prefix string, targets int64) (*Forest[T], error) {
	return NewForest(NodeTable[T]{
		TreeIDs: ints(c, "nodes_treeids"), NodeIDs: ints(c, "nodes_nodeids"), FeatureIDs: ints(c, "nodes_featureids"),
		Modes: strings(c, "nodes_modes"), Values: floats[T](c, "nodes_values"), TrueIDs: ints(c, "nodes_truenodeids"),
		FalseIDs: ints(c, "nodes_falsenodeids"), MissingTrue: ints(c, "nodes_missing_value_tracks_true"),
	}, WeightTable[T]{
		TreeIDs: ints(c, prefix+"_treeids"), NodeIDs: ints(c, prefix+"_nodeids"),
		Targets: ints(c, prefix+"_ids"), Values: floats[T](c, prefix+"_weights"),
	}, targets)
}

func ensembleOf[T Float](c refCase) (*Forest[T], error) {
	return Ensemble[T]{
		Roots: ints(c, "tree_roots"), FeatureIDs: ints(c, "nodes_featureids"), Modes: floats[uint8](c, "nodes_modes"),
		Splits: floats[T](c, "nodes_splits"), TrueIDs: ints(c, "nodes_truenodeids"), FalseIDs: ints(c, "nodes_falsenodeids"),
		TrueLeafs: ints(c, "nodes_trueleafs"), FalseLeafs: ints(c, "nodes_falseleafs"),
		MissingTrue: ints(c, "nodes_missing_value_tracks_true"), Members: floats[T](c, "membership_values"),
		LeafTargets: ints(c, "leaf_targetids"), LeafWeights: floats[T](c, "leaf_weights"),
	}.Forest(whole(c, "n_targets", 1))
}

// classify returns the labels and scores of a TreeEnsembleClassifier.
func classify[T Float](c refCase) (labels []string, scores []T, err error) {
	for _, v := range ints(c, "classlabels_int64s") {
		labels = append(labels, fmt.Sprint(v))
	}
	labels = append(labels, strings(c, "classlabels_strings")...)
	f, err := forestOf[T](c, "class", int64(len(labels)))
	if err != nil {
		return nil, nil, err
	}
	transform, err := ParseTransform(text(c, "post_transform", "NONE"))
	if err != nil {
		return nil, nil, err
	}
	m, err := NewClassifier(f, floats[T](c, "base_values"), transform)
	if err != nil {
		return nil, nil, err
	}
	x, columns := c.Inputs[0], c.Inputs[0].Shape[1]
	classes := make([]int32, x.Shape[0])
	scores = make([]T, x.Shape[0]*m.Classes())
	err = m.Predict(numbers[T](x.Data), columns, classes, scores, inTurn)
	var answer []string
	for _, class := range classes {
		answer = append(answer, labels[class])
	}
	return answer, scores, err
}

// regress returns the scores of a TreeEnsembleRegressor or a TreeEnsemble.
func regress[T Float](c refCase) ([]T, error) {
	var f *Forest[T]
	var err1, err2, err3 error
	var aggregate Aggregate
	var transform Transform
	if c.Op == "TreeEnsemble" {
		f, err1 = ensembleOf[T](c)
		aggregate, err2 = NumberedAggregate(whole(c, "aggregate_function", 1))
		transform, err3 = NumberedTransform(whole(c, "post_transform", 0))
	} else {
		f, err1 = forestOf[T](c, "target", whole(c, "n_targets", 1))
		aggregate, err2 = ParseAggregate(text(c, "aggregate_function", "SUM"))
		transform, err3 = ParseTransform(text(c, "post_transform", "NONE"))
	}
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, err
		}
	}
	m, err := NewRegressor(f, aggregate, floats[T](c, "base_values"), transform)
	if err != nil {
		return nil, err
	}
	x := c.Inputs[0]
	scores := make([]T, x.Shape[0]*m.Targets())
	return scores, m.Predict(numbers[T](x.Data), x.Shape[1], scores, inTurn)
}

// inTurn is a For that splits nothing.
func inTurn(n, _ int, body func(from, to int)) { body(0, n) }

// near says whether two scores agree to within tolerance, absolute and relative.
func near(a, b, tolerance float64) bool {
	if a != a || b != b || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return a == b || a != a && b != b
	}
	return math.Abs(a-b) <= tolerance+tolerance*math.Abs(b)
}

// tolerance is a few float32 steps, and ten times that for PROBIT, which magnifies them.
func tolerance(c refCase) float64 {
	if text(c, "post_transform", "") == "PROBIT" || whole(c, "post_transform", 0) == int64(Probit) {
		return 1e-5
	}
	return 1e-6
}

func TestTreesAnswerAsTheReference(t *testing.T) {
	for i, c := range referenceCases(t, "TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble") {
		t.Run(fmt.Sprintf("%s %d", c.Op, i), func(t *testing.T) {
			if c.Inputs[0].Datatype == "FP64" {
				compareTrees[float64](t, c)
			} else {
				compareTrees[float32](t, c)
			}
		})
	}
}

func compareTrees[T Float](t *testing.T, c refCase) {
	want := c.Outputs
	var scores []T
	var err error
	if c.Op == "TreeEnsembleClassifier" {
		var labels []string
		labels, scores, err = classify[T](c)
		for i, label := range labels {
			if label != fmt.Sprint(want[0].Data[i]) {
				t.Errorf("row %d: label %v, want %v", i, label, want[0].Data[i])
			}
		}
		want = want[1:]
	} else {
		scores, err = regress[T](c)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scores {
		if w := number(want[0].Data[i]); !near(float64(s), w, tolerance(c)) {
			t.Errorf("score %d of shape %v: %v, want %v", i, want[0].Shape, s, w)
		}
	}
}
