//go:build cuda

package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/backendtest"
	"github.com/thrumserve/thrum/backends/cpu"
	"github.com/thrumserve/thrum/plugins"
)

// TestClassesHaveTheirNames has a classifier whose classes are strings, which no device has.
func TestClassesHaveTheirNames(t *testing.T) {
	dir, err := filepath.Abs("../../backends/cuda/testdata/named-pair")
	if err != nil {
		t.Fatal(err)
	}
	b := cpu.New(cpu.Options{Threads: 1})
	defer b.Close()
	reference, err := b.Load(t.Context(), backends.Spec{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{plugins.TransportShared, plugins.TransportGRPC} {
		p, err := startBy(t, "memory=1073741824", transport)
		if err != nil {
			t.Fatal(err)
		}
		m, err := p.Load(t.Context(), backends.Spec{Model: "named", Version: "1", Dir: dir, MaxRows: 4})
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int{1, 4, 7} {
			in := backendtest.Example(m.Signature(), rows)
			in.Outputs = []string{"class"}
			want, err := reference.Predict(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			out, err := m.Predict(t.Context(), in)
			if err != nil {
				t.Fatalf("by %s: Predict of %d rows = %v", transport, rows, err)
			}
			if got, want := text(out.Tensors[0]), text(want.Tensors[0]); got != want {
				t.Errorf("by %s: %d rows give %s, want %s", transport, rows, got, want)
			}
			out.Release()
			want.Release()
		}
	}
}

func text(t backends.Tensor) string { return fmt.Sprintf("%v %v %q", t.Datatype, t.Shape, t.Data) }
