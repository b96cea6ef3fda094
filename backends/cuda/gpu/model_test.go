//go:build cuda

package gpu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/backends/cuda"
	"github.com/thrumserve/thrum/backends/cuda/cudatest"
	"github.com/thrumserve/thrum/backends/cuda/kernels/emulated"
)

// TestWithKernels runs the tests of models in a process with a driver of cudatest that computes.
func TestWithKernels(t *testing.T) {
	if os.Getenv(cudatest.Key) != "" {
		t.Skip("this is the process with a driver")
	}
	library, driver := emulated.Library(t), cudatest.Folder(t)
	for _, c := range []struct{ test, settings string }{
		{"^TestModel", "memory=1073741824"},
		{"^TestFullDevice", "memory=200000"},
		{"^TestFullDevice", "memory=200000 pools=0"},
		{"^TestDirect", "memory=1073741824"},
	} {
		p := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run="+c.test)
		p.Env = append(os.Environ(), "LD_LIBRARY_PATH="+driver, cudatest.Key+"="+c.settings, cudatest.KernelsKey+"="+library)
		out, err := p.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: "+c.test[1:])) {
			t.Errorf("%s: %v\n%s", c.test, err, out)
		}
	}
}

// backend returns the backend of the pretended driver.
func backend(t testing.TB) *cuda.Backend {
	t.Helper()
	if os.Getenv(cudatest.KernelsKey) == "" {
		t.Skip("TestWithKernels runs this")
	}
	return cuda.New(Open, func(int, int) ([]byte, error) { return []byte("kernels\x00"), nil })
}

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
					n = 1
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

func floatsOf(t backends.Tensor) []float64 {
	var all []float64
	for i := 0; i < len(t.Data); i += t.Datatype.Size() {
		if t.Datatype == backends.Int64 {
			all = append(all, float64(int64(binary.LittleEndian.Uint64(t.Data[i:]))))
		} else {
			all = append(all, float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[i:]))))
		}
	}
	return all
}

func differs(got, want backends.Tensor, tolerance float64) error {
	if got.Name != want.Name || got.Datatype != want.Datatype || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("%s %v %v, want %s %v %v", got.Name, got.Datatype, got.Shape, want.Name, want.Datatype, want.Shape)
	}
	if got.Datatype == backends.Bytes {
		if !bytes.Equal(got.Data, want.Data) {
			return fmt.Errorf("%s is %q, want %q", got.Name, got.Data, want.Data)
		}
		return nil
	}
	a, b := floatsOf(got), floatsOf(want)
	for i := range b {
		if !(math.Abs(a[i]-b[i]) <= tolerance*(1+math.Abs(b[i]))) {
			return fmt.Errorf("element %d of %s is %v, want %v", i, got.Name, a[i], b[i])
		}
	}
	return nil
}

var models = []string{
	"../testdata/layers", "../testdata/encoder", "../testdata/network", "../testdata/quantized", "../testdata/quantized-means", "../testdata/many", "../testdata/named", "../testdata/named-pair",
	"../../../examples/models/digits/1", "../../../examples/models/tumor/1", "../../../examples/models/yarnit/1",
}

