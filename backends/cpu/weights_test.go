package cpu

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/onnx"
	"github.com/thrumserve/thrum/backends/weights"
)

// sharedFile returns memory that models share, or skips the test where there is none.
func sharedFile(t *testing.T) *os.File {
	t.Helper()
	f, err := weights.NewFile()
	if errors.Is(err, weights.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// heavy has a weight of every sort that is shared, each of more than a page.
func heavy(seed float64) *onnx.Graph {
	var s sketch
	x := s.input("x", backends.FP32, -1, 40)
	y := s.node("MatMul", nil, x, s.constant(wave("square", seed, 40, 40)))
	y = s.shaped("Gemm", onnx.Attrs{"transB": int64(1), "alpha": float32(0.5)}, dims([]int64{-1, 1600}), y, s.constant(wave("wide", seed+1, 1600, 40)))
	table := s.constant(wave("table", seed+2, 1600))
	y = s.node("Add", nil, s.node("Cos", nil, y), s.node("Sin", nil, table))
	plane := s.shaped("Reshape", nil, dims([]int64{-1, 1, 40, 40}), y, s.constant(integers64("plane", []int64{4}, -1, 1, 40, 40)))
	fixed := s.shaped("Conv", nil, dims([]int64{-1, 30, 30, 30}), plane, s.constant(wave("filters", seed+3, 30, 1, 11, 11)))
	auto := s.shaped("Conv", onnx.Attrs{"auto_pad": "SAME_UPPER"}, dims([]int64{-1, 30, 40, 40}), plane, s.constant(wave("same", seed+4, 30, 1, 9, 9)))
	s.output(fixed)
	s.output(auto)
	s.output(table)
	return &s.Graph
}

func prepareIn(t *testing.T, f *os.File, g *onnx.Graph) *model {
	t.Helper()
	m, err := prepare(t.Context(), g, Options{Threads: 2}, f)
	if err != nil {
		t.Fatalf("prepare = %v", err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func answerOf(t *testing.T, m *model) []backends.Tensor {
	t.Helper()
	out, err := m.Predict(t.Context(), backends.Batch{Tensors: []backends.Tensor{wave("x", 7, 3, 40)}})
	if err != nil {
		t.Fatalf("Predict = %v", err)
	}
	return out.Tensors
}

func TestSharedWeightsAnswerAlike(t *testing.T) {
	f := sharedFile(t)
	want := answerOf(t, prepareIn(t, nil, heavy(0)))
	for _, who := range []string{"the first", "the second", "the third"} {
		m := prepareIn(t, f, heavy(0))
		if !m.engine.weights.Shared() {
			t.Errorf("%s shares nothing", who)
		}
		if got := answerOf(t, m); !reflect.DeepEqual(got, want) {
			t.Errorf("%s does not answer as a model with weights of its own", who)
		}
	}
	// All weights, but for the ones of Sin, which is folded, and of the bias.
	const least = 4 * (40*40 + 1600*40 + 1600 + 30*11*11 + 30*9*9)
	if n := weights.Size(f); n < least || n > least+least/4 {
		t.Errorf("%d bytes are shared, want %d and some more", n, least)
	}
}

func TestWeightsOfAnotherModelAreNotUsed(t *testing.T) {
	f := sharedFile(t)
	prepareIn(t, f, heavy(0))
	if _, err := prepare(t.Context(), heavy(1), Options{Threads: 2}, f); !errors.Is(err, weights.ErrMismatch) {
		t.Errorf("prepare = %v, want ErrMismatch", err)
	}
	b := New(Options{})
	defer b.Close()
	spec := backends.Spec{Dir: filepath.Join(exampleModels, "digits", "1"), Weights: f}
	m, err := b.Load(t.Context(), spec)
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	if m.(*model).engine.weights.Shared() {
		t.Error("a model shares weights with another")
	}
}

func TestAnswersOutliveSharedWeights(t *testing.T) {
	m := prepareIn(t, sharedFile(t), heavy(0))
	got := answerOf(t, m)[2]
	want := bytes.Clone(got.Data)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Data, want) || !bytes.Equal(got.Data, wave("table", 2, 1600).Data) {
		t.Error("a constant that is an output has changed")
	}
}

func TestWhatCannotBeLoadedSharesNothing(t *testing.T) {
	f := sharedFile(t)
	s := sketch{*heavy(0)}
	s.output(s.node("LeakyRelu", onnx.Attrs{"alpha": "much"}, s.Outputs[0]))
	if _, err := prepare(t.Context(), &s.Graph, Options{Threads: 2}, f); !errors.Is(err, backends.ErrInvalid) {
		t.Fatalf("prepare = %v, want ErrInvalid", err)
	}
	if n := weights.Size(f); n != 0 {
		t.Errorf("%d bytes are shared of a model that cannot be loaded", n)
	}
	if m := prepareIn(t, f, heavy(0)); m.engine.weights.Shared() {
		t.Error("weights are shared in a file that is not complete")
	}
}
