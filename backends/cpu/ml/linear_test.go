package ml

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestLinearClassifier(t *testing.T) {
	for _, row := range []struct {
		name         string
		coefficients []float32
		intercepts   []float32
		targets      int64
		both         bool
		classes      []int32
		scores       []float32
	}{
		{"one sum, both columns", []float32{1, -1}, []float32{0.5}, 1, true, []int32{1, 0}, []float32{-0.5, 1.5, 2.5, -1.5}},
		{"one sum alone", []float32{1, -1}, []float32{0.5}, 1, false, []int32{1, 0}, []float32{1.5, -1.5}},
		{"a sum of zero is class 0", []float32{0, 0}, []float32{0}, 1, true, []int32{0, 0}, []float32{1, 0, 1, 0}},
		{"two sums, the larger wins", []float32{1, 0, 0, 1}, nil, 2, false, []int32{0, 1}, []float32{2, 1, 1, 3}},
		{"of equal sums the first wins", []float32{1, 1, 1, 1}, nil, 2, false, []int32{0, 0}, []float32{3, 3, 4, 4}},
	} {
		m, err := NewLinear(row.coefficients, row.intercepts, row.targets, NoTransform)
		if err != nil {
			t.Fatal(err)
		}
		classes, scores := make([]int32, 2), make([]float32, len(row.scores))
		err = m.Classify([]float32{2, 1, 1, 3}, 2, classes, scores, row.both, inTurn)
		if err != nil || !slices.Equal(classes, row.classes) || !slices.Equal(scores, row.scores) {
			t.Errorf("%s: Classify = %v, %v, %v, want %v, %v", row.name, classes, scores, err, row.classes, row.scores)
		}
	}
}

func TestLinearRegressorSplitOverThreads(t *testing.T) {
	const rows, columns = 300, 7
	x := make([]float32, rows*columns)
	for i := range x {
		x[i] = float32(i%13) - 6
	}
	m, err := NewLinear([]float32{1, 2, 3, 4, 5, 6, 7, -1, -2, -3, -4, -5, -6, -7}, []float32{1, 2}, 2, NoTransform)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 2*rows)
	if err := m.Regress(x, columns, got, apart); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		var sum float32
		for k, v := range x[i*columns : (i+1)*columns] {
			sum += v * float32(k+1)
		}
		if got[2*i] != sum+1 || got[2*i+1] != 2-sum {
			t.Fatalf("row %d: Regress = %v, want [%v %v]", i, got[2*i:2*i+2], sum+1, 2-sum)
		}
	}
}

func TestLinearModelsThatDoNotFit(t *testing.T) {
	for _, row := range []struct {
		coefficients, intercepts int
		targets                  int64
	}{{0, 0, 1}, {4, 0, 3}, {4, 1, 2}, {4, 0, 0}, {4, 0, -2}, {4, 0, 1 << 40}} {
		_, err := NewLinear(make([]float32, row.coefficients), make([]float32, row.intercepts), row.targets, NoTransform)
		if !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("NewLinear(%+v) = %v, want an ErrInvalid", row, err)
		}
	}
	m, err := NewLinear(make([]float32, 4), nil, 2, NoTransform)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Regress(make([]float32, 3), 3, make([]float32, 2), inTurn); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("a row of 3 features for 2: %v, want an ErrInvalid", err)
	}
}

func TestDotOfEveryLength(t *testing.T) {
	for n := range 40 {
		a, b := make([]float32, n), make([]float32, n+3)
		var want float32
		for i := range a {
			a[i], b[i] = float32(i+1), float32(n-i)
			want += a[i] * b[i]
		}
		if got := dot(a, b); got != want {
			t.Errorf("dot of %d elements = %v, want %v", n, got, want)
		}
	}
}

func TestSVMRegressor(t *testing.T) {
	for _, row := range []struct {
		name string
		m    SVMRegressor
		want float32
	}{
		{"linear model", SVMRegressor{Coefficients: []float32{2, 3}, Rho: []float32{0.5}}, 8.5},
		{"vectors, products", SVMRegressor{SupportVectors: []float32{1, 0, 0, 1}, Coefficients: []float32{2, -1}, Rho: []float32{1}}, 1},
		{"one class", SVMRegressor{Coefficients: []float32{-2, 0}, Rho: []float32{0.5}, OneClass: true}, -1},
		{"polynomial", SVMRegressor{
			Kernel: SVMKernel{kind: polyKernel, gamma: 1, coef0: 1, degree: 2}, SupportVectors: []float32{1, 0}, Coefficients: []float32{1}, Rho: []float32{0},
		}, 4},
		{"distance of 0", SVMRegressor{
			Kernel: SVMKernel{kind: rbfKernel, gamma: 3}, SupportVectors: []float32{1, 2}, Coefficients: []float32{5}, Rho: []float32{1},
		}, 6},
	} {
		if err := row.m.Check(); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 1)
		if err := row.m.Predict([]float32{1, 2}, 2, got, inTurn); err != nil || got[0] != row.want {
			t.Errorf("%s: Predict = %v, %v, want %v", row.name, got, err, row.want)
		}
	}
}

