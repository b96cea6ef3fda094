package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// model is what every system serves, with rows to send and the answers that are known to be right.
type model struct {
	name          string
	input, output string
	shape         []int // of a row
	rows          [][]float32
	answers       [][]float32
	tolerance     float64 // of a value, as a share of it and at least so much
}

// nullModel answers a row with its first ten values: what it costs is what the server costs.
func nullModel() model {
	const width, out, rows = 784, 10, 16
	m := model{name: "null", input: "x", output: "y", shape: []int{width}}
	rng := rand.New(rand.NewPCG(1, 2))
	for range rows {
		row := make([]float32, width)
		for i := range row {
			row[i] = rng.Float32()
		}
		m.rows, m.answers = append(m.rows, row), append(m.answers, row[:out])
	}
	return m
}

// goldenModel reads the rows and offline answers of a bundled model. Systems compute in different
// orders, so that their last digits differ.
func goldenModel(folder, name, input, output string, shape ...int) (model, error) {
	m := model{name: name, input: input, output: output, shape: shape, tolerance: 1e-3}
	text, err := os.ReadFile(filepath.Join(folder, name, "1", "golden.json"))
	if err != nil {
		return m, err
	}
	type tensor struct {
		Name string
		Data []float32
	}
	var golden struct {
		Cases []struct{ Inputs, Outputs []tensor }
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	for _, c := range golden.Cases {
		in := slices.IndexFunc(c.Inputs, func(t tensor) bool { return t.Name == input })
		out := slices.IndexFunc(c.Outputs, func(t tensor) bool { return t.Name == output })
		if in >= 0 && out >= 0 && len(c.Inputs[in].Data) == m.width() {
			m.rows, m.answers = append(m.rows, c.Inputs[in].Data), append(m.answers, c.Outputs[out].Data)
		}
	}
	if len(m.rows) == 0 {
		return m, fmt.Errorf("%s: no golden case has one row of %s and %s", name, input, output)
	}
	return m, nil
}

func (m model) width() int {
	n := 1
	for _, d := range m.shape {
		n *= d
	}
	return n
}

// check compares an answer to row i with the one that is known.
func (m model) check(i int, got []float32) error {
	want := m.answers[i]
	if len(got) != len(want) {
		return fmt.Errorf("row %d of %s: %d values, want %d", i, m.name, len(got), len(want))
	}
	for k := range want {
		if off := math.Abs(float64(got[k] - want[k])); !(off <= m.tolerance*max(1, math.Abs(float64(want[k])))) {
			return fmt.Errorf("row %d of %s: value %d is %v, want %v", i, m.name, k, got[k], want[k])
		}
	}
	return nil
}
