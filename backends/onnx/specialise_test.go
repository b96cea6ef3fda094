package onnx

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/thrumserve/thrum/backends"
)

func TestSpecialise(t *testing.T) {
	g, err := Load(filepath.Join("..", "..", "examples", "models", "digits", "1"), "model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	nodes := len(g.Nodes)
	var all sync.WaitGroup
	for rows := int64(1); rows < 5; rows++ {
		all.Go(func() {
			s, err := g.Specialise([][]int64{{rows, 1, 8, 8}})
			if err != nil {
				t.Error(err)
				return
			}
			for _, v := range s.Values {
				if !v.HasShape || slices.ContainsFunc(v.Shape, func(d Dim) bool { return d.Size < 0 }) {
					t.Errorf("%d rows: value %q has shape %v, want sizes", rows, v.Name, v.Shape)
				}
			}
			if got := s.Outputs[0].Shape[0].Size; got != rows {
				t.Errorf("%d rows: the output has %d", rows, got)
			}
		})
	}
	all.Wait()
	if g.Inputs[0].Shape[0].Size != -1 || len(g.Nodes) != nodes {
		t.Errorf("the graph itself has changed: %v, %d nodes", g.Inputs[0].Shape, len(g.Nodes))
	}
	for _, shapes := range [][][]int64{nil, {{1, 1, 9}}} {
		if _, err := g.Specialise(shapes); !errors.Is(err, backends.ErrInvalid) {
			t.Errorf("Specialise(%v) = %v, want an ErrInvalid", shapes, err)
		}
	}
}
