// Package forms writes models of well-known forms with random weights, the same each time: an encoder, a
// residual network, a recommendation model, and chains of single operations. A model becomes an ONNX file
// and a file of weights beside it, from which others read the same numbers.
package forms

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/thrumserve/thrum/backends"
)

// Model is a form, and what rows for it are.
type Model interface {
	// Kind names the form, for those that build it from its weights.
	Kind() string
	// Batch returns so many rows of random inputs, the same for the same number. Models whose shapes are
	// all fixed have one batch.
	Batch(rows int) backends.Batch
	build(g *graph)
}

// The files of a model in its folder.
const (
	File    = "model.onnx"
	Weights = "weights"      // little-endian FP32, one tensor after another
	Index   = "weights.json" // where each of them lies: an Inventory
)

// Inventory is what others need to build a model anew.
type Inventory struct {
	Kind    string   `json:"kind"`
	Form    Model    `json:"form"`
	Weights []Weight `json:"weights"`
}

// Weight is a tensor in the file of weights.
type Weight struct {
	Name   string `json:"name"`
	Shape  []int  `json:"shape"`
	Offset int64  `json:"offset"` // in bytes
}

// Write makes the files of m in a folder.
func Write(dir string, m Model) error {
	f, err := os.Create(filepath.Join(dir, Weights))
	if err != nil {
		return err
	}
	defer f.Close()
	g := &graph{weights: bufio.NewWriterSize(f, 1<<20), random: rand.New(rand.NewPCG(1, 1)), inventory: Inventory{Kind: m.Kind(), Form: m}}
	m.build(g)
	index, err := json.Marshal(g.inventory)
	if err := errors.Join(err, g.weights.Flush(), f.Close()); err != nil {
		return fmt.Errorf("weights of %s: %w", m.Kind(), err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, File), g.file(), 0o600),
		os.WriteFile(filepath.Join(dir, Index), index, 0o600),
	)
}
