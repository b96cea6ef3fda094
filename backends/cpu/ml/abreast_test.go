package ml

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends/cpu/kernels"
)

// eachLevel runs the test at every level that this machine has.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	before := kernels.CurrentLevel()
	defer func() {
		if err := kernels.SetLevel(before); err != nil {
			t.Error(err)
		}
	}()
	for _, l := range kernels.Levels() {
		if err := kernels.SetLevel(l); err != nil {
			t.Fatal(err)
		}
		t.Run(l.String(), f)
	}
}

// plan says what random trees are like.
type plan struct {
	trees, depth, features, targets int
	shape                           string // of a tree: full, ragged, chain or leaf
	single                          bool   // all leaves of a tree have the same target
	modes                           int    // how many of the modes there are
	limits                          int    // how many different limits, or 0 for any number
}

// grow returns the trees of p.
func grow[T Float](r *rand.Rand, p plan) Ensemble[T] {
	var e Ensemble[T]
	target := int64(0)
	var down func(level int) (id, leaf int64)
	down = func(level int) (int64, int64) {
		if p.ends(r, level) {
			if !p.single {
				target = int64(r.IntN(p.targets))
			}
			e.LeafTargets = append(e.LeafTargets, target)
			e.LeafWeights = append(e.LeafWeights, T(float32(r.NormFloat64())))
			return int64(len(e.LeafWeights) - 1), 1
		}
		at := len(e.Splits)
		e.FeatureIDs = append(e.FeatureIDs, int64(r.IntN(p.features)))
		e.Modes = append(e.Modes, uint8(r.IntN(p.modes)))
		e.Splits = append(e.Splits, value[T](r, p.limits))
		if r.IntN(50) == 0 {
			e.Splits[at] = T(math.NaN())
		}
		e.MissingTrue = append(e.MissingTrue, int64(r.IntN(2)))
		e.TrueIDs, e.TrueLeafs = append(e.TrueIDs, 0), append(e.TrueLeafs, 0)
		e.FalseIDs, e.FalseLeafs = append(e.FalseIDs, 0), append(e.FalseLeafs, 0)
		e.TrueIDs[at], e.TrueLeafs[at] = down(level + 1)
		next := level + 1
		if p.shape == "chain" {
			next = p.depth
		}
		e.FalseIDs[at], e.FalseLeafs[at] = down(next)
		return int64(at), 0
	}
	for tree := range p.trees {
		target = int64(tree % p.targets)
		root, _ := down(0)
		e.Roots = append(e.Roots, root)
	}
	return e
}

// ends says whether there is a leaf at a level.
func (p plan) ends(r *rand.Rand, level int) bool {
	return level >= p.depth || p.shape == "ragged" && level > 0 && r.IntN(5) == 0
}

// value returns a feature or a limit: one of a few, or any.
func value[T Float](r *rand.Rand, few int) T {
	if r.IntN(50) == 0 {
		return T(math.Inf(1 - 2*r.IntN(2)))
	}
	if few > 0 {
		return T(r.IntN(few)) - T(few/2)
	}
	return T(float32(r.NormFloat64()))
}

// matrix returns rows of features, of which about one in missing is NaN.
func matrix[T Float](r *rand.Rand, p plan, rows, missing int) []T {
	x := make([]T, rows*p.features)
	for i := range x {
		if x[i] = value[T](r, p.limits); missing > 0 && r.IntN(missing) == 0 {
			x[i] = T(math.NaN())
		}
	}
	return x
}

var plans = []plan{
	{trees: 1, depth: 1, features: 1, targets: 1, shape: "full", single: true, modes: 1},
	{trees: 9, depth: 3, features: 3, targets: 1, shape: "full", single: true, modes: 6, limits: 7},
	{trees: 20, depth: 6, features: 28, targets: 1, shape: "full", single: true, modes: 2},
	{trees: 20, depth: 8, features: 28, targets: 1, shape: "ragged", single: true, modes: 4},
	{trees: 7, depth: 8, features: 2, targets: 3, shape: "full", single: true, modes: 1},
	{trees: 20, depth: 7, features: 64, targets: 2, shape: "full", single: true, modes: 4},
	{trees: 520, depth: 7, features: 9, targets: 1, shape: "full", single: true, modes: 1, limits: 90},
	{trees: 12, depth: 7, features: 5, targets: 3, shape: "ragged", single: false, modes: 6, limits: 9},
	{trees: 5, depth: 11, features: 4, targets: 1, shape: "full", single: true, modes: 1},
	{trees: 10, depth: 30, features: 6, targets: 2, shape: "chain", single: true, modes: 4},
	{trees: 4, depth: 14, features: 6, targets: 1, shape: "ragged", single: true, modes: 6, limits: 40},
	{trees: 30, depth: 5, features: 100, targets: 1, shape: "ragged", single: true, modes: 1},
	{trees: 600, depth: 2, features: 64, targets: 70, shape: "full", single: true, modes: 1},
}

func TestForestsLaidOutAgainstTheWalker(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for i, p := range plans {
			r := rand.New(rand.NewPCG(uint64(i), 5))
			t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
				againstWalker[float32](t, r, p)
				againstWalker[float64](t, r, p)
			})
		}
	})
}

