package cpu

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/cpu/kernels"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/weights"
)

// products are graphs of x, whose rows are 2×8×8, each with a product of another kind.
var products = map[string]func(s *sketch, x *onnx.Value) *onnx.Value{
	"a constant matrix": func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.node("MatMul", nil, x, s.constant(wave("w", 1, 8, 8)))
	},
	"a Gemm": func(s *sketch, x *onnx.Value) *onnx.Value {
		flat := s.shaped("Flatten", nil, dims([]int64{-1, 128}), x)
		return s.shaped("Gemm", onnx.Attrs{"transB": int64(1)}, dims([]int64{-1, 8}), flat, s.constant(wave("w", 1, 8, 128)), s.constant(wave("b", 2, 8)))
	},
	"a convolution": func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.shaped("Conv", nil, dims([]int64{-1, 3, 6, 6}), x, s.constant(wave("w", 1, 3, 2, 3, 3)), s.constant(wave("b", 2, 3)))
	},
	"two values":   func(s *sketch, x *onnx.Value) *onnx.Value { return s.node("MatMul", nil, x, s.node("Neg", nil, x)) },
	"an attention": func(s *sketch, x *onnx.Value) *onnx.Value { return s.node("Attention", nil, x, x, x) },
	"a recurrence": func(s *sketch, x *onnx.Value) *onnx.Value {
		steps := s.shaped("Reshape", nil, dims([]int64{16, -1, 8}), x, s.constant(integers64("s", []int64{3}, 16, -1, 8)))
		return s.shaped("GRU", onnx.Attrs{"hidden_size": int64(8)}, dims([]int64{16, 1, -1, 8}), steps, s.constant(wave("w", 1, 1, 24, 8)), s.constant(wave("r", 2, 1, 24, 8)))
	},
}

// drawn loads a graph at a precision.
func drawn(t *testing.T, draw func(s *sketch, x *onnx.Value) *onnx.Value, p kernels.Precision) (*model, error) {
	t.Helper()
	var s sketch
	s.output(draw(&s, s.input("x", backends.FP32, -1, 2, 8, 8)))
	e := testEngine(t)
	e.precision.asked = p
	return e.prepare(t.Context(), &s.Graph, nil)
}

func predicted(t *testing.T, m *model, in backends.Tensor) []float32 {
	t.Helper()
	out, err := m.Predict(t.Context(), backends.Batch{Tensors: []backends.Tensor{in}})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	return floatsOf(out.Tensors[0])
}

// apart returns the length of a − b as a share of b's.
func apart(a, b []float32) float64 {
	d, l := 0.0, 0.0
	for i := range b {
		d, l = math.Hypot(d, float64(a[i]-b[i])), math.Hypot(l, float64(b[i]))
	}
	return d / l
}

