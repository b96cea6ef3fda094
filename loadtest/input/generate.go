package input

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/thrumserve/thrum/loadtest/oip"
)

// Range is numbers from Low to High, both included.
type Range struct{ Low, High float64 }

// ParseRange reads a number, such as 128, or a range, such as 16..512.
func ParseRange(text string) (Range, error) {
	low, high, isRange := strings.Cut(text, "..")
	if !isRange {
		high = low
	}
	from, err1 := strconv.ParseFloat(low, 64)
	to, err2 := strconv.ParseFloat(high, 64)
	if err1 != nil || err2 != nil || !(from <= to) || math.IsInf(from, 0) || math.IsInf(to, 0) {
		return Range{}, fmt.Errorf("%q is no range: write it like 128 or 16..512", text)
	}
	return Range{from, to}, nil
}

// ParseShape reads the sizes of an input's dimensions, such as tokens=1,16..512.
func ParseShape(text string) (input string, dimensions []Range, err error) {
	input, sizes, ok := strings.Cut(text, "=")
	if !ok || input == "" {
		return "", nil, fmt.Errorf("shape %q: write it like tokens=1,16..512", text)
	}
	for size := range strings.SplitSeq(sizes, ",") {
		r, err := ParseRange(strings.TrimSpace(size))
		if err != nil || r.Low < 0 || r.High > math.MaxInt32 || r.Low != math.Trunc(r.Low) || r.High != math.Trunc(r.High) {
			return "", nil, fmt.Errorf("shape %q: %q is no size: write it like tokens=1,16..512", text, size)
		}
		dimensions = append(dimensions, r)
	}
	return input, dimensions, nil
}

// Generated says what to generate. Zero values mean the defaults.
type Generated struct {
	Requests int // how many; 100
	Rows     int // of each, of a model whose first dimensions all vary; 1
	Seed     uint64
	Shapes   map[string][]Range // of inputs with more dimensions that vary
	Values   map[string]Range   // by name of an input or of a datatype; of BYTES how long a text is
}

// values are the defaults. Integers that may stand for something, such as a word, are those that
// any table has.
var values = map[oip.Datatype]Range{
	oip.Bool: {0, 1}, oip.Uint8: {0, 255}, oip.Int8: {-128, 127},
	oip.Uint16: {0, 1}, oip.Uint32: {0, 1}, oip.Uint64: {0, 1}, oip.Int16: {0, 1}, oip.Int32: {0, 1}, oip.Int64: {0, 1},
	oip.FP16: {0, 1}, oip.BF16: {0, 1}, oip.FP32: {0, 1}, oip.FP64: {0, 1}, oip.Bytes: {8, 16},
}

// Generate returns requests that fit the model, which depend on the seed alone: evenly distributed
// values and sizes. Dimensions with the same range in the same place have the same size in all of a
// request's inputs. They say what a model costs, not what it gets.
func Generate(m oip.Model, g Generated) (*Set, error) {
	if len(m.Inputs) == 0 {
		return nil, fmt.Errorf("the server does not say what model %s takes: give requests in a file", m.Name)
	}
	g.Requests, g.Rows = cmp.Or(g.Requests, 100), cmp.Or(g.Rows, 1)
	if g.Requests < 0 || g.Rows < 0 {
		return nil, errors.New("the number of requests and that of rows must be above 0")
	}
	for name := range g.Shapes {
		if !slices.ContainsFunc(m.Inputs, func(s oip.Spec) bool { return s.Name == name }) {
			return nil, fmt.Errorf("model %s has no input %q to give a shape: it takes %v", m.Name, name, m.Inputs)
		}
	}
	for name := range g.Values {
		if !slices.ContainsFunc(m.Inputs, func(s oip.Spec) bool { return s.Name == name || string(s.Datatype) == name }) {
			return nil, fmt.Errorf("model %s has no input, and none of a datatype, %q to give values: it takes %v", m.Name, name, m.Inputs)
		}
	}
	s := &Set{Source: fmt.Sprintf("generated from the signature of %s, seed %d", m.Name, g.Seed)}
	size := 0
	for n := range g.Requests {
		c := generator{Generated: g, rand: rand.New(rand.NewPCG(g.Seed, uint64(n))), left: maxBytes - size, sizes: map[place]int64{}}
		for _, spec := range m.Inputs {
			t, err := c.tensor(spec)
			if err != nil {
				return nil, err
			}
			c.request.Inputs = append(c.request.Inputs, t)
		}
		size += c.request.Bytes()
		s.Cases = append(s.Cases, Case{Request: c.request})
	}
	return s.finish()
}

// generator makes one request.
type generator struct {
	Generated
	rand    *rand.Rand
	request oip.Request
	left    int // bytes that all data may yet take
	sizes   map[place]int64
}