// TestModelAnswers holds whole models against the cpu backend, in every precision.
func TestModelAnswers(t *testing.T) {
	b, reference := backend(t), cpu.New(cpu.Options{Threads: 1})
	defer reference.Close()
	for precision, tolerance := range map[string]float64{"fp32": 2e-4, "tf32": 2e-2, "fp16": 3e-2, "bf16": 0.2, "int8": 2e-2} {
		for _, dir := range models {
			if precision != "fp32" && (strings.Contains(dir, "examples") || strings.Contains(dir, "named")) || (precision != "fp32" && precision != "int8") && strings.Contains(dir, "quantized") {
				continue // they choose classes, or round to a few steps
			}
			m, err := b.Load(t.Context(), backends.Spec{Dir: dir, MaxRows: 4, Options: map[string]string{"precision": precision}})
			if err != nil {
				t.Errorf("%s in %s: %v", dir, precision, err)
				continue
			}
			r, err := reference.Load(t.Context(), backends.Spec{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for _, rows := range []int64{1, 3, 4, 6} {
				in := random(r.Signature(), rows, 5)
				want, err := r.Predict(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				got, err := m.Predict(t.Context(), in)
				if err != nil {
					t.Errorf("%s in %s, %d rows: %v", dir, precision, rows, err)
					break
				}
				for i := range want.Tensors {
					if err := differs(got.Tensors[i], want.Tensors[i], tolerance); err != nil {
						t.Errorf("%s in %s, %d rows: %v", dir, precision, rows, err)
					}
				}
				got.Release()
				want.Release()
			}
			if err := errors.Join(m.Close(), r.Close()); err != nil {
				t.Errorf("Close of %s = %v", dir, err)
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// TestModelConforms runs the suite that every backend passes, with the least of models: the suite sends
// batches that are large for a device which is pretended.
func TestModelConforms(t *testing.T) {
	open := func(t *testing.T) backends.Backend { return backend(t) }
	backendtest.Run(t, open, backendtest.Fixture{Spec: backends.Spec{Dir: "../testdata/layers", MaxRows: 1024}, Tolerance: 1e-5})
}

// rowsOf returns inputs of the encoder, row i the same whatever their number.
func rowsOf(rows int) backends.Batch {
	ids := backends.Tensor{Name: "ids", Datatype: backends.Int64, Shape: []int64{int64(rows), 4}}
	mask := backends.Tensor{Name: "mask", Datatype: backends.Int64, Shape: []int64{int64(rows), 4}}
	for i := range rows * 4 {
		ids.Data = binary.LittleEndian.AppendUint64(ids.Data, uint64(i%50))
		mask.Data = binary.LittleEndian.AppendUint64(mask.Data, uint64(min(1, (i+1)%5)))
	}
	return backends.Batch{Tensors: []backends.Tensor{ids, mask}}
}

// TestModelRefusesAWord gives an index of no row, beside which others are answered.
func TestModelRefusesAWord(t *testing.T) {
	b := backend(t)
	defer b.Close()
	m, err := b.Load(t.Context(), backends.Spec{Dir: "../testdata/encoder"})
	if err != nil {
		t.Fatal(err)
	}
	bad := rowsOf(4)
	binary.LittleEndian.PutUint64(bad.Tensors[0].Data[8*13:], 50)
	for range 5 {
		if _, err := m.Predict(t.Context(), bad); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("Predict of a word that is not there = %v, want an ErrInvalid", err)
		}
		out, err := m.Predict(t.Context(), rowsOf(3))
		if err != nil {
			t.Errorf("Predict after it = %v", err)
		}
		out.Release()
	}
}

// TestFullDevice loads models until the device is full.
func TestFullDevice(t *testing.T) {
	b := backend(t)
	spec := backends.Spec{Model: "layers", Version: "1", Dir: "../testdata/layers", MaxRows: 8}
	var loaded []backends.Model
	for range 100 {
		m, err := b.Load(t.Context(), spec)
		if err != nil {
			if !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "model layers, version 1, needs") {
				t.Errorf("Load = %v, want an ErrUnavailable with the figures", err)
			}
			break
		}
		loaded = append(loaded, m)
	}
	if len(loaded) == 0 || len(loaded) == 100 {
		t.Errorf("%d models fit", len(loaded))
	}
	in := random(loaded[0].Signature(), 3, 1)
	if _, err := loaded[0].Predict(t.Context(), in); err != nil {
		t.Errorf("Predict on a full device = %v", err)
	}
	for _, m := range loaded {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	m, err := b.Load(t.Context(), spec)
	if err != nil {
		t.Fatalf("Load when all others are gone = %v", err)
	}
	if err := errors.Join(m.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// TestModelReplays computes what a batch has left on the device again, without a batch.
func TestModelReplays(t *testing.T) {
	b := backend(t)
	defer b.Close()
	m, err := b.Load(t.Context(), backends.Spec{Dir: "../testdata/layers", MaxRows: 8})
	if err != nil {
		t.Fatal(err)
	}
	r := m.(cuda.Replayer)
	if took, err := r.Replay(t.Context(), 3, 5); err != nil || took <= 0 {
		t.Errorf("Replay = %v, %v, want what the device takes for four rows", took, err)
	}
	if _, err := r.Replay(t.Context(), 9, 1); !errors.Is(err, backends.ErrInvalid) {
		t.Errorf("Replay of more rows than any graph has = %v, want an ErrInvalid", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Replay(t.Context(), 1, 1); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("Replay of a closed model = %v, want an ErrUnavailable", err)
	}
}

// TestModelsShareKernels loads a model twice, and its kernels once.
func TestModelsShareKernels(t *testing.T) {
	b := backend(t)
	defer b.Close()
	before := asked(t, "fake_modules")
	for range 2 {
		m, err := b.Load(t.Context(), backends.Spec{Dir: "../testdata/layers", MaxRows: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
	}
	if n := asked(t, "fake_modules") - before; n != 1 {
		t.Errorf("the driver holds %d modules more, want one", n)
	}
}
