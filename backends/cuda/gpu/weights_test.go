//go:build cuda

package gpu

import (
	"os"
	"slices"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/weights"
)

// sharing is a model of layers whose processes share weights.
func sharing(t *testing.T) backends.Spec {
	t.Helper()
	f, err := weights.NewFile()
	if err != nil {
		t.Fatal(err)
	}
	locker, err := weights.NewLocker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); locker.Close() })
	return backends.Spec{Model: "layers", Version: "1", Dir: "../testdata/layers", MaxRows: 8, Weights: f, Locker: locker}
}

// loadAs loads a model as a process of its own would, and returns what it holds of the device.
func loadAs(t *testing.T, spec backends.Spec) (backends.Model, backends.Device) {
	t.Helper()
	b := backend(t)
	m, err := b.Load(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	devices, err := b.Devices(t.Context())
	if err != nil || len(devices) != 1 {
		t.Fatalf("Devices = %+v, %v, want one", devices, err)
	}
	return m, devices[0]
}

// answersOf returns what a model answers.
func answersOf(t *testing.T, m backends.Model) []float64 {
	t.Helper()
	out, err := m.Predict(t.Context(), random(m.Signature(), 3, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	return floatsOf(out.Tensors[0])
}

// TestModelSharesWeights loads a version several times, as its processes do.
func TestModelSharesWeights(t *testing.T) {
	spec := sharing(t)
	alone, by := loadAs(t, backends.Spec{Dir: spec.Dir, MaxRows: spec.MaxRows})
	first, made := loadAs(t, spec)
	second, found := loadAs(t, spec)
	if by.Shared != 0 || made.Shared == 0 || found.Shared != made.Shared || made.Held+made.Shared != by.Held || found.Held != made.Held {
		t.Errorf("alone a model holds %d bytes and shares %d, the first %d and %d, the second %d and %d", by.Held, by.Shared, made.Held, made.Shared, found.Held, found.Shared)
	}
	want := answersOf(t, alone)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, _ := loadAs(t, spec)
	for i, m := range []backends.Model{second, third} {
		if got := answersOf(t, m); !slices.Equal(got, want) {
			t.Errorf("model %d of those that share, without who made the weights, answers %v, want %v", i+2, got, want)
		}
	}
}

// TestModelBelievesNoOtherWeights has in the locker what is not this model's, or no more.
func TestModelBelievesNoOtherWeights(t *testing.T) {
	alone, _ := loadAs(t, backends.Spec{Dir: "../testdata/layers", MaxRows: 8})
	want := answersOf(t, alone)
	for situation, spoil := range map[string]func(spec backends.Spec) error{
		"another model's":         func(spec backends.Spec) error { return leave(t, spec, 5<<20) },
		"as many bytes of others": func(spec backends.Spec) error { return leave(t, spec, 2<<20) },
		"what is no memory of a device": func(spec backends.Spec) error {
			l, err := weights.OpenLocker(t.Context(), spec.Weights, spec.Locker)
			if err != nil {
				return err
			}
			defer l.Close()
			return l.Put(os.Stderr, layersBytes)
		},
		"a byte that has changed": func(spec backends.Spec) error {
			l, err := weights.OpenLocker(t.Context(), spec.Weights, spec.Locker)
			if err != nil {
				return err
			}
			defer l.Close()
			f, _, err := l.Look()
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{0x7f}, layersBytes/2+3)
			return err
		},
	} {
		spec := sharing(t)
		if _, made := loadAs(t, spec); made.Shared != layersBytes {
			t.Fatalf("%d bytes are shared, want %d", made.Shared, layersBytes)
		}
		if err := spoil(spec); err != nil {
			t.Fatalf("%s: %v", situation, err)
		}
		m, made := loadAs(t, spec)
		if got := answersOf(t, m); !slices.Equal(got, want) || made.Shared != layersBytes {
			t.Errorf("%s: a model that shares %d bytes answers %v, want %v", situation, made.Shared, got, want)
		}
		if m, found := loadAs(t, spec); found.Shared != layersBytes || !slices.Equal(answersOf(t, m), want) {
			t.Errorf("%s: the next one does not find what has been left instead", situation)
		}
	}
}

// layersBytes is what the weights of the model of layers take on a device.
const layersBytes = 1280

// leave leaves memory of a file in a locker, which is all of zeros.
func leave(t *testing.T, spec backends.Spec, n int64) error {
	l, err := weights.OpenLocker(t.Context(), spec.Weights, spec.Locker)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := weights.NewFile()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(n); err != nil {
		return err
	}
	return l.Put(f, layersBytes)
}