func TestProductsHaveThePrecisionAskedFor(t *testing.T) {
	in := wave("x", 3, 5, 2, 8, 8)
	for name, draw := range products {
		full, err := drawn(t, draw, kernels.FP32)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := predicted(t, full, in)
		ofValues := name == "two values" || name == "an attention"
		for precision, most := range map[kernels.Precision]float64{kernels.BF16: 0.02, kernels.Int8: 0.05} {
			t.Run(fmt.Sprintf("%s at %v", name, precision), func(t *testing.T) {
				m, err := drawn(t, draw, precision)
				if precision == kernels.Int8 && ofValues {
					if !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "precision int8 does nothing") {
						t.Errorf("prepare = %v, want an ErrInvalid: there is no constant to quantise", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := m.Signature().Precision; got != precision.String() {
					t.Errorf("Signature().Precision = %q", got)
				}
				d := apart(predicted(t, m, in), want)
				if ofValues && kernels.CurrentLevel() < kernels.AVX512BF16 {
					if d != 0 {
						t.Errorf("the answer is %v from that in FP32, want the same: rounding costs more than it saves here", d)
					}
				} else if d == 0 || d > most || math.IsNaN(d) {
					t.Errorf("the answer is %v from that in FP32, want above 0 and up to %v", d, most)
				}
			})
		}
	}
}

// A recurrence is left out: its first dimension is no batch.
func TestRowsDoNotDependOnTheirNeighboursAtAnyPrecision(t *testing.T) {
	const rows, size = 9, 2 * 8 * 8
	all := floatsOf(wave("x", 3, rows, 2, 8, 8))
	for i := range size { // what is next to a small row
		all[4*size+i] *= 1e4
	}
	for name, draw := range products {
		for _, precision := range []kernels.Precision{kernels.FP32, kernels.BF16, kernels.Int8} {
			m, err := drawn(t, draw, precision)
			if err != nil || name == "a recurrence" {
				continue
			}
			together := predicted(t, m, floats("x", []int64{rows, 2, 8, 8}, all...))
			width := len(together) / rows
			for i := range rows {
				alone := predicted(t, m, floats("x", []int64{1, 2, 8, 8}, all[i*size:(i+1)*size]...))
				if !slices.Equal(alone, together[i*width:(i+1)*width]) {
					t.Errorf("%s at %v: row %d is %v alone and %v in a batch", name, precision, i, alone, together[i*width:(i+1)*width])
					break
				}
			}
		}
	}
}

func TestWhatIsFoldedIsFP32(t *testing.T) {
	draw := func(s *sketch, x *onnx.Value) *onnx.Value {
		sum := s.shaped("MatMul", nil, dims([]int64{8, 8}), s.constant(wave("a", 1, 8, 8)), s.constant(wave("b", 2, 8, 8)))
		return s.node("Add", nil, s.node("MatMul", nil, x, s.constant(wave("w", 1, 8, 8))), sum)
	}
	zeros := floats("x", []int64{1, 2, 8, 8}, make([]float32, 2*8*8)...)
	full, err := drawn(t, draw, kernels.FP32)
	if err != nil {
		t.Fatal(err)
	}
	for _, precision := range []kernels.Precision{kernels.BF16, kernels.Int8} {
		m, err := drawn(t, draw, precision)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(predicted(t, m, zeros), predicted(t, full, zeros)) {
			t.Errorf("at %v the product of two constants differs from FP32's", precision)
		}
	}
}

func TestAPrecisionThatDoesNothingIsRefused(t *testing.T) {
	draw := func(s *sketch, x *onnx.Value) *onnx.Value { return s.node("Neg", nil, x) }
	if _, err := drawn(t, draw, kernels.BF16); !errors.Is(err, backends.ErrInvalid) || !strings.Contains(err.Error(), "precision bf16 does nothing") {
		t.Errorf("prepare = %v, want an ErrInvalid", err)
	}
	m, err := drawn(t, draw, kernels.FP32)
	if err != nil || m.Signature().Precision != "fp32" {
		t.Errorf("prepare in FP32 = %v, want it to be said", err)
	}
}

var multiplies = regexp.MustCompile("MatMul|Gemm|Conv|Attention|LSTM|GRU|RNN")

// The cases of the ONNX project that have products, with all inputs but the first made constants.
func TestConformanceAtALowerPrecision(t *testing.T) {
	for precision, most := range map[kernels.Precision]float64{kernels.BF16: 0.04, kernels.Int8: 0.06} {
		ran := 0
		for _, c := range readCases(t, filepath.Join("testdata", "cases.jsonl.gz")) {
			if !multiplies.Match(c.Model) {
				continue
			}
			g, given := c.graph(t)
			freeze(g, given[min(1, len(given)):])
			m, err := prepare(t.Context(), g, Options{Threads: 2, Precision: precision}, nil)
			if err != nil {
				if !strings.Contains(err.Error(), "does nothing") {
					t.Errorf("%s at %v: %v", c.Name, precision, err)
				}
				continue
			}
			ran++
			if err := near(t, m, given, c.Outputs, most); err != nil {
				t.Errorf("%s at %v: %v", c.Name, precision, err)
			}
			m.Close()
		}
		t.Logf("%d cases have products at %v", ran, precision)
		if ran < 20 {
			t.Errorf("%d cases have products at %v, want 20 and more", ran, precision)
		}
	}
}

// near compares answers as vectors.
func near(t *testing.T, m *model, given []backends.Tensor, wanted []conformanceTensor, most float64) error {
	var in backends.Batch
	for _, i := range given {
		if _, ok := m.Signature().Input(i.Name); ok {
			in.Tensors = append(in.Tensors, i)
		}
	}
	got, err := m.Predict(t.Context(), in)
	if err != nil {
		return err
	}
	defer got.Release()
	for i, want := range wanted {
		if want.Datatype == "FP32" {
			if d := apart(floatsOf(got.Tensors[i]), floatsOf(want.tensor(t))); !(d <= most) {
				return fmt.Errorf("output %q is %v from what is expected, want %v and less", want.Name, d, most)
			}
		}
	}
	return nil
}

func TestWeightsAreSharedAtOnePrecision(t *testing.T) {
	size := map[kernels.Precision]int64{}
	for _, precision := range []kernels.Precision{kernels.FP32, kernels.BF16, kernels.Int8} {
		f := sharedFile(t)
		load := func(shared *os.File, p kernels.Precision) (*model, error) {
			m, err := prepare(t.Context(), heavy(0), Options{Threads: 2, Precision: p}, shared)
			if err == nil {
				t.Cleanup(func() { m.Close() })
			}
			return m, err
		}
		own, err := load(nil, precision)
		if err != nil {
			t.Fatal(err)
		}
		for _, who := range []string{"first", "second"} {
			m, err := load(f, precision)
			if err != nil {
				t.Fatalf("the %s at %v: %v", who, precision, err)
			}
			if !reflect.DeepEqual(answerOf(t, m), answerOf(t, own)) {
				t.Errorf("the %s at %v does not answer as a model with weights of its own", who, precision)
			}
		}
		other := (precision + 1) % 3
		if _, err := load(f, other); !errors.Is(err, weights.ErrMismatch) {
			t.Errorf("prepare at %v with weights at %v = %v, want ErrMismatch", other, precision, err)
		}
		size[precision] = weights.Size(f)
	}
	if size[kernels.BF16] > size[kernels.FP32]*3/4 || size[kernels.Int8] > size[kernels.BF16]*3/4 {
		t.Errorf("bytes of packed weights: %v, want about half at each step", size)
	}
}

func TestSuiteAtALowerPrecision(t *testing.T) {
	for _, name := range []string{"digits", "yarnit"} {
		for _, precision := range []kernels.Precision{kernels.BF16, kernels.Int8} {
			t.Run(fmt.Sprint(name, " at ", precision), func(t *testing.T) {
				backendtest.Run(t, func(*testing.T) backends.Backend { return New(Options{Threads: 2}) }, backendtest.Fixture{
					Spec: backends.Spec{
						Model: name, Version: "1", Dir: filepath.Join(exampleModels, name, "1"),
						Options: map[string]string{"precision": precision.String()},
					},
				})
			})
		}
	}
}