// place is a dimension that has one size in all of a request's inputs.
type place struct {
	dimension int
	size      Range
}

func (g *generator) tensor(spec oip.Spec) (oip.Tensor, error) {
	t := oip.Tensor{Name: spec.Name, Datatype: spec.Datatype}
	r, err := g.valuesOf(spec)
	if err != nil {
		return t, err
	}
	if t.Shape, err = g.shape(spec); err != nil {
		return t, err
	}
	size := int64(spec.Datatype.Size())
	if spec.Datatype == oip.Bytes {
		size = 4 + int64(r.High)
	}
	n := oip.Elements(t.Shape)
	if n < 0 || n > int64(g.left)/size {
		return t, fmt.Errorf("the requests take more than %d bytes with input %q of shape %v: generate fewer or smaller ones", maxBytes, spec.Name, t.Shape)
	}
	g.left -= int(n * size)
	for range n {
		t.Data = g.appendElement(t.Data, spec.Datatype, r)
	}
	return t, nil
}

func (g *generator) shape(spec oip.Spec) ([]int64, error) {
	given, ok := g.Shapes[spec.Name]
	if ok && len(given) != len(spec.Shape) {
		return nil, fmt.Errorf("input %v has %d dimensions, %d are given", spec, len(spec.Shape), len(given))
	}
	shape := slices.Clone(spec.Shape)
	for i, d := range shape {
		switch {
		case ok && d >= 0 && given[i] != (Range{float64(d), float64(d)}):
			return nil, fmt.Errorf("input %v: dimension %d is %d, another size is given", spec, i, d)
		case ok:
			shape[i] = g.size(place{i, given[i]})
		case d < 0 && i == 0:
			shape[i] = int64(g.Rows)
		case d < 0:
			return nil, fmt.Errorf("input %v has dimensions that vary: say how large they are to be, such as %s", spec, example(spec))
		}
	}
	return shape, nil
}

func (g *generator) size(p place) int64 {
	if _, ok := g.sizes[p]; !ok {
		g.sizes[p] = g.integer(p.size)
	}
	return g.sizes[p]
}

// example returns a shape for spec as a user would write it.
func example(spec oip.Spec) string {
	var sizes []string
	for i, d := range spec.Shape {
		if d < 0 {
			d = int64(1 + 127*min(i, 1))
		}
		sizes = append(sizes, strconv.FormatInt(d, 10))
	}
	return spec.Name + "=" + strings.Join(sizes, ",")
}

// valuesOf returns the range of an input's values.
func (g *generator) valuesOf(spec oip.Spec) (Range, error) {
	r, known := values[spec.Datatype]
	if !known {
		return r, fmt.Errorf("input %v: unknown datatype", spec)
	}
	if v, ok := g.Values[string(spec.Datatype)]; ok {
		r = v
	}
	if v, ok := g.Values[spec.Name]; ok {
		r = v
	}
	low, high := limits(spec.Datatype)
	if r.Low < low || r.High > high {
		return r, fmt.Errorf("input %v: values from %v to %v are given, it holds those from %v to %v", spec, r.Low, r.High, low, high)
	}
	return r, nil
}

// limits returns what a datatype holds, of integers of 64 bits what a float64 tells apart.
func limits(d oip.Datatype) (low, high float64) {
	bits := min(8*d.Size(), 53)
	switch {
	case d == oip.Bool:
		return 0, 1
	case d == oip.Bytes:
		return 0, 1 << 20
	case d.Signed() && bits < 53:
		return -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1) - 1
	case d.Signed():
		return -(1 << 53), 1 << 53
	case d.Unsigned():
		return 0, math.Ldexp(1, bits) - 1
	case d == oip.FP16:
		return -65504, 65504
	case d == oip.FP64:
		return -math.MaxFloat64 / 2, math.MaxFloat64 / 2 // so that their difference is a number
	}
	return -math.MaxFloat32 / 2, math.MaxFloat32 / 2
}

// integer returns one of the integers of r.
func (g *generator) integer(r Range) int64 {
	low := int64(math.Ceil(r.Low))
	return low + g.rand.Int64N(max(1, int64(math.Floor(r.High))-low+1))
}

func (g *generator) appendElement(data []byte, d oip.Datatype, r Range) []byte {
	switch {
	case d == oip.Bytes:
		text := make([]byte, g.integer(r))
		for i := range text {
			text[i] = byte('a' + g.rand.IntN(26))
		}
		return oip.AppendBytesElement(data, text)
	case d.Float():
		return oip.AppendFloat(data, d, r.Low+g.rand.Float64()*(r.High-r.Low))
	}
	return oip.AppendInteger(data, d, uint64(g.integer(r)))
}