func TestSVMClassifierVotes(t *testing.T) {
	// One vector for each of three classes, along an axis each: a row is of the class whose axis it is nearest.
	m := &SVMClassifier{
		Classes: 3, VectorsPerClass: []int64{1, 1, 1},
		SupportVectors: []float32{1, 0, 0, 0, 1, 0, 0, 0, 1},
		Coefficients:   []float32{1, -1, -1, 1, 1, -1},
		Rho:            []float32{0, 0, 0},
	}
	if err := m.Prepare(); err != nil {
		t.Fatal(err)
	}
	classes, scores := make([]int32, 3), make([]float32, 9)
	if err := m.Predict([]float32{3, 1, 0, 1, 3, 0, 0, 1, 3}, 3, classes, scores, inTurn); err != nil {
		t.Fatal(err)
	}
	if want := []int32{0, 1, 2}; !slices.Equal(classes, want) {
		t.Errorf("classes %v, want %v", classes, want)
	}
	if want := []float32{2, 3, 1}; !slices.Equal(scores[:3], want) {
		t.Errorf("scores of the pairs %v, want %v", scores[:3], want)
	}
}

// Without vectors the larger of two scores decides, against one half if no coefficient is negative.
func TestSVMClassifierWithoutVectors(t *testing.T) {
	for _, row := range []struct {
		name         string
		coefficients []float32
		x            float32
		want         int32
	}{
		{"no negative coefficient, 0.25 at most", []float32{1, 0.5}, 0.25, 0},
		{"no negative coefficient, 0.75 at most", []float32{1, 0.5}, 0.75, 1},
		{"a negative coefficient, 0.25 at most", []float32{1, -1}, 0.25, 1},
		{"a negative coefficient, class 1 is the larger", []float32{-1, -0.5}, 0.25, 1},
		{"a negative coefficient, class 0 is the larger", []float32{-0.5, -1}, 0.25, 0},
	} {
		m := &SVMClassifier{Classes: 2, Coefficients: row.coefficients, Rho: []float32{0}}
		if err := m.Prepare(); err != nil {
			t.Fatal(err)
		}
		classes, scores := make([]int32, 1), make([]float32, 2)
		if err := m.Predict([]float32{row.x}, 1, classes, scores, inTurn); err != nil || classes[0] != row.want {
			t.Errorf("%s: class %d, %v, want %d", row.name, classes[0], err, row.want)
		}
	}
}

func TestCouplingOfCertainPairs(t *testing.T) {
	// Class 1 wins against both others with near certainty.
	r := []float32{0, 0.001, 0.5, 0.999, 0, 0.999, 0.5, 0.001, 0}
	p := make([]float32, 3)
	couple(p, r)
	if p[1] < 0.95 || !near(float64(p[0]+p[1]+p[2]), 1, 1e-5) || !near(float64(p[0]), float64(p[2]), 1e-3) {
		t.Errorf("couple = %v, want nearly [0 1 0]", p)
	}
}

func TestSVMsThatDoNotFit(t *testing.T) {
	good := SVMClassifier{
		Classes: 2, VectorsPerClass: []int64{1, 1}, SupportVectors: make([]float32, 4), Coefficients: make([]float32, 2), Rho: make([]float32, 1),
	}
	for name, spoil := range map[string]func(m *SVMClassifier){
		"no classes":              func(m *SVMClassifier) { m.Classes = 0 },
		"too many classes":        func(m *SVMClassifier) { m.Classes = 1 << 20 },
		"classes without vectors": func(m *SVMClassifier) { m.Classes, m.Rho = 3, make([]float32, 3) },
		"negative vectors":        func(m *SVMClassifier) { m.VectorsPerClass = []int64{3, -1} },
		"vectors beyond counting": func(m *SVMClassifier) { m.VectorsPerClass = []int64{1 << 62, 1 << 62} },
		"vectors cut":             func(m *SVMClassifier) { m.SupportVectors = make([]float32, 3) },
		"no coefficients":         func(m *SVMClassifier) { m.Coefficients = nil },
		"few coefficients":        func(m *SVMClassifier) { m.Coefficients = make([]float32, 1) },
		"no rho":                  func(m *SVMClassifier) { m.Rho = nil },
		"prob_a alone":            func(m *SVMClassifier) { m.ProbA = make([]float32, 1) },
		"linear and cut":          func(m *SVMClassifier) { m.VectorsPerClass, m.Coefficients = nil, make([]float32, 3) },
	} {
		m := good
		spoil(&m)
		if err := m.Prepare(); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("%s: Prepare = %v, want an ErrInvalid", name, err)
		}
	}
	if err := good.Prepare(); err != nil {
		t.Errorf("the model as it was: %v", err)
	}
	if err := good.Predict(make([]float32, 3), 3, make([]int32, 1), make([]float32, 2), inTurn); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("a row of 3 features for 2: %v, want an ErrInvalid", err)
	}
	for _, m := range []SVMRegressor{{}, {Coefficients: make([]float32, 2)}, {
		Coefficients: make([]float32, 2), Rho: make([]float32, 1), SupportVectors: make([]float32, 3),
	}} {
		if err := m.Check(); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("Check of %s = %v, want an ErrInvalid", fmt.Sprintf("%+v", m), err)
		}
	}
}
