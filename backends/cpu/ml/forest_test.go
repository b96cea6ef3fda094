package ml

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

// stump is a tree of one branch, whose leaves 0 and 1 are yes and no.
func stump[T Float](mode Mode, value T, missing bool, members ...T) Ensemble[T] {
	e := Ensemble[T]{
		Roots: []int64{0}, FeatureIDs: []int64{0}, Modes: []uint8{uint8(mode)}, Splits: []T{value},
		TrueIDs: []int64{0}, FalseIDs: []int64{1}, TrueLeafs: []int64{1}, FalseLeafs: []int64{1},
		MissingTrue: []int64{0}, LeafTargets: []int64{0, 0}, LeafWeights: []T{0, 1}, Members: members,
	}
	if missing {
		e.MissingTrue[0] = 1
	}
	return e
}

// naive says whether a comparison holds, as the specification has it.
func naive[T Float](mode Mode, x, value T, missing bool, members []T) bool {
	if x != x && missing {
		return true
	}
	switch mode {
	case LessOrEqual:
		return x <= value
	case Less:
		return x < value
	case GreaterOrEqual:
		return x >= value
	case Greater:
		return x > value
	case Equal:
		return x == value
	case NotEqual:
		return x != value
	}
	for _, m := range members {
		if x == m {
			return true
		}
	}
	return false
}

func TestEveryComparisonOfEveryPairOfEdges(t *testing.T) {
	t.Run("float32", testComparisons[float32])
	t.Run("float64", testComparisons[float64])
}

func testComparisons[T Float](t *testing.T) {
	nan, inf := T(math.NaN()), T(math.Inf(1))
	negative := T(0)
	negative = -negative
	edges := []T{nan, -inf, -1, T(-math.SmallestNonzeroFloat32), negative, 0, math.SmallestNonzeroFloat32, 0.5, 1, math.MaxFloat32, inf}
	sets := [][]T{nil, {1}, {0.5, -inf}, {1, 0, 1, -1}, {inf, 0, 0.5, -1, 1}}
	for mode := LessOrEqual; mode <= Member; mode++ {
		for _, value := range edges {
			for _, missing := range []bool{false, true} {
				for _, set := range sets {
					f, err := stump(mode, value, missing, append(set[:len(set):len(set)], nan)...).Forest(1)
					if err != nil {
						t.Fatal(err)
					}
					for _, x := range edges {
						got := f.block([]T{x}, 1, 0, 1)
						leaf := make([]int32, 1)
						f.descend(f.roots[0], got, leaf)
						if want := naive(mode, x, value, missing, set); (leaf[0] == 0) != want {
							t.Fatalf("mode %d of %v with %v, set %v, missing %v: leaf %d, want %v", mode, x, value, set, missing, leaf[0], want)
						}
					}
				}
			}
		}
	}
}

// randomEnsemble returns trees over three features whose values and limits are small whole numbers.
func randomEnsemble(r *rand.Rand, targets int) Ensemble[float32] {
	var e Ensemble[float32]
	var grow func(depth int) (id, leaf int64)
	grow = func(depth int) (int64, int64) {
		if depth == 0 || depth < 6 && r.IntN(4) == 0 {
			e.LeafTargets = append(e.LeafTargets, int64(r.IntN(targets)))
			e.LeafWeights = append(e.LeafWeights, float32(r.IntN(17)-8))
			return int64(len(e.LeafWeights) - 1), 1
		}
		at := len(e.Splits)
		mode := Mode(r.IntN(7))
		e.FeatureIDs = append(e.FeatureIDs, int64(r.IntN(3)))
		e.Modes = append(e.Modes, uint8(mode))
		e.Splits = append(e.Splits, float32(r.IntN(7)-3))
		e.MissingTrue = append(e.MissingTrue, int64(r.IntN(2)))
		if mode == Member {
			for range r.IntN(5) {
				e.Members = append(e.Members, float32(r.IntN(7)-3))
			}
			e.Members = append(e.Members, float32(math.NaN()))
		}
		e.TrueIDs, e.TrueLeafs = append(e.TrueIDs, 0), append(e.TrueLeafs, 0)
		e.FalseIDs, e.FalseLeafs = append(e.FalseIDs, 0), append(e.FalseLeafs, 0)
		e.TrueIDs[at], e.TrueLeafs[at] = grow(depth - 1)
		e.FalseIDs[at], e.FalseLeafs[at] = grow(depth - 1)
		return int64(at), 0
	}
	for range 1 + r.IntN(8) {
		root, _ := grow(6)
		e.Roots = append(e.Roots, root)
	}
	return e
}

