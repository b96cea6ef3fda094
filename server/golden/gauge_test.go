package golden

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/server/catalog"
)

// fp32 is a tensor of rows of so many columns.
func fp32(columns int, values ...float64) backends.Tensor {
	t := backends.Tensor{Name: "y", Datatype: backends.FP32, Shape: []int64{int64(len(values) / columns), int64(columns)}}
	for _, v := range values {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(v)))
	}
	return t
}

func fp64(values ...float64) backends.Tensor {
	t := backends.Tensor{Name: "y", Datatype: backends.FP64, Shape: []int64{int64(len(values))}}
	for _, v := range values {
		t.Data = binary.LittleEndian.AppendUint64(t.Data, math.Float64bits(v))
	}
	return t
}

func words(all ...string) backends.Tensor {
	t := backends.Tensor{Name: "y", Datatype: backends.Bytes, Shape: []int64{int64(len(all))}}
	for _, w := range all {
		t.Data = backends.AppendBytesElement(t.Data, []byte(w))
	}
	return t
}

// pair is an answer and its reference.
type pair struct{ have, want backends.Tensor }

func measure(noise float64, cases ...pair) map[string]float64 {
	g := newGauge(noise)
	for _, c := range cases {
		g.add(c.have, c.want)
	}
	return byKind(g.figures())
}

func byKind(figures []catalog.Figure) map[string]float64 {
	m := map[string]float64{}
	for _, f := range figures {
		m[f.Kind] = f.Value
		if f.Value < 1e6 {
			m[f.Kind] = math.Round(f.Value*1e6) / 1e6
		}
	}
	return m
}

func TestFigures(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	ids := backends.Tensor{Datatype: backends.Int16, Shape: []int64{4}, Data: []byte{1, 0, 2, 0, 3, 0, 4, 0}}
	off := ids
	off.Data = []byte{1, 0, 2, 0, 3, 0, 4, 1}
	for _, c := range []struct {
		situation string
		noise     float64
		cases     []pair
		want      map[string]float64
	}{
		{"the same", 0, []pair{{fp32(2, 3, 4), fp32(2, 3, 4)}},
			map[string]float64{MaxAbs: 0, MaxRel: 0, Distance: 0, MinCosine: 1, Top1: 1}},
		{"twice as large", 0, []pair{{fp32(2, 6, 8), fp32(2, 3, 4)}},
			map[string]float64{MaxAbs: 4, MaxRel: 1, Distance: 1, MinCosine: 1, Top1: 1}},
		{"at a right angle", 0, []pair{{fp32(2, 4, -3), fp32(2, 3, 4)}},
			map[string]float64{MaxAbs: 7, MaxRel: 1.75, Distance: math.Round(math.Sqrt2*1e6) / 1e6, MinCosine: 0, Top1: 0}},
		{"the worst of cases", 0, []pair{{fp32(2, 3, 4), fp32(2, 3, 4)}, {fp32(2, 4, 3), fp32(2, 3, 4)}, {fp32(2, 3, 4), fp32(2, 3, 4)}},
			map[string]float64{MaxAbs: 1, MaxRel: 0.333333, Distance: math.Round(math.Sqrt(2./75)*1e6) / 1e6, MinCosine: 0.96, Top1: 0.666667}},
		{"a small reference", 0.01, []pair{{fp32(2, 1, 0.02), fp32(2, 1, 0.01)}},
			map[string]float64{MaxAbs: 0.01, MaxRel: 0, Distance: 0.009999, MinCosine: 0.99995, Top1: 1}},
		{"several largest, of which it has one", 0, []pair{{fp32(3, 1, 3, 2), fp32(3, 1, 2, 2)}},
			map[string]float64{MaxAbs: 1, MaxRel: 0.5, Distance: 0.333333, MinCosine: 0.979958, Top1: 1}},
		{"no scores", 0, []pair{{fp64(1, 2), fp64(1, 2)}}, map[string]float64{MaxAbs: 0, MaxRel: 0, Distance: 0, MinCosine: 1}},
		{"a single number each", 0, []pair{{fp64(2), fp64(1)}, {fp64(1), fp64(1)}}, map[string]float64{MaxAbs: 1, MaxRel: 1, Distance: 0.707107}},
		{"a reference of zeros", 0.01, []pair{{fp64(0, 0.001), fp64(0, 0)}}, map[string]float64{MaxAbs: 0.001, MaxRel: 0, Distance: 0, MinCosine: 1}},
		{"an answer of zeros", 0, []pair{{fp64(0, 0), fp64(0, 2)}}, map[string]float64{MaxAbs: 2, MaxRel: 1, Distance: 1, MinCosine: 0}},
		{"the same infinity, and no number in both", 0, []pair{{fp64(inf, nan, 1), fp64(inf, nan, 1)}}, map[string]float64{MaxAbs: 0, MaxRel: 0, Distance: 0, MinCosine: 1}},
		{"squares that overflow", 0, []pair{{fp64(3e300, 4e300), fp64(4e300, 3e300)}},
			map[string]float64{MaxAbs: 1e300, MaxRel: 0.333333, Distance: 0.282843, MinCosine: 0.96}},
		{"nothing", 0, []pair{{fp64(), fp64()}}, map[string]float64{MaxAbs: 0, MaxRel: 0, Distance: 0}},
		{"words", 0, []pair{{words("a", "b"), words("a", "bc")}, {words("", "x"), words("", "x")}}, map[string]float64{Equal: 0.75}},
		{"whole numbers", 0, []pair{{off, ids}}, map[string]float64{Equal: 0.75}},
		{"no words", 0, []pair{{words(), words()}}, map[string]float64{Equal: 1}},
	} {
		got := measure(c.noise, c.cases...)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: figures = %v, want %v", c.situation, got, c.want)
		}
	}
}