// againstWalker compares scores to the bit with those of rows that go one by one.
func againstWalker[T Float](t *testing.T, r *rand.Rand, p plan) {
	f, err := grow[T](r, p).Forest(int64(p.targets))
	if err != nil {
		t.Fatal(err)
	}
	if laid := f.abreast != nil; laid != (kernels.CurrentLevel() > kernels.Portable) {
		t.Fatalf("laid out: %v at level %v", laid, kernels.CurrentLevel())
	}
	plain := *f
	plain.abreast, plain.alone = nil, nil
	sizes := []int{1, 2, 31, 32, 33, 512, 1100}
	if f.abreast == nil {
		sizes = sizes[:3]
	}
	for _, rows := range sizes {
		for _, missing := range []int{0, 10} {
			x := matrix[T](r, p, rows, missing)
			for _, a := range []Aggregate{Sum, Average, Min, Max} {
				got, want := scores(t, f, a, x, p), scores(t, &plain, a, x, p)
				if !slices.Equal(got, want) {
					t.Fatalf("%d rows, NaN one in %d, %s: %v, want %v", rows, missing, aggregates[a], got, want)
				}
			}
		}
	}
}

func scores[T Float](t *testing.T, f *Forest[T], a Aggregate, x []T, p plan) []T {
	m, err := NewRegressor(f, a, nil, NoTransform)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]T, len(x)/p.features*p.targets)
	if err := m.Predict(x, p.features, got, apart512); err != nil {
		t.Fatal(err)
	}
	return got
}

// apart512 splits rows so that blocks are whole and not.
func apart512(n, _ int, body func(from, to int)) {
	for from := 0; from < n; from += 700 {
		body(from, min(from+700, n))
	}
}

func TestForestsLaidOutAgainstRecursion(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for i, p := range plans {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			e := grow[float32](r, p)
			f, err := e.Forest(int64(p.targets))
			if err != nil {
				t.Fatal(err)
			}
			for _, rows := range []int{1, 40} {
				x := matrix[float32](r, p, rows, 12)
				got := scores(t, f, Sum, x, p)
				for row := range rows {
					want := recursion(e, Sum, x[row*p.features:][:p.features], p.targets)
					if have := got[row*p.targets:][:p.targets]; !slices.Equal(have, want) {
						t.Fatalf("%+v, row %d of %d: scores %v, want %v", p, row, rows, have, want)
					}
				}
			}
		}
	})
}

// The classes of a classifier depend on which targets a row has seen.
func TestClassifiersLaidOutAgainstTheWalker(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for seed := range uint64(30) {
			r := rand.New(rand.NewPCG(seed, 9))
			p := plan{trees: 1 + r.IntN(12), depth: 1 + r.IntN(9), features: 4, targets: 1 + r.IntN(4), shape: "ragged", single: seed%2 == 0, modes: 6}
			f, err := grow[float32](r, p).Forest(int64(p.targets))
			if err != nil {
				t.Fatal(err)
			}
			plain := *f
			plain.abreast, plain.alone = nil, nil
			for _, rows := range []int{1, 600} {
				x := matrix[float32](r, p, rows, 9)
				classes, got := classified(t, f, x, p)
				wantClasses, want := classified(t, &plain, x, p)
				if !slices.Equal(classes, wantClasses) || !slices.Equal(got, want) {
					t.Fatalf("seed %d, %+v, %d rows: %v %v, want %v %v", seed, p, rows, classes, got, wantClasses, want)
				}
			}
		}
	})
}

func classified(t *testing.T, f *Forest[float32], x []float32, p plan) ([]int32, []float32) {
	m, err := NewClassifier(f, nil, Softmax)
	if err != nil {
		t.Fatal(err)
	}
	classes, got := make([]int32, len(x)/p.features), make([]float32, len(x)/p.features*p.targets)
	if err := m.Predict(x, p.features, classes, got, inTurn); err != nil {
		t.Fatal(err)
	}
	return classes, got
}

// More limits than the codes of a block have room for leave the rows to the walker.
func TestTooManyLimitsAreNotLaidOut(t *testing.T) {
	if kernels.Best() == kernels.Portable {
		t.Skip("this build lays nothing out")
	}
	r := rand.New(rand.NewPCG(1, 2))
	p := plan{trees: 2200, depth: 8, features: 1, targets: 1, shape: "full", single: true, modes: 1}
	f, err := grow[float64](r, p).Forest(1)
	if err != nil {
		t.Fatal(err)
	}
	if f.abreast != nil {
		t.Fatalf("%d columns of codes, at most %d can be", f.abreast.columns, maxColumns)
	}
	if got := scores(t, f, Sum, matrix[float64](r, p, 40, 0), p); len(got) != 40 {
		t.Fatalf("%d scores", len(got))
	}
}

// The layout takes a bounded multiple of the nodes' memory.
func TestDepthOfTheTopIsBoundedByItsBranches(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, row := range []struct {
		shape string
		depth int
		want  int
	}{
		{"full", 1, 1}, {"full", 6, 6}, {"full", 8, 8}, {"full", 12, 8}, {"chain", 5, 5}, {"chain", 40, 6},
	} {
		f, err := grow[float32](r, plan{trees: 1, depth: row.depth, features: 3, targets: 1, shape: row.shape, single: true, modes: 1}).Forest(1)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.topDepth(f.roots[0]); got != row.want {
			t.Errorf("topDepth(%s of %d) = %d, want %d", row.shape, row.depth, got, row.want)
		}
	}
}
