package lower

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
)

// random returns a batch for a model, in which integers are of rows of small tables.
func random(s backends.Signature, rows, varies int64) backends.Batch {
	r := rand.New(rand.NewPCG(1, uint64(rows)))
	in := backends.Batch{}
	for _, spec := range s.Inputs {
		t := backends.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: slices.Clone(spec.Shape)}
		for i, n := range t.Shape {
			if n < 0 {
				t.Shape[i] = varies
			}
		}
		t.Shape[0] = rows
		for range t.Elements() {
			if spec.Datatype == backends.Int64 {
				n := uint64(r.IntN(7))
				if spec.Name == "mask" {
					n = 1 // of attention
				}
				t.Data = binary.LittleEndian.AppendUint64(t.Data, n)
			} else {
				t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(r.NormFloat64())))
			}
		}
		in.Tensors = append(in.Tensors, t)
	}
	return in
}

// TestModels holds whole models against the cpu backend, in every precision, and looks at what has
// become of them.
func TestModels(t *testing.T) {
	tolerances := map[backends.Datatype]float64{backends.FP32: 1e-4, backends.FP16: 2e-2, backends.BF16: 0.15}
	for _, c := range []struct {
		dir    string
		want   map[string]int // operations by kind
		floats []backends.Datatype
	}{
		{"../testdata/layers", map[string]int{"Gemm": 2}, []backends.Datatype{backends.FP32, backends.FP16, backends.BF16}},
		// Embeddings and three norms; for each layer queries, keys and values at once, and three products.
		{"../testdata/encoder", map[string]int{"Gather": 1, "Norm": 5, "Gemm": 8, "Attention": 2}, []backends.Datatype{backends.FP32, backends.FP16, backends.BF16}},
		{"../testdata/network", map[string]int{"Conv": 9, "Pool": 1, "Reduce": 2, "Softmax": 1, "Gemm": 1}, []backends.Datatype{backends.FP32, backends.FP16}},
		// Two norms add up what they normalise.
		{"../testdata/spelled", map[string]int{"Norm": 2, "Chain": 4, "Reduce": 2}, []backends.Datatype{backends.FP32, backends.FP16, backends.BF16}},
		{"../testdata/forest", map[string]int{"Trees": 1}, []backends.Datatype{backends.FP32, backends.FP16}},
		{"../testdata/pair", map[string]int{"Trees": 1}, []backends.Datatype{backends.FP32}},
		{"../testdata/second", map[string]int{"Trees": 1}, []backends.Datatype{backends.FP32}},
		{"../testdata/based", map[string]int{"Trees": 75}, []backends.Datatype{backends.FP32}},
		{"../testdata/named", map[string]int{"Trees": 1}, []backends.Datatype{backends.FP32}},
		{"../testdata/named-pair", map[string]int{"Trees": 1}, []backends.Datatype{backends.FP32}},
		{"../../../examples/models/digits/1", map[string]int{"Conv": 3, "Pool": 1, "Gemm": 1}, []backends.Datatype{backends.FP32}},
		{"../../../examples/models/tumor/1", map[string]int{"Trees": 1}, []backends.Datatype{backends.FP32, backends.BF16}},
		{"../../../examples/models/yarnit/1", map[string]int{"Gemm": 3, "Lookup": 4}, []backends.Datatype{backends.FP32}},
	} {
		reference := cpu.New(cpu.Options{Threads: 1})
		m, err := reference.Load(t.Context(), backends.Spec{Dir: c.dir})
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int64{1, 8} {
			in := random(m.Signature(), rows, 5)
			want, err := m.Predict(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			var shapes [][]int64
			for _, in := range in.Tensors {
				shapes = append(shapes, in.Shape)
			}
			for _, float := range c.floats {
				name := fmt.Sprintf("%s, %d rows in %v", filepath.Base(filepath.Clean(c.dir)), rows, float)
				p, _, err := prepare(c.dir, float, shapes...)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				kinds := map[string]int{}
				for _, o := range p.Ops {
					kinds[o.Name()]++
				}
				for kind, n := range c.want {
					if kinds[kind] != n {
						t.Errorf("%s: %d × %s, want %d: %v", name, kinds[kind], kind, n, kinds)
					}
				}
				if rows == 1 {
					t.Logf("%s: %v", name, kinds)
				}
				for i, got := range interpret(p, in.Tensors) {
					if err := differs(got, want.Tensors[i], tolerances[float]); err != nil && !(want.Tensors[i].Datatype == backends.Int64 && float != backends.FP32) {
						t.Errorf("%s: output %d: %v", name, i, err)
					}
				}
			}
			want.Release()
		}
		if err := reference.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestIntegers holds quantised models against the cpu backend, with products of eight bits and without, and
// looks at what stays bytes.
func TestIntegers(t *testing.T) {
	reference := cpu.New(cpu.Options{Threads: 1})
	defer reference.Close()
	for _, c := range []struct {
		dir      string
		integers bool
		want     map[string]int // operations by kind
	}{
		{"../testdata/quantized", false, map[string]int{"Gemm": 3}},
		{"../testdata/quantized", true, map[string]int{"GemmInteger": 3, "Quantize": 1, "Dequantize": 0}},
		{"../testdata/quantized-pixels", false, map[string]int{"Conv": 5, "Gemm": 1}},
		// Images are quantised and put in order, two tensors of bytes are added and two put beside each other,
		// one is pooled and one averaged.
		{"../testdata/quantized-pixels", true, map[string]int{"ConvInteger": 5, "GemmInteger": 1, "Pool": 2, "Chain": 1, "Reduce": 0, "Quantize": 1, "Dequantize": 0, "Map": 3}},
		{"../testdata/quantized-means", false, map[string]int{"Pool": 2, "Reduce": 1}},
		// An image is quantised and put in order; two means are bytes again and one is not.
		{"../testdata/quantized-means", true, map[string]int{"Pool": 3, "Quantize": 1, "Dequantize": 1}},
	} {
		m, err := reference.Load(t.Context(), backends.Spec{Dir: c.dir})
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int64{1, 5} {
			in := random(m.Signature(), rows, 1)
			want, err := m.Predict(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			p, _, err := prepareWith(c.dir, backends.FP32, c.integers, in.Tensors[0].Shape)
			if err != nil {
				t.Fatal(err)
			}
			kinds := map[string]int{}
			for _, o := range p.Ops {
				kinds[o.Name()]++
			}
			for kind, n := range c.want {
				if kinds[kind] != n {
					t.Errorf("%s, integers %v: %d × %s, want %d: %v", c.dir, c.integers, kinds[kind], kind, n, kinds)
				}
			}
			for i, got := range interpret(p, in.Tensors) {
				if err := differs(got, want.Tensors[i], 2e-2); err != nil {
					t.Errorf("%s, %d rows, integers %v: output %d: %v", c.dir, rows, c.integers, i, err)
				}
			}
		}
	}
}
