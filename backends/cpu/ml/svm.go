package ml

// SVMRegressor sums what the kernel says of a row and each support vector.
type SVMRegressor struct {
	Kernel         SVMKernel
	SupportVectors []float32 // a row for each coefficient; none for a linear model
	Coefficients   []float32
	Rho            []float32 // the first is added
	OneClass       bool      // answer 1 or -1 by the sign of the sum
}

// Check reports lists whose lengths do not fit each other, as an ErrInvalid.
func (m *SVMRegressor) Check() error {
	if len(m.Coefficients) == 0 || len(m.Rho) == 0 {
		return invalid("%d coefficients and %d rho: both are needed", len(m.Coefficients), len(m.Rho))
	}
	if len(m.SupportVectors)%len(m.Coefficients) != 0 {
		return invalid("%d numbers of support vectors for %d coefficients: they need to be a multiple", len(m.SupportVectors), len(m.Coefficients))
	}
	return nil
}

func (m *SVMRegressor) features() int {
	if len(m.SupportVectors) == 0 {
		return len(m.Coefficients)
	}
	return len(m.SupportVectors) / len(m.Coefficients)
}

// Predict writes the sum for each row of x to scores. m has passed Check.
func (m *SVMRegressor) Predict(x []float32, columns int, scores []float32, run For) error {
	if err := checkRows(x, columns, m.features()); err != nil {
		return err
	}
	run(len(x)/columns, 1+productGrain/max(len(m.SupportVectors), columns), func(from, to int) {
		for i := from; i < to; i++ {
			scores[i] = m.sum(x[i*columns : (i+1)*columns])
		}
	})
	return nil
}

func (m *SVMRegressor) sum(row []float32) float32 {
	sum := m.Rho[0]
	if len(m.SupportVectors) == 0 {
		sum += dot(row, m.Coefficients)
	}
	for from := 0; from < len(m.SupportVectors); from += len(row) {
		sum += m.Coefficients[from/len(row)] * m.Kernel.compare(row, m.SupportVectors[from:])
	}
	if m.OneClass {
		if sum > 0 {
			return 1
		}
		return -1
	}
	return sum
}

func checkRows(x []float32, columns, features int) error {
	if columns != features || columns == 0 || len(x)%columns != 0 {
		return invalid("rows of %d features: the model has %d", columns, features)
	}
	return nil
}

// SVMClassifier decides between each pair of classes and lets the pairs vote; without support
// vectors it is a linear model with a score for each class.
type SVMClassifier struct {
	Kernel          SVMKernel
	Classes         int
	VectorsPerClass []int64 // none for a linear model
	SupportVectors  []float32
	Coefficients    []float32 // a row of all vectors for each class but one; a row of features for each class of a linear model
	Rho             []float32 // for each pair; the first alone for a linear model
	ProbA, ProbB    []float32 // for each pair, or none
	Transform       Transform

	vectors, features int
	starts            []int // the first vector of each class
	positive          bool  // no coefficient is negative
}

// maxClasses bounds the pairs of classes.
const maxClasses = 1 << 15

// Prepare checks that the lists fit each other and makes m ready for Predict. Lists that do
// not fit are an ErrInvalid.
func (m *SVMClassifier) Prepare() error {
	if m.Classes < 1 || m.Classes > maxClasses {
		return invalid("%d classes: 1 to %d can be", m.Classes, maxClasses)
	}
	if len(m.Coefficients) == 0 || len(m.ProbA) != len(m.ProbB) {
		return invalid("%d coefficients, %d prob_a and %d prob_b: coefficients are needed, and as many prob_a as prob_b",
			len(m.Coefficients), len(m.ProbA), len(m.ProbB))
	}
	m.starts, m.vectors, m.positive = nil, 0, true
	for _, n := range m.VectorsPerClass {
		if n < 0 || n > int64(len(m.SupportVectors)) {
			return invalid("vectors_per_class has %d", n)
		}
		m.starts = append(m.starts, m.vectors)
		m.vectors += int(n)
	}
	for _, c := range m.Coefficients {
		m.positive = m.positive && c >= 0
	}
	if m.vectors == 0 {
		return m.prepareLinear()
	}
	return m.prepareVectors()
}

func (m *SVMClassifier) prepareLinear() error {
	m.features = len(m.Coefficients) / m.Classes
	if len(m.Coefficients)%m.Classes != 0 || len(m.Rho) == 0 {
		return invalid("%d coefficients and %d rho for %d classes of a linear model", len(m.Coefficients), len(m.Rho), m.Classes)
	}
	return nil
}

func (m *SVMClassifier) prepareVectors() error {
	m.features = len(m.SupportVectors) / m.vectors
	switch pairs := m.pairs(); {
	case len(m.VectorsPerClass) != m.Classes:
		return invalid("%d vectors_per_class for %d classes", len(m.VectorsPerClass), m.Classes)
	case len(m.SupportVectors)%m.vectors != 0 || m.features == 0:
		return invalid("%d numbers of support vectors for %d vectors", len(m.SupportVectors), m.vectors)
	case len(m.Coefficients) < (m.Classes-1)*m.vectors:
		return invalid("%d coefficients for %d vectors of %d classes", len(m.Coefficients), m.vectors, m.Classes)
	case len(m.Rho) < pairs || len(m.ProbA) > 0 && len(m.ProbA) < pairs:
		return invalid("%d rho and %d prob_a for %d pairs of classes", len(m.Rho), len(m.ProbA), pairs)
	}
	return nil
}

func (m *SVMClassifier) pairs() int { return m.Classes * (m.Classes - 1) / 2 }

// Scores returns how many scores a row gets: one for each class, but without probabilities
// one for each pair of more than two classes.
func (m *SVMClassifier) Scores() int {
	if m.vectors > 0 && len(m.ProbA) == 0 {
		return max(2, m.pairs())
	}
	return m.Classes
}