// walk returns the leaf that row ends in, by recursion over e itself.
func walk(e Ensemble[float32], sets [][]float32, at int64, row []float32) int64 {
	next, leaf := e.FalseIDs[at], e.FalseLeafs[at]
	if naive(Mode(e.Modes[at]), row[e.FeatureIDs[at]], e.Splits[at], e.MissingTrue[at] == 1, sets[at]) {
		next, leaf = e.TrueIDs[at], e.TrueLeafs[at]
	}
	if leaf == 1 {
		return next
	}
	return walk(e, sets, next, row)
}

// setsOf returns the set of each node.
func setsOf(e Ensemble[float32]) [][]float32 {
	sets, rest := make([][]float32, len(e.Modes)), e.Members
	for i, m := range e.Modes {
		for Mode(m) == Member {
			v := rest[0]
			rest = rest[1:]
			if v != v {
				break
			}
			sets[i] = append(sets[i], v)
		}
	}
	return sets
}

// apart is a For that runs pieces at once.
func apart(n, _ int, body func(from, to int)) {
	var group sync.WaitGroup
	for from := 0; from < n; from += 37 {
		group.Go(func() { body(from, min(from+37, n)) })
	}
	group.Wait()
}

func TestRandomForestsAgainstRecursion(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		targets := 1 + r.IntN(3)
		e := randomEnsemble(r, targets)
		f, err := e.Forest(int64(targets))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		x := make([]float32, 3*(1+r.IntN(200)))
		for i := range x {
			x[i] = float32(r.IntN(9)-4) / float32(1+r.IntN(2))
			if r.IntN(10) == 0 {
				x[i] = float32(math.NaN())
			}
		}
		for name, run := range map[string]For{"in turn": inTurn, "apart": apart} {
			for _, a := range []Aggregate{Sum, Min} {
				m, err := NewRegressor(f, a, nil, NoTransform)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, len(x)/3*targets)
				if err := m.Predict(x, 3, got, run); err != nil {
					t.Fatal(err)
				}
				for row := range len(x) / 3 {
					features, scores := x[3*row:3*row+3], got[row*targets:(row+1)*targets]
					if want := recursion(e, a, features, targets); !slices.Equal(scores, want) {
						t.Fatalf("seed %d, %s, %s, row %d %v: scores %v, want %v", seed, name, aggregates[a], row, features, scores, want)
					}
				}
			}
		}
	}
}

// recursion returns the sum or the least of what the trees of e give a row.
func recursion(e Ensemble[float32], a Aggregate, row []float32, targets int) []float32 {
	scores, seen, sets := make([]float32, targets), make([]bool, targets), setsOf(e)
	for _, root := range e.Roots {
		leaf := walk(e, sets, root, row)
		target, w := e.LeafTargets[leaf], e.LeafWeights[leaf]
		switch {
		case a == Sum:
			scores[target] += w
		case !seen[target] || w < scores[target]:
			scores[target] = w
		}
		seen[target] = true
	}
	return scores
}

func TestAggregates(t *testing.T) {
	// Two trees over one feature: a row below 0 finds 1 and -3, another 2 and 8.
	e := Ensemble[float32]{
		Roots: []int64{0, 1}, FeatureIDs: []int64{0, 0}, Modes: []uint8{0, 0}, Splits: []float32{0, 0},
		TrueIDs: []int64{0, 2}, FalseIDs: []int64{1, 3}, TrueLeafs: []int64{1, 1}, FalseLeafs: []int64{1, 1},
		LeafTargets: []int64{0, 0, 0, 0}, LeafWeights: []float32{1, 2, -3, 8},
	}
	f, err := e.Forest(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		a    Aggregate
		want [2]float32
	}{
		{"sum", Sum, [2]float32{-1.5, 10.5}}, {"average", Average, [2]float32{-0.5, 5.5}},
		{"min", Min, [2]float32{-2.5, 2.5}}, {"max", Max, [2]float32{1.5, 8.5}},
	} {
		m, err := NewRegressor(f, row.a, []float32{0.5}, NoTransform)
		if err != nil {
			t.Fatal(err)
		}
		var got [2]float32
		if err := m.Predict([]float32{-1, 1}, 1, got[:], inTurn); err != nil || got != row.want {
			t.Errorf("%s: Predict = %v, %v, want %v", row.name, got, err, row.want)
		}
	}
}

