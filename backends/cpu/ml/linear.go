package ml

// Linear is LinearClassifier and LinearRegressor: weighted sums of features.
type Linear struct {
	coefficients []float32 // a row for each target
	intercepts   []float32 // one for each target, or none
	targets      int
	features     int
	transform    Transform
}

// NewLinear returns the sums for that many targets, with as many intercepts or none.
func NewLinear(coefficients, intercepts []float32, targets int64, t Transform) (*Linear, error) {
	if targets < 1 || int64(len(coefficients))%targets != 0 || len(coefficients) == 0 {
		return nil, invalid("%d coefficients for %d targets or classes: they need to be a multiple", len(coefficients), targets)
	}
	if len(intercepts) != 0 && int64(len(intercepts)) != targets {
		return nil, invalid("%d intercepts for %d targets or classes", len(intercepts), targets)
	}
	return &Linear{coefficients, intercepts, int(targets), len(coefficients) / int(targets), t}, nil
}

// Targets returns how many sums there are for a row.
func (m *Linear) Targets() int { return m.targets }

// Regress writes the scores of the rows of x to scores.
func (m *Linear) Regress(x []float32, columns int, scores []float32, run For) error {
	if err := m.check(x, columns); err != nil {
		return err
	}
	m.eachRow(x, scores, m.targets, run, func(_ int, row []float32) {
		if len(row) > 1 || m.transform == Probit {
			apply(m.transform, row)
		}
	})
	return nil
}

// Classify writes the class of each row of x to classes, and its scores to scores. One sum
// decides between two classes, numbered 0 and 1, by its sign; then scores has columns for both
// if both is set, as complement makes them of the sum, and else the sum alone. Of several sums
// the first of the largest decides. The class is decided before the transform.
func (m *Linear) Classify(x []float32, columns int, classes []int32, scores []float32, both bool, run For) error {
	if err := m.check(x, columns); err != nil {
		return err
	}
	width := m.targets
	if width == 1 && both {
		width = 2
	}
	m.eachRow(x, scores, width, run, func(i int, row []float32) {
		classes[i] = m.class(row[:m.targets])
		switch {
		case m.targets > 1:
			apply(m.transform, row)
		case both:
			row[0], row[1] = complement(m.transform, row[0])
		case m.transform == Probit:
			apply(Probit, row)
		}
	})
	return nil
}

func (m *Linear) class(sums []float32) int32 {
	if len(sums) == 1 {
		if sums[0] > 0 {
			return 1
		}
		return 0
	}
	best := 0
	for i, s := range sums {
		if s > sums[best] {
			best = i
		}
	}
	return int32(best)
}

func (m *Linear) check(x []float32, columns int) error {
	if columns != m.features || len(x)%columns != 0 {
		return invalid("rows of %d features: the model has coefficients for %d", columns, m.features)
	}
	return nil
}

// productGrain is how many products are worth handing to another thread.
const productGrain = 16 * 1024

// eachRow writes the sums of each row to the beginning of its scores, which are width wide,
// and calls finish with them.
func (m *Linear) eachRow(x, scores []float32, width int, run For, finish func(i int, row []float32)) {
	run(len(x)/m.features, 1+productGrain/len(m.coefficients), func(from, to int) {
		for i := from; i < to; i++ {
			row := scores[i*width : (i+1)*width]
			for k := range m.targets {
				row[k] = dot(x[i*m.features:(i+1)*m.features], m.coefficients[k*m.features:])
				if m.intercepts != nil {
					row[k] += m.intercepts[k]
				}
			}
			finish(i, row)
		}
	})
}

// dot returns the sum of the products of a and the beginning of b, in four parts that do not
// wait for each other.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * b[i]
	}
	return s0 + s1 + s2 + s3
}
