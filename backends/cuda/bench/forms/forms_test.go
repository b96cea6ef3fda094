package forms

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/thrumserve/thrum/backends"
	"github.com/thrumserve/thrum/backends/cpu"
)

var tables = Recommender{Dense: 3, Width: 8, Below: []int{16}, Above: []int{16}, Tables: []int{10, 3, 100, 7}}

// TestModelsRun writes a small model of each form, which the cpu backend then computes.
func TestModelsRun(t *testing.T) {
	b := cpu.New(cpu.Options{Threads: 1})
	defer b.Close()
	for _, m := range []Model{
		Encoder{Layers: 2, Width: 64, Heads: 2, Inner: 128, Words: 50, Sequence: 8},
		Network{Size: 32, Width: 8, Classes: 10, Stages: []int{1, 2}},
		tables, Lookup{Recommender: tables}, Lookup{tables, 3}, Rows{tables}, Copied{Side: 8}, Copied{Side: 8, Depth: 3},
		Products(backends.BF16, 8, 16, 24, 2), Attentions(backends.FP16, 2, 2, 8, 32, 2), Norms(backends.BF16, 8, 16, 3),
		Convolutions(backends.FP16, 2, 6, 8, 3, 2), Additions(backends.FP16, 64),
	} {
		dir := t.TempDir()
		if err := Write(dir, m); err != nil {
			t.Fatal(err)
		}
		loaded, err := b.Load(t.Context(), backends.Spec{Dir: dir})
		if err != nil {
			t.Errorf("%+v: %v", m, err)
			continue
		}
		out, err := loaded.Predict(t.Context(), m.Batch(3))
		if err != nil {
			t.Errorf("%+v: %v", m, err)
			continue
		}
		if out.Tensors[0].Datatype == backends.FP32 {
			spread(t, m, out.Tensors[0])
		}
		out.Release()
		checkInventory(t, dir)
	}
}

// spread sees that answers are numbers, and neither all the same nor beyond what 16 bits hold.
func spread(t *testing.T, m Model, out backends.Tensor) {
	t.Helper()
	least, most := math.Inf(1), math.Inf(-1)
	for i := range out.Elements() {
		v := float64(math.Float32frombits(uint32(out.Data[4*i]) | uint32(out.Data[4*i+1])<<8 | uint32(out.Data[4*i+2])<<16 | uint32(out.Data[4*i+3])<<24))
		least, most = math.Min(least, v), math.Max(most, v)
	}
	if !(least < most) || !(math.Abs(least) < 1000 && math.Abs(most) < 1000) {
		t.Errorf("%+v answers from %v to %v", m, least, most)
	}
}

// checkInventory sees that the weights fill their file.
func checkInventory(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, Index))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Weights []Weight }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	file, err := os.Stat(filepath.Join(dir, Weights))
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for _, w := range all.Weights {
		if w.Offset != at {
			t.Errorf("%s lies at %d, want %d", w.Name, w.Offset, at)
		}
		n := int64(4)
		for _, d := range w.Shape {
			n *= int64(d)
		}
		at += n
	}
	if file.Size() != at {
		t.Errorf("the weights have %d bytes, want %d", file.Size(), at)
	}
}

// TestFormsAreAsLargeAsTheyAreKnownToBe counts what BERT-base and the tables are known by.
func TestFormsAreAsLargeAsTheyAreKnownToBe(t *testing.T) {
	if got := Base.Operations() / 1e9; math.Abs(got-22.35) > 0.05 {
		t.Errorf("BERT-base takes %.2f G operations for 128 words, want 22.35", got)
	}
	if n := (Rows{Criteo}).height(); n != 6_914_860 {
		t.Errorf("the tables have %d rows", n)
	}
	if n := len(pairs(27)); n != 352 {
		t.Errorf("27 vectors have %d products, want 351 and one more", n)
	}
}