// Predict writes the class of each row of x to classes and its scores to scores. m is prepared.
func (m *SVMClassifier) Predict(x []float32, columns int, classes []int32, scores []float32, run For) error {
	if err := checkRows(x, columns, m.features); err != nil {
		return err
	}
	width := m.Scores()
	run(len(x)/columns, 1+productGrain/max(len(m.SupportVectors), len(m.Coefficients)), func(from, to int) {
		state := voting{kernels: make([]float32, m.vectors), pairs: make([]float32, m.pairs()), votes: make([]int, m.Classes)}
		for i := from; i < to; i++ {
			row, to := x[i*columns:(i+1)*columns], scores[i*width:(i+1)*width]
			if m.vectors == 0 {
				classes[i] = m.linear(row, to)
			} else {
				classes[i] = m.vote(row, to, &state)
			}
		}
	})
	return nil
}

func (m *SVMClassifier) linear(row, scores []float32) int32 {
	best := 0
	for k := range scores {
		scores[k] = dot(row, m.Coefficients[k*m.features:]) + m.Rho[0]
		if scores[k] > scores[best] {
			best = k
		}
	}
	if m.Classes == 2 && len(m.ProbA) == 0 {
		// The reference takes the larger of the two scores for that of class 1.
		if top := scores[best]; m.positive && top >= 0.5 || !m.positive && top > 0 {
			best = 1
		}
	}
	if m.Classes > 1 || m.Transform == Probit {
		apply(m.Transform, scores)
	}
	return int32(best)
}

// voting is room for what is known of one row.
type voting struct {
	kernels []float32 // by vector
	pairs   []float32 // by pair of classes
	votes   []int     // by class
}

func (m *SVMClassifier) vote(row, scores []float32, s *voting) int32 {
	for v := range s.kernels {
		s.kernels[v] = m.Kernel.compare(row, m.SupportVectors[v*m.features:])
	}
	clear(s.votes)
	pair := 0
	for i := range m.Classes {
		for j := i + 1; j < m.Classes; j++ {
			sum := m.against(i, j, s.kernels) + float64(m.Rho[pair])
			s.pairs[pair] = float32(sum)
			pair++
			if sum > 0 {
				s.votes[i]++
			} else {
				s.votes[j]++
			}
		}
	}
	best := 0
	for k, n := range s.votes {
		if n > s.votes[best] {
			best = k
		}
	}
	m.finish(scores, s.pairs)
	return int32(best)
}

// against returns how much a row is of class i rather than j, from its kernels with the vectors of both.
func (m *SVMClassifier) against(i, j int, kernels []float32) float64 {
	var sum float64
	part := func(class, coefficients int) {
		from := m.starts[class]
		to := from + int(m.VectorsPerClass[class])
		for v := from; v < to; v++ {
			sum += float64(m.Coefficients[coefficients*m.vectors+v] * kernels[v])
		}
	}
	part(i, j-1)
	part(j, i)
	return sum
}

// finish makes the scores of a row of what each pair of classes says.
func (m *SVMClassifier) finish(scores, pairs []float32) {
	switch {
	case len(m.ProbA) > 0:
		m.probabilities(scores, pairs)
		apply(m.Transform, scores)
	case m.Classes == 1:
		clear(scores)
	case m.Classes == 2 && m.Transform == NoTransform:
		scores[0], scores[1] = -pairs[0], pairs[0]
	case m.Classes == 2:
		scores[0], scores[1] = complement(m.Transform, pairs[0])
	default:
		copy(scores, pairs)
		apply(m.Transform, scores)
	}
}

// probabilities couples the probabilities of pairs into one for each class.
func (m *SVMClassifier) probabilities(scores, pairs []float32) {
	n := m.Classes
	r := make([]float32, n*n) // r[i·n+j]: that a row is of class i, if it is of i or j
	pair := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			p := 1 - logistic(pairs[pair]*m.ProbA[pair]+m.ProbB[pair])
			p = min(max(p, 1e-7), 1-1e-7)
			r[i*n+j], r[j*n+i] = p, 1-p
			pair++
		}
	}
	couple(scores, r)
}

// couple finds class probabilities p that agree best with the pairwise ones: the second method
// of Wu, Lin and Weng, Probability Estimates for Multi-class Classification by Pairwise Coupling
// (2004), which minimises pᵀQp by going round the classes.
func couple(p, r []float32) {
	n := len(p)
	q := make([]float32, n*n)
	for i := range n {
		p[i] = 1 / float32(n)
		for j := range n {
			if i != j {
				q[i*n+i] += r[j*n+i] * r[j*n+i]
				q[i*n+j] = -r[j*n+i] * r[i*n+j]
			}
		}
	}
	qp := make([]float32, n)
	for range 100 {
		pqp := products(qp, q, p)
		var worst float32
		for _, v := range qp {
			worst = max(worst, v-pqp, pqp-v)
		}
		if worst < 0.005/float32(n) {
			return
		}
		for i := range n {
			diff := (pqp - qp[i]) / q[i*n+i]
			p[i] += diff
			pqp = (pqp + diff*(diff*q[i*n+i]+2*qp[i])) / (1 + diff) / (1 + diff)
			for j := range n {
				qp[j] = (qp[j] + diff*q[i*n+j]) / (1 + diff)
				p[j] /= 1 + diff
			}
		}
	}
}

// products writes Qp to qp and returns pᵀQp.
func products(qp, q, p []float32) float32 {
	n := len(p)
	var pqp float32
	for i := range n {
		qp[i] = 0
		for j, v := range p {
			qp[i] += q[i*n+j] * v
		}
		pqp += p[i] * qp[i]
	}
	return pqp
}
