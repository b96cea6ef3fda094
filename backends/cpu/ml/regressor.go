package ml

// Regressor is TreeEnsembleRegressor, and TreeEnsemble.
type Regressor[T Float] struct {
	forest    *Forest[T]
	aggregate Aggregate
	base      []T // one for each target, or none
	transform Transform
}

// NewRegressor returns a regressor that adds base, one value for each target or none, to what
// the trees of f say.
func NewRegressor[T Float](f *Forest[T], a Aggregate, base []T, t Transform) (*Regressor[T], error) {
	if len(base) != 0 && len(base) != f.targets {
		return nil, invalid("%d base_values for %d targets", len(base), f.targets)
	}
	return &Regressor[T]{f, a, base, t}, nil
}

// Targets returns how many scores a row gets.
func (m *Regressor[T]) Targets() int { return m.forest.targets }

// Predict writes the scores of the rows of x, which has that many columns, to scores. Rows that
// are too narrow are an ErrInvalid.
func (m *Regressor[T]) Predict(x []T, columns int, scores []T, run For) error {
	if err := m.forest.check(x, columns); err != nil {
		return err
	}
	m.forest.eachBlock(counting[T]{x: x, columns: columns, aggregate: m.aggregate, scores: scores, finish: m}, run)
	return nil
}

func (m *Regressor[T]) finishBlock(_ []int32, _ int, t *tally[T]) {
	targets := m.forest.targets
	for i := 0; i < len(t.scores); i += targets {
		m.finish(t.scores[i:i+targets], t.seen[i:i+targets])
	}
}

// finish turns what was counted for a row into its scores.
func (m *Regressor[T]) finish(scores []T, seen []bool) {
	if m.aggregate == Average {
		for i := range scores {
			scores[i] /= T(len(m.forest.roots))
		}
	}
	for i, b := range m.base {
		scores[i] += b
	}
	// A single score has no others to be normalised against: the reference transforms it with
	// PROBIT alone.
	switch {
	case len(scores) > 1:
		finishSeen(m.transform, scores, seen)
	case m.transform == Probit:
		apply(Probit, scores)
	}
}