// What no number can be said of is as far away as can be.
func TestFiguresOfWhatIsNoNumber(t *testing.T) {
	for situation, c := range map[string]pair{
		"an answer that is none":         {fp64(math.NaN(), 1), fp64(1, 1)},
		"an infinite answer":             {fp64(math.Inf(1), 1), fp64(1, 1)},
		"a finite one for infinity":      {fp64(1, 1), fp64(math.Inf(-1), 1)},
		"an infinity of the other sign":  {fp64(math.Inf(1), 1), fp64(math.Inf(-1), 1)},
		"a number where there was none":  {fp64(1, 1), fp64(math.NaN(), 1)},
		"a difference that is too large": {fp64(-math.MaxFloat64, 1), fp64(math.MaxFloat64, 1)},
	} {
		g := newGauge(0)
		g.add(c.have, c.want)
		figures := g.figures()
		if figures[0].Value != math.MaxFloat64 {
			t.Errorf("%s: %v, want %s to be the largest number", situation, figures, MaxAbs)
		}
		if err := LimitsAt("bf16").check(catalog.OutputAccuracy{Name: "y", Figures: figures}, "bf16"); err == nil {
			t.Errorf("%s: %v are allowed", situation, figures)
		}
	}
}

func FuzzFiguresAreNumbers(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint8(1))
	f.Add(fp32(2, 1, 2, 3, 4).Data, fp32(2, 1, math.NaN(), math.Inf(1), 0).Data, uint8(2))
	f.Fuzz(func(t *testing.T, have, want []byte, columns uint8) {
		n, width := min(len(have), len(want))/4, max(int(columns), 1)
		n -= n % width
		shape := []int64{int64(n / width), int64(width)}
		g := newGauge(1e-6)
		for range 2 {
			g.add(backends.Tensor{Datatype: backends.FP32, Shape: shape, Data: have[:4*n]}, backends.Tensor{Datatype: backends.FP32, Shape: shape, Data: want[:4*n]})
		}
		for _, figure := range g.figures() {
			if _, err := json.Marshal(figure.Value); err != nil {
				t.Errorf("%v: %v", figure, err)
			}
			if least := map[string]float64{MinCosine: -1}[figure.Kind]; figure.Value < least {
				t.Errorf("%v is below %v", figure, least)
			}
		}
	})
}

func accuracyOf(g *gauge) catalog.OutputAccuracy {
	return catalog.OutputAccuracy{Name: "y", Figures: g.figures()}
}
