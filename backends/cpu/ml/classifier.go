package ml

// Classifier is TreeEnsembleClassifier. Classes are numbered from 0 in the order of its labels.
type Classifier[T Float] struct {
	forest    *Forest[T]
	base      []T
	transform Transform
	oneClass  bool // two classes, but weights for one of them only
	positive  bool // no weight is negative
}

// NewClassifier returns a classifier over the targets of f as classes. base is empty or has a
// value for each class; with two classes it may have one value.
func NewClassifier[T Float](f *Forest[T], base []T, t Transform) (*Classifier[T], error) {
	if n := len(base); n != 0 && n != f.targets && (n != 1 || f.targets != 2) {
		return nil, invalid("%d base_values for %d classes", n, f.targets)
	}
	m := &Classifier[T]{forest: f, base: base, transform: t, positive: true}
	one := len(f.weights) > 0
	for _, w := range f.weights {
		one = one && w.target == f.weights[0].target
		m.positive = m.positive && !(w.value < 0)
	}
	m.oneClass = one && f.targets == 2
	return m, nil
}

// Classes returns how many scores a row gets.
func (m *Classifier[T]) Classes() int { return m.forest.targets }

// Predict writes the class of each row of x, which has that many columns, to classes, and the
// scores of all classes to scores. Rows that are too narrow are an ErrInvalid.
func (m *Classifier[T]) Predict(x []T, columns int, classes []int32, scores []T, run For) error {
	if err := m.forest.check(x, columns); err != nil {
		return err
	}
	m.forest.eachBlock(counting[T]{x: x, columns: columns, aggregate: Sum, scores: scores, classes: classes, finish: m}, run)
	return nil
}

func (m *Classifier[T]) finishBlock(classes []int32, from int, t *tally[T]) {
	if m.forest.single != nil {
		fill(t.seen, true)
	}
	n := m.forest.targets
	for i := 0; i < len(t.scores); i += n {
		classes[from+i/n] = m.finish(t.scores[i:i+n], t.seen[i:i+n])
	}
}

// finish makes the scores of a row of what was counted, and returns its class.
func (m *Classifier[T]) finish(scores []T, seen []bool) int32 {
	switch m.forest.targets {
	case 1:
		return m.alone(scores, seen)
	case 2:
		return m.two(scores, seen)
	}
	return m.many(scores, seen)
}

func fill[E any](s []E, v E) {
	for i := range s {
		s[i] = v
	}
}

// alone finishes the row of a classifier that knows one class.
func (m *Classifier[T]) alone(scores []T, _ []bool) int32 {
	if len(m.base) > 0 {
		scores[0] += m.base[0]
	}
	if m.transform == Probit {
		apply(Probit, scores)
	}
	return 0
}

// many finishes a row with three classes or more: the class is the first of those with the
// largest score, of those that a leaf spoke of.
func (m *Classifier[T]) many(scores []T, seen []bool) int32 {
	for i, b := range m.base {
		scores[i] += b
		seen[i] = true // what has a base value has a score
	}
	best := -1
	for i, s := range scores {
		if seen[i] && (best < 0 || s > scores[best]) {
			best = i
		}
	}
	finishSeen(m.transform, scores, seen)
	return int32(max(best, 0))
}

// two finishes a row with two classes, as ONNX Runtime does. Where no leaf spoke of class 1,
// the score of class 0 stands for both and is really that of class 1; one base value is added to
// it where a leaf spoke of class 0. Two base values with scores for class 1 take the score of
// class 0, add the second base value, and oppose it. The class is decided before the transform.
func (m *Classifier[T]) two(scores []T, seen []bool) int32 {
	alone := !seen[1]
	switch len(m.base) {
	case 1:
		if seen[0] {
			scores[0] += m.base[0]
		}
	case 2:
		if seen[1] {
			scores[1] = m.base[1] + scores[0]
			scores[0] = -scores[1]
		} else {
			scores[0] += m.base[0]
			scores[1] += m.base[1]
		}
		alone = false
	}
	class := m.positiveClass(scores, seen)
	if alone {
		m.oppose(scores)
	} else {
		finishSeen(m.transform, scores, seen)
	}
	return class
}

// positiveClass returns 1 if the score that decides is large enough, else 0.
func (m *Classifier[T]) positiveClass(scores []T, seen []bool) int32 {
	var decides, enough T
	switch {
	case seen[1]:
		decides = scores[1]
	case seen[0]:
		decides = scores[0]
	}
	if m.oneClass && m.positive {
		enough = 0.5
	}
	if decides > enough {
		return 1
	}
	return 0
}

// oppose makes two scores of the one in scores[0]: of a probability, or what becomes one, its
// complement and itself, of any other number its negative and itself.
func (m *Classifier[T]) oppose(scores []T) {
	s := scores[0]
	if m.oneClass && m.positive || m.transform == Logistic || m.transform == Probit {
		scores[0], scores[1] = complement(m.transform, s)
		return
	}
	scores[0], scores[1] = -s, s
}