// table is a tree of one branch and two leaves, to be spoilt.
func table() (NodeTable[float32], WeightTable[float32]) {
	return NodeTable[float32]{
			TreeIDs: []int64{0, 0, 0}, NodeIDs: []int64{0, 1, 2}, FeatureIDs: []int64{1, 0, 0},
			Modes: []string{"BRANCH_LEQ", "LEAF", "LEAF"}, Values: []float32{0.5, 0, 0},
			TrueIDs: []int64{1, 0, 0}, FalseIDs: []int64{2, 0, 0}, MissingTrue: []int64{0, 0, 0},
		}, WeightTable[float32]{
			TreeIDs: []int64{0, 0}, NodeIDs: []int64{1, 2}, Targets: []int64{0, 1}, Values: []float32{1, 2},
		}
}

func TestSpoiltTablesAreRefused(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(n *NodeTable[float32], w *WeightTable[float32])
	}{
		{"no nodes", func(n *NodeTable[float32], _ *WeightTable[float32]) { *n = NodeTable[float32]{} }},
		{"node ids too few", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.NodeIDs = n.NodeIDs[:2] }},
		{"features too few", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.FeatureIDs = nil }},
		{"modes too few", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.Modes = n.Modes[:1] }},
		{"values too many", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.Values = append(n.Values, 1) }},
		{"true ids too few", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.TrueIDs = n.TrueIDs[:2] }},
		{"false ids too few", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.FalseIDs = n.FalseIDs[:2] }},
		{"missing flags too many", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.MissingTrue = make([]int64, 4) }},
		{"unknown mode", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.Modes[0] = "BRANCH_MEMBER" }},
		{"child that is not there", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.TrueIDs[0] = 7 }},
		{"negative child", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.FalseIDs[0] = -1 }},
		{"leaf listed twice", func(n *NodeTable[float32], _ *WeightTable[float32]) {
			n.TreeIDs, n.NodeIDs, n.FeatureIDs = append(n.TreeIDs, 0), append(n.NodeIDs, 2), append(n.FeatureIDs, 0)
			n.Modes, n.Values = append(n.Modes, "LEAF"), append(n.Values, 0)
			n.TrueIDs, n.FalseIDs = append(n.TrueIDs, 0), append(n.FalseIDs, 0)
		}},
		{"own child", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.TrueIDs[0] = 0 }},
		{"cycle of two", func(n *NodeTable[float32], _ *WeightTable[float32]) {
			n.Modes[1], n.TrueIDs[1], n.FalseIDs[1] = "BRANCH_LT", 0, 2
		}},
		{"branch with two parents", func(n *NodeTable[float32], _ *WeightTable[float32]) {
			n.TreeIDs, n.NodeIDs = append(n.TreeIDs, 0), append(n.NodeIDs, 3)
			n.FeatureIDs, n.Values = append(n.FeatureIDs, 0), append(n.Values, 0)
			n.Modes, n.TrueIDs, n.FalseIDs = append(n.Modes, "BRANCH_LT"), append(n.TrueIDs, 2), append(n.FalseIDs, 2)
			n.Modes[1], n.TrueIDs[1], n.FalseIDs[1] = "BRANCH_LT", 3, 2
			n.FalseIDs[0] = 3
		}},
		{"negative feature", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.FeatureIDs[0] = -1 }},
		{"feature beyond 32 bits", func(n *NodeTable[float32], _ *WeightTable[float32]) { n.FeatureIDs[0] = 1 << 31 }},
		{"weights too few", func(_ *NodeTable[float32], w *WeightTable[float32]) { w.Values = w.Values[:1] }},
		{"targets too few", func(_ *NodeTable[float32], w *WeightTable[float32]) { w.Targets = w.Targets[:1] }},
		{"weight of a node that is not there", func(_ *NodeTable[float32], w *WeightTable[float32]) { w.NodeIDs[0] = 9 }},
		{"weight of a tree that is not there", func(_ *NodeTable[float32], w *WeightTable[float32]) { w.TreeIDs[0] = 9 }},
		{"negative target", func(_ *NodeTable[float32], w *WeightTable[float32]) { w.Targets[0] = -1 }},
		{"target beyond the last", func(_ *NodeTable[float32], w *WeightTable[float32]) { w.Targets[1] = 2 }},
	} {
		n, w := table()
		row.spoil(&n, &w)
		if _, err := NewForest(n, w, 2); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%s: NewForest = %v, want an ErrInvalid", row.name, err)
		}
	}
	n, w := table()
	for _, targets := range []int64{0, -1, 1, 1 << 31} {
		if _, err := NewForest(n, w, targets); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%d targets: NewForest = %v, want an ErrInvalid", targets, err)
		}
	}
	if _, err := NewForest(n, w, 2); err != nil {
		t.Errorf("the table as it was: %v", err)
	}
}

