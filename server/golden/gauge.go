package golden

import (
	"cmp"
	"math"
	"slices"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// The kinds of figures. Those of floating-point outputs leave out elements that are the same
// infinity, or not a number, in answer and reference.
const (
	// MaxAbs is the largest |answer − reference| of an element.
	MaxAbs = "max_abs"
	// MaxRel is the largest |answer − reference| / |reference| of an element whose reference is
	// above the set's absolute tolerance: what is below it is noise by the set's own word.
	MaxRel = "max_rel"
	// Distance is the length of answers − references as a share of that of the references, all
	// elements of all cases being one vector.
	Distance = "distance"
	// MinCosine is the lowest cosine similarity of answer and reference of a case, each being one
	// vector. An output whose cases have one element each has none.
	MinCosine = "min_cosine"
	// Top1 is the share of the rows whose largest element is in the same column as the reference's.
	// Outputs that look like scores of classes have it: two dimensions, two columns or more.
	Top1 = "top1"
	// Equal is the share of elements that are the same. Outputs that are no floating-point numbers
	// have it, and nothing else.
	Equal = "equal"
)

// gauge gathers how far one output is from the reference over all cases.
type gauge struct {
	floating bool
	noise    float64 // references up to it are too small for a relative difference

	maxAbs, maxRel float64
	apart, length  float64 // of answers − references, and of the references, as vectors
	cosine         float64 // lowest of cases
	cosines        int     // of how many

	rows, agreed    int // of class scores
	elements, equal int
}

func newGauge(noise float64) *gauge { return &gauge{noise: noise, cosine: 1} }

// add adds a case. The tensors have the same datatype and shape.
func (g *gauge) add(have, want backends.Tensor) {
	if want.Datatype == backends.Bytes {
		g.addElements(texts(have), texts(want))
		return
	}
	size := want.Datatype.Size()
	read := reader(want.Datatype)
	if read == nil {
		g.addElements(slices.Collect(slices.Chunk(have.Data, size)), slices.Collect(slices.Chunk(want.Data, size)))
		return
	}
	g.floating = true
	h, w := floats(have.Data, size, read), floats(want.Data, size, read)
	if len(want.Shape) == 2 && want.Shape[1] > 1 {
		g.addScores(h, w, int(want.Shape[1]))
	}
	for i := range w {
		if cmp.Compare(h[i], w[i]) == 0 && !finite(w[i]) {
			h[i], w[i] = 0, 0
		}
	}
	g.addDifferences(h, w)
	if len(w) > 1 {
		g.cosine, g.cosines = min(g.cosine, g.cosineOf(h, w)), g.cosines+1
	}
}

func (g *gauge) addElements(have, want [][]byte) {
	g.elements += len(want)
	for i := range want {
		if string(have[i]) == string(want[i]) {
			g.equal++
		}
	}
}

func texts(t backends.Tensor) (all [][]byte) { return slices.Collect(backends.BytesElements(t.Data)) }

func floats(data []byte, size int, read func([]byte) float64) []float64 {
	all := make([]float64, 0, len(data)/size)
	for element := range slices.Chunk(data, size) {
		all = append(all, read(element))
	}
	return all
}

func (g *gauge) addDifferences(have, want []float64) {
	for i, w := range want {
		d := math.Abs(have[i] - w)
		g.maxAbs = max(g.maxAbs, d)
		if math.Abs(w) > g.noise {
			g.maxRel = max(g.maxRel, d/math.Abs(w))
		}
		g.apart, g.length = math.Hypot(g.apart, d), math.Hypot(g.length, w)
	}
}

func (g *gauge) addScores(have, want []float64, columns int) {
	for ; len(want) > 0; have, want = have[columns:], want[columns:] {
		g.rows++
		if want[largest(have[:columns])] == slices.Max(want[:columns]) { // where several are, any will do
			g.agreed++
		}
	}
}

func largest(row []float64) int {
	best := 0
	for i, v := range row {
		if v > row[best] {
			best = i
		}
	}
	return best
}

// cosineOf returns the cosine of the angle between an answer and its reference. For a reference of
// zeros it is 1 if the answer is no longer than noise and else 0; it is −1 where an element of one
// of them is infinite or not a number.
func (g *gauge) cosineOf(have, want []float64) float64 {
	lh, lw := length(have), length(want)
	switch {
	case lw == 0 && lh <= g.noise, slices.Equal(have, want): // without a rounding error
		return 1
	case lw == 0 || lh == 0:
		return 0
	}
	sum := 0.0
	for i := range want {
		sum += have[i] / lh * (want[i] / lw) // no product overflows
	}
	if math.IsNaN(sum) {
		return -1
	}
	return min(max(sum, -1), 1)
}

func length(v []float64) (l float64) {
	for _, x := range v {
		l = math.Hypot(l, x)
	}
	return l
}

// figures returns what was gathered.
func (g *gauge) figures() []catalog.Figure {
	if !g.floating {
		return []catalog.Figure{{Kind: Equal, Value: share(g.equal, g.elements)}}
	}
	distance := g.apart / g.length
	if g.length == 0 && g.apart <= g.noise {
		distance = 0
	}
	all := []catalog.Figure{
		{Kind: MaxAbs, Value: limited(g.maxAbs)}, {Kind: MaxRel, Value: limited(g.maxRel)}, {Kind: Distance, Value: limited(distance)},
	}
	if g.cosines > 0 {
		all = append(all, catalog.Figure{Kind: MinCosine, Value: g.cosine})
	}
	if g.rows > 0 {
		all = append(all, catalog.Figure{Kind: Top1, Value: share(g.agreed, g.rows)})
	}
	return all
}

func share(n, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}

func finite(v float64) bool { return !math.IsInf(v, 0) && !math.IsNaN(v) }

// limited makes a number of what is infinite or none: JSON has no other.
func limited(v float64) float64 {
	if math.IsNaN(v) {
		return math.MaxFloat64
	}
	return min(v, math.MaxFloat64)
}