func TestSpoiltEnsemblesAreRefused(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(e *Ensemble[float32])
	}{
		{"no roots", func(e *Ensemble[float32]) { e.Roots = nil }},
		{"root out of range", func(e *Ensemble[float32]) { e.Roots[0] = 1 }},
		{"root given twice", func(e *Ensemble[float32]) { e.Roots = []int64{0, 0} }},
		{"negative root", func(e *Ensemble[float32]) { e.Roots[0] = -1 }},
		{"features too few", func(e *Ensemble[float32]) { e.FeatureIDs = nil }},
		{"modes too many", func(e *Ensemble[float32]) { e.Modes = make([]uint8, 2) }},
		{"unknown mode", func(e *Ensemble[float32]) { e.Modes[0] = 7 }},
		{"leaf out of range", func(e *Ensemble[float32]) { e.TrueIDs[0] = 2 }},
		{"negative leaf", func(e *Ensemble[float32]) { e.FalseIDs[0] = -1 }},
		{"node out of range", func(e *Ensemble[float32]) { e.TrueIDs[0], e.TrueLeafs[0] = 1, 0 }},
		{"own child", func(e *Ensemble[float32]) { e.TrueIDs[0], e.TrueLeafs[0] = 0, 0 }},
		{"leaf flags too few", func(e *Ensemble[float32]) { e.TrueLeafs = nil }},
		{"missing flags too many", func(e *Ensemble[float32]) { e.MissingTrue = make([]int64, 2) }},
		{"weights too few", func(e *Ensemble[float32]) { e.LeafWeights = e.LeafWeights[:1] }},
		{"target out of range", func(e *Ensemble[float32]) { e.LeafTargets[0] = 1 }},
	} {
		e := stump[float32](LessOrEqual, 0, false)
		row.spoil(&e)
		if _, err := e.Forest(1); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%s: Forest = %v, want an ErrInvalid", row.name, err)
		}
	}
}

func TestBaseValuesThatDoNotFit(t *testing.T) {
	n, w := table()
	f, err := NewForest(n, w, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewClassifier(f, make([]float32, 3), NoTransform); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("NewClassifier with 3 base values of 2 classes = %v, want an ErrInvalid", err)
	}
	if _, err := NewRegressor(f, Sum, make([]float32, 1), NoTransform); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("NewRegressor with 1 base value for 2 targets = %v, want an ErrInvalid", err)
	}
}

func TestRowsThatDoNotFit(t *testing.T) {
	n, w := table()
	f, err := NewForest(n, w, 2)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewRegressor(f, Sum, nil, NoTransform)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Predict(make([]float32, 3), 1, make([]float32, 6), inTurn); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("rows of 1 feature for trees that read 2: %v, want an ErrInvalid", err)
	}
	if err := m.Predict(make([]float32, 3), 2, make([]float32, 4), inTurn); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("one row and a half: %v, want an ErrInvalid", err)
	}
	if err := m.Predict(nil, 2, nil, inTurn); err != nil {
		t.Errorf("no rows: %v", err)
	}
}

// A tree begins where the file first lists a node without a parent, even after its children.
func TestRootAfterItsChildren(t *testing.T) {
	n := NodeTable[float32]{
		TreeIDs: []int64{4, 4, 4}, NodeIDs: []int64{1, 2, 0}, FeatureIDs: []int64{0, 0, 0},
		Modes: []string{"LEAF", "LEAF", "BRANCH_GT"}, Values: []float32{0, 0, 0.5},
		TrueIDs: []int64{0, 0, 1}, FalseIDs: []int64{0, 0, 2},
	}
	w := WeightTable[float32]{TreeIDs: []int64{4, 4}, NodeIDs: []int64{1, 2}, Targets: []int64{0, 0}, Values: []float32{1, 2}}
	f, err := NewForest(n, w, 1)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := NewRegressor(f, Sum, nil, NoTransform)
	var got [2]float32
	if err := m.Predict([]float32{0, 1}, 1, got[:], inTurn); err != nil || got != [2]float32{2, 1} {
		t.Errorf("Predict = %v, %v, want [2 1]", got, err)
	}
}

// A chain that is deeper than any stack should be is built and walked.
func TestVeryDeepTree(t *testing.T) {
	const depth = 1 << 18
	e := Ensemble[float32]{
		Roots: []int64{0}, FeatureIDs: make([]int64, depth), Modes: make([]uint8, depth), Splits: make([]float32, depth),
		TrueIDs: make([]int64, depth), FalseIDs: make([]int64, depth), TrueLeafs: make([]int64, depth),
		FalseLeafs: make([]int64, depth), LeafTargets: []int64{0, 0}, LeafWeights: []float32{3, 5},
	}
	for i := range depth {
		e.TrueIDs[i], e.FalseIDs[i], e.FalseLeafs[i] = int64(i+1), 1, 1
	}
	e.TrueIDs[depth-1], e.TrueLeafs[depth-1] = 0, 1
	f, err := e.Forest(1)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := NewRegressor(f, Sum, nil, NoTransform)
	var got [2]float32
	if err := m.Predict([]float32{0, 1}, 1, got[:], inTurn); err != nil || got != [2]float32{3, 5} {
		t.Errorf("Predict = %v, %v, want [3 5]", got, err)
	}
}

// FuzzForest builds trees from bytes: whatever they say, a forest is refused or gives an answer.
func FuzzForest(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 1, 2, 0, 1, 6, 0, 0, 0, 0, 2, 6, 0, 0, 0})
	f.Add([]byte{0, 0, 1, 0, 0, 0})
	f.Add([]byte{0, 0, 2, 1, 1, 1, 0, 1, 3, 0, 0, 0})
	names := []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF"}
	f.Fuzz(func(t *testing.T, data []byte) {
		var n NodeTable[float32]
		var w WeightTable[float32]
		for ; len(data) >= 6; data = data[6:] {
			n.TreeIDs, n.NodeIDs = append(n.TreeIDs, int64(data[0])), append(n.NodeIDs, int64(int8(data[1])))
			n.Modes, n.FeatureIDs = append(n.Modes, names[data[2]%7]), append(n.FeatureIDs, int64(int8(data[3]%5)))
			n.TrueIDs, n.FalseIDs = append(n.TrueIDs, int64(int8(data[4]))), append(n.FalseIDs, int64(int8(data[5])))
			n.Values = append(n.Values, float32(data[3]))
			w.TreeIDs, w.NodeIDs = append(w.TreeIDs, int64(data[0])), append(w.NodeIDs, int64(int8(data[1])))
			w.Targets, w.Values = append(w.Targets, int64(data[4]%3)), append(w.Values, float32(data[5]))
		}
		forest, err := NewForest(n, w, 3)
		if err != nil {
			if !errors.Is(err, backends.ErrInvalid) {
				t.Errorf("NewForest = %v, want an ErrInvalid", err)
			}
			return
		}
		m, err := NewClassifier(forest, nil, Softmax)
		if err != nil {
			t.Fatal(err)
		}
		x := []float32{0, 1, 2, 3, 4, float32(math.NaN()), 2, 2, 2, 2}
		if err := m.Predict(x, 5, make([]int32, 2), make([]float32, 6), inTurn); err != nil {
			t.Errorf("Predict = %v", err)
		}
	})
}
